//! The records of a destination that were read before. Records never change, so a second read of an
//! unchanged destination lists it, and fetches nothing.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use longshore_core::check::{Check, Finding};
use longshore_core::stage::{Capabilities, Entry, Limits, Ship, Store};
use longshore_core::stream::{ByteStream, collect, from_bytes};
use longshore_model::error::{Result, Stage};
use longshore_model::key::{BackupName, Key};
use longshore_model::manifest::Manifest;
use longshore_model::mark::MarkName;
use longshore_model::run_report::{MAX_REPORT_BYTES, ReportName};
use longshore_model::signature::{Record, Verdict, signature_key};

/// The maximum size of a cached record in bytes, except for manifests. Few are larger: reports of
/// prunes that removed thousands of backups, and unencrypted records of drills.
const MAX_CACHED_BYTES: usize = 64 << 10;

/// The manifests of all destinations: copies of one backup share theirs.
pub type SharedManifests = Arc<Mutex<HashMap<BackupName, Weak<Manifest>>>>;

/// A manifest, and the result of the verification of its signature.
type VerifiedManifest = (Arc<Manifest>, Verdict);

/// The listed sizes of a manifest and its signature, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ManifestSize {
    manifest: u64,
    signature: Option<u64>,
}

impl ManifestSize {
    /// Returns the sizes by a listing.
    pub(crate) fn of(manifest: u64, sizes: &BTreeMap<Key, u64>, signature: Option<Key>) -> Self {
        Self { manifest, signature: signature.and_then(|key| sizes.get(&key).copied()) }
    }
}

/// The records of one destination that were read before: manifests, and small records such as
/// marks and run reports.
#[derive(Default)]
pub struct RecordCache {
    shared: SharedManifests,
    /// The manifests with the sizes of their files.
    manifests: Mutex<HashMap<Key, (ManifestSize, VerifiedManifest)>>,
    records: Mutex<HashMap<Key, Bytes>>,
}

impl fmt::Debug for RecordCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordCache").field("manifests", &lock(&self.manifests).len()).finish_non_exhaustive()
    }
}

/// Locks a map. A panic leaves no map half changed.
fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RecordCache {
    /// Returns the manifest under a key, if it was read in these sizes.
    pub(crate) fn manifest(&self, key: &Key, size: ManifestSize) -> Option<VerifiedManifest> {
        lock(&self.manifests).get(key).filter(|(known, _)| *known == size).map(|(_, verified)| verified.clone())
    }

    /// Creates an empty cache that shares its manifests with those of other destinations.
    pub fn new(shared: &SharedManifests) -> Self {
        Self { shared: Arc::clone(shared), ..Self::default() }
    }

    /// Adds a manifest, and returns it, or an equal one of another destination.
    pub(crate) fn add_manifest(
        &self,
        (name, key): (&BackupName, &Key),
        size: ManifestSize,
        (manifest, signature): VerifiedManifest,
    ) -> Arc<Manifest> {
        let mut shared = lock(&self.shared);
        let equal = shared.get(name).and_then(Weak::upgrade).filter(|known| **known == *manifest);
        let manifest = equal.unwrap_or_else(|| {
            let manifest = shrunk(manifest);
            shared.insert(name.clone(), Arc::downgrade(&manifest));
            manifest
        });
        lock(&self.manifests).insert(key.clone(), (size, (Arc::clone(&manifest), signature)));
        manifest
    }

    /// Removes the records that a listing lacks, or shows in another size.
    pub(crate) fn retain(&self, sizes: &BTreeMap<Key, u64>) {
        lock(&self.manifests).retain(|key, (size, _)| {
            // A key that is too long for a signature has none.
            let signature = signature_key(key).ok();
            sizes.get(key).is_some_and(|bytes| ManifestSize::of(*bytes, sizes, signature) == *size)
        });
        lock(&self.shared).retain(|_, manifest| manifest.strong_count() > 0);
        lock(&self.records).retain(|key, record| sizes.get(key) == Some(&(record.len() as u64)));
    }
}

/// Frees the unused capacity of a manifest, of which a service keeps thousands.
fn shrunk(mut manifest: Arc<Manifest>) -> Arc<Manifest> {
    if let Some(own) = Arc::get_mut(&mut manifest) {
        own.verified.shrink_to_fit();
        own.shipments.shrink_to_fit();
        own.needs.shrink_to_fit();
        own.recipients.shrink_to_fit();
        for texts in [&mut own.not_captured, &mut own.run_not_captured, &mut own.warnings] {
            texts.shrink_to_fit();
        }
    }
    manifest
}

/// A store that reads small records from a cache, for views that show backups and change nothing.
///
/// It offers no object locks: a view does not query the lock of each backup.
pub struct CachedStore {
    store: Arc<dyn Store>,
    cache: Arc<RecordCache>,
}

impl CachedStore {
    /// Creates a store with a cache of its records.
    pub fn new(store: Arc<dyn Store>, cache: Arc<RecordCache>) -> Self {
        Self { store, cache }
    }
}

#[async_trait]
impl Check for CachedStore {
    async fn check(&self) -> Vec<Finding> {
        self.store.check().await
    }
}

#[async_trait]
impl Ship for CachedStore {
    async fn ship(&self, key: &Key, body: ByteStream) -> Result<()> {
        self.store.ship(key, body).await
    }

    fn limits(&self) -> Limits {
        self.store.limits()
    }

    fn capabilities(&self) -> Capabilities<'_> {
        let Capabilities { exclusive_lock, free_space, incomplete_uploads, object_locks: _, signatures, folder } =
            self.store.capabilities();
        Capabilities { exclusive_lock, free_space, incomplete_uploads, object_locks: None, signatures, folder }
    }
}

#[async_trait]
impl Store for CachedStore {
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
        if range.is_some() || !is_small_record(key) {
            return self.store.fetch(key, range).await;
        }
        let cached = lock(&self.cache.records).get(key).cloned();
        let record = match cached {
            Some(record) => record,
            None => {
                let body = self.store.fetch(key, None).await?;
                let record = collect(body, MAX_REPORT_BYTES, Stage::Catalog, key.as_str()).await?;
                if record.len() <= MAX_CACHED_BYTES {
                    lock(&self.cache.records).insert(key.clone(), record.clone());
                }
                record
            }
        };
        Ok(from_bytes(record))
    }

    async fn remove(&self, key: &Key) -> Result<()> {
        self.store.remove(key).await
    }
}

/// Returns true for the key of a mark, a run report or a signature, which never change.
fn is_small_record(key: &Key) -> bool {
    MarkName::from_key(key).is_some()
        || ReportName::from_key(key).is_some()
        || Record::from_signature_key(key).is_some()
}
