//! Destinations: writing, reading, and their optional capabilities.

use std::ops::Range;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::ready;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};

use crate::check::Check;
use crate::error::Result;
use crate::key::Key;
use crate::lock::{Holder, Lock};
use crate::signature::Verdict;
use crate::stream::ByteStream;
use crate::wal_key::is_in_archive;

/// A destination that can be written to.
#[async_trait]
pub trait Ship: Check {
    /// Uploads `body` to the destination under `key`: all or nothing.
    ///
    /// On `Ok`, the whole body is durable at the destination and visible under `key`. If `body`
    /// ends in an error, if anything else fails, or if the future is dropped, nothing is visible
    /// under `key`. An error of `body` is returned unchanged. An existing object is never
    /// overwritten: the upload fails with [`AlreadyExists`](crate::error::Kind::AlreadyExists),
    /// also when two writers race.
    async fn ship(&self, key: &Key, body: ByteStream) -> Result<()>;

    /// Returns the limits of uploads.
    fn limits(&self) -> Limits;

    /// Returns the optional capabilities.
    fn capabilities(&self) -> Capabilities<'_>;
}

/// A destination that can be read and pruned.
#[async_trait]
pub trait Store: Ship {
    /// Lists all objects below the folder `under`, or all objects, in the order of their keys. A
    /// folder has the syntax of a key; a missing folder is empty. Foreign and incomplete objects
    /// are omitted. Any failure is an `Err` item; a list is never silently short.
    async fn list(&self, under: Option<&Key>) -> Result<BoxStream<'static, Result<Entry>>>;

    /// Lists all objects except those of WAL archives, which may be a thousand times as many as the
    /// others.
    async fn list_backups(&self) -> Result<BoxStream<'static, Result<Entry>>> {
        let entries = self.list(None).await?;
        Ok(entries.try_filter(|entry| ready(!is_in_archive(&entry.key))).boxed())
    }

    /// Returns the object under `key` without its content. Fails with
    /// [`NotFound`](crate::error::Kind::NotFound) if the object does not exist.
    async fn stat(&self, key: &Key) -> Result<Entry>;

    /// Reads the object under `key`, or the bytes of `range`. Fails with
    /// [`NotFound`](crate::error::Kind::NotFound) if the object does not exist, and with
    /// [`Corrupt`](crate::error::Kind::Corrupt) if the range reaches past the end: a short read is
    /// never a clean end.
    async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream>;

    /// Deletes the object under `key` permanently. Deleting a missing key succeeds. Fails with
    /// [`Refused`](crate::error::Kind::Refused) if a lock protects the object.
    async fn remove(&self, key: &Key) -> Result<()>;
}

/// An object in a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The object's key.
    pub key: Key,
    /// The object's size in bytes.
    pub bytes: u64,
    /// The time of the last change by the destination's clock, if its list contains it. An object
    /// never changes, so this is the time at which it was stored.
    pub modified: Option<DateTime<Utc>>,
}

impl Entry {
    /// Creates an entry without a time.
    pub fn new(key: Key, bytes: u64) -> Self {
        Self { key, bytes, modified: None }
    }
}

/// The limits of uploads to a destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// The number of concurrent uploads, if it is limited.
    pub uploads: Option<usize>,
    /// True if an upload first collects the whole body on this host. Such a destination enforces
    /// its own timeout.
    pub spools: bool,
}

/// The optional capabilities of a destination.
///
/// A decorator names every field, so that a new capability cannot be lost in it.
#[derive(Clone, Default)]
pub struct Capabilities<'a> {
    /// The lock, if only one writer at a time may ship to the destination.
    pub exclusive_lock: Option<&'a dyn ExclusiveLock>,
    /// The free-space query.
    pub free_space: Option<&'a dyn FreeSpace>,
    /// Access to the leftovers of interrupted writers.
    pub incomplete_uploads: Option<&'a dyn IncompleteUploads>,
    /// Access to object locks.
    pub object_locks: Option<&'a dyn ObjectLocks>,
    /// The signatures of records, if this host makes or verifies any.
    pub signatures: Option<&'a dyn Signatures>,
    /// The local folder, if the destination is a folder of this host.
    pub folder: Option<&'a Path>,
}

/// The signatures of the records in a destination: manifests, marks and run reports.
#[async_trait]
pub trait Signatures: Send + Sync {
    /// Signs a record to be stored under `key`. Returns `None` if this host signs none.
    async fn sign(&self, key: &Key, record: &[u8]) -> Result<Option<Bytes>>;

    /// Verifies the signature of the record under `key`; `None` if there is no signature. Returns
    /// [`Verdict::Unverified`] if this host verifies none.
    fn verify(&self, key: &Key, record: &[u8], signature: Option<&[u8]>) -> Verdict;

    /// Returns true if this host verifies signatures.
    fn verifies(&self) -> bool;

    /// Returns true if records without a permitted signature do not count.
    fn are_required(&self) -> bool;
}

/// A destination that can protect objects from deletion.
#[async_trait]
pub trait ObjectLocks: Send + Sync {
    /// Returns the time until which the store protects the object under `key`, or
    /// [`DateTime::MAX_UTC`] for a lock without an end. Returns `None` if nothing protects the
    /// object, or if these credentials cannot read its locks.
    async fn locked_until(&self, key: &Key) -> Result<Option<DateTime<Utc>>>;

    /// Lists the keys that a plain deletion has hidden while a version of the object is still
    /// locked. Empty if the store keeps no versions.
    async fn hidden(&self) -> Result<Vec<Key>> {
        Ok(Vec::new())
    }
}

/// A destination that one holder at a time can claim.
#[async_trait]
pub trait ExclusiveLock: Send + Sync {
    /// Claims `name` (of a job) in the destination until the lock is dropped. The error of kind
    /// [`Locked`](crate::error::Kind::Locked) names the holder.
    async fn claim(&self, name: &str, holder: &Holder) -> Result<Lock>;
}

/// A destination that knows its free space.
#[async_trait]
pub trait FreeSpace: Send + Sync {
    /// Returns the number of bytes that can still be written.
    async fn free_bytes(&self) -> Result<u64>;
}

/// A destination that can list the invisible leftovers of interrupted writers, such as temporary
/// files and parts of uploads.
#[async_trait]
pub trait IncompleteUploads: Send + Sync {
    /// Lists all leftovers, including uploads in progress: only their age distinguishes them.
    async fn leftovers(&self) -> Result<Vec<Leftover>>;

    /// Removes a leftover. Succeeds if the leftover no longer exists or its upload has completed.
    async fn discard(&self, leftover: &Leftover) -> Result<()>;
}

/// A leftover of an interrupted writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The destination's name for the leftover.
    pub name: String,
    /// The leftover's size in bytes, if known.
    pub bytes: Option<u64>,
    /// The time of the last write, or of the beginning, by the destination's clock.
    pub since: DateTime<Utc>,
}
