//! File systems in files, mounted for a test. A mount whose test was killed is removed by a later
//! one.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

const PREFIX: &str = "longshore-mount-";
const OWNER: &str = "owner";
const MOUNT: &str = "fs";

/// The size of an image, which is a sparse file.
const IMAGE_BYTES: u64 = 2 << 30;

/// A mounted file system. Dropping it unmounts and removes it.
#[derive(Debug)]
pub struct LoopMount {
    folder: TempDir,
    /// A file that is locked while the test's process lives.
    _owner: File,
}

impl LoopMount {
    /// Mounts a new btrfs.
    ///
    /// # Panics
    /// If btrfs-progs is missing, or if this process may not mount.
    pub fn btrfs() -> Self {
        Self::new("mkfs.btrfs", &["--quiet"], "btrfs-progs")
    }

    /// Mounts a new XFS that can share blocks.
    ///
    /// # Panics
    /// If xfsprogs is missing, or if this process may not mount.
    pub fn xfs() -> Self {
        Self::new("mkfs.xfs", &["-q", "-m", "reflink=1"], "xfsprogs")
    }

    /// Returns the mount point.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(MOUNT)
    }

    fn new(mkfs: &str, arguments: &[&str], package: &str) -> Self {
        let base = std::env::temp_dir();
        sweep(&base);
        let folder =
            tempfile::Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(0o711)).tempdir_in(base);
        let folder = folder.expect("a temporary folder can be made");
        // The file is locked before it gets its name, so that no other process sweeps the folder.
        let unlocked = folder.path().join("owner.new");
        let owner = File::create(&unlocked).expect("a file can be made");
        owner.lock().expect("a file can be locked");
        fs::rename(unlocked, folder.path().join(OWNER)).expect("a file can be renamed");
        let image = folder.path().join("image");
        let file = File::create(&image).expect("a file can be made");
        file.set_len(IMAGE_BYTES).expect("a file can be sparse");
        let mount_point = folder.path().join(MOUNT);
        fs::create_dir(&mount_point).expect("a folder can be made");
        let made = Command::new(mkfs).args(arguments).arg(&image).output();
        let made = made.unwrap_or_else(|error| {
            panic!("cannot run {mkfs} of package {package}: {error}; run `cargo xtask test`, which installs it")
        });
        assert!(made.status.success(), "{mkfs}: {}", String::from_utf8_lossy(&made.stderr));
        let mounted = Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mount_point).output();
        let mounted = mounted.expect("mount can be started");
        assert!(
            mounted.status.success(),
            "mount, for which tests run as root: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        let mount = Self { folder, _owner: owner };
        let mode = Permissions::from_mode(0o755);
        fs::set_permissions(mount.path(), mode).expect("root can change permissions");
        mount
    }
}

impl Drop for LoopMount {
    fn drop(&mut self) {
        unmount(&self.path());
    }
}

/// Unmounts a file system, also one in use. The loop device is freed with it.
fn unmount(path: &Path) {
    let unmounted = Command::new("umount").arg("--lazy").arg(path).status();
    // A mount that is left behind is swept by a later test.
    drop(unmounted);
}

/// Removes the mounts whose owners died.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(owner) = File::open(entry.path().join(OWNER)) else { continue };
        if owner.try_lock().is_ok() {
            let mount_point = entry.path().join(MOUNT);
            unmount(&mount_point);
            // Another test may be sweeping the same folder. Nothing below a mount point is removed.
            if fs::remove_dir(&mount_point).is_ok() {
                fs::remove_dir_all(entry.path()).ok();
            }
        }
    }
}
