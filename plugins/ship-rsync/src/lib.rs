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
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use longshore_core::key::Key;
use longshore_core::plugin::Plugin;
use longshore_core::stage::{Entry, Leftover, Room, Ship, Store, Sweep};
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

    fn build(self, (): &()) -> Result<Box<dyn Store>> {
        let host = Arc::new(Host::new(self.connect_options()?));
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

    fn room(&self) -> Option<&dyn Room> {
        (self.account == Account::Shell).then_some(self)
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        Some(self)
    }

    /// rrsync permits one call at a time.
    fn at_once(&self) -> Option<usize> {
        (self.account == Account::Rrsync).then_some(1)
    }

    fn spools(&self) -> bool {
        true
    }
}

#[async_trait]
impl Store for Destination {
    async fn list(&self) -> Result<BoxStream<'static, Result<Entry>>> {
        match self.account {
            Account::Shell => self.directory.list().await,
            Account::Rrsync => self.list_restricted().await,
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

    fn stalling_at_most(&self, limit: Duration) -> Option<Arc<dyn Store>> {
        let host = Arc::new(self.directory.host().with_stall_timeout(limit));
        Some(Arc::new(Self {
            account: self.account,
            directory: self.directory.with_host(Arc::clone(&host)),
            spool: self.spool.clone(),
            transfer: self.transfer.with_host(host),
        }))
    }
}

#[async_trait]
impl Room for Destination {
    async fn free_bytes(&self) -> Result<u64> {
        self.directory.free_bytes().await
    }
}

#[async_trait]
impl Sweep for Destination {
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
