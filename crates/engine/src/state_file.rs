//! Files of a host's state: JSON, replaced as a whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use longshore_core::regular_file;
use serde::Serialize;

/// Replaces a file, durably: after a crash it has the old content or the new one.
pub(crate) fn write(path: &Path, content: &impl Serialize) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    let mut text = serde_json::to_vec(content)?;
    text.push(b'\n');
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&text)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}

/// Waits for the lock of a file that several processes change, and takes it until the result is
/// dropped.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let lock = regular_file::open(&path.with_extension("lock"), &mut options)?;
    lock.lock()?;
    Ok(lock)
}
