//! Ships to an account with a POSIX shell, over SSH, as `type = "ssh"`: without a spool, and
//! without installing software there.
//!
//! | file | contents |
//! | --- | --- |
//! | `settings.rs` | the settings |
//! | `check.rs` | the check before a run |
//!
//! The directory itself, its temporary files, lists and errors are implemented by
//! [`longshore_ssh::directory`].

mod check;
mod settings;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use longshore_core::Result;
use longshore_core::key::Key;
use longshore_core::plugin::{Plugin, StoreContext};
use longshore_core::stage::{Capabilities, Entry, FreeSpace, IncompleteUploads, Leftover, Limits, Ship, Store};
use longshore_core::stream::ByteStream;
use longshore_ssh::directory::Directory;
use longshore_ssh::host::{Host, MAX_TRANSFERS};
use longshore_ssh::settings::absolute_path;

pub use crate::settings::Ssh;

/// A destination in an account with a shell.
#[derive(Debug)]
struct Account {
    directory: Directory,
}

impl Plugin<dyn Store> for Ssh {
    const TYPE: &'static str = "ssh";

    fn build(self, context: &StoreContext) -> Result<Box<dyn Store>> {
        let host = Arc::new(Host::new(self.connect_options(context.stall_timeout)?));
        Ok(Box::new(Account { directory: Directory::new(host, absolute_path(&self.path)?) }))
    }
}

#[async_trait]
impl Ship for Account {
    async fn ship(&self, key: &Key, body: ByteStream) -> Result<()> {
        self.directory.ship(key, body).await
    }

    fn limits(&self) -> Limits {
        Limits { uploads: Some(MAX_TRANSFERS), ..Limits::default() }
    }

    fn capabilities(&self) -> Capabilities<'_> {
        Capabilities { free_space: Some(self), incomplete_uploads: Some(self), ..Capabilities::default() }
    }
}

#[async_trait]
impl Store for Account {
    async fn list(&self, under: Option<&Key>) -> Result<BoxStream<'static, Result<Entry>>> {
        self.directory.list(under).await
    }

    async fn stat(&self, key: &Key) -> Result<Entry> {
        self.directory.stat(key).await
    }

    async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
        self.directory.fetch(key, range).await
    }

    async fn remove(&self, key: &Key) -> Result<()> {
        self.directory.remove(key).await
    }
}

#[async_trait]
impl FreeSpace for Account {
    async fn free_bytes(&self) -> Result<u64> {
        self.directory.free_bytes().await
    }
}

#[async_trait]
impl IncompleteUploads for Account {
    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        self.directory.leftovers().await
    }

    async fn discard(&self, leftover: &Leftover) -> Result<()> {
        self.directory.discard(leftover).await
    }
}
