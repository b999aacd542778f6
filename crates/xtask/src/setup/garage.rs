//! Garage, the real S3 store that destinations are tested on, in the cache: it is built once, which takes its minutes.

use std::fs::{self, File};

use longshore_testkit::cluster::cache;
use longshore_testkit::garage::{VERSION, installation};

use crate::Result;
use crate::step::{cargo, step};

/// Builds it if it is not there.
pub(super) fn ensure() -> Result<()> {
    let target = installation();
    let failed = |error| format!("cannot use the cache {}: {error}", cache::folder().display());
    if target.exists() {
        return Ok(());
    }
    let cache = cache::make().map_err(failed)?;
    // Two runs at once: the second waits, then finds what the first made.
    let lock = File::create(cache.join("garage.lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if target.exists() {
        return Ok(());
    }
    // A run that was killed leaves this folder; the next one builds on in it.
    let work = target.with_extension("new");
    let mut install = cargo();
    install.args(["install", "garage", "--version", VERSION, "--locked", "--no-default-features"]);
    install.args(["--features", "bundled-libs,sqlite", "--root"]).arg(&work);
    install.env("CARGO_TARGET_DIR", work.join("target"));
    step(
        &format!("cargo install garage {VERSION} into {}, which takes some minutes, once", target.display()),
        &mut install,
    )
    .map_err(|failure| {
        format!("{failure}\nhint: run this again; or put a garage {VERSION} of your own at {}/bin", target.display())
    })?;
    fs::remove_dir_all(work.join("target")).map_err(failed)?;
    fs::rename(&work, &target).map_err(failed)
}
