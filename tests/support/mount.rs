//! A file system of a given size, for disks that fill up.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system in memory. It is unmounted when it is dropped.
pub(crate) struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts one of so many bytes at a folder that is there.
    pub(crate) fn mount(folder: &Path, size: &str) -> Self {
        let options = format!("size={size},mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder).status();
        assert!(mounted.is_ok_and(|status| status.success()), "this test mounts a small file system, which takes root");
        Self(folder.to_owned())
    }

    /// Makes it larger or smaller.
    pub(crate) fn resize(&self, size: &str) {
        let resized = Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.0).status();
        assert!(resized.is_ok_and(|status| status.success()), "{} keeps its size", self.0.display());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.0.display());
    }
}
