//! Ships to an account that may do nothing but SFTP, as `type = "sftp"`: no shell is needed there, and a chroot is welcome.
//!
//! | file | holds |
//! | --- | --- |
//! | `settings.rs` | the settings as they are written |
//! | `link.rs` | the SFTP session: opened when it is first needed, and anew when it has died |
//! | `names.rs` | names that are no text, which would end the session |
//! | `root.rs` | the directory itself: when it is refused, its folders, its free space |
//! | `draft.rs` | a file on its way: hidden while it is written, published over nothing |
//! | `walk.rs` | the list, in the order of keys, and what interrupted writers left |
//! | `read.rs` | the bytes of a file, or of a range |
//! | `failure.rs` | what a server's answers mean |
//! | `look.rs` | what would fail at 3 a.m. |
//!
//! SFTP cannot digest a file on the other side, nor make a directory durable. What arrives is guarded by SSH on the way and by its size
//! in the end; `longshore verify` reads it back. A file is made durable before it gets its name and again after, which on file systems with a
//! journal holds for the name, too.

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
            // If this future is dropped while it waits, so is what it would have got, which takes the file back.
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
            Err(error) => Err(self.root.failure(&link, &path, "cannot look at it", error).await),
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
            let message = "not something that an interrupted writer left";
            return Err(Error::new(Stage::Ship, Kind::Usage, &leftover.name, message));
        }
        let link = self.root.stand().await?;
        self.root.remove(&link, &self.root.path(&leftover.name)).await
    }
}
