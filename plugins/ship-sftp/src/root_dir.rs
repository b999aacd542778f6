//! The directory of a destination: refused if it may be the wrong one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use longshore_core::root_dir::RootError;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_ssh::host::Host;
use longshore_ssh::settings::ConnectOptions;
use openssh_sftp_client::Error as ClientError;
use openssh_sftp_client::error::SftpErrorKind;
use openssh_sftp_client::metadata::Permissions;

use crate::failure;
use crate::session::{Client, Session};

/// The free space below which an unspecified failure most likely means a full disk.
const FULL_BYTES: u64 = 1 << 20;

/// The directory of a destination.
#[derive(Debug, Clone)]
pub(crate) struct RootDir {
    pub(crate) client: Arc<Client>,
    path: PathBuf,
}

impl RootDir {
    pub(crate) fn new(options: ConnectOptions, path: String) -> Self {
        Self { client: Arc::new(Client::new(Host::new(options))), path: path.into() }
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
    pub(crate) async fn checked_session(&self) -> Result<Arc<Session>> {
        let session = self.client.session().await?;
        let (session, metadata) = match session.fs().metadata(&self.path).await {
            Err(error) if failure::status(&error).is_none() => {
                self.client.invalidate(&session).await;
                let session = self.client.session().await?;
                let metadata = session.fs().metadata(&self.path).await;
                (session, metadata)
            }
            metadata => (session, metadata),
        };
        let refused = |unfit: RootError| Err(unfit.error(&self.name(), self.path.display()));
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) if failure::is_not_found(&error) => {
                return refused(RootError::Missing);
            }
            Err(error) => return Err(self.failure(&session, &self.path, "cannot inspect the directory", error).await),
        };
        if !metadata.file_type().is_some_and(|kind| kind.is_dir()) {
            return refused(RootError::NotADirectory);
        }
        if metadata.permissions().is_some_and(|permissions| permissions.write_by_other()) {
            return refused(RootError::WorldWritable);
        }
        Ok(session)
    }

    /// Creates the folders of the path to `folder`. None of them may be a symbolic link, since
    /// links are not listed.
    pub(crate) async fn create_folders(&self, session: &Arc<Session>, folder: &str) -> Result<()> {
        let mut path = self.path.clone();
        for part in folder.split('/').filter(|part| !part.is_empty()) {
            path.push(part);
            let created = session.fs().dir_builder().permissions(Permissions::from(0o700)).create(&path).await;
            let Err(error) = created else {
                continue;
            };
            match session.fs().symlink_metadata(&path).await {
                Ok(metadata) if metadata.file_type().is_some_and(|kind| kind.is_dir()) => {
                    if metadata.permissions().is_some_and(|permissions| permissions.write_by_other()) {
                        return Err(RootError::WorldWritable.error(&self.subject(&path), path.display()));
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
                Err(_) => return Err(self.failure(session, &path, "cannot create the directory", error).await),
            }
        }
        Ok(())
    }

    /// Removes a file; removing a missing file succeeds.
    pub(crate) async fn remove(&self, session: &Arc<Session>, path: &Path) -> Result<()> {
        match session.fs().remove_file(path).await {
            Ok(()) => Ok(()),
            Err(error) if failure::is_not_found(&error) => Ok(()),
            Err(error) => Err(self.failure(session, path, "cannot remove the file", error).await),
        }
    }

    /// Returns the free space in bytes.
    pub(crate) async fn free_bytes(&self, session: &Arc<Session>) -> Result<u64> {
        match session.fs().statvfs(&self.path).await {
            Ok(stats) => Ok(stats.bavail.saturating_mul(stats.frsize)),
            Err(error) => {
                Err(failure::to_error(self.client.host.name(), &self.name(), "cannot read the free space", error))
            }
        }
    }

    /// Returns the error for a response about a path. Drops a lost session; after an unspecified
    /// failure, checks whether the disk is full.
    pub(crate) async fn failure(
        &self,
        session: &Arc<Session>,
        path: &Path,
        message: &str,
        error: ClientError,
    ) -> Error {
        let status = failure::status(&error);
        if status.is_none() {
            self.client.invalidate(session).await;
        }
        let subject = self.subject(path);
        if matches!(status, Some(SftpErrorKind::Failure))
            && self.free_bytes(session).await.is_ok_and(|free| free < FULL_BYTES)
        {
            let full = Error::new(Stage::Ship, Kind::Failed, subject, "no space left on the file system");
            return full.hint("free some space there, keep fewer backups, or ship to a larger disk").because(error);
        }
        failure::to_error(self.client.host.name(), &subject, message, error)
    }

    /// Returns a path's name for errors.
    pub(crate) fn subject(&self, path: &Path) -> String {
        format!("{}:{}", self.client.host.name(), path.display())
    }
}
