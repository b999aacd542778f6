//! The content that the name of a segment's file promises.

use std::fmt;

use crate::facts::SegmentFacts;
use crate::lsn::Lsn;
use crate::segment::{Segment, SegmentSize};

/// The content that the name of a segment's file promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The segment of that name, with or without `.partial`.
    pub segment: Segment,
    /// The size of the cluster's segments.
    pub segment_size: SegmentSize,
    /// The identifier of the cluster.
    pub system_identifier: u64,
}

/// The reason why a file has the content of another segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// The file is of another cluster.
    SystemIdentifier {
        /// The identifier in the file.
        found: u64,
        /// The identifier of the cluster.
        expected: u64,
    },
    /// The file is of a cluster with segments of another size.
    SegmentSize {
        /// The size in the file's header.
        found: SegmentSize,
        /// The size of the cluster's segments.
        expected: SegmentSize,
    },
    /// The file was cut or extended.
    FileSize {
        /// The bytes of the file.
        found_bytes: u64,
        /// The bytes of a segment.
        expected_bytes: u64,
    },
    /// The file is another segment, such as a recycled one that has only its new name.
    Address {
        /// The position of the segment in the file.
        found: Lsn,
        /// The position of the segment of this name.
        expected: Lsn,
    },
    /// The file has pages of a timeline after that of its name.
    Timeline {
        /// The last timeline in the file.
        found: u32,
        /// The timeline in the name. Pages may have an earlier one, since the first segment after a
        /// promotion begins with WAL of the parent.
        most: u32,
    },
}

impl SegmentFacts {
    /// Compares the file with the content that its name and its cluster promise.
    ///
    /// # Errors
    /// With the first reason why the file has the content of another segment. Damaged and
    /// unfinished segments are no error here.
    pub fn check(&self, expected: &Expected) -> Result<(), Mismatch> {
        let Expected { segment, segment_size, system_identifier } = *expected;
        if self.system_identifier != system_identifier {
            let (found, expected) = (self.system_identifier, system_identifier);
            return Err(Mismatch::SystemIdentifier { found, expected });
        }
        if self.segment_size != segment_size {
            return Err(Mismatch::SegmentSize { found: self.segment_size, expected: segment_size });
        }
        let expected_bytes = segment_size.bytes().into();
        if self.file_bytes != expected_bytes {
            return Err(Mismatch::FileSize { found_bytes: self.file_bytes, expected_bytes });
        }
        let expected = segment.start(segment_size);
        if self.start != expected {
            return Err(Mismatch::Address { found: self.start, expected });
        }
        if self.last_timeline > segment.timeline {
            return Err(Mismatch::Timeline { found: self.last_timeline, most: segment.timeline });
        }
        Ok(())
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SystemIdentifier { found, expected } => {
                write!(f, "WAL segment: of the cluster with system identifier {found} instead of {expected}")
            }
            Self::SegmentSize { found, expected } => {
                let (found, expected) = (found.bytes(), expected.bytes());
                write!(f, "WAL segment: of a cluster with segments of {found} bytes instead of {expected}")
            }
            Self::FileSize { found_bytes, expected_bytes } => {
                write!(f, "WAL segment: {found_bytes} bytes instead of {expected_bytes}")
            }
            Self::Address { found, expected } => write!(f, "WAL segment: begins at {found} instead of {expected}"),
            Self::Timeline { found, most } => {
                write!(f, "WAL segment: pages of timeline {found} in a file of timeline {most}")
            }
        }
    }
}

impl std::error::Error for Mismatch {}
