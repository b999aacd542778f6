//! Clusters for drills, and comparisons with what was dumped.

use std::path::Path;

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::restore::RestoreRequest;
use crate::check::{Check, Finding};
use crate::cluster::Cluster;
use crate::comparison::Comparison;
use crate::discovery::Requirements;
use crate::error::Result;
use crate::manifest::Manifest;
use crate::sqlstate::Failure;
use crate::stream::ByteStream;

/// Creates clusters to restore to, for drills.
#[async_trait]
pub trait Scratch: Check {
    /// Creates a cluster that accepts these backups, and creates substitutes for objects that the
    /// run does not contain. A cluster that cannot be created here (a missing release or extension,
    /// no space) is an error with a hint, and not a fault of the backups.
    async fn make(&self, requests: &[RestoreRequest<'_>]) -> Result<Box<dyn ScratchCluster>>;

    /// Returns a finding for each feature of the source that the cluster lacks, as far as known
    /// before the cluster is created.
    async fn missing_features(&self, _requirements: &Requirements) -> Vec<Finding> {
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

    /// Returns the rows of a query, each column as text, or `None` for NULL.
    async fn ask(&self, database: &str, query: &str) -> Result<Vec<Vec<Option<String>>>>;
}
