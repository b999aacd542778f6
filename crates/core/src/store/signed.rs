//! [`Signed`]: a destination whose records this host signs or verifies.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::check::{Check, Finding};
use crate::error::Result;
use crate::key::Key;
use crate::stage::{Capabilities, Entry, Limits, Ship, Signatures, Store};
use crate::stream::ByteStream;

/// A destination whose records this host signs or verifies. The functions that write and read
/// records query the capability; the bytes pass unchanged.
pub struct Signed {
    store: Arc<dyn Store>,
    signatures: Arc<dyn Signatures>,
}

impl Signed {
    /// Adds signatures to a destination.
    pub fn new(store: Arc<dyn Store>, signatures: Arc<dyn Signatures>) -> Self {
        Self { store, signatures }
    }
}

#[async_trait]
impl Check for Signed {
    async fn check(&self) -> Vec<Finding> {
        self.store.check().await
    }
}

#[async_trait]
impl Ship for Signed {
    async fn ship(&self, key: &Key, body: ByteStream) -> Result<()> {
        self.store.ship(key, body).await
    }

    fn limits(&self) -> Limits {
        self.store.limits()
    }

    fn capabilities(&self) -> Capabilities<'_> {
        Capabilities { signatures: Some(&*self.signatures), ..self.store.capabilities() }
    }
}

#[async_trait]
impl Store for Signed {
    async fn list(&self, under: Option<&Key>) -> Result<BoxStream<'static, Result<Entry>>> {
        self.store.list(under).await
    }

    async fn list_backups(&self) -> Result<BoxStream<'static, Result<Entry>>> {
        self.store.list_backups().await
    }

    async fn stat(&self, key: &Key) -> Result<Entry> {
        self.store.stat(key).await
    }

    async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
        self.store.fetch(key, range).await
    }

    async fn remove(&self, key: &Key) -> Result<()> {
        self.store.remove(key).await
    }
}
