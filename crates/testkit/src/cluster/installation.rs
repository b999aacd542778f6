//! The PostgreSQL installations on a machine.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache;

/// The folder of Debian's servers, with a folder for each major version.
const SYSTEM: &str = "/usr/lib/postgresql";

/// The variable with the programs of a PostgreSQL that is newer than the system's.
pub const NEWER: &str = "LONGSHORE_TEST_PG_NEWER";

/// The major versions that `cargo xtask test` installs if the system does not have them. Older
/// versions are available only as the system's.
pub const INSTALLED: [u32; 3] = [16, 17, 18];

/// The programs of one PostgreSQL release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// The folder of `initdb`, `postgres` and the client programs.
    pub bin_dir: PathBuf,
    /// The major version, such as 15.
    pub major: u32,
    /// The full version, such as `15.18`.
    pub version: String,
}

impl Installation {
    /// Returns the newest of the system's packages.
    ///
    /// # Panics
    /// If there is none.
    pub fn system() -> Self {
        Self::find_system()
            .expect("no PostgreSQL server in /usr/lib/postgresql: run `cargo xtask test`, which installs it")
    }

    /// Returns a version that is newer than the system's, with lz4 and zstd, for tests between
    /// versions.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn newer() -> Self {
        Self::find_newer().unwrap_or_else(|| panic_missing("newer PostgreSQL with lz4 and zstd"))
    }

    /// Returns a major version, such as 16. It may have been built without lz4, zstd and TLS.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn of_major(major: u32) -> Self {
        Self::find_of_major(major).unwrap_or_else(|| panic_missing(&format!("PostgreSQL {major}")))
    }

    /// Returns one installation of each major version: the system's and [`INSTALLED`], oldest
    /// first.
    ///
    /// # Panics
    /// If one of them is missing.
    #[track_caller]
    pub fn all() -> Vec<Self> {
        let all = Self::find_all();
        let is_installed = |major: &u32| all.iter().any(|installation| installation.major == *major);
        match INSTALLED.iter().find(|major| !is_installed(major)) {
            Some(major) => panic_missing(&format!("PostgreSQL {major}")),
            None => all,
        }
    }

    /// Returns the newest of the system's packages, if there is one.
    pub fn find_system() -> Option<Self> {
        let installations = bin_dirs_in(Path::new(SYSTEM)).into_iter().filter_map(|bin_dir| Self::at(&bin_dir));
        installations.max_by_key(|installation| installation.major)
    }

    /// Returns the version that the environment names, or else the next version after the system's
    /// with lz4 and zstd, if there is one. Installing another major version does not change the
    /// result.
    pub fn find_newer() -> Option<Self> {
        if let Some(bin_dir) = from_environment() {
            return Self::at(&bin_dir);
        }
        let system = Self::find_system().map_or(0, |system| system.major);
        Self::find_all().into_iter().find(|installation| installation.major > system && installation.compresses())
    }

    /// Returns a major version, if it is installed.
    pub fn find_of_major(major: u32) -> Option<Self> {
        Self::find_all().into_iter().find(|installation| installation.major == major)
    }

    /// Returns one installation of each available major version, oldest first. The system's is
    /// preferred to the environment's, and that to the cache's.
    pub fn find_all() -> Vec<Self> {
        let unpacked = fs::read_dir(cache::folder()).into_iter().flatten().flatten();
        let unpacked = unpacked
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("postgresql-"))
            .flat_map(|entry| bin_dirs_in(&entry.path().join("usr/lib/postgresql")));
        let bin_dirs = bin_dirs_in(Path::new(SYSTEM)).into_iter().chain(from_environment()).chain(unpacked);
        let mut all: Vec<Self> = bin_dirs.filter_map(|bin_dir| Self::at(&bin_dir)).collect();
        all.sort_by_key(|installation| installation.major);
        all.dedup_by_key(|installation| installation.major);
        all
    }

    /// Returns the installation with its programs in `bin_dir`, if its server runs.
    pub fn at(bin_dir: &Path) -> Option<Self> {
        let output = Command::new(bin_dir.join("postgres")).arg("--version").output().ok()?;
        let version = version_in(std::str::from_utf8(&output.stdout).ok()?)?;
        let major = version.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()?;
        bin_dir.join("initdb").exists().then(|| Self {
            bin_dir: bin_dir.to_owned(),
            major,
            version: version.to_owned(),
        })
    }

    /// Returns the path of a program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }

    /// Returns true if the version was built with lz4 and zstd.
    pub fn compresses(&self) -> bool {
        let output = Command::new(self.program("pg_config")).arg("--configure").output();
        let configured = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        ["--with-lz4", "--with-zstd"].iter().all(|option| configured.contains(option))
    }
}

/// Returns the folder of programs that the environment names.
fn from_environment() -> Option<PathBuf> {
    env::var_os(NEWER).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[track_caller]
fn panic_missing(program: &str) -> ! {
    let cache = cache::folder();
    panic!("no {program} in {SYSTEM}, ${NEWER} or {}: run `cargo xtask test`, which installs it", cache.display())
}

/// Parses `15.18` from `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn version_in(output: &str) -> Option<&str> {
    output.strip_prefix("postgres (PostgreSQL) ")?.split_whitespace().next()
}

fn bin_dirs_in(folder: &Path) -> Vec<PathBuf> {
    let versions = fs::read_dir(folder).into_iter().flatten().flatten();
    versions.map(|version| version.path().join("bin")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_version_of_a_server() {
        let output = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(version_in(output), Some("15.18"));
        assert_eq!(version_in("postgres (PostgreSQL) 18beta1\n"), Some("18beta1"));
        assert_eq!(version_in("bash: no such file"), None);
    }

    #[test]
    fn folder_without_server_is_no_installation() {
        assert_eq!(Installation::at(Path::new("/nowhere")), None);
    }
}
