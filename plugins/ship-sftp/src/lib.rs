//! Ships to an account that is restricted to SFTP, as `type = "sftp"`: no shell is needed, and a
//! chroot is supported.
//!
//! | file | contents |
//! | --- | --- |
//! | `settings.rs` | the settings |
//! | `link.rs` | the SFTP session: opened on first use, and reopened after a failure |
//! | `names.rs` | non-ASCII names, which would end the session |
//! | `root.rs` | the directory itself: its checks, folders and free space |
//! | `draft.rs` | temporary files, and publishing without overwriting |
//! | `walk.rs` | the list, in the order of keys, and leftovers of interrupted writers |
//! | `read.rs` | reading a file, or a range of it |
//! | `failure.rs` | conversion of a server's responses to errors |
//! | `look.rs` | the check before a run |
//!
//! SFTP cannot compute digests on the host, nor flush a directory to disk. SSH protects uploads in
//! transit, and their size is checked at the end; `longshore verify` reads them back. A file is
//! flushed before and after it is renamed; on file systems with a journal, the second flush
//! includes the name.

mod draft;
mod failure;
mod link;
mod look;
mod names;
mod read;
mod root;
mod settings;
mod walk;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use longshore_core::aftercare::see_through;
use longshore_core::key::Key;
use longshore_core::plugin::Plugin;
use longshore_core::stage::{Entry, Leftover, Room, Ship, Store, Sweep};
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};

use crate::draft::Draft;
use crate::root::Root;
pub use crate::settings::Sftp;

/// A destination behind an SFTP server.
#[derive(Debug)]
struct Account {
    root: Root,
}

impl Plugin<dyn Store> for Sftp {
    const TYPE: &'static str = "sftp";

    fn build(self, (): &()) -> Result<Box<dyn Store>> {
        Ok(Box::new(Account { root: Root::new(self.reach()?, longshore_ssh::settings::root(&self.path)?) }))
    }
}

#[async_trait]
impl Ship for Account {
    async fn ship(&self, key: &Key, body: ByteStream) -> Result<()> {
        let (root, key) = (self.root.clone(), key.clone());
        let mut draft = see_through(async move { Draft::begin(root, &key).await }).await?;
        match draft.fill(body).await {
            // If this future is dropped, so is its result, which removes the file.
            Ok(()) => see_through(draft.publish()).await.map(draft::Published::keep),
            Err(error) => {
                draft.abandon().await;
                Err(error)
            }
        }
    }

    fn room(&self) -> Option<&dyn Room> {
        Some(self)
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        Some(self)
    }
}

#[async_trait]
impl Store for Account {
    async fn list(&self) -> Result<BoxStream<'static, Result<Entry>>> {
        let link = self.root.stand().await?;
        Ok(walk::entries(self.root.clone(), link))
    }

    async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
        read::begin(&self.root, key, range).await
    }

    async fn remove(&self, key: &Key) -> Result<()> {
        let link = self.root.stand().await?;
        let path = self.root.path(key.as_str());
        match link.fs().symlink_metadata(&path).await {
            Ok(found) if found.file_type().is_some_and(|kind| kind.is_file()) => self.root.remove(&link, &path).await,
            Ok(_) => Ok(()),
            Err(error) if failure::is_absent(&error) => Ok(()),
            Err(error) => Err(self.root.failure(&link, &path, "cannot inspect the file", error).await),
        }
    }

    fn stalling_at_most(&self, limit: Duration) -> Option<Arc<dyn Store>> {
        Some(Arc::new(Self { root: self.root.stalling_at_most(limit) }))
    }
}

#[async_trait]
impl Room for Account {
    async fn free_bytes(&self) -> Result<u64> {
        let link = self.root.stand().await?;
        self.root.free_bytes(&link).await
    }
}

#[async_trait]
impl Sweep for Account {
    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        let link = self.root.stand().await?;
        let found: Vec<_> = walk::files(self.root.clone(), link).collect().await;
        let found: Vec<_> = found.into_iter().collect::<Result<_>>()?;
        Ok(found.into_iter().filter_map(walk::Found::leftover).collect())
    }

    async fn discard(&self, leftover: &Leftover) -> Result<()> {
        if !longshore_core::draft::is_draft(&leftover.name) {
            let message = "not a leftover of an interrupted writer";
            return Err(Error::new(Stage::Ship, Kind::Usage, &leftover.name, message));
        }
        let link = self.root.stand().await?;
        self.root.remove(&link, &self.root.path(&leftover.name)).await
    }
}
