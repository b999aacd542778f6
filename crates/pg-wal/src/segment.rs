//! Names and numbers of WAL segments.
//!
//! The names follow `XLogFileName` and `XLogFromFileName` (`src/include/access/xlog_internal.h`):
//! eight hexadecimal digits each for the timeline, the log of 4 GiB, and the segment in that log.

use std::fmt;

use crate::lsn::Lsn;

/// The size of a cluster's WAL segments: a power of two from 1 MiB to 1 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentSize(u32);

/// A WAL segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    /// The timeline, at least 1.
    pub timeline: u32,
    /// The number of segments before this one since LSN 0/0.
    pub number: u64,
}

/// A size that no cluster's segments have, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidSegmentSize(u64);

/// A name that no segment has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSegmentName(String);

impl SegmentSize {
    /// The size without `initdb --wal-segsize`: 16 MiB.
    pub const DEFAULT: Self = Self(16 << 20);

    /// Returns the size of `bytes`, unless it is no power of two from 1 MiB to 1 GiB.
    pub fn new(bytes: u64) -> Result<Self, InvalidSegmentSize> {
        match u32::try_from(bytes) {
            Ok(size) if size.is_power_of_two() && (1 << 20..=1 << 30).contains(&size) => Ok(Self(size)),
            _ => Err(InvalidSegmentSize(bytes)),
        }
    }

    /// Returns the size in bytes.
    pub fn bytes(self) -> u32 {
        self.0
    }

    /// Returns the number of segments in a log of 4 GiB: 4 to 4096.
    fn segments_per_log(self) -> u64 {
        (1 << 32) / u64::from(self.0)
    }
}

impl Segment {
    /// Returns the segment that contains the byte at `lsn`: where WAL that starts there begins.
    pub fn containing(timeline: u32, lsn: Lsn, size: SegmentSize) -> Self {
        Self { timeline, number: lsn.0 / u64::from(size.0) }
    }

    /// Returns the segment that contains the last byte before `end`. At an exact boundary that is
    /// the previous segment, as in `XLByteToPrevSeg`. For `0/0` it is the first segment.
    pub fn ending(timeline: u32, end: Lsn, size: SegmentSize) -> Self {
        Self::containing(timeline, Lsn(end.0.saturating_sub(1)), size)
    }

    /// Returns the segments of the WAL from `start` to `stop` on one timeline, in order; none if
    /// `stop` is before `start`. The segment that contains `start` is always among them otherwise.
    pub fn range(timeline: u32, start: Lsn, stop: Lsn, size: SegmentSize) -> impl Iterator<Item = Self> {
        let first = Self::containing(timeline, start, size).number;
        let last = Self::ending(timeline, stop, size).number.max(first);
        let segments = (start <= stop).then_some(first..=last);
        segments.into_iter().flatten().map(move |number| Self { timeline, number })
    }

    /// Decides if `name` has the form of a segment's name: 24 hexadecimal digits in upper case.
    pub fn is_name(name: &str) -> bool {
        let upper = |digit: u8| digit.is_ascii_digit() || (b'A'..=b'F').contains(&digit);
        name.len() == 24 && name.bytes().all(upper)
    }

    /// Parses the name of a segment: 24 hexadecimal digits in upper case. Names of histories,
    /// partial segments and `.backup` files are refused.
    pub fn parse(name: &str, size: SegmentSize) -> Result<Self, InvalidSegmentName> {
        let invalid = || InvalidSegmentName(name.chars().take(60).collect());
        if !Self::is_name(name) {
            return Err(invalid());
        }
        let number = |digits: Option<&str>| digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let (timeline, log, segment) = (number(name.get(..8)), number(name.get(8..16)), number(name.get(16..)));
        match (timeline, log, segment.map(u64::from)) {
            (Some(timeline @ 1..), Some(log), Some(segment)) if segment < size.segments_per_log() => {
                Ok(Self { timeline, number: u64::from(log) * size.segments_per_log() + segment })
            }
            _ => Err(invalid()),
        }
    }

    /// Returns the name of the segment's file, such as `0000000100000016000000B3`.
    pub fn name(self, size: SegmentSize) -> String {
        let per_log = size.segments_per_log();
        format!("{:08X}{:08X}{:08X}", self.timeline, self.number / per_log, self.number % per_log)
    }

    /// Returns the position of the segment's first byte.
    pub fn start(self, size: SegmentSize) -> Lsn {
        Lsn(self.number.saturating_mul(u64::from(size.0)))
    }

    /// Returns the position after the segment's last byte.
    pub fn end(self, size: SegmentSize) -> Lsn {
        Lsn(self.number.saturating_add(1).saturating_mul(u64::from(size.0)))
    }
}

impl fmt::Display for InvalidSegmentSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WAL segment size {} bytes: not a power of two from 1 MiB to 1 GiB", self.0)
    }
}

impl std::error::Error for InvalidSegmentSize {}

impl fmt::Display for InvalidSegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WAL segment name `{}`: not that of a segment of this size", self.0)
    }
}

impl std::error::Error for InvalidSegmentName {}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes() -> impl Iterator<Item = SegmentSize> {
        (20..=30).map(|bits| SegmentSize::new(1 << bits).unwrap())
    }

    #[test]
    fn segment_size_refuses_what_initdb_refuses() {
        for bytes in [0, 1 << 19, 1 << 31, 1 << 32, (1 << 24) + 1, 3 << 20, u64::MAX] {
            assert_eq!(SegmentSize::new(bytes), Err(InvalidSegmentSize(bytes)));
        }
        assert_eq!(sizes().count(), 11);
    }

    #[test]
    fn segment_name_equals_that_of_pg_walfile_name() {
        let lsn = Lsn(0x16_B374_D848);
        for (bits, name) in [
            (20, "000000010000001600000B37"),
            (24, "0000000100000016000000B3"),
            (26, "00000001000000160000002C"),
            (30, "000000010000001600000002"),
        ] {
            let size = SegmentSize::new(1 << bits).unwrap();
            assert_eq!(Segment::containing(1, lsn, size).name(size), name);
        }
    }

    #[test]
    fn end_at_a_boundary_belongs_to_the_previous_segment() {
        let size = SegmentSize::DEFAULT;
        let name = |lsn| Segment::ending(1, Lsn(lsn), size).name(size);
        assert_eq!(name(0x1300_0000), "000000010000000000000012");
        assert_eq!(name(0x1300_0001), "000000010000000000000013");
        assert_eq!(name(0x1_0000_0000), "0000000100000000000000FF");
        assert_eq!(name(0), "000000010000000000000000");
        assert_eq!(Segment::containing(1, Lsn(0x1300_0000), size).name(size), "000000010000000000000013");
    }

    #[test]
    fn names_parse_back_for_every_size() {
        for size in sizes() {
            for number in [0, 1, 3, size.segments_per_log() - 1, size.segments_per_log(), u64::MAX / u64::from(size.0)]
            {
                let segment = Segment { timeline: 0xAB, number };
                assert_eq!(Segment::parse(&segment.name(size), size), Ok(segment));
                assert_eq!(Segment::containing(0xAB, segment.start(size), size), segment);
                assert_eq!(Segment::ending(0xAB, segment.end(size), size), segment);
            }
        }
    }

    #[test]
    fn range_runs_from_start_to_stop() {
        let size = SegmentSize::DEFAULT;
        let names = |start, stop| -> Vec<String> {
            Segment::range(2, Lsn(start), Lsn(stop), size).map(|segment| segment.name(size)).collect()
        };
        assert_eq!(
            names(0xFE00_0028, 0x1_0100_0000),
            ["0000000200000000000000FE", "0000000200000000000000FF", "000000020000000100000000"]
        );
        assert_eq!(names(0x200_0028, 0x200_0028), ["000000020000000000000002"]);
        assert_eq!(names(0x200_0000, 0x200_0000), ["000000020000000000000002"]);
        assert_eq!(names(0x200_0001, 0x200_0000), Vec::<String>::new());
        assert_eq!(names(u64::MAX, u64::MAX), ["00000002FFFFFFFF000000FF"]);
    }

    #[test]
    fn parse_refuses_other_names() {
        for name in [
            "",
            "00000001000000160000 0B3",
            "0000000100000016000000b3",
            "0000000100000016000000B",
            "0000000100000016000000B3.partial",
            "00000001.history",
            "000000010000001600000100",
            "0000000000000016000000B3",
            "+000000100000016000000B3",
            "00000001000000160000é0B3",
        ] {
            assert!(Segment::parse(name, SegmentSize::DEFAULT).is_err(), "{name}");
        }
    }
}
