//! Restoring backups.

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::check::Finding;
use crate::error::{Error, Kind, Result, Stage};
use crate::left_out::LeftOut;
use crate::manifest::Manifest;
use crate::phase::Phase;
use crate::stage::snapshot::SnapshotFiles;
use crate::stream::ByteStream;

/// Restores plaintext into the [`Target`](crate::plugin::Target) that the stage was built for.
#[async_trait]
pub trait Restore: Send + Sync {
    /// Checks the target for all backups to be restored, before any byte is fetched. Every obstacle
    /// is a failed finding, so that all of them are reported at once. Fails if the target cannot be
    /// checked.
    async fn prepare(&self, requests: &[RestoreRequest<'_>]) -> Result<Vec<Finding>>;

    /// Restores one backup. The plaintext of an incremental backup follows those of the earlier
    /// ones that it continues, without a separator. Drops existing objects only after the beginning
    /// of the plaintext was decrypted. Fails if the plaintext ends in an error, even if the target
    /// accepted the bytes.
    async fn restore(&self, request: RestoreRequest<'_>, plaintext: ByteStream) -> Result<Restored>;

    /// Restores the files of a snapshot on this host, which share their blocks with the snapshot
    /// where the file system can. Checks the target itself.
    async fn restore_snapshot(&self, request: RestoreRequest<'_>, _files: SnapshotFiles) -> Result<Restored> {
        let message = "a snapshot of files cannot be restored into this target";
        Err(Error::new(Stage::Restore, Kind::Usage, request.manifest.subject.to_string(), message)
            .hint("restore it into a data directory: --to-dir DIR"))
    }

    /// Lists the contents of the plaintext, one entry a line.
    async fn contents(&self, manifest: &Manifest, plaintext: ByteStream) -> Result<Vec<String>>;

    /// Returns the part of the recorded details with which to compare the restored database, if
    /// only a part is restored or `left_out` names missing entries. Returns `None` if nothing can
    /// be compared.
    fn comparable_details(&self, details: &Map<String, Value>, left_out: &[LeftOut]) -> Option<Map<String, Value>>;
}

/// A backup to be restored.
#[derive(Debug, Clone, Copy)]
pub struct RestoreRequest<'a> {
    /// The backup's manifest.
    pub manifest: &'a Manifest,
    /// The recorded details, if they exist and can be decrypted.
    pub details: Option<&'a Map<String, Value>>,
    /// The manifests of the backups that an incremental backup continues, from the full one to its
    /// parent. Empty for other backups. Their plaintexts precede its own in the stream to restore.
    pub earlier: &'a [Manifest],
}

impl<'a> RestoreRequest<'a> {
    /// Returns the request for a backup that continues no other.
    pub fn new(manifest: &'a Manifest, details: Option<&'a Map<String, Value>>) -> Self {
        Self { manifest, details, earlier: &[] }
    }

    /// Returns the manifests of all backups to read, in order.
    pub fn chain(&self) -> impl Iterator<Item = &'a Manifest> {
        self.earlier.iter().chain([self.manifest])
    }
}

/// The result of a restore.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Restored {
    /// Notes for the operator.
    pub notes: Vec<String>,
    /// The phases of the restore and their durations, in order.
    pub phases: Vec<Phase>,
    /// The database that now contains the restored data, if it is a single database of a server.
    pub database: Option<String>,
    /// Deviations from the archive's own restore, such as a view refreshed with another
    /// search_path.
    pub warnings: Vec<String>,
    /// Entries that could not be made after the data was restored.
    pub left_out: Vec<LeftOut>,
}
