//! The facts of a verified base backup.

pub use crate::label::{IncrementalFrom, Source};

use crate::control::Control;
use crate::manifest::WalRange;
use crate::tablespace_map::TablespaceMap;
use longshore_pg_wal::Lsn;

/// The facts of a base backup whose archive was read to its end and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The major version of PostgreSQL, 15 to 18.
    pub version: u32,
    /// The system identifier of the cluster.
    pub system_identifier: u64,
    /// The timeline on which the backup began.
    pub timeline: u32,
    /// The position where recovery begins.
    pub start_lsn: Lsn,
    /// The position where the backup becomes consistent.
    pub stop_lsn: Lsn,
    /// The WAL from start to stop, one range for each timeline, the newest first.
    pub wal_ranges: Vec<WalRange>,
    /// The place of that WAL.
    pub wal: Wal,
    /// The start of the earlier backup that this one continues, for incremental backups.
    pub incremental_from: Option<IncrementalFrom>,
    /// The server that was backed up.
    pub source: Source,
    /// True if the files are a snapshot of a running server that took no part: it has no label, and
    /// all its WAL.
    pub crash_consistent: bool,
    /// The number of regular files, the manifest not included.
    pub files: u64,
    /// The sum of their sizes.
    pub file_bytes: u64,
    /// The number of files for which the manifest has no checksum.
    pub files_without_checksum: u64,
    /// The number of bytes of the archive.
    pub archive_bytes: u64,
    /// The tablespaces but for the default ones, by their OIDs.
    pub tablespaces: Vec<Tablespace>,
    /// The places of the tablespaces on the server, if the archive has the file.
    pub tablespace_map: Option<TablespaceMap>,
    /// The cluster's state and settings.
    pub control: Control,
    /// The checksums of data pages.
    pub page_checksums: PageChecksums,
    /// The label that the backup was taken with; empty for a cluster that was shut down.
    pub label: String,
}

/// The place of the WAL that a backup needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wal {
    /// All of it is in the archive.
    Included,
    /// The archive has no segment: the WAL must come from elsewhere.
    NotIncluded,
}

/// A tablespace in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tablespace {
    /// The OID, which names its directory in `pg_tblspc`.
    pub oid: u32,
    /// The sum of the sizes of its files.
    pub bytes: u64,
}

/// The checksums of data pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageChecksums {
    /// The cluster has none, so no page was checked.
    Off,
    /// The cluster has them, and all pages were checked.
    On {
        /// The number of pages in files of relations, new ones included.
        pages: u64,
        /// The pages with wrong checksums that nothing restores.
        damaged: DamagedPages,
        /// The number of pages with wrong checksums that changed after the start of the backup:
        /// they may be torn, and replay of the WAL restores them.
        younger_pages: u64,
    },
}

/// The pages with wrong checksums that nothing restores.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DamagedPages {
    /// Their number.
    pub count: u64,
    /// The first ones, 1,000 at most.
    pub first: Vec<DamagedPage>,
}

/// A page with a wrong checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedPage {
    /// The path of the file.
    pub path: String,
    /// The number of the block in its relation's fork, counted across segment files.
    pub block: u32,
}
