//! A file system of a given size, for disks that fill up.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system in memory, unmounted on drop.
pub(crate) struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts a file system of `size` bytes at an existing folder.
    pub(crate) fn mount(folder: &Path, size: &str) -> Self {
        let options = format!("size={size},mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder).status();
        assert!(mounted.is_ok_and(|status| status.success()), "mounting the test's small file system requires root");
        Self(folder.to_owned())
    }

    /// Changes the size of the file system.
    pub(crate) fn resize(&self, size: &str) {
        let resized = Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.0).status();
        assert!(resized.is_ok_and(|status| status.success()), "cannot resize {}", self.0.display());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "cannot unmount {}", self.0.display());
    }
}
