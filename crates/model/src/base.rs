//! The facts of a base backup that its manifest records in the open: positions and settings, but no
//! paths and no names.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
pub use longshore_pg_wal::Lsn;
use serde::{Deserialize, Serialize};

/// The facts of a base backup, read from its own files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BaseFacts {
    /// The timeline on which the backup started.
    pub timeline: u32,
    /// The position at which recovery starts, such as `16/B374D848`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub start_lsn: Lsn,
    /// The position at which the restored cluster is consistent.
    #[cfg_attr(test, schemars(with = "String"))]
    pub stop_lsn: Lsn,
    /// The time at the end of the copy by the server's clock, like the times in the WAL. Absent if
    /// the role could not query it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<DateTime<Utc>>,
    /// The location of the WAL between these positions.
    pub wal: WalLocation,
    /// The size of a WAL segment in bytes.
    pub wal_segment_bytes: u64,
    /// True if the server was a standby.
    pub from_standby: bool,
    /// True if the backup is a snapshot that the server took no part in: a server that starts on it
    /// recovers as after a crash, and archived WAL cannot be added.
    #[serde(default, skip_serializing_if = "is_false")]
    pub crash_consistent: bool,
    /// True if the cluster has page checksums.
    pub page_checksums: bool,
    /// The number of pages whose checksum was wrong when the backup was made. They are damaged in
    /// the source cluster as well.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub damaged_pages: u64,
    /// The start of the backup that this one continues, for an incremental backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub incremental_from: Option<Lsn>,
    /// The settings that a restored cluster must have at least, such as `max_connections`.
    pub settings: BTreeMap<String, u64>,
    /// The number of files.
    pub files: u64,
    /// The size of the files in bytes, including those of tablespaces.
    pub file_bytes: u64,
    /// The tablespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tablespaces: Vec<BaseTablespace>,
}

/// The location of the WAL that makes a base backup consistent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum WalLocation {
    /// The WAL is part of the backup.
    Included,
    /// The WAL is in the archive of the cluster.
    Archive,
}

/// A tablespace of a base backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BaseTablespace {
    /// The OID, which is the name of its folder in `pg_tblspc`.
    pub oid: u32,
    /// The size of its files in bytes.
    pub bytes: u64,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
