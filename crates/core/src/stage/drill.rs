//! Clusters for drills, and comparisons with what was dumped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::restore::RestoreRequest;
use crate::check::{Check, Finding};
use crate::cluster::Cluster;
use crate::comparison::Comparison;
use crate::discovery::Requirements;
use crate::error::{Error, Kind, Result, Stage};
use crate::manifest::Manifest;
use crate::recovery::Recovery;
use crate::sqlstate::Failure;
use crate::stream::ByteStream;

/// Creates clusters to restore to, for drills.
#[async_trait]
pub trait Scratch: Check {
    /// Creates a cluster that accepts these backups, and creates substitutes for objects that the
    /// run does not contain. A cluster that cannot be created here (a missing release or extension,
    /// no space) is an error with a hint, and not a fault of the backups.
    async fn make(&self, requests: &[RestoreRequest<'_>]) -> Result<Box<dyn ScratchCluster>>;

    /// Creates a folder for the files of a base backup. A cluster that cannot be started here on
    /// the files of this backup (another release, a host without isolation, no space) is an error
    /// with a hint, and not a fault of the backup. By default, every base backup is refused, as by
    /// an existing server, which has files of its own.
    async fn make_folder(&self, request: &RestoreRequest<'_>) -> Result<Box<dyn ScratchFolder>> {
        let message = "consists of the files of a cluster, which an existing server cannot take";
        Err(Error::new(Stage::Drill, Kind::Usage, request.manifest.subject.to_string(), message)
            .hint("drill in a temporary cluster: scratch = { type = \"initdb\" }"))
    }

    /// Returns a finding for each feature of the source that the cluster lacks, as far as known
    /// before the cluster is created.
    async fn missing_features(&self, _requirements: &Requirements) -> Vec<Finding> {
        Vec::new()
    }
}

/// A private folder for the files of a cluster, for one drill. Dropping it also removes it and ends
/// the cluster's server, as far as possible without waiting. It is removed as well if this process
/// is killed.
#[async_trait]
pub trait ScratchFolder: Send + Sync {
    /// Returns a description of the cluster to start, such as `PostgreSQL 17.4, started on the
    /// files of the backup`.
    fn description(&self) -> String;

    /// Returns the version of the server to start, such as `17.4`.
    fn version(&self) -> String;

    /// Returns the empty data directory to unpack into, which the server's user owns.
    fn data_directory(&self) -> PathBuf;

    /// Returns an empty folder for each tablespace of the backup, by OID.
    fn tablespaces(&self) -> BTreeMap<String, PathBuf>;

    /// Returns a private folder for data that cannot be streamed.
    fn folder(&self) -> PathBuf;

    /// Returns warnings to report before the backup is unpacked.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Lets the server recover from archived WAL, which was unpacked with the files. By default,
    /// this is refused.
    async fn recover(&mut self, _recovery: &Recovery) -> Result<()> {
        let message = "cannot recover from archived WAL";
        Err(Error::new(Stage::Drill, Kind::Usage, self.description(), message).hint("omit --recover-to"))
    }

    /// Starts a server on the unpacked files, and waits until its recovery has ended. A server that
    /// ends before is an error, with the server's code if it reported one.
    async fn start(self: Box<Self>) -> Result<Box<dyn ScratchCluster>>;

    /// Removes the folder.
    async fn remove(self: Box<Self>) -> Result<()>;
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
    fn target(&self, _name: &str) -> Result<Cluster> {
        Ok(self.cluster())
    }

    /// Returns the name under which a database is restored.
    fn database(&self, name: &str) -> String;

    /// Returns true if roles and tablespaces can be restored; otherwise they must exist.
    fn accepts_globals(&self) -> bool;

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
    async fn adapt(&self, _manifest: &Manifest, plaintext: ByteStream) -> Result<(ByteStream, Vec<String>)> {
        Ok((plaintext, Vec::new()))
    }

    /// Removes the cluster.
    async fn remove(self: Box<Self>) -> Result<()>;
}

/// A part of the structure of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StructurePart {
    /// Tables and their TOAST tables, without indexes.
    Tables,
    /// Indexes.
    Indexes,
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
    async fn compare_globals(&self, _details: &Map<String, Value>) -> Result<Vec<Comparison>> {
        Ok(Vec::new())
    }

    /// Returns the recorded roles that must exist before a backup is restored.
    fn roles(&self, _details: &Map<String, Value>) -> Vec<String> {
        Vec::new()
    }

    /// Checks the structure of the tables and indexes of a database that was restored as files. The
    /// comparisons describe damage, and the reasons for what was not checked.
    async fn check_structure(&self, _database: &str, _part: StructurePart) -> Result<Vec<Comparison>> {
        Ok(Vec::new())
    }

    /// Reads all rows and large objects of a database that was restored as files, and returns their
    /// numbers. Damaged rows are an error.
    async fn read(&self, _database: &str) -> Result<Vec<Comparison>> {
        Ok(Vec::new())
    }

    /// Returns the rows of a query, each column as text, or `None` for NULL.
    async fn ask(&self, database: &str, query: &str) -> Result<Vec<Vec<Option<String>>>>;
}
