//! Reading from a cluster.

use std::path::PathBuf;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::check::Check;
use crate::compress::Compression;
use crate::discovery::{Discovery, Requirements};
use crate::error::Result;
use crate::format::Format;
use crate::manifest::{DatabaseFacts, Tool};
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
    /// The size of the dump in bytes, as estimated by its source.
    pub estimated_bytes: Option<u64>,
    /// The compression for the pipeline to apply.
    pub compression: Compression,
    /// The program that makes the dump.
    pub tool: Tool,
    /// The properties to create the database with at a restore, if the subject is a database.
    pub database: Option<DatabaseFacts>,
    /// Notes of the program, known at the end of the stream.
    pub notes: OnEnd<DumpNotes>,
}

/// Notes about a dump.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DumpNotes {
    /// Warnings of the program that made the dump.
    pub warnings: Vec<String>,
    /// Parts of the subject that could not be captured, such as role passwords.
    pub not_captured: Vec<String>,
    /// Confidential details of the source, such as [`SourceFacts`](crate::source::SourceFacts).
    pub details: Map<String, Value>,
}
