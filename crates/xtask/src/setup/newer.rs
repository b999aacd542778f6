//! A PostgreSQL newer than the system's, from a newer Debian release, in the cache: what moves between major versions is
//! tested on real ones.

use std::fs::File;
use std::process::Command;

use longshore_testkit::cluster::{Installation, NEWER, cache};

use super::debian;
use crate::Result;
use crate::step::step;

/// Which Debian release has which major version.
const RELEASES: [(u32, &str); 2] = [(17, "trixie"), (18, "forky")];

/// Finds a newer PostgreSQL than the system's, or makes one from Debian's packages.
pub(super) fn ensure(system: &Installation) -> Result<Installation> {
    let find = || Installation::find_newer().filter(|newer| newer.major > system.major);
    if let Some(newer) = find() {
        return Ok(newer);
    }
    if let Some(named) = std::env::var_os(NEWER).filter(|value| !value.is_empty()) {
        return Err(format!(
            "{NEWER} names {named:?}, which holds no PostgreSQL newer than {}\n\
             hint: leave it unset to have one installed",
            system.major
        ));
    }
    let Some(&(major, release)) = RELEASES.iter().find(|(major, _)| *major > system.major) else {
        println!("    no Debian release has a PostgreSQL newer than {}: it stands in for one", system.major);
        return Ok(system.clone());
    };
    let failed = |error| format!("cannot use the cache {}: {error}", cache::folder().display());
    let cache = cache::make().map_err(failed)?;
    // Two runs at once: the second waits, then finds what the first made.
    let lock = File::create(cache.join("postgresql.lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if let Some(newer) = find() {
        return Ok(newer);
    }
    debian::ensure(&[debian::PATCHELF])?;
    let target = cache.join(format!("postgresql-{major}"));
    let mut unpack = Command::new("bash");
    unpack.args(["-c", include_str!("newer.sh"), "newer.sh", &major.to_string(), release]).arg(&target);
    step(&format!("PostgreSQL {major} from Debian {release} into {}", target.display()), &mut unpack)?;
    find().ok_or_else(|| format!("the programs in {} do not run", target.display()))
}
