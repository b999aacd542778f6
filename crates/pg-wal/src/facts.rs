//! The contents of a WAL segment, and their comparison with the name of its file.

mod defect;
mod expected;

use chrono::{DateTime, Utc};

use crate::lsn::Lsn;
use crate::segment::SegmentSize;

pub use defect::{Defect, DefectKind};
pub use expected::{Expected, Mismatch};

/// The contents of a file that is a WAL segment.
///
/// Records that began in the segment before are in `continuation_bytes` and `end` only: their
/// headers, and so their CRCs, are not in this file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFacts {
    /// The number of bytes of the file.
    pub file_bytes: u64,
    /// The major version of PostgreSQL, 15 to 18.
    pub major: u32,
    /// The timeline of the first page. In a timeline's first segment, it is that of the parent.
    pub first_timeline: u32,
    /// The timeline of the last valid page.
    pub last_timeline: u32,
    /// The position of the first page, and so of the segment.
    pub start: Lsn,
    /// The identifier of the cluster.
    pub system_identifier: u64,
    /// The size of the cluster's segments, from the header.
    pub segment_size: SegmentSize,
    /// The number of bytes at the segment's beginning that belong to a record of the segment
    /// before, without page headers; 0 if there is none.
    pub continuation_bytes: u32,
    /// The number of records that begin and end in this segment, all valid.
    pub records: u64,
    /// The position of the first of these records.
    pub first_record: Option<Lsn>,
    /// The position of the last of these records: the highest `recovery_target_lsn` that this
    /// segment alone can satisfy.
    pub last_record: Option<Lsn>,
    /// The position of the record before the first, as the first one names it: in the segment
    /// before, or further back.
    pub previous_record: Option<Lsn>,
    /// The position after the last record that ends in this segment, whole or as a continuation; or
    /// the end of the segment, if that record is `XLOG_SWITCH`.
    pub end_of_records: Lsn,
    /// The record that begins and does not end in this segment.
    pub unfinished_record: Option<UnfinishedRecord>,
    /// The ends of transactions among the records.
    pub transactions: Option<TransactionEnds>,
    /// The restore points among the records.
    pub restore_points: RestorePoints,
    /// The creations of tablespaces among the records, at most [`NewTablespace::MOST`].
    pub new_tablespaces: Vec<NewTablespace>,
    /// The end of the segment's WAL.
    pub end: End,
}

/// A record that continues in the next segment, or whose rest was never written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnfinishedRecord {
    /// The position of the record.
    pub lsn: Lsn,
    /// The number of bytes that are missing: the next segment's `continuation_bytes`, if the WAL
    /// is contiguous and the server did not crash between the two.
    pub missing_bytes: u32,
}

/// Commits and aborts of transactions, in the order of the WAL. Their times may be out of order,
/// since each is taken before its record is written, and the clock may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionEnds {
    /// The number of commits and aborts.
    pub count: u64,
    /// The time of the first one.
    pub first: DateTime<Utc>,
    /// The time of the last one.
    pub last: DateTime<Utc>,
    /// The latest time of all: a `recovery_target_time` before it is reached in this segment.
    pub latest: DateTime<Utc>,
}

/// Restore points in the order of the WAL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestorePoints {
    /// The number of restore points.
    pub count: u64,
    /// The first of them, at most [`RestorePoints::MOST`].
    pub first: Vec<RestorePoint>,
}

/// A restore point, created by `pg_create_restore_point`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestorePoint {
    /// The position of the record.
    pub lsn: Lsn,
    /// The name, which is not unique.
    pub name: String,
    /// The time of its creation; `None` if no calendar has it.
    pub time: Option<DateTime<Utc>>,
}

/// The creation of a tablespace. A server that replays it uses the same directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTablespace {
    /// The position of the record.
    pub lsn: Lsn,
    /// The directory, as bytes of a path; empty for a tablespace within the data directory.
    pub directory: Vec<u8>,
}

/// The end of a segment's WAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Records fill the segment. The last one may continue in the next segment.
    Full,
    /// The record `XLOG_SWITCH` ends the segment early. The rest has no meaning.
    Switched(Rest),
    /// The WAL ends within the segment, as in the last one of a crashed or of a running server, or
    /// of a timeline. The same is left of a whole segment whose end was lost.
    Unfinished(Rest),
    /// A page or record is invalid. A server replays the records before it only.
    Damaged(Defect),
}

/// The content of a segment after its last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Zeros.
    Zeros,
    /// Other bytes, such as pages of the file's former content.
    Other,
    /// The file ends before the segment does.
    Missing,
}

impl SegmentFacts {
    /// Decides if replay can continue in the next segment: records fill this one, or it was
    /// switched. It is false for segments with the suffix `.partial`.
    pub fn is_complete(&self) -> bool {
        matches!(self.end, End::Full | End::Switched(_))
    }
}

impl NewTablespace {
    /// The most creations that are kept.
    pub const MOST: usize = 1000;
}

impl RestorePoints {
    /// The most restore points that are kept.
    pub const MOST: usize = 1000;

    pub(crate) fn push(&mut self, point: RestorePoint) {
        self.count += 1;
        if self.first.len() < Self::MOST {
            self.first.push(point);
        }
    }
}

impl TransactionEnds {
    /// Adds the end of a transaction that follows those of `ends`.
    pub(crate) fn with(ends: Option<Self>, time: DateTime<Utc>) -> Self {
        let Self { count, first, latest, .. } =
            ends.unwrap_or(Self { count: 0, first: time, last: time, latest: time });
        Self { count: count + 1, first, last: time, latest: latest.max(time) }
    }
}
