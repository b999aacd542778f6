//! The artifact under drill, fetched into a file beside the scratch cluster.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use longshore_core::manifest::Manifest;
use longshore_core::pipeline::fetch;
use longshore_core::stage::Store;
use longshore_core::stream::{drain, transform};
use longshore_core::{Error, Result, Stage};

/// Fetches the sealed bytes into the private folder, as a file of this name.
pub(super) async fn save(store: &dyn Store, manifest: &Manifest, folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    let name = path.display().to_string();
    // Left by an earlier backup whose drill failed.
    remove(&path);
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&path);
    let mut file = file.map_err(|error| Error::io(Stage::Drill, &name, "cannot create the file", error))?;
    let sealed = fetch(store, manifest).await?;
    let wrap = move |error| Error::io(Stage::Drill, name, "cannot write the file", error);
    drain(transform(sealed, wrap, move |reader, _| io::copy(reader, &mut file).map(drop))).await?;
    Ok(path)
}

/// Removes the file, if it exists. The folder is removed after the drill, so a failure costs space
/// only, and a file that stays makes the next fetch fail.
pub(super) fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(target: "longshore::drill", path = %path.display(), %error, "cannot remove the fetched backup");
        }
        _ => {}
    }
}
