//! The folder of a cluster, removed with the cluster, or swept by a later test if its own test was
//! killed.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::unistd::User;
use tempfile::TempDir;

use super::process::is_root;

const PREFIX: &str = "longshore-pg-";
const OWNER: &str = "owner";

/// A folder owned by the server's user, removed when dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    directory: TempDir,
    /// A file that is locked while the test's process lives. The server does not inherit the lock.
    _owner: File,
}

impl Folder {
    /// Creates a folder in the system's temporary folder, and removes folders there whose owners
    /// were killed.
    pub(crate) fn new() -> Self {
        Self::new_in(&std::env::temp_dir())
    }

    /// Creates a folder in `base`, as [`Folder::new`] does.
    pub(super) fn new_in(base: &Path) -> Self {
        sweep(base);
        let mode = Permissions::from_mode(0o711);
        let directory = tempfile::Builder::new().prefix(PREFIX).permissions(mode).tempdir_in(base);
        let directory = directory.expect("a temporary folder can be made");
        give_to_server_user(directory.path());
        Self { _owner: lock_owner_file(directory.path()), directory }
    }

    /// Returns the path of the folder.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the path of the data directory.
    pub(super) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Returns the path of the server's log.
    pub(super) fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Returns the folder of the Unix socket. Its path is short, because a socket's path is limited
    /// to 107 bytes.
    pub(super) fn socket(&self) -> &Path {
        self.directory.path()
    }
}

/// Changes the owner of a folder to user postgres, if this process is root.
pub(super) fn give_to_server_user(folder: &Path) {
    if !is_root() {
        return;
    }
    let user = User::from_name("postgres").expect("the list of users can be read");
    let user =
        user.expect("there is no user `postgres`, and PostgreSQL refuses to run as root: run `cargo xtask test`");
    chown(folder, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root can change the owner of a folder");
}

/// Marks a folder as owned. The mark is locked before it gets its name, so that no other process
/// sweeps the folder meanwhile.
fn lock_owner_file(folder: &Path) -> File {
    let unlocked = folder.join("owner.new");
    let owner = File::create(&unlocked).expect("a file can be made");
    owner.lock().expect("a file can be locked");
    fs::rename(unlocked, folder.join(OWNER)).expect("a file can be renamed");
    owner
}

/// Removes the folders whose owners died. Folders that cannot be removed (another user's, or
/// removed by another process at the same time) are left for a later sweep.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(owner) = File::open(entry.path().join(OWNER)) else {
            continue;
        };
        if owner.try_lock().is_ok() {
            // Another test may be sweeping the same folder, so parts of it may be missing already.
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_folders_of_dead_owners() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join(format!("{PREFIX}x"));
        fs::create_dir(&folder).unwrap();
        let owner = lock_owner_file(&folder);
        sweep(base.path());
        assert!(folder.exists(), "its owner still lives");
        drop(owner);
        sweep(base.path());
        assert!(!folder.exists());
    }
}
