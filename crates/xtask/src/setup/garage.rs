//! Garage, the real S3 store for tests of destinations, in the cache. It is built once, which takes
//! some minutes.

use std::fs::{self, File};

use longshore_testkit::cluster::cache;
use longshore_testkit::garage::{VERSION, installation};

use crate::Result;
use crate::step::{cargo, step};

/// Builds Garage if it is missing.
pub(super) fn ensure() -> Result<()> {
    let target = installation();
    let failed = |error| format!("cannot use the cache {}: {error}", cache::folder().display());
    if target.exists() {
        return Ok(());
    }
    let cache = cache::make().map_err(failed)?;
    // If two runs start at once, the second waits and finds the result of the first.
    let lock = File::create(cache.join("garage.lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if target.exists() {
        return Ok(());
    }
    // A killed run leaves this folder, and the next run continues the build.
    let work = target.with_extension("new");
    let mut install = cargo();
    install.args(["install", "garage", "--version", VERSION, "--locked", "--no-default-features"]);
    install.args(["--features", "bundled-libs,sqlite", "--root"]).arg(&work);
    install.env("CARGO_TARGET_DIR", work.join("target"));
    step(&format!("cargo install garage {VERSION} into {} (once, takes some minutes)", target.display()), &mut install)
        .map_err(|failure| {
            format!("{failure}\nhint: run this again, or put your own garage {VERSION} into {}/bin", target.display())
        })?;
    fs::remove_dir_all(work.join("target")).map_err(failed)?;
    fs::rename(&work, &target).map_err(failed)
}
