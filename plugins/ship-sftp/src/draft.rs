//! A file on its way: hidden while it is written, and published whole, once, over nothing.

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

/// How many writes may be on their way at once: enough that a distant host is kept busy.
const WRITES_IN_FLIGHT: usize = 32;

/// The size of one write, in bytes: what OpenSSH's server takes at once. One that takes less is written to in more.
const REQUEST_BYTES: usize = 255 * 1024;

/// A file that is being written. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Draft {
    root: Root,
    link: Arc<Link>,
    file: File,
    path: PathBuf,
    target: PathBuf,
    bytes: u64,
    /// Whether somebody else has seen to its removal.
    settled: bool,
}

impl Draft {
    /// Begins a draft of what is to be under `key`, if nothing is there.
    pub(crate) async fn begin(root: Root, key: &Key) -> Result<Self> {
        let link = root.stand().await?;
        if !link.sftp().support_hardlink() {
            let message = "the SFTP server cannot publish a file without overwriting another (hardlink@openssh.com)";
            let error = Error::new(Stage::Ship, Kind::Usage, root.name(), message);
            return Err(error.hint("use OpenSSH's SFTP server there, or type \"ssh\" with an account that has a shell"));
        }
        let target = root.path(key.as_str());
        // Told before a byte is read; publishing tells it again, for those who race.
        match link.fs().symlink_metadata(&target).await {
            Ok(_) => return Err(taken(&root, &target)),
            Err(error) if failure::is_absent(&error) => {}
            Err(error) => return Err(root.failure(&link, &target, "cannot look at it", error).await),
        }
        root.make(&link, key.folder()).await?;
        Self::create(root, link, name(key.folder()), target).await
    }

    /// Does all that a draft needs of the directory itself, and takes it away again.
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
            Err(error) => return Err(root.failure(&link, &path, "cannot make a file in the directory", error).await),
        };
        let mut draft = Self { root, link, file, path, target, bytes: 0, settled: false };
        // The protocol's way to open has no mode that is sure to be heeded.
        match draft.file.set_permissions(Permissions::from(0o600)).await {
            Ok(()) => Ok(draft),
            Err(error) => Err(draft.failure("cannot set the file's mode", error).await),
        }
    }

    /// Writes all of `body`, many writes on their way at once.
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

    /// Makes it durable, then visible under its own name, unless that was taken meanwhile.
    pub(crate) async fn publish(mut self) -> Result<Published> {
        match self.try_publish().await {
            Ok(()) => {
                self.settled = true;
                let published = Published { root: self.root.clone(), target: self.target.clone(), kept: false };
                // Its other name goes last; one that stays is found by a sweep.
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
                let message = format!("did not arrive as it was sent: {found} of {} bytes", self.bytes);
                return Err(Error::new(Stage::Ship, Kind::Corrupt, self.root.subject(&self.target), message));
            }
            Err(error) => return Err(self.failure("cannot look at the file", error).await),
        }
        if let Err(error) = self.link.fs().hard_link(&self.path, &self.target).await {
            // Servers say no more than that it failed.
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
        // What has a journal makes the name durable with this.
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
            Err(error) => Err(self.failure("cannot make the file durable", error).await),
        }
    }

    /// Removes it, and waits for that; what cannot be removed is found by a sweep.
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

/// A file that is visible, whose shipper may still be gone: unless it is kept, dropping it removes it again.
#[derive(Debug)]
pub(crate) struct Published {
    root: Root,
    target: PathBuf,
    kept: bool,
}

impl Published {
    /// The shipper is there to hear it: the file stays.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }

    /// Removes it again, and waits for that.
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

/// Removes what nobody waits for, over a new session if need be.
async fn remove(root: Root, path: PathBuf) -> Result<()> {
    let link = root.stand().await?;
    root.remove(&link, &path).await
}

/// Writes `bytes` at a place of a file.
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
        "another run used the same time, or another host ships to the same directory: give each a path of its own",
    )
}
