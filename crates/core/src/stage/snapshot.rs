//! Snapshots of a cluster that stay on its host after a backup was made from them. They are no
//! backups: they are lost with the disk, and never count as copies.

use std::fmt::Debug;
use std::path::PathBuf;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::error::Result;
use crate::manifest::Manifest;

/// The snapshot that a backup was read from. Dropping it removes the snapshot.
#[async_trait]
pub trait HeldSnapshot: Debug + Send {
    /// Keeps the snapshot on the host, with the manifest of the backup, and removes the oldest ones
    /// beyond the number in the settings. Returns warnings about those that could not be removed.
    async fn keep(self: Box<Self>, manifest: &Manifest) -> Result<Vec<String>>;
}

/// A stage whose snapshots can stay on the host.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// Returns the snapshots of the cluster on this host, oldest first. Needs no server.
    async fn kept(&self) -> Result<Vec<KeptSnapshot>>;

    /// Makes the files of a snapshot readable.
    async fn open(&self, snapshot: &KeptSnapshot) -> Result<SnapshotFiles>;
}

/// A snapshot on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptSnapshot {
    /// The name by which its maker knows the snapshot.
    pub name: String,
    /// The manifest of the backup that was read from the snapshot.
    pub manifest: Manifest,
    /// The details of the source that a restore needs: its tablespaces.
    pub details: Map<String, Value>,
}

/// The readable files of a snapshot.
pub struct SnapshotFiles {
    /// The files of a base backup, each folder before its content.
    pub members: Vec<SnapshotMember>,
    /// Dropping it ends the use of the snapshot.
    pub in_use: Box<dyn Send + Sync>,
}

/// A file or folder of a base backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotMember {
    /// The path below the data directory; a tablespace is in `pg_tblspc/OID`.
    pub path: PathBuf,
    /// The content.
    pub content: SnapshotContent,
}

/// The content of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotContent {
    /// A folder.
    Folder,
    /// A file, with the path of its content on this host.
    File(PathBuf),
}
