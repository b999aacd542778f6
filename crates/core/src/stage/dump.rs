//! Reading from a cluster.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::base::{BaseFacts, Lsn};
use crate::check::{Check, Finding};
use crate::compress::Compression;
use crate::discovery::{Discovery, Requirements};
use crate::error::Result;
use crate::format::Format;
use crate::manifest::{DatabaseFacts, Tool};
use crate::program_target::ProgramTarget;
use crate::stage::snapshot::{HeldSnapshot, Snapshots};
use crate::stage::wal_source::WalSource;
use crate::standby::Standby;
use crate::stream::{ByteStream, OnEnd};
use crate::subject::Subject;

/// Reads from a cluster.
#[async_trait]
pub trait Dump: Check {
    /// Connects to the server and returns its identity and the subjects to copy.
    async fn discover(&self) -> Result<Discovery>;

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

    /// Returns the stage as one that takes incremental base backups, if it is one.
    fn incremental(&self) -> Option<&dyn Incremental> {
        None
    }

    /// Returns the stage as one that can end a segment of WAL, for the test of an archive.
    fn archiving(&self) -> Option<&dyn Archiving> {
        None
    }

    /// Returns true if the base backups of the stage contain no WAL, so that the archive of the
    /// cluster must have it.
    fn needs_wal_archive(&self) -> bool {
        false
    }

    /// Returns the stage as one that streams WAL while the server writes it, if it is one.
    fn wal_source(&self) -> Option<&dyn WalSource> {
        None
    }

    /// Returns the stage as one whose snapshots can stay on the host, if it is one.
    fn snapshots(&self) -> Option<&dyn Snapshots> {
        None
    }

    /// Returns true if the stage dumps databases, even if the server has none of them now.
    fn dumps_databases(&self) -> bool {
        false
    }

    /// Returns the format of all dumps of the stage, if it is that of another program.
    fn foreign_format(&self) -> Option<Format> {
        None
    }

    /// Returns the programs that restore and drill backups of the subject in the format, if the
    /// stage is a program of the operator that makes such dumps.
    fn restore_programs(&self, _subject: &Subject, _format: &Format) -> Option<RestorePrograms> {
        None
    }

    /// Returns the server as a standby, if the stage can pause the replay of a standby.
    fn standby(&self) -> Option<&dyn Standby> {
        None
    }
}

/// Takes base backups that contain only what changed since an earlier one.
#[async_trait]
pub trait Incremental: Send + Sync {
    /// Begins the copy of the changes since `parent`. Fails with
    /// [`Refused`](crate::error::Kind::Refused), here or in the stream, if the server can make no
    /// such backup, or none that is right: then only a full backup is possible.
    async fn dump_since(&self, parent: &Parent) -> Result<Dumped>;

    /// Returns a digest of the server's own record of the WAL up to the start of a base backup,
    /// which the server has just made. A later incremental backup compares it: a server that was
    /// restored or rolled back meanwhile has another history. Returns `None` if the server has no
    /// record.
    async fn history(&self, base: &BaseFacts) -> Result<Option<String>>;

    /// Checks the server for what incremental backups need.
    async fn check(&self) -> Vec<Finding>;
}

/// A server that archives its WAL.
#[async_trait]
pub trait Archiving: Send + Sync {
    /// Checks the settings of the server for an archive, whose receiver, if there is one, uses this
    /// replication slot.
    async fn check(&self, slot: &str) -> Vec<Finding>;

    /// Writes a restore point and ends the segment that contains it, so that the server archives
    /// the segment. Fails with [`Refused`](crate::error::Kind::Refused) on a standby.
    async fn end_segment(&self) -> Result<EndedSegment>;

    /// Returns the position up to which the server has WAL.
    async fn position(&self) -> Result<WalPosition>;
}

/// The position up to which a server has WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalPosition {
    /// The system identifier of the cluster.
    pub system_identifier: u64,
    /// The size of a segment in bytes.
    pub segment_bytes: u64,
    /// The end of what the server has written, or on a standby replayed.
    pub lsn: Lsn,
}

/// A segment of WAL that the server has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedSegment {
    /// The system identifier of the cluster.
    pub system_identifier: u64,
    /// The size of a segment in bytes.
    pub segment_bytes: u64,
    /// The name of the file.
    pub name: String,
}

/// The base backup that an incremental one continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The server's manifest of the backup, on this host.
    pub manifest: PathBuf,
    /// The system identifier of the cluster, in decimal.
    pub system_identifier: String,
    /// The version of the server at the time, such as `17.12`.
    pub server_version: String,
    /// The digest of the server's history at the time, see [`Incremental::history`].
    pub history: String,
    /// The facts of the backup.
    pub base: BaseFacts,
}

/// A dump in progress.
pub struct Dumped {
    /// The plaintext.
    pub stream: ByteStream,
    /// The format of the dump.
    pub format: Format,
    /// The size of the dump in bytes, as estimated by its source.
    pub estimated_bytes: Option<u64>,
    /// The compression for the pipeline to apply.
    pub compression: Compression,
    /// The program that makes the dump.
    pub tool: Tool,
    /// The properties to create the database with at a restore, if the subject is a database.
    pub database: Option<DatabaseFacts>,
    /// The server's manifest of a base backup, which the next incremental backup needs, known at
    /// the end of the stream. The file has no name.
    pub base_manifest: Option<OnEnd<Arc<File>>>,
    /// The snapshot that the stream reads, if it may stay on the host afterwards.
    pub snapshot: Option<Box<dyn HeldSnapshot>>,
    /// Notes of the program, known at the end of the stream.
    pub notes: OnEnd<DumpNotes>,
}

/// The programs of the operator that read the plaintext of a backup on standard input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestorePrograms {
    /// The program that restores it.
    pub restore: Option<ProgramTarget>,
    /// The program that restores it to a temporary place, checks the result, and cleans up.
    pub drill: Option<ProgramTarget>,
}

/// Notes about a dump.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DumpNotes {
    /// Warnings of the program that made the dump.
    pub warnings: Vec<String>,
    /// Parts of the subject that could not be captured, such as role passwords.
    pub not_captured: Vec<String>,
    /// The time at the end of the copy by the server's clock, if known.
    pub finished: Option<DateTime<Utc>>,
    /// The way to restore a dump in another program's format.
    pub undo: Option<String>,
    /// Confidential details of the source, such as [`SourceFacts`](crate::source::SourceFacts).
    pub details: Map<String, Value>,
}
