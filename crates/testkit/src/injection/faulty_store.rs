//! A destination whose calls pass through an [`Injector`].

use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use longshore_core::Result;
use longshore_core::check::{Check, Finding};
use longshore_core::key::Key;
use longshore_core::stage::{
    Capabilities, Entry, FreeSpace, IncompleteUploads, Leftover, Limits, ObjectLocks, Ship, Store,
};
use longshore_core::stream::ByteStream;

use super::Injector;
use crate::memory::MemoryStore;

/// The chunk size of reads, in bytes. Small files have several chunks.
const CHUNK_BYTES: usize = 64;

/// A store in memory with injected faults. A cut upload leaves a hidden leftover. Clones share the
/// content.
#[derive(Debug, Clone)]
pub struct FaultyStore {
    name: String,
    store: MemoryStore,
    injector: Injector,
    leftovers: Arc<Mutex<Vec<Leftover>>>,
}

impl FaultyStore {
    /// Returns the store `name` with the content of `store`.
    pub fn new(name: &str, store: MemoryStore, injector: Injector) -> Self {
        Self { name: name.to_owned(), store, injector, leftovers: Arc::default() }
    }

    /// Returns the content, without injected faults.
    pub fn inner(&self) -> &MemoryStore {
        &self.store
    }

    /// Returns the names of the leftovers of cut uploads.
    pub fn leftover_names(&self) -> Vec<String> {
        self.leftovers.lock().unwrap().iter().map(|leftover| leftover.name.clone()).collect()
    }

    fn describe(&self, operation: &str, key: &str) -> String {
        format!("{} {operation} {key}", self.name)
    }
}

#[async_trait]
impl Check for FaultyStore {
    async fn check(&self) -> Vec<Finding> {
        vec![Finding::good(&self.name, "exists")]
    }
}

#[async_trait]
impl Ship for FaultyStore {
    async fn ship(&self, key: &Key, mut body: ByteStream) -> Result<()> {
        let call = self.injector.begin(self.describe("ship", key.as_str())).await?;
        if call.is_half() {
            // The store takes one chunk, as a hidden leftover.
            let chunk = body.next().await.transpose()?.unwrap_or_default();
            let leftover =
                Leftover { name: format!("{key}.partial"), bytes: Some(chunk.len() as u64), since: Utc::now() };
            self.leftovers.lock().unwrap().push(leftover);
        } else {
            self.store.ship(key, body).await?;
        }
        call.end().await
    }

    fn limits(&self) -> Limits {
        self.store.limits()
    }

    fn capabilities(&self) -> Capabilities<'_> {
        Capabilities {
            free_space: Some(self),
            incomplete_uploads: Some(self),
            object_locks: Some(self),
            ..Capabilities::default()
        }
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn list(&self, under: Option<&Key>) -> Result<BoxStream<'static, Result<Entry>>> {
        let call = self.injector.begin(self.describe("list", under.map_or("", Key::as_str))).await?;
        Ok(call.items(self.store.list(under).await?.collect().await))
    }

    async fn stat(&self, key: &Key) -> Result<Entry> {
        let call = self.injector.begin(self.describe("stat", key.as_str())).await?;
        let entry = self.store.stat(key).await;
        call.end().await.and(entry)
    }

    async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
        let call = self.injector.begin(self.describe("fetch", key.as_str())).await?;
        let mut bytes = BytesMut::new();
        let mut body = self.store.fetch(key, range).await?;
        while let Some(chunk) = body.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        let bytes: Bytes = bytes.freeze();
        Ok(call.items(bytes.chunks(CHUNK_BYTES).map(|chunk| Ok(bytes.slice_ref(chunk))).collect()))
    }

    async fn remove(&self, key: &Key) -> Result<()> {
        let call = self.injector.begin(self.describe("remove", key.as_str())).await?;
        // A removal cannot be half done.
        self.store.remove(key).await?;
        call.end().await
    }
}

#[async_trait]
impl ObjectLocks for FaultyStore {
    async fn locked_until(&self, key: &Key) -> Result<Option<DateTime<Utc>>> {
        let call = self.injector.begin(self.describe("locked until", key.as_str())).await?;
        call.end().await.map(|()| None)
    }
}

#[async_trait]
impl FreeSpace for FaultyStore {
    async fn free_bytes(&self) -> Result<u64> {
        let call = self.injector.begin(self.describe("free bytes", "")).await?;
        call.end().await.map(|()| u64::MAX)
    }
}

#[async_trait]
impl IncompleteUploads for FaultyStore {
    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        let call = self.injector.begin(self.describe("leftovers", "")).await?;
        let all = self.leftovers.lock().unwrap().clone();
        call.end().await.map(|()| all)
    }

    async fn discard(&self, leftover: &Leftover) -> Result<()> {
        let call = self.injector.begin(self.describe("discard", &leftover.name)).await?;
        self.leftovers.lock().unwrap().retain(|known| known.name != leftover.name);
        call.end().await
    }
}
