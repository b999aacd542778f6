//! A destination in memory that can fail, hang and damage its content.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream, StreamExt};
use longshore_core::check::{Check, Finding};
use longshore_core::key::Key;
use longshore_core::stage::{Capabilities, Entry, Limits, ObjectLocks, Ship, Store};
use longshore_core::stream::{ByteStream, CHUNK_BYTES};
use longshore_core::{Error, Kind, Result, Stage};

/// An operation of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// [`Ship::ship`].
    Ship,
    /// [`Store::list`].
    List,
    /// [`Store::stat`].
    Stat,
    /// [`Store::fetch`].
    Fetch,
    /// [`Store::remove`].
    Remove,
}

/// A fault of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails at once, with [`Kind::Denied`].
    Deny,
    /// The object vanished after it was listed: [`Kind::NotFound`].
    Vanish,
    /// The operation fails with [`Kind::Unavailable`] after this number of bytes, or entries of a
    /// listing.
    FailAfter(u64),
    /// The operation fails with [`Kind::Failed`], like a bad sector.
    Break,
    /// The operation never ends.
    Block,
}

/// A [`Store`] in memory. Clones share the content.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    contents: BTreeMap<Key, Bytes>,
    shipped: Vec<Key>,
    removed: Vec<Key>,
    faults: Vec<(Operation, String, Fault)>,
    locked: BTreeMap<Key, DateTime<Utc>>,
}

impl MemoryStore {
    /// Returns an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Locks `key` until this time.
    pub fn lock(&self, key: &Key, until: DateTime<Utc>) {
        self.inner().locked.insert(key.clone(), until);
    }

    /// Sets a fault for all calls of an operation.
    pub fn fault(&self, operation: Operation, fault: Fault) {
        self.fault_at(operation, "", fault);
    }

    /// Sets a fault for calls of an operation with keys that end with `ending`, such as `.json`.
    pub fn fault_at(&self, operation: Operation, ending: &str, fault: Fault) {
        self.inner().faults.push((operation, ending.to_owned(), fault));
    }

    /// Removes all faults.
    pub fn heal(&self) {
        self.inner().faults.clear();
    }

    /// Returns the keys, sorted.
    pub fn keys(&self) -> Vec<Key> {
        self.inner().contents.keys().cloned().collect()
    }

    /// Returns the content of `key`.
    pub fn get(&self, key: &Key) -> Option<Bytes> {
        self.inner().contents.get(key).cloned()
    }

    /// Writes bytes under `key` and overwrites existing ones, like damage or another program would.
    pub fn put(&self, key: &Key, bytes: impl Into<Bytes>) {
        self.inner().contents.insert(key.clone(), bytes.into());
    }

    /// Changes the content of `key`, bypassing the store's operations.
    ///
    /// # Panics
    /// If the key does not exist.
    pub fn damage(&self, key: &Key, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.get(key).unwrap().to_vec();
        change(&mut bytes);
        self.put(key, bytes);
    }

    /// Removes `key`, bypassing the store's operations.
    pub fn lose(&self, key: &Key) {
        self.inner().contents.remove(key);
    }

    /// Returns every completely uploaded key, in the order in which they became visible.
    pub fn shipped(&self) -> Vec<Key> {
        self.inner().shipped.clone()
    }

    /// Returns every removed key, in the order of removal.
    pub fn removed(&self) -> Vec<Key> {
        self.inner().removed.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Returns the fault of an operation. The latest matching fault applies.
    async fn begin(&self, operation: Operation, key: &str) -> Result<Option<u64>> {
        let fault = self.inner().faults.iter().rev().find_map(|(at, ending, fault)| {
            let meant = *at == operation && key.ends_with(ending.as_str());
            meant.then_some(*fault)
        });
        match fault {
            None => Ok(None),
            Some(Fault::Deny) => Err(Error::new(Stage::Ship, Kind::Denied, key, "denied on purpose")),
            Some(Fault::Vanish) => Err(Error::new(Stage::Ship, Kind::NotFound, key, "vanished on purpose")),
            Some(Fault::Break) => Err(Error::new(Stage::Ship, Kind::Failed, key, "unreadable on purpose")),
            Some(Fault::FailAfter(count)) => Ok(Some(count)),
            Some(Fault::Block) => std::future::pending().await,
        }
    }
}

fn broken(key: &str, count: u64) -> Error {
    let message = format!("broken on purpose after {count}");
    Error::new(Stage::Ship, Kind::Unavailable, key, message)
}

#[async_trait]
impl Check for MemoryStore {
    async fn check(&self) -> Vec<Finding> {
        vec![Finding::good("memory", "exists")]
    }
}

#[async_trait]
impl Ship for MemoryStore {
    async fn ship(&self, key: &Key, mut body: ByteStream) -> Result<()> {
        let limit = self.begin(Operation::Ship, key.as_str()).await?;
        let mut bytes = BytesMut::new();
        while let Some(chunk) = body.next().await {
            bytes.extend_from_slice(&chunk?);
            match limit {
                Some(limit) if bytes.len() as u64 > limit => return Err(broken(key.as_str(), limit)),
                _ => {}
            }
        }
        if let Some(limit) = limit {
            return Err(broken(key.as_str(), limit));
        }
        let mut inner = self.inner();
        if inner.contents.contains_key(key) {
            return Err(Error::new(Stage::Ship, Kind::AlreadyExists, key.as_str(), "already exists"));
        }
        inner.contents.insert(key.clone(), bytes.freeze());
        inner.shipped.push(key.clone());
        Ok(())
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn capabilities(&self) -> Capabilities<'_> {
        Capabilities { object_locks: Some(self), ..Capabilities::default() }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn list(&self, under: Option<&Key>) -> Result<BoxStream<'static, Result<Entry>>> {
        let limit = self.begin(Operation::List, "").await?;
        let mut entries: Vec<_> = self
            .inner()
            .contents
            .iter()
            .filter(|(key, _)| under.is_none_or(|folder| key.is_below(folder)))
            .map(|(key, bytes)| Ok(Entry::new(key.clone(), bytes.len() as u64)))
            .collect();
        if let Some(limit) = limit {
            entries.truncate(limit as usize);
            entries.push(Err(broken("", limit)));
        }
        Ok(stream::iter(entries).boxed())
    }

    async fn stat(&self, key: &Key) -> Result<Entry> {
        match self.begin(Operation::Stat, key.as_str()).await? {
            Some(limit) => Err(broken(key.as_str(), limit)),
            None => {
                let missing = || Error::new(Stage::Ship, Kind::NotFound, key.as_str(), "not found");
                Ok(Entry::new(key.clone(), self.get(key).ok_or_else(missing)?.len() as u64))
            }
        }
    }

    async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
        let limit = self.begin(Operation::Fetch, key.as_str()).await?;
        let missing = || Error::new(Stage::Ship, Kind::NotFound, key.as_str(), "not found");
        let bytes = self.get(key).ok_or_else(missing)?;
        let range = range.unwrap_or(0..bytes.len() as u64);
        if range.start > range.end || range.end > bytes.len() as u64 {
            let message = format!("has {} bytes, but bytes {range:?} were requested", bytes.len());
            return Err(Error::new(Stage::Ship, Kind::Corrupt, key.as_str(), message));
        }
        let bytes = bytes.slice(range.start as usize..range.end as usize);
        let whole = limit.map_or(bytes.len(), |limit| bytes.len().min(limit as usize));
        let mut chunks: Vec<_> = bytes[..whole].chunks(CHUNK_BYTES).map(|chunk| Ok(bytes.slice_ref(chunk))).collect();
        if let Some(limit) = limit {
            chunks.push(Err(broken(key.as_str(), limit)));
        }
        Ok(stream::iter(chunks).boxed())
    }

    async fn remove(&self, key: &Key) -> Result<()> {
        if let Some(limit) = self.begin(Operation::Remove, key.as_str()).await? {
            return Err(broken(key.as_str(), limit));
        }
        let mut inner = self.inner();
        if let Some(until) = inner.locked.get(key).filter(|until| **until > Utc::now()) {
            return Err(Error::new(Stage::Ship, Kind::Refused, key.as_str(), format!("locked until {until}")));
        }
        if inner.contents.remove(key).is_some() {
            inner.removed.push(key.clone());
        }
        Ok(())
    }
}

#[async_trait]
impl ObjectLocks for MemoryStore {
    async fn locked_until(&self, key: &Key) -> Result<Option<DateTime<Utc>>> {
        Ok(self.inner().locked.get(key).copied())
    }
}
