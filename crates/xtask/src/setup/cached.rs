//! Programs in the cache that are installed once, as a whole.

use std::fs::{self, File};
use std::path::Path;

use longshore_testkit::cluster::cache;

use crate::Result;

/// Installs a program into a temporary folder beside the target, and renames the folder when it is
/// complete. Does nothing if the target exists.
pub(super) fn ensure(target: &Path, install: &dyn Fn(&Path) -> Result<()>) -> Result<()> {
    if target.exists() {
        return Ok(());
    }
    let failed = |error| format!("cannot use the cache {}: {error}", cache::folder().display());
    // If two runs start at once, the second waits and finds the result of the first.
    let lock = File::create(cache::make().map_err(failed)?.join("cache.lock")).map_err(failed)?;
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
