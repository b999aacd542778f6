//! Damage of segments of 1 MiB: each change is found, or it is of bytes that one segment does not
//! verify.

use std::fs;
use std::ops::Range;
use std::sync::LazyLock;

use longshore_pg_wal::ArchiveName;
use longshore_pg_wal::facts::{End, Expected, Rest, SegmentFacts};
use longshore_pg_wal::page::{InvalidHeader, PAGE_BYTES, PageHeader};
use longshore_pg_wal::segment::SegmentSize;
use longshore_pg_wal::walk::Walker;
use longshore_testkit::cluster::Installation;

use crate::support::dump::{Dump, compared};
use crate::support::source;

/// A valid segment.
struct Segment {
    bytes: Vec<u8>,
    facts: SegmentFacts,
    expected: Expected,
    /// The bits of each byte that the walk verifies.
    verified: Vec<u8>,
}

/// A full segment that continues a record and is continued, and a switched one.
static SEGMENTS: LazyLock<[Segment; 2]> = LazyLock::new(|| {
    let installation = Installation::of_major(17);
    let cluster = source::start_with_segments(&installation, 1);
    let size = SegmentSize::new(1 << 20).unwrap();
    source::write_records(&cluster);
    source::write_mebibytes(&cluster, 3);
    source::write_records(&cluster);
    let segments = source::switch_and_archive(&cluster).into_iter().map(|(name, path)| {
        let ArchiveName::Segment(name) = name else { panic!("{name}") };
        let (facts, dump) = compared(&installation, &path);
        let bytes = fs::read(&path).unwrap();
        let verified = verified(&bytes, &facts, &dump);
        Segment { bytes, facts, expected: source::expected(&cluster, name, size), verified }
    });
    let mut segments: Vec<_> = segments.collect();
    let switched = segments.pop().unwrap();
    assert_eq!(switched.facts.end, End::Switched(Rest::Zeros));
    let is_continued = |segment: &Segment| {
        segment.facts.continuation_bytes > 0 && segment.facts.unfinished_record.is_some_and(|it| it.missing_bytes > 0)
    };
    let full = segments.into_iter().rfind(is_continued).unwrap();
    [full, switched]
});

/// Returns the bits that the walk verifies, computed from the records of `pg_waldump`: those of
/// page headers with a meaning, and of records that begin and end in the segment.
fn verified(bytes: &[u8], facts: &SegmentFacts, dump: &Dump) -> Vec<u8> {
    let mut verified = vec![0; bytes.len()];
    let offset = |lsn: longshore_pg_wal::Lsn| (lsn.0 - facts.start.0) as usize;
    let end_of_switch = dump.is_switched().then(|| offset(facts.last_record.unwrap()) + 24);
    for (at, page) in (0..).step_by(PAGE_BYTES).zip(bytes.chunks(PAGE_BYTES)) {
        if end_of_switch.is_some_and(|end| at >= end) {
            break;
        }
        let header = PageHeader::parse(page.first_chunk().unwrap());
        // Two flags have no meaning here: XLP_BKP_REMOVABLE, and XLP_FIRST_IS_OVERWRITE_CONTRECORD
        // unless a record continues.
        let flags = if header.flags.is_continuation() { 0xFB } else { 0xF3 };
        verified[at..at + 16].fill(0xFF);
        verified[at + 2] = flags;
        if header.flags.is_continuation() && at > 0 {
            verified[at + 16..at + 20].fill(0xFF);
        }
        if header.flags.has_long_header() {
            verified[at + 24..at + 40].fill(0xFF);
        }
    }
    for record in &dump.records {
        let mut at = offset(record.lsn);
        let mut left = record.bytes;
        while left > 0 {
            let page = at / PAGE_BYTES * PAGE_BYTES;
            at = at.max(page + if page == 0 { 40 } else { 24 });
            let now = left.min(page + PAGE_BYTES - at);
            verified[at..at + now].fill(0xFF);
            (at, left) = (at + now, left - now);
        }
    }
    verified
}

/// Reads a segment without a copy.
fn read(bytes: &[u8]) -> Result<SegmentFacts, InvalidHeader> {
    let mut walker = Walker::new();
    walker.push(bytes);
    walker.finish()
}

impl Segment {
    /// Checks that a walk finds the change of a range of bytes, or that nothing verifies them.
    fn check(&self, bytes: &[u8], range: Range<usize>) {
        let changed = &bytes[range.clone()];
        let found = match read(bytes) {
            Err(_) => true,
            Ok(facts) if !facts.is_complete() || facts.check(&self.expected).is_err() => true,
            // The segments before and after have other lengths.
            Ok(facts) if facts.continuation_bytes != self.facts.continuation_bytes => true,
            Ok(facts) if facts.unfinished_record != self.facts.unfinished_record => true,
            Ok(mut facts) => {
                if facts.end == End::Switched(Rest::Other) {
                    facts.end = End::Switched(Rest::Zeros);
                }
                assert_eq!(facts, self.facts, "{range:?} = {changed:X?}");
                false
            }
        };
        let is_verified = |at: usize| self.verified[at] & (self.bytes[at] ^ bytes[at]) != 0;
        assert!(found || !range.clone().any(is_verified), "{range:?} = {changed:X?}");
    }

    /// Applies a change to a range, checks the result, and reverts the change.
    fn with(&self, bytes: &mut [u8], range: Range<usize>, change: impl Fn(&mut [u8])) {
        change(&mut bytes[range.clone()]);
        self.check(bytes, range.clone());
        bytes[range.clone()].copy_from_slice(&self.bytes[range]);
    }
}

#[test]
fn flipped_bits_are_found() {
    for segment in &*SEGMENTS {
        let verified = segment.verified.iter().filter(|bits| **bits != 0).count();
        assert!(verified > 200_000, "{verified} bytes are verified");
        let mut bytes = segment.bytes.clone();
        let near_the_end = segment.facts.last_record.unwrap().0 - segment.facts.start.0;
        let near_the_end = near_the_end as usize & !0x1FFF;
        let places = (0..2 * PAGE_BYTES).chain((near_the_end..near_the_end + PAGE_BYTES).step_by(29));
        for at in places.chain((0..bytes.len()).step_by(4001)) {
            segment.with(&mut bytes, at..at + 1, |byte| byte[0] ^= 1 << (at % 8));
        }
    }
}

#[test]
fn headers_of_pages_are_verified() {
    for segment in &*SEGMENTS {
        let mut bytes = segment.bytes.clone();
        for page in (0..bytes.len()).step_by(5 * PAGE_BYTES) {
            for (at, bit) in [(0, 0), (2, 0), (2, 1), (2, 3), (3, 7), (4, 0), (4, 1), (9, 5), (15, 0), (16, 0), (19, 7)]
            {
                segment.with(&mut bytes, page + at..page + at + 1, |byte| byte[0] ^= 1 << bit);
            }
        }
    }
}

#[test]
fn zeroed_and_stale_sectors_are_found() {
    for segment in &*SEGMENTS {
        let mut bytes = segment.bytes.clone();
        for size in [512, 4096, PAGE_BYTES] {
            for at in (0..bytes.len()).step_by(if size == 512 { 512 * 31 } else { size * 3 }) {
                segment.with(&mut bytes, at..at + size, |sector| sector.fill(0));
                let other = (at + 5 * PAGE_BYTES) % segment.bytes.len();
                let other = &segment.bytes[other..other + size];
                segment.with(&mut bytes, at..at + size, |sector| sector.copy_from_slice(other));
            }
        }
    }
}

#[test]
fn lost_ends_are_found() {
    for segment in &*SEGMENTS {
        let mut bytes = segment.bytes.clone();
        for at in (0..bytes.len()).step_by(8209) {
            let range = at..bytes.len();
            segment.with(&mut bytes, range, |end| end.fill(0));
            let cut = read(&segment.bytes[..at]);
            assert!(cut.is_err() || cut.unwrap().check(&segment.expected).is_err(), "cut at {at}");
        }
    }
}

#[test]
fn swapped_pages_are_found() {
    for segment in &*SEGMENTS {
        for first in (0..segment.bytes.len()).step_by(9 * PAGE_BYTES) {
            for second in (first + PAGE_BYTES..segment.bytes.len()).step_by(4 * PAGE_BYTES) {
                let mut bytes = segment.bytes.clone();
                let (before, after) = bytes.split_at_mut(second);
                before[first..first + PAGE_BYTES].swap_with_slice(&mut after[..PAGE_BYTES]);
                segment.check(&bytes, first..second + PAGE_BYTES);
            }
        }
    }
}
