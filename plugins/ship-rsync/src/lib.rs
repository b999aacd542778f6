//! Ships by rsync over SSH, as `type = "rsync"`: interrupted transfers resume, and an account may
//! be restricted to rsync.
//!
//! | file | contents |
//! | --- | --- |
//! | `settings.rs` | the settings |
//! | `spool.rs` | ciphertext on a local disk: rsync sends files, not streams |
//! | `transfer.rs` | rsync itself: its calls, retries and errors |
//! | `shell.rs` | an account with a shell: hidden, verified uploads |
//! | `restricted.rs` | an account restricted to rsync by `rrsync` |
//! | `check.rs` | the check before a run |

mod check;
mod restricted;
mod settings;
mod shell;
mod spool;
mod transfer;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use longshore_core::key::Key;
use longshore_core::plugin::{Plugin, StoreContext};
use longshore_core::stage::{Capabilities, Entry, FreeSpace, IncompleteUploads, Leftover, Limits, Ship, Store};
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result};
use longshore_ssh::directory::Directory;
use longshore_ssh::host::Host;
use longshore_ssh::settings::absolute_path;

pub use crate::settings::{Account, Rsync};
use crate::spool::Spool;
use crate::transfer::Transfer;

/// A destination that is written by rsync.
#[derive(Debug)]
struct Destination {
    account: Account,
    /// The directory, for an account with a shell.
    directory: Directory,
    spool: Spool,
    transfer: Transfer,
}

impl Plugin<dyn Store> for Rsync {
    const TYPE: &'static str = "rsync";

    fn build(self, context: &StoreContext) -> Result<Box<dyn Store>> {
        let host = Arc::new(Host::new(self.connect_options(context.stall_timeout)?));
        let root = absolute_path(&self.path)?;
        let transfer = Transfer::new(Arc::clone(&host), root.clone(), self.timeout.duration(), self.bwlimit);
        let transfer = if self.account == Account::Rrsync { transfer.one_at_a_time() } else { transfer };
        let spool = Spool::new(self.spool_dir)?;
        Ok(Box::new(Destination { account: self.account, directory: Directory::new(host, root), spool, transfer }))
    }
}

impl Destination {
    /// Returns the error for an operation that a restricted account does not permit.
    fn not_permitted(&self, operation: &str) -> Error {
        let message = format!("not permitted: rrsync does not permit {operation}");
        self.transfer.error(Kind::Denied, &message).hint("use an account with a shell")
    }
}

#[async_trait]
impl Ship for Destination {
    async fn ship(&self, key: &Key, body: ByteStream) -> Result<()> {
        match self.account {
            Account::Shell => self.ship_to_shell(key, body).await,
            Account::Rrsync => self.ship_restricted(key, body).await,
        }
    }

    fn limits(&self) -> Limits {
        // rrsync permits one call at a time.
        Limits { uploads: (self.account == Account::Rrsync).then_some(1), spools: true }
    }

    fn capabilities(&self) -> Capabilities<'_> {
        let free_space = (self.account == Account::Shell).then_some(self as &dyn FreeSpace);
        Capabilities { free_space, incomplete_uploads: Some(self), ..Capabilities::default() }
    }
}

#[async_trait]
impl Store for Destination {
    async fn list(&self, under: Option<&Key>) -> Result<BoxStream<'static, Result<Entry>>> {
        match self.account {
            Account::Shell => self.directory.list(under).await,
            Account::Rrsync => self.list_restricted(under).await,
        }
    }

    async fn stat(&self, key: &Key) -> Result<Entry> {
        match self.account {
            Account::Shell => self.directory.stat(key).await,
            Account::Rrsync => self.stat_restricted(key).await,
        }
    }

    async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
        match self.account {
            Account::Shell => self.directory.fetch(key, range).await,
            Account::Rrsync => self.fetch_restricted(key, range).await,
        }
    }

    async fn remove(&self, key: &Key) -> Result<()> {
        match self.account {
            Account::Shell => self.directory.remove(key).await,
            Account::Rrsync => self.remove_restricted(key).await,
        }
    }
}

#[async_trait]
impl FreeSpace for Destination {
    async fn free_bytes(&self) -> Result<u64> {
        self.directory.free_bytes().await
    }
}

#[async_trait]
impl IncompleteUploads for Destination {
    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        let mut leftovers = self.spool.leftovers()?;
        if self.account == Account::Shell {
            leftovers.extend(self.directory.leftovers().await?);
        }
        Ok(leftovers)
    }

    async fn discard(&self, leftover: &Leftover) -> Result<()> {
        match self.account {
            _ if self.spool.contains(leftover) => self.spool.discard(leftover),
            Account::Shell => self.directory.discard(leftover).await,
            Account::Rrsync => Err(self.not_permitted("access to leftovers of interrupted writers")),
        }
    }
}
