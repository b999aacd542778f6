//! The directory of a destination: refused if it may be the wrong one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use longshore_core::root::Unfit;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_ssh::host::Host;
use longshore_ssh::settings::Reach;
use openssh_sftp_client::Error as Answer;
use openssh_sftp_client::error::SftpErrorKind;
use openssh_sftp_client::metadata::Permissions;

use crate::failure;
use crate::link::{Line, Link};

/// The free space below which an unspecified failure most likely means a full disk.
const FULL_BYTES: u64 = 1 << 20;

/// The directory of a destination.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub(crate) line: Arc<Line>,
    path: PathBuf,
}

impl Root {
    pub(crate) fn new(reach: Reach, path: String) -> Self {
        Self { line: Arc::new(Line::new(Host::new(reach))), path: path.into() }
    }

    /// Returns the same directory, on a host that may stall for `limit`.
    pub(crate) fn stalling_at_most(&self, limit: Duration) -> Self {
        Self { line: Arc::new(Line::new(self.line.host.stalling_at_most(limit))), path: self.path.clone() }
    }

    /// Returns the directory's name for errors: `host:/path`.
    pub(crate) fn name(&self) -> String {
        self.subject(&self.path)
    }

    /// Returns the path of a name in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns the session, reopened if it was lost. Fails if the directory does not exist, or is
    /// world-writable. Every operation checks this: a disk can be unmounted at any time.
    pub(crate) async fn stand(&self) -> Result<Arc<Link>> {
        let link = self.line.link().await?;
        let (link, found) = match link.fs().metadata(&self.path).await {
            Err(error) if failure::kind(&error).is_none() => {
                self.line.forget(&link).await;
                let link = self.line.link().await?;
                let found = link.fs().metadata(&self.path).await;
                (link, found)
            }
            found => (link, found),
        };
        let refused = |unfit: Unfit| Err(unfit.error(&self.name(), self.path.display()));
        let found = match found {
            Ok(found) => found,
            Err(error) if failure::is_absent(&error) => {
                return refused(Unfit::Missing);
            }
            Err(error) => return Err(self.failure(&link, &self.path, "cannot inspect the directory", error).await),
        };
        if !found.file_type().is_some_and(|kind| kind.is_dir()) {
            return refused(Unfit::NoDirectory);
        }
        if found.permissions().is_some_and(|permissions| permissions.write_by_other()) {
            return refused(Unfit::Exposed);
        }
        Ok(link)
    }

    /// Creates the folders of the path to `folder`. None of them may be a symbolic link, since
    /// links are not listed.
    pub(crate) async fn make(&self, link: &Arc<Link>, folder: &str) -> Result<()> {
        let mut path = self.path.clone();
        for part in folder.split('/').filter(|part| !part.is_empty()) {
            path.push(part);
            let made = link.fs().dir_builder().permissions(Permissions::from(0o700)).create(&path).await;
            let Err(error) = made else {
                continue;
            };
            match link.fs().symlink_metadata(&path).await {
                Ok(found) if found.file_type().is_some_and(|kind| kind.is_dir()) => {
                    if found.permissions().is_some_and(|permissions| permissions.write_by_other()) {
                        return Err(Unfit::Exposed.error(&self.subject(&path), path.display()));
                    }
                }
                Ok(_) => {
                    let error = Error::new(
                        Stage::Ship,
                        Kind::Refused,
                        self.subject(&path),
                        "a parent of the path is not a directory",
                    );
                    return Err(
                        error.hint("move it away; symbolic links below the destination's directory are not followed")
                    );
                }
                Err(_) => return Err(self.failure(link, &path, "cannot create the directory", error).await),
            }
        }
        Ok(())
    }

    /// Removes a file; removing a missing file succeeds.
    pub(crate) async fn remove(&self, link: &Arc<Link>, path: &Path) -> Result<()> {
        match link.fs().remove_file(path).await {
            Ok(()) => Ok(()),
            Err(error) if failure::is_absent(&error) => Ok(()),
            Err(error) => Err(self.failure(link, path, "cannot remove the file", error).await),
        }
    }

    /// Returns the free space in bytes.
    pub(crate) async fn free_bytes(&self, link: &Arc<Link>) -> Result<u64> {
        match link.fs().statvfs(&self.path).await {
            Ok(found) => Ok(found.bavail.saturating_mul(found.frsize)),
            Err(error) => Err(failure::of(self.line.host.name(), &self.name(), "cannot read the free space", error)),
        }
    }

    /// Returns the error for a response about a path. Drops a lost session; after an unspecified
    /// failure, checks whether the disk is full.
    pub(crate) async fn failure(&self, link: &Arc<Link>, path: &Path, message: &str, error: Answer) -> Error {
        let kind = failure::kind(&error);
        if kind.is_none() {
            self.line.forget(link).await;
        }
        let subject = self.subject(path);
        if matches!(kind, Some(SftpErrorKind::Failure))
            && self.free_bytes(link).await.is_ok_and(|free| free < FULL_BYTES)
        {
            let full = Error::new(Stage::Ship, Kind::Failed, subject, "no space left on the file system");
            return full.hint("free some space there, keep fewer backups, or ship to a larger disk").because(error);
        }
        failure::of(self.line.host.name(), &subject, message, error)
    }

    /// Returns a path's name for errors.
    pub(crate) fn subject(&self, path: &Path) -> String {
        format!("{}:{}", self.line.host.name(), path.display())
    }
}
