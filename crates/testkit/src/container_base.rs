//! The base image of container tests: a minimal Debian of this machine's release.

use std::path::PathBuf;

use crate::cluster::cache;
use crate::server;

/// The packages that the container files install. The base image contains them, but not installed:
/// a build needs no network.
pub const PACKAGES: [&str; 5] = ["ca-certificates", "openssh-client", "postgresql-common", "rsync", "postgresql"];

/// Returns the path in the cache where the setup makes the folder of the image.
pub fn installation() -> PathBuf {
    cache::folder().join("container-base")
}

/// Returns the archive of the image's root directory.
///
/// # Panics
/// If the setup has not made the image.
pub fn archive() -> PathBuf {
    let archive = installation().join("root.tar");
    server::expect_installed(&archive);
    archive
}
