//! `backup_manifest`: the server's list of the files of a base backup, read in bounded memory.
//!
//! The format is that of `src/backend/backup/backup_manifest.c`, the rules those of
//! `src/common/parse_manifest.c`, made stricter: each field has one type, and none may be missing
//! or repeated. A manifest of a million files has 140 MB; [`read`] keeps 40 bytes of each file at
//! most, and a caller sees one [`Entry`] at a time.
//!
//! | module | contents |
//! |---|---|
//! | `document` | the JSON document |
//! | `entry` | the entry of one file |
//! | `input` | the bytes before the document's parser, and their SHA-256 |
//! | `path` | the rules for paths, and their hashes |

mod document;
mod entry;
mod input;
pub(crate) mod path;

use std::collections::HashSet;
use std::io::Read;

pub use entry::{Checksum, Entry, Sha2};

use crate::error::{Error, Result};
use longshore_pg_wal::Lsn;
use path::PathHash;

/// The name of the manifest in a data directory, and the place in errors.
pub const NAME: &str = "backup_manifest";

/// The facts of a manifest, apart from its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The format of the manifest: 1 of PostgreSQL 13 to 16, 2 of 17 and later.
    pub version: u32,
    /// The system identifier of the cluster, which version 1 lacks.
    pub system_identifier: Option<u64>,
    /// The WAL that makes the backup consistent, one range for each timeline, the newest first. It
    /// has at least one element, and each range begins where the following one ends.
    pub wal_ranges: Vec<WalRange>,
    /// The number of entries.
    pub files: u64,
    /// The sum of the sizes of all entries.
    pub file_bytes: u64,
    /// The SHA-256 of all bytes before the last line, as recorded in the last line and as computed.
    pub sha256: [u8; 32],
}

/// The WAL of one timeline that a backup needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalRange {
    /// The timeline.
    pub timeline: u32,
    /// The first byte.
    pub start: Lsn,
    /// The position after the last byte.
    pub end: Lsn,
}

impl Manifest {
    /// Returns the timeline and position where recovery of the backup begins.
    pub fn start(&self) -> Option<(u32, Lsn)> {
        self.wal_ranges.last().map(|range| (range.timeline, range.start))
    }

    /// Returns the timeline and position where the backup becomes consistent.
    pub fn stop(&self) -> Option<(u32, Lsn)> {
        self.wal_ranges.first().map(|range| (range.timeline, range.end))
    }
}

/// Reads a manifest to its end and calls `on_entry` for each file, in the manifest's order.
///
/// # Errors
/// Damage: no JSON, a missing, repeated or unknown field, a second entry of one path, a path that
/// is not below the data directory, ranges of WAL that do not join, or another SHA-256 than
/// recorded. Unsupported: another version than 1 and 2, an unknown algorithm. Errors of `on_entry`
/// and of `inner` pass unchanged. Because the SHA-256 comes last, an entry is only certain after
/// `Ok`.
pub fn read<R: Read>(inner: R, on_entry: &mut dyn FnMut(Entry<'_>) -> Result<()>) -> Result<Manifest> {
    let mut paths = HashSet::new();
    stream(inner, &mut |entry| {
        if !paths.insert(PathHash::of(entry.path)) {
            return Err(second_entry(&entry));
        }
        on_entry(entry)
    })
}

/// Reads a manifest as [`read`] does, for callers that find second entries of a path themselves.
pub(crate) fn stream<R: Read>(inner: R, on_entry: &mut dyn FnMut(Entry<'_>) -> Result<()>) -> Result<Manifest> {
    document::read(inner, on_entry)
}

/// Returns the error of a path's second entry.
pub(crate) fn second_entry(entry: &Entry<'_>) -> Error {
    let message = format!("second entry of `{}`", String::from_utf8_lossy(entry.path));
    Error::damaged(NAME, entry.offset, message)
}
