//! Temporary files: hidden while they are written, and published once, complete, without
//! overwriting.

use std::io::SeekFrom;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use longshore_core::aftercare::{see_out, see_to};
use longshore_core::draft::name;
use longshore_core::key::Key;
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};
use openssh_sftp_client::Error as Answer;
use openssh_sftp_client::file::File;
use openssh_sftp_client::metadata::Permissions;
use tokio::io::AsyncSeek;

use crate::failure;
use crate::link::Link;
use crate::root::Root;

/// The maximum number of concurrent writes: enough to keep a distant host busy.
const WRITES_IN_FLIGHT: usize = 32;

/// The size of one write in bytes: the maximum of OpenSSH's server. Partial writes are continued.
const REQUEST_BYTES: usize = 255 * 1024;

/// A file that is being written. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct Draft {
    root: Root,
    link: Arc<Link>,
    file: File,
    path: PathBuf,
    target: PathBuf,
    bytes: u64,
    /// True if the file is removed elsewhere.
    settled: bool,
}

impl Draft {
    /// Creates a draft of the file under `key`, unless the file exists.
    pub(crate) async fn begin(root: Root, key: &Key) -> Result<Self> {
        let link = root.stand().await?;
        if !link.sftp().support_hardlink() {
            let message = "the SFTP server cannot publish a file without overwriting another (hardlink@openssh.com)";
            let error = Error::new(Stage::Ship, Kind::Usage, root.name(), message);
            return Err(
                error.hint("use OpenSSH's SFTP server there, or type = \"ssh\" with an account that has a shell")
            );
        }
        let target = root.path(key.as_str());
        // Fails before a byte is read; publishing checks again, for concurrent writers.
        match link.fs().symlink_metadata(&target).await {
            Ok(_) => return Err(taken(&root, &target)),
            Err(error) if failure::is_absent(&error) => {}
            Err(error) => return Err(root.failure(&link, &target, "cannot inspect the file", error).await),
        }
        root.make(&link, key.folder()).await?;
        Self::create(root, link, name(key.folder()), target).await
    }

    /// Performs all operations of a draft in the directory itself, and removes the draft.
    pub(crate) async fn try_out(root: &Root) -> Result<()> {
        let link = root.stand().await?;
        let target = root.path(&name(""));
        let draft = Self::create(root.clone(), link, name(""), target).await?;
        let published = draft.publish().await?;
        published.take_back().await
    }

    async fn create(root: Root, link: Arc<Link>, name: String, target: PathBuf) -> Result<Self> {
        let path = root.path(&name);
        let mut options = link.sftp().options();
        let file = match options.read(true).write(true).create_new(true).open(&path).await {
            Ok(file) => file,
            Err(error) => return Err(root.failure(&link, &path, "cannot create a file in the directory", error).await),
        };
        let mut draft = Self { root, link, file, path, target, bytes: 0, settled: false };
        // Servers may ignore the mode of an open request.
        match draft.file.set_permissions(Permissions::from(0o600)).await {
            Ok(()) => Ok(draft),
            Err(error) => Err(draft.failure("cannot set the file's mode", error).await),
        }
    }

    /// Writes the whole `body`, with concurrent writes.
    pub(crate) async fn fill(&mut self, mut body: ByteStream) -> Result<()> {
        let mut writes = FuturesUnordered::new();
        let (mut chunk, mut ended) = (Bytes::new(), false);
        loop {
            if !chunk.is_empty() && writes.len() < WRITES_IN_FLIGHT {
                let part = chunk.split_to(chunk.len().min(REQUEST_BYTES));
                let at = self.bytes;
                self.bytes += part.len() as u64;
                writes.push(write(self.file.clone(), at, part));
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

    /// Flushes the file to disk, then gives it its own name, unless the name is taken by now.
    pub(crate) async fn publish(mut self) -> Result<Published> {
        match self.try_publish().await {
            Ok(()) => {
                self.settled = true;
                let published = Published { root: self.root.clone(), target: self.target.clone(), kept: false };
                // The draft's name is removed last; if this fails, a sweep finds it.
                see_out(remove(self.root.clone(), self.path.clone())).await;
                Ok(published)
            }
            Err(error) => {
                self.abandon().await;
                Err(error)
            }
        }
    }

    async fn try_publish(&mut self) -> Result<()> {
        self.sync().await?;
        match self.file.metadata().await.map(|found| found.len()) {
            Ok(Some(bytes)) if bytes == self.bytes => {}
            Ok(found) => {
                let found = found.map_or_else(|| "no size".to_owned(), |bytes| format!("{bytes} bytes"));
                let message = format!("the received file differs from the sent one: {found} of {} bytes", self.bytes);
                return Err(Error::new(Stage::Ship, Kind::Corrupt, self.root.subject(&self.target), message));
            }
            Err(error) => return Err(self.failure("cannot inspect the file", error).await),
        }
        if let Err(error) = self.link.fs().hard_link(&self.path, &self.target).await {
            // Servers report only an unspecified failure.
            return Err(match self.link.fs().symlink_metadata(&self.target).await {
                Ok(_) => taken(&self.root, &self.target),
                Err(_) => {
                    self.failure(
                        "cannot publish the file under its name: the file system may have no hard links",
                        error,
                    )
                    .await
                }
            });
        }
        // On file systems with a journal, this flushes the name as well.
        if let Err(error) = self.sync().await {
            see_out(remove(self.root.clone(), self.target.clone())).await;
            return Err(error);
        }
        Ok(())
    }

    async fn sync(&mut self) -> Result<()> {
        if !self.link.sftp().support_fsync() {
            return Ok(());
        }
        match self.file.sync_all().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failure("cannot flush the file to disk", error).await),
        }
    }

    /// Removes the file, and waits for the removal; if it fails, a sweep finds the file.
    pub(crate) async fn abandon(mut self) {
        self.settled = true;
        see_out(remove(self.root.clone(), self.path.clone())).await;
    }

    async fn failure(&self, message: &str, error: Answer) -> Error {
        self.root.failure(&self.link, &self.target, message, error).await
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.settled {
            see_to(remove(self.root.clone(), self.path.clone()));
        }
    }
}

/// A visible file whose shipper may have been dropped: unless it is kept, dropping this removes the
/// file.
#[derive(Debug)]
pub(crate) struct Published {
    root: Root,
    target: PathBuf,
    kept: bool,
}

impl Published {
    /// Keeps the file: the shipper still exists to receive the result.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }

    /// Removes the file, and waits for the removal.
    async fn take_back(mut self) -> Result<()> {
        self.kept = true;
        let link = self.root.stand().await?;
        self.root.remove(&link, &self.target).await
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        if !self.kept {
            see_to(remove(self.root.clone(), self.target.clone()));
        }
    }
}

/// Removes a file in the background, over a new session if necessary.
async fn remove(root: Root, path: PathBuf) -> Result<()> {
    let link = root.stand().await?;
    root.remove(&link, &path).await
}

/// Writes `bytes` at an offset of a file.
async fn write(mut file: File, at: u64, bytes: Bytes) -> Result<(), Answer> {
    let (mut at, mut bytes) = (at, bytes);
    while !bytes.is_empty() {
        Pin::new(&mut file).start_seek(SeekFrom::Start(at))?;
        let written = file.write_zero_copy(std::slice::from_ref(&bytes)).await?;
        at += written as u64;
        bytes = bytes.split_off(written);
    }
    Ok(())
}

fn taken(root: &Root, path: &std::path::Path) -> Error {
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
