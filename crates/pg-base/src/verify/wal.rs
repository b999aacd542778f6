//! The WAL segments in `pg_wal`, which a manifest does not list: each page's header is checked.
//!
//! The headers are those of `src/include/access/xlog_internal.h`. A segment that ended early, by
//! `pg_switch_wal` or a timeout, has zeros after its last page, headers included
//! (`CopyXLogRecordToWAL` in `src/backend/access/transam/xlog.c`). Records and their CRCs are not
//! checked here, so a segment whose end was lost and became zeros passes as one that ended early.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::facts::Wal;
use crate::manifest::WalRange;
use longshore_pg_wal::segment::{Segment, SegmentSize};

/// The size of a page of WAL: `XLOG_BLCKSZ`, unless PostgreSQL was built with another one.
const PAGE_BYTES: u64 = 8192;

/// The size of a long header, which a segment's first page has.
const HEADER_BYTES: usize = 40;

/// The flags that a page may have, `XLP_ALL_FLAGS` of PostgreSQL 15 to 18.
const ALL_FLAGS: u16 = 0x000F;

/// The flag of a long header, `XLP_LONG_HEADER`.
const LONG_HEADER: u16 = 0x0002;

/// The facts of the rest of the backup that its WAL must fit.
pub(super) struct Expected<'a> {
    pub(super) ranges: &'a [WalRange],
    pub(super) segment_size: SegmentSize,
    pub(super) system_identifier: u64,
    /// The major version of PostgreSQL.
    pub(super) major: u32,
}

/// The segments of an archive.
#[derive(Default)]
pub(super) struct Segments(Vec<Checked>);

/// A segment that was read.
struct Checked {
    name: String,
    size_bytes: u64,
    first: Option<Header>,
    /// The bytes of the pages from the first to the last that continues the pages before.
    valid_bytes: u64,
    tail: Tail,
    /// The reason why the page after them does not continue them.
    fault: &'static str,
}

/// The bytes after the last valid page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// No bytes, so far.
    None,
    /// Nothing but zeros, so far.
    Zeros,
    /// Pages of a recycled file, or damage.
    Other,
}

/// The fields of a page's header, long ones included.
#[derive(Clone, Copy)]
struct Header {
    magic: u16,
    flags: u16,
    timeline: u32,
    address: u64,
    system_identifier: u64,
    segment_bytes: u32,
    page_bytes: u32,
}

impl Header {
    fn of(bytes: &[u8; HEADER_BYTES]) -> Self {
        let (words, _) = bytes.as_chunks::<4>();
        let [start, timeline, address_low, address_high, _, _, id_low, id_high, segment_bytes, page_bytes] =
            words.first_chunk().copied().unwrap_or_default().map(u32::from_le_bytes);
        Self {
            magic: start as u16,
            flags: (start >> 16) as u16,
            timeline,
            address: u64::from(address_high) << 32 | u64::from(address_low),
            system_identifier: u64::from(id_high) << 32 | u64::from(id_low),
            segment_bytes,
            page_bytes,
        }
    }
}

/// A check of one segment while it passes. It ends at the first page that does not continue the
/// pages before: behind the last record, a recycled file has other pages.
pub(super) struct SegmentTap {
    timeline: u32,
    offset: u64,
    header: [u8; HEADER_BYTES],
    checked: Checked,
}

impl SegmentTap {
    /// Returns a check for the file of this path, if it is a segment: `pg_wal/` and 24 digits.
    pub(super) fn for_path(path: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(path.strip_prefix(b"pg_wal/")?).ok()?;
        let timeline = name.get(..8).filter(|_| Segment::is_name(name))?;
        let timeline = u32::from_str_radix(timeline, 16).ok()?;
        let checked =
            Checked { name: name.to_owned(), size_bytes: 0, first: None, valid_bytes: 0, tail: Tail::None, fault: "" };
        Some(Self { timeline, offset: 0, header: [0; HEADER_BYTES], checked })
    }

    /// Adds bytes of the file.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let in_page = (self.offset % PAGE_BYTES) as usize;
            let count = bytes.len().min(PAGE_BYTES as usize - in_page);
            let (now, rest) = bytes.split_at(count);
            if let Some(unfilled) = self.header.get_mut(in_page..) {
                unfilled.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
                if in_page + count >= HEADER_BYTES {
                    self.check_page();
                }
            }
            if self.checked.tail == Tail::Zeros && now.iter().any(|byte| *byte != 0) {
                self.checked.tail = Tail::Other;
            }
            self.offset = self.offset.saturating_add(count as u64);
            bytes = rest;
        }
    }

    fn check_page(&mut self) {
        let page = self.offset - self.offset % PAGE_BYTES;
        if self.checked.tail != Tail::None {
            return;
        }
        let header = Header::of(&self.header);
        let first = *self.checked.first.get_or_insert(header);
        let has_long_header = header.flags & LONG_HEADER != 0;
        self.checked.fault = if header.magic != first.magic {
            "page with another magic number than the first page"
        } else if header.flags & !ALL_FLAGS != 0 || has_long_header != (page == 0) {
            "page with wrong flags"
        } else if header.address != first.address.wrapping_add(page) {
            "page with the address of another"
        } else if header.timeline == 0 || header.timeline > self.timeline {
            "page of another timeline"
        } else {
            self.checked.valid_bytes = page + PAGE_BYTES;
            return;
        };
        self.checked.tail = if self.header == [0; HEADER_BYTES] { Tail::Zeros } else { Tail::Other };
    }
}

impl Segments {
    /// Adds a segment after its last byte.
    pub(super) fn push(&mut self, tap: SegmentTap) {
        self.0.push(Checked { size_bytes: tap.offset, ..tap.checked });
    }

    /// Checks that the archive has either no segments or all that the backup needs, each valid to
    /// its end or to the end of the backup.
    pub(super) fn check(self, expected: &Expected<'_>) -> Result<Wal> {
        if self.0.is_empty() {
            return Ok(Wal::NotIncluded);
        }
        let size = expected.segment_size;
        let mut segments = BTreeMap::new();
        for checked in self.0 {
            let segment = Segment::parse(&checked.name, size);
            let segment = segment.map_err(|error| Error::damaged(place(&checked.name), 0, error.to_string()))?;
            segments.insert((segment.number, segment.timeline), checked);
        }
        let newest = expected.ranges.iter().map(|range| range.timeline).max().unwrap_or(u32::MAX);
        for range in expected.ranges {
            for segment in Segment::range(range.timeline, range.start, range.end, size) {
                // After a promotion, the new timeline's first segment repeats the old one's WAL.
                let timelines = (segment.number, range.timeline)..=(segment.number, newest.max(range.timeline));
                let Some((_, checked)) = segments.range(timelines).next_back() else {
                    let message = format!("missing: the backup needs WAL from {} to {}", range.start, range.end);
                    return Err(Error::damaged(place(&segment.name(size)), 0, message));
                };
                let needed_bytes = range.end.0.saturating_sub(segment.start(size).0);
                checked.check(segment, needed_bytes.min(u64::from(size.bytes())), expected)?;
            }
        }
        Ok(Wal::Included)
    }
}

impl Checked {
    fn check(&self, segment: Segment, needed_bytes: u64, expected: &Expected<'_>) -> Result<()> {
        let damaged = |offset, message: String| Err(Error::damaged(place(&self.name), offset, message));
        let size = expected.segment_size;
        if self.size_bytes != u64::from(size.bytes()) {
            return damaged(self.size_bytes, format!("{} bytes instead of {}", self.size_bytes, size.bytes()));
        }
        let Some(first) = self.first else {
            return damaged(0, "no header".to_owned());
        };
        if first.page_bytes != PAGE_BYTES as u32 && self.valid_bytes > 0 {
            let message = format!("WAL pages of {} bytes", first.page_bytes);
            return Err(Error::unsupported(place(&self.name), 36, message));
        }
        let magic = magic(expected.major);
        if Some(first.magic) != magic {
            let (found, magic) = (first.magic, magic.unwrap_or_default());
            return damaged(
                0,
                format!("magic number {found:04X} instead of {magic:04X} of version {}", expected.major),
            );
        }
        if first.address != segment.start(size).0 {
            return damaged(8, format!("address {:X} instead of {:X}", first.address, segment.start(size).0));
        }
        let ended_early = self.tail == Tail::Zeros && self.valid_bytes > 0 && needed_bytes == self.size_bytes;
        if self.valid_bytes < needed_bytes && !ended_early {
            return damaged(self.valid_bytes, self.fault.to_owned());
        }
        if self.valid_bytes > 0 && first.system_identifier != expected.system_identifier {
            let (found, expected) = (first.system_identifier, expected.system_identifier);
            return damaged(24, format!("WAL of system {found} instead of {expected}"));
        }
        if self.valid_bytes > 0 && first.segment_bytes != size.bytes() {
            return damaged(32, format!("segment size {} instead of {}", first.segment_bytes, size.bytes()));
        }
        Ok(())
    }
}

/// Returns the magic number of a major version's WAL, `XLOG_PAGE_MAGIC`.
fn magic(major: u32) -> Option<u16> {
    match major {
        15 => Some(0xD110),
        16 => Some(0xD113),
        17 => Some(0xD116),
        18 => Some(0xD118),
        _ => None,
    }
}

fn place(name: &str) -> String {
    format!("pg_wal/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_pg_wal::Lsn;

    const SIZE: u64 = 1 << 20;

    /// Returns a segment of PostgreSQL 17 whose pages are valid up to `valid_bytes`.
    fn segment(name: &str, valid_bytes: u64, timeline: u32) -> Checked {
        checked(name, &segment_bytes(name, valid_bytes, timeline), 777)
    }

    fn checked(name: &str, bytes: &[u8], piece_bytes: usize) -> Checked {
        let mut tap = SegmentTap::for_path(format!("pg_wal/{name}").as_bytes()).unwrap();
        bytes.chunks(piece_bytes).for_each(|piece| tap.push(piece));
        Checked { size_bytes: tap.offset, ..tap.checked }
    }

    fn segment_bytes(name: &str, valid_bytes: u64, timeline: u32) -> Vec<u8> {
        let size = SegmentSize::new(SIZE).unwrap();
        let start = Segment::parse(name, size).unwrap().start(size).0;
        let mut bytes = vec![0; SIZE as usize];
        for page in (0..valid_bytes).step_by(PAGE_BYTES as usize) {
            let header = &mut bytes[page as usize..][..HEADER_BYTES];
            header[..2].copy_from_slice(&0xD116_u16.to_le_bytes());
            header[2] = if page == 0 { 2 } else { 0 };
            header[4..8].copy_from_slice(&timeline.to_le_bytes());
            header[8..16].copy_from_slice(&(start + page).to_le_bytes());
            header[24..32].copy_from_slice(&99_u64.to_le_bytes());
            header[32..36].copy_from_slice(&(SIZE as u32).to_le_bytes());
            header[36..40].copy_from_slice(&(PAGE_BYTES as u32).to_le_bytes());
        }
        bytes
    }

    fn check(segments: Vec<Checked>, ranges: &[(u32, u64, u64)]) -> Result<Wal> {
        let range = |(timeline, start, end): &(u32, u64, u64)| WalRange {
            timeline: *timeline,
            start: Lsn(*start),
            end: Lsn(*end),
        };
        let ranges: Vec<WalRange> = ranges.iter().map(range).collect();
        let segment_size = SegmentSize::new(SIZE).unwrap();
        Segments(segments).check(&Expected { ranges: &ranges, segment_size, system_identifier: 99, major: 17 })
    }

    #[test]
    fn segments_are_needed_up_to_the_end() {
        let names = ["000000010000000000000004", "000000010000000000000005"];
        let ranges = [(1, 4 * SIZE + 40, 5 * SIZE + 20_000)];
        let both = |valid_bytes| vec![segment(names[0], SIZE, 1), segment(names[1], valid_bytes, 1)];
        assert_eq!(check(both(3 * PAGE_BYTES), &ranges).unwrap(), Wal::Included);
        assert_eq!(check(Vec::new(), &ranges).unwrap(), Wal::NotIncluded);
        let error = check(both(2 * PAGE_BYTES), &ranges).unwrap_err();
        assert_eq!((error.place, error.offset), (place(names[1]), 2 * PAGE_BYTES));
        let error = check(vec![segment(names[1], SIZE, 1)], &ranges).unwrap_err();
        assert_eq!(
            (error.place.as_str(), error.message.contains("missing")),
            ("pg_wal/000000010000000000000004", true)
        );
        let boundary = [(1, 4 * SIZE + 40, 5 * SIZE)];
        assert_eq!(check(vec![segment(names[0], SIZE, 1)], &boundary).unwrap(), Wal::Included);
    }

    #[test]
    fn segment_that_ended_early_has_zeros() {
        let names = ["000000010000000000000004", "000000010000000000000005"];
        let segments = |first| vec![first, segment(names[1], 3 * PAGE_BYTES, 1)];
        let ranges = [(1, 4 * SIZE + 40, 5 * SIZE + 20_000)];
        assert_eq!(check(segments(segment(names[0], 2 * PAGE_BYTES, 1)), &ranges).unwrap(), Wal::Included);
        let boundary = [(1, 4 * SIZE + 40, 5 * SIZE)];
        assert_eq!(check(vec![segment(names[0], 2 * PAGE_BYTES, 1)], &boundary).unwrap(), Wal::Included);
        assert!(check(vec![segment(names[0], 0, 1)], &boundary).is_err(), "no page at all");
        let recycled = Checked { tail: Tail::Other, ..segment(names[0], 2 * PAGE_BYTES, 1) };
        let error = check(segments(recycled), &ranges).unwrap_err();
        assert_eq!((error.place, error.offset), (place(names[0]), 2 * PAGE_BYTES));
    }

    #[test]
    fn byte_among_the_zeros_is_found() {
        for at in [2 * PAGE_BYTES, 2 * PAGE_BYTES + 39, 2 * PAGE_BYTES + 40, 3 * PAGE_BYTES, SIZE - 1] {
            let mut bytes = segment_bytes("000000010000000000000004", 2 * PAGE_BYTES, 1);
            bytes[at as usize] ^= 1;
            for piece_bytes in [1000, PAGE_BYTES as usize, SIZE as usize] {
                let checked = checked("000000010000000000000004", &bytes, piece_bytes);
                assert_eq!(checked.valid_bytes, 2 * PAGE_BYTES);
                assert!(checked.tail == Tail::Other, "byte {at}");
            }
        }
    }

    #[test]
    fn newer_timeline_repeats_the_older_ones_wal() {
        let ranges = [(2, 4 * SIZE + 9000, 4 * SIZE + 30_000), (1, 4 * SIZE + 40, 4 * SIZE + 9000)];
        let newer = || segment("000000020000000000000004", SIZE, 1);
        let older = || segment("000000010000000000000004", 2 * PAGE_BYTES, 1);
        assert_eq!(check(vec![newer()], &ranges).unwrap(), Wal::Included);
        assert_eq!(check(vec![newer(), older()], &ranges).unwrap(), Wal::Included);
        assert!(check(vec![older()], &ranges).is_err());
    }

    #[test]
    fn page_of_a_later_timeline_is_damage() {
        let ranges = [(1, 4 * SIZE, 5 * SIZE)];
        let error = check(vec![segment("000000010000000000000004", SIZE, 2)], &ranges).unwrap_err();
        assert_eq!(error.message, "page of another timeline");
    }

    #[test]
    fn only_segments_have_taps() {
        for path in ["pg_wal/00000001.history", "pg_wal/archive_status/000000010000000000000004", "base/1/2"] {
            assert!(SegmentTap::for_path(path.as_bytes()).is_none(), "{path}");
        }
    }
}
