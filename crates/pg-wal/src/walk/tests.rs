use std::io;

use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

use super::{ReadError, Walker, read};
use crate::facts::{DefectKind, End, Expected, Mismatch, Rest, RestorePoints, SegmentFacts};
use crate::lsn::Lsn;
use crate::page::{InvalidHeader, PAGE_BYTES};
use crate::segment::{Segment, SegmentSize};

mod writer;

use writer::{OVERWRITE, SEGMENT_BYTES, START, SYSTEM_IDENTIFIER, Writer};

fn facts(bytes: &[u8]) -> SegmentFacts {
    read(bytes).unwrap()
}

fn defect(bytes: &[u8]) -> (DefectKind, u64) {
    match facts(bytes).end {
        End::Damaged(defect) => {
            assert_eq!(defect.offset, defect.lsn.0 - START);
            (defect.kind, defect.offset)
        }
        end => panic!("{end:?}"),
    }
}

/// Returns a segment that is full of records, continues one, and is continued by another.
fn full() -> Vec<u8> {
    let mut writer = Writer::new(&[1; 20_001]);
    writer.commit(1_000_000);
    writer.fill_page(8);
    writer.record(10, 0, &[2; 30_000]);
    writer.restore_point("half");
    writer.commit(3_000_000);
    writer.commit(2_000_000);
    writer.fill();
    writer.segment()
}

#[test]
fn full_segment_is_read() {
    let facts = facts(&full());
    assert_eq!((facts.major, facts.first_timeline, facts.last_timeline), (17, 1, 1));
    assert_eq!((facts.start, facts.system_identifier), (Lsn(START), SYSTEM_IDENTIFIER));
    assert_eq!((facts.segment_size.bytes() as usize, facts.file_bytes as usize), (SEGMENT_BYTES, SEGMENT_BYTES));
    assert_eq!((facts.continuation_bytes, facts.end.clone()), (20_001, End::Full));
    // Two pages and 3,681 bytes after the third header, rounded up.
    let first = START + 2 * 8192 + 24 + (20_001 - 8152 - 8168) + 7;
    assert_eq!(facts.first_record, Some(Lsn(first)));
    assert_eq!(facts.previous_record, Some(Lsn(START - 0x100)));
    let unfinished = facts.unfinished_record.unwrap();
    assert_eq!(unfinished.lsn, facts.end_of_records);
    assert_eq!(226 - u64::from(unfinished.missing_bytes), START + SEGMENT_BYTES as u64 - unfinished.lsn.0);
    assert_eq!(facts.last_record, Some(Lsn(unfinished.lsn.0 - 232)));
    let ends = facts.transactions.unwrap();
    let seconds = [ends.first, ends.last, ends.latest].map(|time| time.timestamp() - 946_684_800);
    assert_eq!((ends.count, seconds), (3, [1, 2, 3]));
    let [point] = &facts.restore_points.first[..] else { panic!("{facts:?}") };
    assert_eq!((point.name.as_str(), point.time.unwrap().timestamp() - 946_684_800), ("half", 5));
    assert!(facts.is_complete());
}

#[test]
fn records_are_counted_wherever_they_begin() {
    for left in (0..=120).step_by(8) {
        let mut writer = Writer::new(&[]);
        writer.fill_page(left);
        let before = facts(&writer.segment()).records;
        let restore_point = writer.restore_point("x");
        let last = writer.commit(0);
        let end = writer.lsn();
        let facts = facts(&writer.segment());
        assert_eq!((facts.records, facts.last_record), (before + 2, Some(last)), "{left} bytes left");
        assert_eq!((facts.end_of_records, facts.restore_points.first[0].lsn), (Lsn(end), restore_point));
        assert_eq!((facts.end, facts.unfinished_record), (End::Unfinished(Rest::Zeros), None));
    }
}

#[test]
fn record_may_be_longer_than_the_segment() {
    let mut writer = Writer::new(&vec![1; 3 << 20]);
    writer.bytes.truncate(SEGMENT_BYTES);
    let facts = facts(&writer.segment());
    assert_eq!((facts.end, facts.continuation_bytes), (End::Full, 3 << 20));
    assert_eq!((facts.records, facts.first_record, facts.end_of_records), (0, None, Lsn(START)));
}

#[test]
fn switch_ends_a_segment() {
    for left in [0, 8, 16, 24, 32] {
        let mut writer = Writer::new(&[]);
        writer.fill_page(left);
        let switch = writer.switch();
        let end = writer.bytes.len();
        let mut bytes = writer.segment();
        let read = facts(&bytes);
        assert_eq!((&read.end, read.last_record), (&End::Switched(Rest::Zeros), Some(switch)));
        assert_eq!(read.end_of_records, Lsn(START + SEGMENT_BYTES as u64));
        bytes[end] = 1;
        assert_eq!(facts(&bytes).end, End::Switched(Rest::Other));
        bytes[end] = 0;
        bytes[SEGMENT_BYTES - 1] = 1;
        assert_eq!(facts(&bytes).end, End::Switched(Rest::Other));
        bytes.truncate(SEGMENT_BYTES - PAGE_BYTES);
        assert_eq!(facts(&bytes), SegmentFacts { end: End::Switched(Rest::Missing), file_bytes: 1_040_384, ..read });
    }
}

#[test]
fn restore_points_are_kept_in_bounded_number() {
    let mut writer = Writer::new(&[]);
    for number in 0..RestorePoints::MOST + 5 {
        writer.restore_point(&number.to_string());
    }
    let points = facts(&writer.segment()).restore_points;
    assert_eq!((points.count, points.first.len()), (1005, 1000));
    assert_eq!(points.first[999].name, "999");
}

#[test]
fn former_content_of_a_file_ends_the_wal() {
    let mut former = full();
    former.chunks_mut(PAGE_BYTES).for_each(|page| page[10] -= 0x10);
    // The tip within a page, at the end of a page, and within a record.
    for (left, and) in [(4000, 0), (0, 0), (16, 0), (16, 5000)] {
        let mut writer = Writer::new(&[]);
        writer.fill_page(left);
        let lsn = writer.lsn();
        if and > 0 {
            writer.record(10, 0, &vec![1; and]);
            writer.bytes.truncate(PAGE_BYTES);
        }
        writer.bytes.resize(writer.bytes.len().next_multiple_of(PAGE_BYTES), 0);
        let pages = writer.bytes.len();
        for (rest, expected) in [(vec![0; SEGMENT_BYTES], Rest::Zeros), (former.clone(), Rest::Other)] {
            let mut bytes = writer.bytes.clone();
            bytes.extend(&rest[pages..]);
            let read = facts(&bytes);
            assert_eq!((&read.end, read.end_of_records), (&End::Unfinished(expected), Lsn(lsn)), "{left} {and}");
            assert_eq!(read.unfinished_record.map(|record| record.lsn), (and > 0).then_some(Lsn(lsn)));
            assert!(!read.is_complete());
            // A page of this segment behind it is more WAL.
            bytes[SEGMENT_BYTES - PAGE_BYTES..].copy_from_slice(&full()[SEGMENT_BYTES - PAGE_BYTES..]);
            let tip = if and > 0 { PAGE_BYTES as u64 } else { lsn - START };
            assert_eq!(defect(&bytes), (DefectKind::Gap, tip));
            assert_eq!(facts(&bytes).unfinished_record, None);
        }
    }
}

#[test]
fn overwritten_record_is_skipped() {
    for continuation in [&[][..], &[1; 9000]] {
        let mut writer = Writer::new(continuation);
        if continuation.is_empty() {
            writer.fill_page(64);
            let previous = writer.previous;
            writer.record(10, 0, &[1; 9000]);
            writer.previous = previous;
        }
        writer.bytes.truncate(PAGE_BYTES);
        writer.begin_page(OVERWRITE, 0);
        let before = facts(&writer.segment()).records;
        let overwrite = writer.record(0, 0xD0, &[0; 16]);
        writer.fill();
        let facts = facts(&writer.segment());
        assert_eq!(facts.end, End::Full);
        assert!(facts.records > before && facts.last_record > Some(overwrite));
    }
}

#[test]
fn timeline_may_grow_within_a_segment() {
    let mut writer = Writer::new(&[]);
    writer.fill_page(0);
    writer.timeline = 3;
    writer.fill();
    let mut bytes = writer.segment();
    let read = facts(&bytes);
    assert_eq!((read.first_timeline, read.last_timeline, read.end), (1, 3, End::Full));
    bytes[5 * PAGE_BYTES + 4] = 2;
    assert_eq!(defect(&bytes), (DefectKind::PageHeader, 5 * PAGE_BYTES as u64));
}

#[test]
fn damage_is_found_with_its_kind() {
    use DefectKind::{Continuation, Crc, Gap, PageHeader, PreviousRecord, RecordHeader};
    let intact = full();
    let record = (facts(&intact).first_record.unwrap().0 - START) as usize;
    let next = record + 40;
    let page = |number: usize| number * PAGE_BYTES;
    for (at, value, expected, place) in [
        (page(1), 0x17, PageHeader, page(1)),
        (page(1) + 2, 3, PageHeader, page(1)),
        (page(1) + 2, 0x11, PageHeader, page(1)),
        (page(1) + 4, 0, PageHeader, page(1)),
        (page(1) + 9, 0x21, Gap, page(1)),
        (page(1) + 2, 0, Continuation, page(1)),
        (page(1) + 2, 9, Continuation, page(1)),
        (page(1) + 16, 1, Continuation, page(1)),
        (2, 2, PreviousRecord, 40),
        (16, 0, Continuation, page(1)),
        (record, 23, RecordHeader, record),
        (record, 0, RecordHeader, record),
        (record + 17, 22, RecordHeader, record),
        (record + 8, 1, Crc, record),
        (record + 13, 1, PreviousRecord, record),
        (record + 26, 1, Crc, record),
        (record + 20, 1, Crc, record),
        (next + 8, 1, PreviousRecord, next),
        (next + 100, 1, Crc, next),
    ] {
        let mut bytes = intact.clone();
        assert_ne!(bytes[at], value);
        bytes[at] = value;
        assert_eq!(defect(&bytes), (expected, place as u64), "byte {at}");
    }
}

#[test]
fn stray_continuation_is_found() {
    let mut writer = Writer::new(&[]);
    writer.fill_page(0);
    writer.fill();
    let mut bytes = writer.segment();
    bytes[PAGE_BYTES + 2] = 1;
    assert_eq!(defect(&bytes), (DefectKind::Continuation, PAGE_BYTES as u64));
    bytes[PAGE_BYTES + 2] = 0;
    bytes[2] = 3;
    assert_eq!(defect(&bytes), (DefectKind::Continuation, 0));
}

#[test]
fn swapped_pages_are_found() {
    let mut bytes = full();
    let (first, second) = bytes.split_at_mut(21 * PAGE_BYTES);
    first[20 * PAGE_BYTES..].swap_with_slice(&mut second[..PAGE_BYTES]);
    assert_eq!(defect(&bytes).0, DefectKind::Gap);
}

#[test]
fn mismatch_is_reported_with_its_reason() {
    let intact = facts(&full());
    let size = SegmentSize::new(SEGMENT_BYTES as u64).unwrap();
    let segment = Segment { timeline: 1, number: START >> 20 };
    let expected = Expected { segment, segment_size: size, system_identifier: SYSTEM_IDENTIFIER };
    assert_eq!(intact.check(&expected), Ok(()));
    assert_eq!(intact.check(&Expected { segment: Segment { timeline: 2, ..segment }, ..expected }), Ok(()));
    let error = intact.check(&Expected { system_identifier: 7, ..expected }).unwrap_err();
    assert_eq!(error, Mismatch::SystemIdentifier { found: SYSTEM_IDENTIFIER, expected: 7 });
    let error = intact.check(&Expected { segment_size: SegmentSize::DEFAULT, ..expected }).unwrap_err();
    assert_eq!(error, Mismatch::SegmentSize { found: size, expected: SegmentSize::DEFAULT });
    let error = intact.check(&Expected { segment: Segment { number: 8, ..segment }, ..expected }).unwrap_err();
    assert_eq!(error, Mismatch::Address { found: Lsn(START), expected: Lsn(8 << 20) });
    let error = SegmentFacts { last_timeline: 3, ..intact.clone() }.check(&expected).unwrap_err();
    assert_eq!(error, Mismatch::Timeline { found: 3, most: 1 });
    for bytes in [0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES + 1, 3 * SEGMENT_BYTES] {
        let mut file = full();
        file.resize(bytes, 9);
        match read(&file[..]) {
            Ok(facts) => {
                let error = Mismatch::FileSize { found_bytes: bytes as u64, expected_bytes: 1 << 20 };
                assert_eq!(facts.check(&expected), Err(error));
                let end = if bytes > SEGMENT_BYTES { End::Full } else { End::Unfinished(Rest::Missing) };
                assert_eq!(facts.end, end);
            }
            Err(error) => assert_eq!(error.to_string(), format!("WAL segment: {bytes} bytes, less than a page")),
        }
    }
}

#[test]
fn file_that_is_no_segment_is_refused() {
    let header = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = full();
        change(&mut bytes);
        match read(&bytes[..]).unwrap_err() {
            ReadError::Header(error) => error,
            error => panic!("{error:?}"),
        }
    };
    assert_eq!(header(&|bytes| bytes.fill(0)), InvalidHeader::Magic(0));
    assert_eq!(
        header(&|bytes| bytes.copy_within(PAGE_BYTES.., 0)).to_string(),
        "WAL segment: flags 0001 are not those of a first page"
    );
    assert_eq!(header(&|bytes| bytes.truncate(PAGE_BYTES - 1)), InvalidHeader::TooShort { bytes: 8191 });
}

#[test]
fn unreadable_file_is_an_error_of_its_own() {
    struct Broken;
    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("unplugged"))
        }
    }
    let bytes = full();
    let error = read(io::Read::chain(&bytes[..9000], Broken)).unwrap_err();
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "unplugged");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pieces_do_not_matter(sizes in proptest::collection::vec(1usize..30_000, 1..20)) {
        let bytes = &full()[..300_000];
        let mut walker = Walker::new();
        let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            walker.push(now);
            rest = later;
        }
        prop_assert_eq!(walker.finish().unwrap(), facts(bytes));
    }

    #[test]
    fn hostile_bytes_give_a_result(
        start in any::<u64>(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<[u8; 8]>()), 1..8),
    ) {
        let mut bytes = full();
        bytes.truncate(12 * PAGE_BYTES);
        for (at, page) in bytes.chunks_mut(PAGE_BYTES).enumerate() {
            let address = (start & !0xF_FFFF) + (at * PAGE_BYTES) as u64;
            page[8..16].copy_from_slice(&address.to_le_bytes());
        }
        for (at, value) in changes {
            let at = at.index(bytes.len() / 8) * 8;
            bytes[at..at + 8].copy_from_slice(&value);
        }
        if let Ok(facts) = read(&bytes[..]) {
            prop_assert_eq!(facts.file_bytes, bytes.len() as u64);
        }
    }
}
