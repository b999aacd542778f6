//! The stages of a backup, from dump to restore, as traits that plugins implement.
//!
//! ```text
//! backup     Dump → Verify → Encrypt → Ship        public keys and write-only credentials suffice
//! restore    fetch → Decrypt → Verify → Restore    needs an identity and read credentials
//! drill      Scratch → restore → Examine           the same, and a cluster to restore to
//! ```
//! The traits are split by the secrets that a host may hold. Compression, digests and fan-out apply
//! to all stages, so they are stream adapters and not options of a trait. An optional capability
//! (locking, free space) is a trait of its own.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use serde_json::{Map, Value};

use crate::check::{Check, Finding};
use crate::cluster::Cluster;
use crate::compress::Compression;
use crate::drill::{Comparison, Phase};
use crate::error::Result;
use crate::key::Key;
use crate::left_out::LeftOut;
use crate::lock::{Holder, Lock};
use crate::manifest::{DatabaseFacts, Format, Manifest, Tool, Verification};
use crate::progress::Progress;
use crate::provenance::Origin;
use crate::quantity::Span;
use crate::sqlstate::Failure;
use crate::standby::Standby;
use crate::stream::{Afterword, ByteStream};
use crate::subject::Subject;
use crate::survey::Requirements;
pub use crate::survey::{Survey, Surveyed};

/// Reads from a cluster.
#[async_trait]
pub trait Dump: Check {
    /// Connects to the server and returns its identity and the subjects to copy.
    async fn survey(&self) -> Result<Survey>;

    /// Begins the copy of one subject. The stream ends cleanly only if the whole subject was read:
    /// a child's exit status, its signals and its lost connections are errors of the stream.
    /// Dropping the stream stops its producer.
    async fn dump(&self, subject: &Subject) -> Result<Dumped>;

    /// Returns the server's data directory, if the server runs on this host and discloses the path.
    async fn data_directory(&self) -> Option<PathBuf> {
        None
    }

    /// Returns the features that a restore target must have. Connects to every database to be
    /// copied, and fails if a database cannot be reached.
    async fn requirements(&self) -> Result<Requirements> {
        Ok(Requirements::default())
    }

    /// Returns the server as a standby, if the stage can pause the replay of a standby.
    fn standby(&self) -> Option<&dyn Standby> {
        None
    }
}

/// A dump in progress.
pub struct Dumped {
    /// The plaintext.
    pub stream: ByteStream,
    /// The format of the dump.
    pub format: Format,
    /// The compression for the pipeline to apply.
    pub compression: Compression,
    /// The program that makes the dump.
    pub tool: Tool,
    /// The properties to create the database with at a restore, if the subject is a database.
    pub database: Option<DatabaseFacts>,
    /// Notes of the program, known at the end of the stream.
    pub remarks: Afterword<Remarks>,
}

/// Notes about a dump.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Warnings of the program that made the dump.
    pub warnings: Vec<String>,
    /// Parts of the subject that could not be captured, such as role passwords.
    pub not_captured: Vec<String>,
    /// Confidential details of the source, such as [`Source`](crate::source::Source).
    pub details: Map<String, Value>,
}

/// The hint for a dump of a format that the verifier does not know.
pub const JUDGED_BY_OTHERS: &str =
    "upgrade Longshore, or set verify = [{ type = \"pg_restore\" }] to use PostgreSQL's own program";

/// Verifies bytes in transit.
pub trait Verify: Check {
    /// Passes the same bytes on, and fails the stream with an error of kind
    /// [`Corrupt`](crate::error::Kind::Corrupt) if the bytes are damaged. The stream ends cleanly
    /// only after the verifier has finished. The same object serves a run and a read-back. A
    /// verifier that can read the dump's structure reports the next part to `progress`.
    fn verify(
        &self,
        subject: &Subject,
        format: Format,
        plaintext: ByteStream,
        progress: &Arc<dyn Progress>,
    ) -> Verified;

    /// Compares the findings of a read-back (`found`) with the details recorded during the dump,
    /// and with the counts of the manifest. Both describe the same bytes, so every difference is
    /// damage. Returns the differences, or `None` if either side lacks findings of this stage.
    fn differences(
        &self,
        _manifest: &Manifest,
        _recorded: &Map<String, Value>,
        _found: &Map<String, Value>,
    ) -> Option<Vec<Comparison>> {
        None
    }

    /// Passes the bytes of a dump on to a restore. Fails the stream with an error of kind
    /// [`Corrupt`](crate::error::Kind::Corrupt) if the definitions in the dump differ from the
    /// recorded ones: before the first byte if the format allows it, else at the end. Rows are not
    /// compared. Without recorded definitions, every dump passes.
    fn expect_recorded(
        &self,
        _manifest: &Manifest,
        _recorded: &Map<String, Value>,
        plaintext: ByteStream,
    ) -> ByteStream {
        plaintext
    }

    /// Returns the origin named in the header of a dump, given the first bytes of the dump. Returns
    /// an empty origin if the header names none, or if its version is unknown.
    ///
    /// # Errors
    ///
    /// Fails with [`Corrupt`](crate::error::Kind::Corrupt) if the header is damaged or longer than
    /// [`HEADER_BYTES`].
    fn origin(&self, _subject: &Subject, _head: &[u8]) -> Result<Origin> {
        Ok(Origin::default())
    }
}

/// The key in the details that contains the digests of definitions. The digests are as secret as
/// the dump, so reports omit them.
pub const DEFINITIONS: &str = "definitions";

/// The number of bytes at the beginning of a dump that always contain its header.
pub const HEADER_BYTES: usize = 64 << 10;

/// A stream under verification.
pub struct Verified {
    /// The same bytes, or an error if they are damaged.
    pub stream: ByteStream,
    /// The findings, known at the end: counts for the manifest, the rest for the encrypted details.
    pub findings: Afterword<Findings>,
}

/// The findings of a [`Verify`].
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// The verifier's name, and counts that are not confidential.
    pub verification: Verification,
    /// Confidential findings, such as names and row counts of tables.
    pub details: Map<String, Value>,
}

/// Encrypts bytes. Holds recipients only.
pub trait Encrypt: Check {
    /// Returns the name for the manifest, such as `age`.
    fn name(&self) -> &'static str;

    /// Returns the suffix of an encrypted file's name, such as `.age`.
    fn extension(&self) -> &'static str;

    /// Returns a fingerprint of each recipient, by which to find the matching identity.
    fn recipients(&self) -> Vec<String>;

    /// Encrypts a stream. `subject` is for errors.
    fn encrypt(&self, plaintext: ByteStream, subject: &str) -> ByteStream;
}

/// Decrypts bytes. Holds identities.
#[async_trait]
pub trait Decrypt: Send + Sync {
    /// Decrypts a stream. A truncated or modified stream ends in an error. `subject` is for errors.
    async fn decrypt(&self, ciphertext: ByteStream, subject: &str) -> Result<ByteStream>;
}

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

    /// Returns the destination's lock, if only one writer at a time may ship to it.
    fn exclusive(&self) -> Option<&dyn Exclusive> {
        None
    }

    /// Returns the destination's free-space query, if it has one.
    fn room(&self) -> Option<&dyn Room> {
        None
    }

    /// Returns true if `ship` first collects the whole body and then uploads it. Such a destination
    /// enforces its own timeout.
    fn spools(&self) -> bool {
        false
    }

    /// Returns the number of concurrent uploads, if it is limited.
    fn at_once(&self) -> Option<usize> {
        None
    }

    /// Returns the destination's local folder, if it is a folder of this host.
    fn folder(&self) -> Option<PathBuf> {
        None
    }

    /// Returns access to the leftovers of interrupted writers, if the destination can find them.
    fn sweep(&self) -> Option<&dyn Sweep> {
        None
    }
}

/// A destination that can be read and pruned.
#[async_trait]
pub trait Store: Ship {
    /// Lists all objects in the order of their keys. Foreign and incomplete objects are omitted.
    /// Any failure is an `Err` item; a list is never silently short.
    async fn list(&self) -> Result<BoxStream<'static, Result<Entry>>>;

    /// Reads the object under `key`, or the bytes of `range`. Fails with
    /// [`NotFound`](crate::error::Kind::NotFound) if the object does not exist, and with
    /// [`Corrupt`](crate::error::Kind::Corrupt) if the range reaches past the end: a short read is
    /// never a clean end.
    async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream>;

    /// Deletes the object under `key` permanently. Deleting a missing key succeeds. Fails with
    /// [`Refused`](crate::error::Kind::Refused) if a lock protects the object.
    async fn remove(&self, key: &Key) -> Result<()>;

    /// Returns the batch read, if the destination has one.
    fn gather(&self) -> Option<&dyn Gather> {
        None
    }

    /// Returns access to object locks, if the destination supports them.
    fn locks(&self) -> Option<&dyn Locks> {
        None
    }

    /// Returns the same destination with its own network timeouts reduced to `limit`, including
    /// those of work that outlives its caller. Returns `None` if it has no such timeouts.
    fn stalling_at_most(&self, _limit: Duration) -> Option<Arc<dyn Store>> {
        None
    }

    /// Returns the same destination with new objects locked for `span`. Returns `None` if the
    /// destination cannot lock objects, or if its own settings define the lock.
    fn retaining(&self, span: Span) -> Option<Arc<dyn Store>> {
        let _ = span;
        None
    }
}

/// A destination that reads many small objects faster together than one by one, as a folder does.
#[async_trait]
pub trait Gather: Send + Sync {
    /// Returns the contents of the objects in the order of `keys`, each as [`Store::fetch`] returns
    /// it. An object larger than `max_bytes` is [`Corrupt`](crate::error::Kind::Corrupt). The outer
    /// error is one of the whole destination.
    async fn fetch_all(&self, keys: Vec<Key>, max_bytes: usize) -> Result<Vec<Result<Bytes>>>;
}

/// A destination that can protect objects from deletion.
#[async_trait]
pub trait Locks: Send + Sync {
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

/// An object in a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The object's key.
    pub key: Key,
    /// The object's size in bytes.
    pub bytes: u64,
}

/// A destination that one holder at a time can claim.
#[async_trait]
pub trait Exclusive: Send + Sync {
    /// Claims `name` (of a job) in the destination until the lock is dropped. The error of kind
    /// [`Locked`](crate::error::Kind::Locked) names the holder.
    async fn claim(&self, name: &str, holder: &Holder) -> Result<Lock>;
}

/// A destination that knows its free space.
#[async_trait]
pub trait Room: Send + Sync {
    /// Returns the number of bytes that can still be written.
    async fn free_bytes(&self) -> Result<u64>;
}

/// A destination that can list the invisible leftovers of interrupted writers, such as temporary
/// files and parts of uploads.
#[async_trait]
pub trait Sweep: Send + Sync {
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

/// Restores plaintext into a cluster.
#[async_trait]
pub trait Restore: Send + Sync {
    /// Checks the target for all backups to be restored, before any byte is fetched. Every obstacle
    /// is a failed finding, so that all of them are reported at once. Fails if the target cannot be
    /// checked.
    async fn prepare(&self, wanted: &[Wanted<'_>]) -> Result<Vec<Finding>>;

    /// Restores one backup. Drops existing objects only after the beginning of the plaintext was
    /// decrypted. Fails if the plaintext ends in an error, even if the target accepted the bytes.
    async fn restore(&self, wanted: Wanted<'_>, plaintext: ByteStream) -> Result<Restored>;

    /// Lists the contents of the plaintext, one entry a line.
    async fn contents(&self, manifest: &Manifest, plaintext: ByteStream) -> Result<Vec<String>>;

    /// Returns the part of the recorded details with which to compare the restored database, if
    /// only a part is restored or `left_out` names missing entries. Returns `None` if nothing can
    /// be compared.
    fn brings(&self, details: &Map<String, Value>, left_out: &[LeftOut]) -> Option<Map<String, Value>>;
}

/// A backup to be restored.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The backup's manifest.
    pub manifest: &'a Manifest,
    /// The recorded details, if they exist and can be decrypted.
    pub details: Option<&'a Map<String, Value>>,
}

/// The result of a restore.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Restored {
    /// Notes for the operator.
    pub notes: Vec<String>,
    /// The phases of the restore and their durations, in order.
    pub phases: Vec<Phase>,
    /// The database that now contains the restored data, if it is a single database.
    pub database: Option<String>,
    /// Deviations from the archive's own restore, such as a view refreshed with another
    /// search_path.
    pub warnings: Vec<String>,
    /// Entries that could not be made after the data was restored.
    pub left_out: Vec<LeftOut>,
}

/// Creates clusters to restore to, for drills.
#[async_trait]
pub trait Scratch: Check {
    /// Creates a cluster that accepts these backups, and creates substitutes for objects that the
    /// run does not contain. A cluster that cannot be created here (a missing release or extension,
    /// no space) is an error with a hint, and not a fault of the backups.
    async fn make(&self, wanted: &[Wanted<'_>]) -> Result<Box<dyn ScratchCluster>>;

    /// Returns a finding for each feature of the source that the cluster lacks, as far as known
    /// before the cluster is created.
    async fn lacks(&self, requirements: &Requirements) -> Vec<Finding> {
        let _ = requirements;
        Vec::new()
    }
}

/// A cluster, or a part of one, that exists for one drill. Dropping it also removes it, as far as
/// possible without waiting.
#[async_trait]
pub trait ScratchCluster: Send + Sync {
    /// Returns a description, such as `PostgreSQL 17.4, made by initdb`.
    fn description(&self) -> String;

    /// Returns the server's version, such as `17.4`.
    fn version(&self) -> String;

    /// Returns the connection to the cluster, without a database.
    fn cluster(&self) -> Cluster;

    /// Returns the connection for restoring the database `name`. The connection names a database if
    /// the database has another name in this cluster.
    fn target(&self, name: &str) -> Result<Cluster> {
        let _ = name;
        Ok(self.cluster())
    }

    /// Returns the name under which a database is restored.
    fn database(&self, name: &str) -> String;

    /// Returns true if roles and tablespaces can be restored; otherwise they must exist.
    fn takes_globals(&self) -> bool;

    /// Returns warnings to report before the restore, such as side effects that the cluster does
    /// not prevent.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns a private folder for data that cannot be streamed.
    fn folder(&self) -> &Path;

    /// Returns the commands that failed since the last call, read from the server's log. Empty if
    /// the log cannot be read: a failure with an unknown reason is not evidence against a backup.
    async fn failures(&self) -> Vec<Failure> {
        Vec::new()
    }

    /// Adapts plaintext to this cluster, and describes the changes. Some parts of the globals fit
    /// only the host of the source, such as the folders of tablespaces.
    async fn adapt(&self, manifest: &Manifest, plaintext: ByteStream) -> Result<(ByteStream, Vec<String>)> {
        let _ = manifest;
        Ok((plaintext, Vec::new()))
    }

    /// Removes the cluster.
    async fn remove(self: Box<Self>) -> Result<()>;
}

/// Compares a restored database with the dumped one.
#[async_trait]
pub trait Examine: Send + Sync {
    /// Compares a database with the details recorded during the dump. A difference is a comparison,
    /// not an error.
    async fn compare(
        &self,
        database: &str,
        manifest: &Manifest,
        details: &Map<String, Value>,
    ) -> Result<Vec<Comparison>>;

    /// Compares the globals of a cluster, such as roles, with the details recorded during the dump.
    async fn compare_globals(&self, details: &Map<String, Value>) -> Result<Vec<Comparison>> {
        let _ = details;
        Ok(Vec::new())
    }

    /// Returns the recorded roles that must exist before a backup is restored.
    fn roles(&self, details: &Map<String, Value>) -> Vec<String> {
        let _ = details;
        Vec::new()
    }

    /// Returns the rows of a query, each column as text, or `None` for NULL.
    async fn ask(&self, database: &str, query: &str) -> Result<Vec<Vec<Option<String>>>>;
}
