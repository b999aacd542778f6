//! Atomic uploads: temporary files, hidden while they are written, and published once, complete,
//! without overwriting.

use std::io::SeekFrom;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use longshore_core::atomic_upload::{AtomicUpload, Backend};
use longshore_core::cleanup::run_cleanup;
use longshore_core::key::Key;
use longshore_core::stream::ByteStream;
use longshore_core::temp_name::unique_name;
use longshore_core::{Error, Kind, Result, Stage};
use openssh_sftp_client::Error as ClientError;
use openssh_sftp_client::file::File;
use openssh_sftp_client::metadata::Permissions;
use tokio::io::AsyncSeek;

use crate::failure;
use crate::root_dir::RootDir;
use crate::session::Session;

/// The maximum number of concurrent writes: enough to keep a distant host busy.
const WRITES_IN_FLIGHT: usize = 32;

/// The size of one write in bytes: the maximum of OpenSSH's server. Partial writes are continued.
const REQUEST_BYTES: usize = 255 * 1024;

/// The files of one upload.
#[derive(Debug)]
pub(crate) struct Upload {
    root: RootDir,
    session: Arc<Session>,
    file: File,
    path: PathBuf,
    target: PathBuf,
    bytes: u64,
    /// True if the file is visible under its own name.
    published: bool,
}

impl Upload {
    /// Creates a temporary file for `key`. Fails if the key exists.
    pub(crate) async fn create(root: RootDir, key: &Key) -> Result<AtomicUpload<Self>> {
        let session = root.checked_session().await?;
        if !session.sftp().support_hardlink() {
            let message = "the SFTP server cannot publish a file without overwriting another (hardlink@openssh.com)";
            let error = Error::new(Stage::Ship, Kind::Usage, root.name(), message);
            return Err(
                error.hint("use OpenSSH's SFTP server there, or type = \"ssh\" with an account that has a shell")
            );
        }
        let target = root.path(key.as_str());
        // Fails before a byte is read; publishing checks again, for concurrent writers.
        match session.fs().symlink_metadata(&target).await {
            Ok(_) => return Err(already_exists(&root, &target)),
            Err(error) if failure::is_not_found(&error) => {}
            Err(error) => return Err(root.failure(&session, &target, "cannot inspect the file", error).await),
        }
        root.create_folders(&session, key.folder()).await?;
        Self::create_named(root, session, unique_name(key.folder()), target).await
    }

    /// Performs all operations of an upload in the directory itself, and removes the file.
    pub(crate) async fn probe(root: &RootDir) -> Result<()> {
        let session = root.checked_session().await?;
        let target = root.path(&unique_name(""));
        let upload = Self::create_named(root.clone(), session, unique_name(""), target).await?;
        let mut upload = upload.publish().await?;
        let removal = upload.backend.roll_back();
        upload.keep();
        removal.await
    }

    async fn create_named(
        root: RootDir,
        session: Arc<Session>,
        name: String,
        target: PathBuf,
    ) -> Result<AtomicUpload<Self>> {
        let path = root.path(&name);
        let mut options = session.sftp().options();
        let file = match options.read(true).write(true).create_new(true).open(&path).await {
            Ok(file) => file,
            Err(error) => {
                return Err(root.failure(&session, &path, "cannot create a file in the directory", error).await);
            }
        };
        let mut upload = AtomicUpload::new(Self { root, session, file, path, target, bytes: 0, published: false });
        // Servers may ignore the mode of an open request.
        match upload.backend.file.set_permissions(Permissions::from(0o600)).await {
            Ok(()) => Ok(upload),
            Err(error) => Err(upload.backend.failure("cannot set the file's mode", error).await),
        }
    }

    /// Writes the whole `body`, with concurrent writes.
    pub(crate) async fn write_all(&mut self, mut body: ByteStream) -> Result<()> {
        let mut writes = FuturesUnordered::new();
        let (mut chunk, mut ended) = (Bytes::new(), false);
        loop {
            if !chunk.is_empty() && writes.len() < WRITES_IN_FLIGHT {
                let part = chunk.split_to(chunk.len().min(REQUEST_BYTES));
                let offset = self.bytes;
                self.bytes += part.len() as u64;
                writes.push(write(self.file.clone(), offset, part));
                continue;
            }
            tokio::select! {
                Some(written) = writes.next() => {
                    if let Err(error) = written {
                        return Err(self.failure("cannot write", error).await);
                    }
                }
                next = body.next(), if chunk.is_empty() && !ended => match next {
                    Some(next) => chunk = next?,
                    None => ended = true,
                },
                else => return Ok(()),
            }
        }
    }

    async fn sync(&mut self) -> Result<()> {
        if !self.session.sftp().support_fsync() {
            return Ok(());
        }
        match self.file.sync_all().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failure("cannot flush the file to disk", error).await),
        }
    }

    async fn failure(&self, message: &str, error: ClientError) -> Error {
        self.root.failure(&self.session, &self.target, message, error).await
    }
}

impl Backend for Upload {
    /// Flushes the file to disk, then gives it its own name, unless the name is taken by now.
    async fn publish(&mut self) -> Result<()> {
        self.sync().await?;
        match self.file.metadata().await.map(|metadata| metadata.len()) {
            Ok(Some(bytes)) if bytes == self.bytes => {}
            Ok(found) => {
                let found = found.map_or_else(|| "no size".to_owned(), |bytes| format!("{bytes} bytes"));
                let message = format!("the received file differs from the sent one: {found} of {} bytes", self.bytes);
                return Err(Error::new(Stage::Ship, Kind::Corrupt, self.root.subject(&self.target), message));
            }
            Err(error) => return Err(self.failure("cannot inspect the file", error).await),
        }
        if let Err(error) = self.session.fs().hard_link(&self.path, &self.target).await {
            // Servers report only an unspecified failure.
            return Err(match self.session.fs().symlink_metadata(&self.target).await {
                Ok(_) => already_exists(&self.root, &self.target),
                Err(_) => {
                    self.failure(
                        "cannot publish the file under its name: the file system may have no hard links",
                        error,
                    )
                    .await
                }
            });
        }
        self.published = true;
        // On file systems with a journal, this flushes the name as well.
        self.sync().await?;
        // The temporary name is removed last; if this fails, a sweep finds it.
        run_cleanup(remove(self.root.clone(), self.path.clone())).await;
        Ok(())
    }

    fn roll_back(&mut self) -> BoxFuture<'static, Result<()>> {
        let root = self.root.clone();
        let paths = [self.published.then(|| self.target.clone()), Some(self.path.clone())];
        Box::pin(async move {
            let mut removed = Ok(());
            for path in paths.into_iter().flatten() {
                removed = removed.and(remove(root.clone(), path).await);
            }
            removed
        })
    }
}

/// Removes a file, over a new session if necessary.
async fn remove(root: RootDir, path: PathBuf) -> Result<()> {
    let session = root.checked_session().await?;
    root.remove(&session, &path).await
}

/// Writes `bytes` at an offset of a file.
async fn write(mut file: File, offset: u64, bytes: Bytes) -> Result<(), ClientError> {
    let (mut offset, mut bytes) = (offset, bytes);
    while !bytes.is_empty() {
        Pin::new(&mut file).start_seek(SeekFrom::Start(offset))?;
        let written = file.write_zero_copy(std::slice::from_ref(&bytes)).await?;
        offset += written as u64;
        bytes = bytes.split_off(written);
    }
    Ok(())
}

fn already_exists(root: &RootDir, path: &std::path::Path) -> Error {
    let error = Error::new(
        Stage::Ship,
        Kind::AlreadyExists,
        root.subject(path),
        "already exists, and nothing is ever overwritten",
    );
    error.hint(
        "another run used the same time, or another host writes to the same directory: give each host its own path",
    )
}
