//! The joints: every stage a backup passes, outward and homeward, as a trait that plugins fulfil.
//!
//! ```text
//! outward    Dump → Verify → Encrypt → Ship          public keys and write-only credentials suffice
//! homeward   fetch → Decrypt → Verify → Restore      needs an identity and read credentials
//! drill      Scratch → homeward → Examine            the same, and a place to restore to
//! ```
//! The traits are split by what a host may hold. What cuts across them (compression, digests, fan-out) is a stream adapter, not an
//! option of a trait; what only some can do (locking, telling free space) is a trait of its own that they offer.

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
use crate::compress::Compression;
use crate::drill::{Comparison, Phase};
use crate::error::Result;
use crate::key::Key;
use crate::left_out::LeftOut;
use crate::lock::{Holder, Lock};
use crate::manifest::{DatabaseFacts, Format, Manifest, Tool, Verification};
use crate::plugin::Cluster;
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
    /// Looks at the server: what there is to copy now, and who it is.
    async fn survey(&self) -> Result<Survey>;

    /// Begins the copy of one subject. The stream ends cleanly only if the whole subject was read: a child's exit status,
    /// its signals and its lost connections are the stream's error. Dropping the stream ends whatever feeds it.
    async fn dump(&self, subject: &Subject) -> Result<Dumped>;

    /// Returns the server's data directory, where the server is on this host and lets its directory be known.
    async fn data_directory(&self) -> Option<PathBuf> {
        None
    }

    /// Returns the features that a place to restore to must have. Looks into every database that would be copied, so an
    /// error is one of a database that cannot be reached.
    async fn requirements(&self) -> Result<Requirements> {
        Ok(Requirements::default())
    }

    /// Returns the server as a standby, whose replay can be paused, where the stage can do that.
    fn standby(&self) -> Option<&dyn Standby> {
        None
    }
}

/// A dump under way.
pub struct Dumped {
    /// The plaintext.
    pub stream: ByteStream,
    /// The form it has.
    pub format: Format,
    /// What the pipeline is to compress it with.
    pub compression: Compression,
    /// The program that makes it.
    pub tool: Tool,
    /// What a database must be made with to take it back, where it is one database.
    pub database: Option<DatabaseFacts>,
    /// What the program had to say, known at the end.
    pub remarks: Afterword<Remarks>,
}

/// What a dump has to say besides its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Warnings of the program that made it.
    pub warnings: Vec<String>,
    /// What could not be captured, such as role passwords.
    pub not_captured: Vec<String>,
    /// What only the plaintext's owner may see of the source, such as [`Source`](crate::source::Source).
    pub details: Map<String, Value>,
}

/// The way out where a dump is of a form that the judge does not know.
pub const JUDGED_BY_OTHERS: &str =
    "a newer Longshore may know it; until then, verify = [{ type = \"pg_restore\" }] asks PostgreSQL's own program";

/// Judges bytes as they pass.
pub trait Verify: Check {
    /// Passes the same bytes on, and fails the stream, with an error of kind [`Corrupt`](crate::error::Kind::Corrupt), if they are unsound. The stream ends cleanly only
    /// once the judgement is made. The same object serves a run and a read-back. Where it can tell, `progress` hears what comes next.
    fn verify(
        &self,
        subject: &Subject,
        format: Format,
        plaintext: ByteStream,
        progress: &Arc<dyn Progress>,
    ) -> Verified;

    /// Compares the findings of a read-back (`found`) with the details that were recorded while the
    /// backup was dumped, and with the counts of its manifest. Both are of the same bytes, so every
    /// difference is damage. Returns the differences, or nothing where one of the two has no
    /// findings of this stage.
    fn differences(
        &self,
        _manifest: &Manifest,
        _recorded: &Map<String, Value>,
        _found: &Map<String, Value>,
    ) -> Option<Vec<Comparison>> {
        None
    }

    /// Passes the bytes of a dump on to a restore, and fails the stream with an error of kind
    /// [`Corrupt`](crate::error::Kind::Corrupt) if they define something else than was recorded:
    /// before the first byte where the form of the dump allows that, else at the end. Rows are not
    /// compared. Details without a record of definitions pass all.
    fn expect_recorded(
        &self,
        _manifest: &Manifest,
        _recorded: &Map<String, Value>,
        plaintext: ByteStream,
    ) -> ByteStream {
        plaintext
    }

    /// Returns the origin that a dump's header names, from the first bytes of the dump. Returns an empty
    /// origin where the dump names none or is of a version that is not known here.
    ///
    /// # Errors
    ///
    /// Fails with [`Corrupt`](crate::error::Kind::Corrupt) if the header is damaged, or goes on behind
    /// [`HEADER_BYTES`].
    fn origin(&self, _subject: &Subject, _head: &[u8]) -> Result<Origin> {
        Ok(Origin::default())
    }
}

/// The key under which details hold digests of definitions. They are as secret as the dump, so that
/// no report shows them.
pub const DEFINITIONS: &str = "definitions";

/// The number of bytes from the beginning of a dump that hold its header, with plenty of room.
pub const HEADER_BYTES: usize = 64 << 10;

/// A stream under judgement.
pub struct Verified {
    /// The same bytes; `Err` if they are unsound.
    pub stream: ByteStream,
    /// What was found, known at the end: counts for the manifest, the rest for the sealed details.
    pub findings: Afterword<Findings>,
}

/// What a [`Verify`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// Who judged, and counts that anyone may see.
    pub verification: Verification,
    /// What only the plaintext's owner may see, such as tables' names and row counts; empty where there is nothing.
    pub details: Map<String, Value>,
}

/// Seals bytes. Holds recipients only.
pub trait Encrypt: Check {
    /// What the manifest calls it, such as `age`.
    fn name(&self) -> &'static str;

    /// What a sealed file's name ends with, such as `.age`.
    fn extension(&self) -> &'static str;

    /// A fingerprint of each recipient: enough to tell which identity is wanted.
    fn recipients(&self) -> Vec<String>;

    /// Seals a stream. `subject` is for errors.
    fn encrypt(&self, plaintext: ByteStream, subject: &str) -> ByteStream;
}

/// Opens what was sealed. Holds identities.
#[async_trait]
pub trait Decrypt: Send + Sync {
    /// Opens a stream; one that was cut or changed ends in an error. `subject` is for errors.
    async fn decrypt(&self, ciphertext: ByteStream, subject: &str) -> Result<ByteStream>;
}

/// A destination that can be written to.
#[async_trait]
pub trait Ship: Check {
    /// Brings `body` to the destination under `key`: all or nothing.
    ///
    /// When it returns `Ok`, the whole body is durable there and visible under `key`. When `body` ends in an error, or anything else fails, or
    /// the future is dropped, nothing is visible under `key`, and the error of `body` is returned as it is. What is there already is
    /// never overwritten: [`AlreadyExists`](crate::error::Kind::AlreadyExists), also when two writers race.
    async fn ship(&self, key: &Key, body: ByteStream) -> Result<()>;

    /// Whether only one at a time may ship to it, and how that is held.
    fn exclusive(&self) -> Option<&dyn Exclusive> {
        None
    }

    /// How much room there is, where that can be told.
    fn room(&self) -> Option<&dyn Room> {
        None
    }

    /// Whether a body is only kept until it has ended, and brought to the destination then. Whoever does so watches over its own time.
    fn spools(&self) -> bool {
        false
    }

    /// How many bodies it takes at once, where more would wait for one another.
    fn at_once(&self) -> Option<usize> {
        None
    }

    /// Returns the folder of this host that it is, if it is one.
    fn folder(&self) -> Option<PathBuf> {
        None
    }

    /// What interrupted writers left, where that can be found.
    fn sweep(&self) -> Option<&dyn Sweep> {
        None
    }
}

/// A destination that can be read and pruned.
#[async_trait]
pub trait Store: Ship {
    /// Everything in it, in the order of its keys. What is not ours, or not yet whole, is left out. Any failure is an `Err` item, never a short list.
    async fn list(&self) -> Result<BoxStream<'static, Result<Entry>>>;

    /// Reads what is under `key`, or the bytes of `range`; [`NotFound`](crate::error::Kind::NotFound) if there is nothing. A range that reaches
    /// past the end is [`Corrupt`](crate::error::Kind::Corrupt): fewer bytes than were asked for are never a clean end.
    async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream>;

    /// Removes what is under `key`; nothing there is no error. When it returns, it is gone for good; [`Refused`](crate::error::Kind::Refused)
    /// where a lock keeps it.
    async fn remove(&self, key: &Key) -> Result<()>;

    /// Whether many small objects can be read in one go.
    fn gather(&self) -> Option<&dyn Gather> {
        None
    }

    /// Whether it can keep what it took, and tells until when.
    fn locks(&self) -> Option<&dyn Locks> {
        None
    }

    /// Returns the same destination with its own waits for a silent peer ended after `limit`, also those of work that goes on when its
    /// caller has gone; nothing where it has no such waits.
    fn stalling_at_most(&self, _limit: Duration) -> Option<Arc<dyn Store>> {
        None
    }

    /// The same destination, locking what it takes for `span`; nothing where it cannot, or where its own settings say otherwise.
    fn retaining(&self, span: Span) -> Option<Arc<dyn Store>> {
        let _ = span;
        None
    }
}

/// A destination where many small objects take less together than one by one, as files do.
#[async_trait]
pub trait Gather: Send + Sync {
    /// What is under each of the keys, in their order, as [`Store::fetch`] would give it whole; more than `max_bytes` is
    /// [`Corrupt`](crate::error::Kind::Corrupt). An error is one of the destination, and of no key alone.
    async fn fetch_all(&self, keys: Vec<Key>, max_bytes: usize) -> Result<Vec<Result<Bytes>>>;
}

/// A destination that can keep what it took from being removed.
#[async_trait]
pub trait Locks: Send + Sync {
    /// Until when what is under `key` cannot be removed, by the store's own word, and [`DateTime::MAX_UTC`] until somebody lifts it;
    /// `None`: nothing keeps it, or these credentials are not told.
    async fn locked_until(&self, key: &Key) -> Result<Option<DateTime<Utc>>>;

    /// Lists the keys that a plain deletion hides, although a version beneath is locked. Nothing where the store keeps no versions.
    async fn hidden(&self) -> Result<Vec<Key>> {
        Ok(Vec::new())
    }
}

/// Something in a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: Key,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A destination that one holder at a time can claim.
#[async_trait]
pub trait Exclusive: Send + Sync {
    /// Claims `name` (a job's) in the destination until the lock is dropped; [`Locked`](crate::error::Kind::Locked) says who holds it.
    async fn claim(&self, name: &str, holder: &Holder) -> Result<Lock>;
}

/// A destination that knows its free space.
#[async_trait]
pub trait Room: Send + Sync {
    /// The bytes that can still be written.
    async fn free_bytes(&self) -> Result<u64>;
}

/// A destination that can tell what interrupted writers left in it, out of sight: files on their way, parts of uploads.
#[async_trait]
pub trait Sweep: Send + Sync {
    /// All of it, with what is still being written: only its age tells them apart.
    async fn leftovers(&self) -> Result<Vec<Leftover>>;

    /// Removes one. That it has gone, or has become whole, is no error.
    async fn discard(&self, leftover: &Leftover) -> Result<()>;
}

/// Something that an interrupted writer left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// What the destination calls it.
    pub name: String,
    /// Its size in bytes, where that is told.
    pub bytes: Option<u64>,
    /// When it was last written to, or begun, by the destination's clock.
    pub since: DateTime<Utc>,
}

/// Brings plaintext back into a cluster.
#[async_trait]
pub trait Restore: Send + Sync {
    /// Looks at the target for all that is to be restored, before a byte of it is fetched. What stands in the way is a finding that has
    /// failed, so that all of it is told at once; an error is a target that could not be looked at.
    async fn prepare(&self, wanted: &[Wanted<'_>]) -> Result<Vec<Finding>>;

    /// Restores one backup. Nothing that is there is dropped before the plaintext was seen to open. Bytes that end in an error fail
    /// it, whatever the target made of them.
    async fn restore(&self, wanted: Wanted<'_>, plaintext: ByteStream) -> Result<Restored>;

    /// What is in the plaintext, a line each.
    async fn contents(&self, manifest: &Manifest, plaintext: ByteStream) -> Result<Vec<String>>;

    /// The part of a record that a restored database can be compared with, where only a part is restored, or `left_out` names what is
    /// missing. Nothing where there is nothing to compare.
    fn brings(&self, details: &Map<String, Value>, left_out: &[LeftOut]) -> Option<Map<String, Value>>;
}

/// A backup that is to be restored.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its record.
    pub manifest: &'a Manifest,
    /// What those who judged found in it, where that is recorded and can be opened.
    pub details: Option<&'a Map<String, Value>>,
}

/// What became of a restore.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Restored {
    /// What its owner should hear.
    pub notes: Vec<String>,
    /// What took how long, in its order.
    pub phases: Vec<Phase>,
    /// The database that it lies in now, where it is one database.
    pub database: Option<String>,
    /// Deviations from the archive's own way, such as a view that was refreshed with another search_path.
    pub warnings: Vec<String>,
    /// Entries that could not be made after the data was restored.
    pub left_out: Vec<LeftOut>,
}

/// Makes places to restore to, for drills.
#[async_trait]
pub trait Scratch: Check {
    /// Makes a place that takes these backups, and stands in for what their run does not bring. A place that cannot be had here (a release or an extension that is not installed, no
    /// room) is an error with the way out, and says nothing about the backups.
    async fn make(&self, wanted: &[Wanted<'_>]) -> Result<Box<dyn ScratchCluster>>;

    /// Looks for features of the source that the place lacks, where that can be seen before it is made.
    async fn lacks(&self, requirements: &Requirements) -> Vec<Finding> {
        let _ = requirements;
        Vec::new()
    }
}

/// A cluster, or a part of one, that is there for one drill. Dropping it removes what was made for it, too, as far as that can be done
/// without waiting.
#[async_trait]
pub trait ScratchCluster: Send + Sync {
    /// What it is, in words, such as `PostgreSQL 17.4, made by initdb`.
    fn description(&self) -> String;

    /// The server's version, such as `17.4`.
    fn version(&self) -> String;

    /// How to reach it; the connection names no database.
    fn cluster(&self) -> Cluster;

    /// How to reach it in order to restore a database that had this name; the connection names the database where that has another name here.
    fn target(&self, name: &str) -> Result<Cluster> {
        let _ = name;
        Ok(self.cluster())
    }

    /// The name that a database is restored under.
    fn database(&self, name: &str) -> String;

    /// Whether it takes roles and tablespaces; if not, they must be there.
    fn takes_globals(&self) -> bool;

    /// Warnings for the owner before anything is restored, such as what the place could not be kept from.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// A private folder for what cannot be a stream.
    fn folder(&self) -> &Path;

    /// The commands that failed since the last call, by the server's own log. Nothing where that cannot be read: a failure whose reason is
    /// not known says nothing against a backup.
    async fn failures(&self) -> Vec<Failure> {
        Vec::new()
    }

    /// Plaintext as this place can take it: of what belongs to a whole cluster, some only fits the host that it was dumped on, such as the
    /// folders of tablespaces. What was changed is told.
    async fn adapt(&self, manifest: &Manifest, plaintext: ByteStream) -> Result<(ByteStream, Vec<String>)> {
        let _ = manifest;
        Ok((plaintext, Vec::new()))
    }

    /// Removes all that was made.
    async fn remove(self: Box<Self>) -> Result<()>;
}

/// Asks a database that was restored whether it is what was dumped.
#[async_trait]
pub trait Examine: Send + Sync {
    /// Holds a database against what was recorded while it was dumped. What differs is a comparison, not an error.
    async fn compare(
        &self,
        database: &str,
        manifest: &Manifest,
        details: &Map<String, Value>,
    ) -> Result<Vec<Comparison>>;

    /// Holds what belongs to a whole cluster, such as roles, against what was recorded while it was dumped.
    async fn compare_globals(&self, details: &Map<String, Value>) -> Result<Vec<Comparison>> {
        let _ = details;
        Ok(Vec::new())
    }

    /// The roles that must be there before a backup is restored, by its record.
    fn roles(&self, details: &Map<String, Value>) -> Vec<String> {
        let _ = details;
        Vec::new()
    }

    /// The rows that a query gives, each of its columns as text; nothing for NULL.
    async fn ask(&self, database: &str, query: &str) -> Result<Vec<Vec<Option<String>>>>;
}
