//! The names of files in a WAL archive: those that `archive_command` offers as `%f`, and those that
//! `restore_command` asks for.
//!
//! The forms are those of `IsXLogFileName`, `IsPartialXLogFileName`, `IsBackupHistoryFileName` and
//! `IsTLHistoryFileName` (`src/include/access/xlog_internal.h`). Backup history files must have
//! exactly the form of `BackupHistoryFileName` there.

use std::fmt;
use std::str::FromStr;

use crate::segment::{InvalidSegmentName, Segment, SegmentSize};

/// The most bytes of a backup history file: a label has at most 1,024 bytes, and the other lines
/// have less (`do_pg_backup_start` in `src/backend/access/transam/xlog.c`).
const MOST_BACKUP_HISTORY_BYTES: u64 = 16 << 10;

/// The most bytes of a timeline history file: some 10,000 promotions.
const MOST_HISTORY_BYTES: u64 = 1 << 20;

/// The name of a file in a WAL archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArchiveName {
    /// A timeline history file, such as `00000002.history`.
    History {
        /// The timeline whose ancestors the file contains.
        timeline: u32,
    },
    /// A whole WAL segment, such as `0000000100000016000000B3`.
    Segment(SegmentName),
    /// The last segment of a timeline that ended within it, such as
    /// `0000000100000016000000B3.partial`.
    Partial(SegmentName),
    /// The history of a base backup, such as `0000000100000016000000B3.00000028.backup`.
    BackupHistory {
        /// The segment in which the backup started.
        segment: SegmentName,
        /// The number of bytes in that segment before the start.
        offset: u32,
    },
}

/// The 24 digits of a segment's name. The number of the segment depends on the segment size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    timeline: u32,
    log: u32,
    segment: u32,
}

/// The size of a file in a WAL archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSize {
    /// Exactly this number of bytes.
    Exactly(u64),
    /// At most this number of bytes. The file may be empty.
    AtMost(u64),
}

/// A name that no file in a WAL archive has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidArchiveName(String);

impl ArchiveName {
    /// Returns the timeline in the name, at least 1.
    pub fn timeline(self) -> u32 {
        match self {
            Self::Segment(segment) | Self::Partial(segment) | Self::BackupHistory { segment, .. } => segment.timeline,
            Self::History { timeline } => timeline,
        }
    }

    /// Returns the size of a file of this name in a cluster with segments of `size`.
    pub fn file_size(self, size: SegmentSize) -> FileSize {
        match self {
            Self::Segment(_) | Self::Partial(_) => FileSize::Exactly(size.bytes().into()),
            Self::BackupHistory { .. } => FileSize::AtMost(MOST_BACKUP_HISTORY_BYTES),
            Self::History { .. } => FileSize::AtMost(MOST_HISTORY_BYTES),
        }
    }
}

impl SegmentName {
    /// Returns the timeline in the name, at least 1.
    pub fn timeline(self) -> u32 {
        self.timeline
    }

    /// Returns the segment of this name in a cluster with segments of `size`.
    ///
    /// # Errors
    /// If the last eight digits are those of no segment of this size.
    pub fn segment(self, size: SegmentSize) -> Result<Segment, InvalidSegmentName> {
        Segment::parse(&self.to_string(), size)
    }

    fn parse(digits: &str) -> Option<Self> {
        let (timeline, rest) = digits.split_at_checked(8)?;
        let (log, segment) = rest.split_at_checked(8)?;
        Some(Self { timeline: timeline_of(timeline)?, log: number(log)?, segment: number(segment)? })
    }
}

impl FileSize {
    /// Decides if a file of this number of bytes has the size.
    pub fn permits(self, bytes: u64) -> bool {
        match self {
            Self::Exactly(size) => bytes == size,
            Self::AtMost(most) => bytes <= most,
        }
    }
}

/// Parses eight hexadecimal digits in upper case.
fn number(digits: &str) -> Option<u32> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
    let is_number = digits.len() == 8 && digits.bytes().all(is_digit);
    if is_number { u32::from_str_radix(digits, 16).ok() } else { None }
}

fn timeline_of(digits: &str) -> Option<u32> {
    number(digits).filter(|timeline| *timeline > 0)
}

fn parse(name: &str) -> Option<ArchiveName> {
    let Some((first, rest)) = name.split_once('.') else {
        return SegmentName::parse(name).map(ArchiveName::Segment);
    };
    match rest.strip_suffix(".backup") {
        Some(offset) => {
            Some(ArchiveName::BackupHistory { segment: SegmentName::parse(first)?, offset: number(offset)? })
        }
        None if rest == "partial" => SegmentName::parse(first).map(ArchiveName::Partial),
        None if rest == "history" => timeline_of(first).map(|timeline| ArchiveName::History { timeline }),
        None => None,
    }
}

impl FromStr for ArchiveName {
    type Err = InvalidArchiveName;

    fn from_str(name: &str) -> Result<Self, InvalidArchiveName> {
        parse(name).ok_or_else(|| InvalidArchiveName(name.chars().take(60).collect()))
    }
}

impl fmt::Display for ArchiveName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(segment) => write!(f, "{segment}"),
            Self::Partial(segment) => write!(f, "{segment}.partial"),
            Self::BackupHistory { segment, offset } => write!(f, "{segment}.{offset:08X}.backup"),
            Self::History { timeline } => write!(f, "{timeline:08X}.history"),
        }
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}{:08X}{:08X}", self.timeline, self.log, self.segment)
    }
}

impl fmt::Display for FileSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(bytes) => write!(f, "{bytes} bytes"),
            Self::AtMost(bytes) => write!(f, "at most {bytes} bytes"),
        }
    }
}

impl fmt::Display for InvalidArchiveName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file name `{}`: not that of a file in a WAL archive", self.0)
    }
}

impl std::error::Error for InvalidArchiveName {}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = [
        "0000000A00000016000000B3",
        "0000000A00000016000000B3.partial",
        "0000000A00000016000000B3.0000FF28.backup",
        "0000000A.history",
    ];

    #[test]
    fn names_parse_and_print() {
        for name in NAMES {
            let parsed: ArchiveName = name.parse().unwrap();
            assert_eq!((parsed.to_string().as_str(), parsed.timeline()), (name, 10));
        }
        assert_eq!("FFFFFFFF.history".parse(), Ok(ArchiveName::History { timeline: u32::MAX }));
    }

    #[test]
    fn parse_refuses_other_names() {
        for name in NAMES {
            for at in 0..=name.len() {
                for wrong in [name[..at].to_owned(), name[at..].to_owned(), name.to_owned() + &name[..at]] {
                    let parsed = wrong.parse::<ArchiveName>();
                    assert!(parsed.is_err() || NAMES.contains(&wrong.as_str()), "{wrong}");
                }
            }
            for (from, to) in [("A", "a"), ("A", "G"), ("A", "+"), ("A", " "), ("A", "é"), ("0000000A", "00000000")] {
                let wrong = name.replacen(from, to, 1);
                assert!(wrong.parse::<ArchiveName>().is_err(), "{wrong}");
            }
        }
        for name in [
            "RECOVERYXLOG",
            "0000000A00000016000000B3.0000FF28.partial",
            "0000000A00000016000000B3.000FF28.backup",
            "0000000A00000016000000B3.backup",
            "0000000A00000016000000B3..backup",
            "0000000A00000016000000B3.history",
            "0000000A.partial",
            "pg_wal/0000000A.history",
            "0000000A.history\n",
            "0000000A.HISTORY",
        ] {
            let error = name.parse::<ArchiveName>().unwrap_err();
            assert!(error.to_string().contains("not that of a file in a WAL archive"), "{error}");
        }
    }

    #[test]
    fn file_size_is_that_of_the_kind() {
        let size = SegmentSize::new(1 << 20).unwrap();
        let permits = |name: &str, bytes| name.parse::<ArchiveName>().unwrap().file_size(size).permits(bytes);
        for name in &NAMES[..2] {
            assert!(permits(name, 1 << 20) && !permits(name, (1 << 20) - 1) && !permits(name, 0), "{name}");
        }
        for name in &NAMES[2..] {
            assert!(permits(name, 0) && permits(name, 4096) && !permits(name, 2 << 20), "{name}");
        }
    }

    #[test]
    fn segment_depends_on_the_size() {
        let Ok(ArchiveName::Segment(name)) = "0000000A00000016000000B3".parse() else { panic!("a segment's name") };
        assert_eq!(name.segment(SegmentSize::DEFAULT), Ok(Segment { timeline: 10, number: 0x16B3 }));
        let error = name.segment(SegmentSize::new(1 << 30).unwrap()).unwrap_err();
        assert!(error.to_string().contains("0000000A00000016000000B3"), "{error}");
    }
}
