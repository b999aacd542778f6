//! The PostgreSQL installations that a machine has.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache;

/// The variable that names the programs of a newer PostgreSQL than the system's.
pub const NEWER: &str = "LONGSHORE_TEST_PG_NEWER";

/// The programs of one PostgreSQL release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// Where `initdb`, `postgres` and the client programs are.
    pub bin_dir: PathBuf,
    /// The major version, such as 15.
    pub major: u32,
    /// The whole version, such as `15.18`.
    pub version: String,
}

impl Installation {
    /// The newest of the system's packages.
    ///
    /// # Panics
    /// If there is none.
    pub fn system() -> Self {
        Self::find_system()
            .expect("no PostgreSQL server in /usr/lib/postgresql: run `cargo xtask test`, which installs it")
    }

    /// One that is newer than the system's, for what happens between versions.
    ///
    /// # Panics
    /// If there is none.
    pub fn newer() -> Self {
        Self::find_newer().unwrap_or_else(|| {
            let cache = cache::folder();
            panic!("no newer PostgreSQL in ${NEWER} or {}: run `cargo xtask test`, which installs it", cache.display())
        })
    }

    /// The newest of the system's packages, if there is one.
    pub fn find_system() -> Option<Self> {
        newest(bin_dirs_in(Path::new("/usr/lib/postgresql")))
    }

    /// The one that the environment names, or else the newest of the cache, if there is one.
    pub fn find_newer() -> Option<Self> {
        if let Some(bin_dir) = env::var_os(NEWER).filter(|value| !value.is_empty()) {
            return Self::at(Path::new(&bin_dir));
        }
        let unpacked = fs::read_dir(cache::folder()).into_iter().flatten().flatten();
        newest(
            unpacked
                .filter(|entry| entry.file_name().to_string_lossy().starts_with("postgresql-"))
                .flat_map(|entry| bin_dirs_in(&entry.path().join("usr/lib/postgresql"))),
        )
    }

    /// The one whose programs are in `bin_dir`, if a server that runs is among them.
    pub fn at(bin_dir: &Path) -> Option<Self> {
        let told = Command::new(bin_dir.join("postgres")).arg("--version").output().ok()?;
        let version = version_in(std::str::from_utf8(&told.stdout).ok()?)?;
        let major = version.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()?;
        bin_dir.join("initdb").exists().then(|| Self {
            bin_dir: bin_dir.to_owned(),
            major,
            version: version.to_owned(),
        })
    }

    /// The path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }
}

/// `15.18` of `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn version_in(told: &str) -> Option<&str> {
    told.strip_prefix("postgres (PostgreSQL) ")?.split_whitespace().next()
}

fn bin_dirs_in(folder: &Path) -> Vec<PathBuf> {
    let versions = fs::read_dir(folder).into_iter().flatten().flatten();
    versions.map(|version| version.path().join("bin")).collect()
}

fn newest(bin_dirs: impl IntoIterator<Item = PathBuf>) -> Option<Installation> {
    let installations = bin_dirs.into_iter().filter_map(|bin_dir| Installation::at(&bin_dir));
    installations.max_by_key(|installation| installation.major)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_a_server_tells() {
        let told = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(version_in(told), Some("15.18"));
        assert_eq!(version_in("postgres (PostgreSQL) 18beta1\n"), Some("18beta1"));
        assert_eq!(version_in("bash: no such file"), None);
    }

    #[test]
    fn a_folder_without_a_server_is_no_installation() {
        assert_eq!(Installation::at(Path::new("/nowhere")), None);
    }
}
