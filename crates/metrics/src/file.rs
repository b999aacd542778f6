//! A file with metrics, for node_exporter.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use longshore_core::{Error, Result, Stage};

/// The mode of the file: node_exporter runs as another user.
const MODE: u32 = 0o644;

/// Writes a file with metrics: aside, and renamed, so that a reader finds either the previous or
/// the new file.
///
/// # Errors
///
/// Fails if the folder is missing or not writable.
pub fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = || -> std::io::Result<()> {
        // Without the suffix .prom, node_exporter ignores the incomplete file.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(Permissions::from_mode(MODE))?;
        file.persist(path)?;
        Ok(())
    };
    written().map_err(|error| {
        Error::io(Stage::Config, path.display().to_string(), "cannot write the metrics", error)
            .hint("name a file in a folder that this user can write to, such as that of node_exporter")
    })
}
