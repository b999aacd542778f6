//! The folder of one cluster: gone with it, or swept by the next when a test was killed.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::unistd::User;
use tempfile::TempDir;

use super::process::is_root;

const PREFIX: &str = "longshore-pg-";
const OWNER: &str = "owner";

/// A folder that the server's user owns; removed when dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    directory: TempDir,
    /// Locked as long as the test's process lives, and not inherited by the server.
    _owner: File,
}

impl Folder {
    /// Makes a folder in the system's temporary one, and removes those there whose owners were killed.
    pub(crate) fn new() -> Self {
        let base = std::env::temp_dir();
        sweep(&base);
        let mode = Permissions::from_mode(0o711);
        let directory = tempfile::Builder::new().prefix(PREFIX).permissions(mode).tempdir_in(base);
        let directory = directory.expect("a temporary folder can be made");
        give_to_server_user(directory.path());
        Self { _owner: own(directory.path()), directory }
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The data directory.
    pub(super) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// What the server writes to its log.
    pub(super) fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Where the Unix socket lies. The path stays short: a socket's may have 107 bytes.
    pub(super) fn socket(&self) -> &Path {
        self.directory.path()
    }
}

/// Makes user postgres the owner of a folder, if this process is root.
pub(super) fn give_to_server_user(folder: &Path) {
    if !is_root() {
        return;
    }
    let user = User::from_name("postgres").expect("the list of users can be read");
    let user =
        user.expect("there is no user `postgres`, and PostgreSQL refuses to run as root: run `cargo xtask test`");
    chown(folder, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root can give a folder away");
}

/// Marks a folder as owned. It gets its mark's name only once it is locked, so that nobody sweeps it in between.
fn own(folder: &Path) -> File {
    let unlocked = folder.join("owner.new");
    let owner = File::create(&unlocked).expect("a file can be made");
    owner.lock().expect("a file can be locked");
    fs::rename(unlocked, folder.join(OWNER)).expect("a file can be renamed");
    owner
}

/// Removes the folders whose owners ended without doing so. What cannot be removed (another user's, one that another
/// process is removing) is left for a later sweep.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(owner) = File::open(entry.path().join(OWNER)) else {
            continue;
        };
        if owner.try_lock().is_ok() {
            // Another test may be sweeping the same folder: whichever comes second finds less of it, or nothing.
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_swept_once_its_owner_is_gone() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join(format!("{PREFIX}x"));
        fs::create_dir(&folder).unwrap();
        let owner = own(&folder);
        sweep(base.path());
        assert!(folder.exists(), "its owner is still there");
        drop(owner);
        sweep(base.path());
        assert!(!folder.exists());
    }
}
