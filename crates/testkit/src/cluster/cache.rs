//! The folder for files that are made once and reused, outside any checkout: other versions of
//! PostgreSQL, templates of clusters.

use std::env;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::process::is_root;

/// Returns the cache's folder: `$LONGSHORE_CACHE`, else `$XDG_CACHE_HOME/longshore`, else
/// `~/.cache/longshore`.
///
/// If tests run as root, servers run as user postgres, who usually cannot enter root's home; the
/// folder is then `/var/cache/longshore`. It may not exist yet.
pub fn folder() -> PathBuf {
    let named = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = named("LONGSHORE_CACHE") {
        return folder;
    }
    let folder = named("XDG_CACHE_HOME")
        .or_else(|| named("HOME").map(|home| home.join(".cache")))
        .map(|base| base.join("longshore"));
    match folder {
        Some(folder) if !is_root() || others_may_enter(&folder) => folder,
        _ => PathBuf::from("/var/cache/longshore"),
    }
}

/// Creates the cache's folder if it is missing. The servers' user can enter it, regardless of this
/// process's umask.
pub fn make() -> io::Result<PathBuf> {
    let folder = folder();
    if !folder.exists() {
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
    }
    Ok(folder)
}

/// Returns true if other users can enter every existing folder in `path`.
fn others_may_enter(path: &Path) -> bool {
    path.ancestors()
        .filter_map(|folder| folder.metadata().ok())
        .all(|metadata| metadata.permissions().mode() & 0o001 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_parent_folder_blocks_access() {
        let folder = tempfile::tempdir().unwrap();
        let nested = folder.path().join("a/b");
        for (mode, open) in [(0o755, true), (0o711, true), (0o700, false)] {
            fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(others_may_enter(&nested), open, "{mode:o}");
        }
    }
}
