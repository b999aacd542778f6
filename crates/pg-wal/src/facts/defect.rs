//! The first invalid page or record of a segment.

use std::fmt;

use crate::lsn::Lsn;

/// The first invalid page or record of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defect {
    /// The kind of defect, by which callers decide.
    pub kind: DefectKind,
    /// The position of the page or record.
    pub lsn: Lsn,
    /// The number of bytes of the file before that position.
    pub offset: u64,
    /// The expected content, and the content that was found.
    pub message: String,
}

/// The kind of a [`Defect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefectKind {
    /// The header of a page is invalid.
    PageHeader,
    /// A page does not continue the record that began on an earlier page.
    Continuation,
    /// The header of a record is invalid.
    RecordHeader,
    /// A record does not name the record before it: one is missing, or one of the two is stale.
    PreviousRecord,
    /// The CRC of a record is not that of its bytes.
    Crc,
    /// WAL is missing: zeros or foreign pages, and behind them more pages of this segment.
    Gap,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = match self.kind {
            DefectKind::PageHeader | DefectKind::Continuation => "WAL page",
            DefectKind::RecordHeader | DefectKind::PreviousRecord | DefectKind::Crc => "WAL record",
            DefectKind::Gap => "WAL",
        };
        write!(f, "{subject} at {}, byte {} of the file: {}", self.lsn, self.offset, self.message)
    }
}
