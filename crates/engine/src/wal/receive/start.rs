//! The segment with which a stream starts, so that the archive has no gap.

use std::collections::BTreeSet;

use longshore_pg_wal::history::{History, Section};
use longshore_pg_wal::segment::{Segment, SegmentSize};

/// Returns the segments to start with, the best one first: the one after the end of the archive,
/// and the one that the slot reserves. The server may have removed the former.
pub(super) fn starts(
    archived: &BTreeSet<Segment>,
    reserved: u64,
    history: &History,
    size: SegmentSize,
) -> Vec<Segment> {
    let sections: Vec<Section> = history.lineage().collect();
    // A segment that two timelines share is whole on the newer one only.
    let of_number = |number: u64| {
        let begins = |section: &&Section| Segment::containing(section.timeline, section.begin, size).number <= number;
        let newest = sections.iter().rev().find(begins).map_or(history.timeline(), |section| section.timeline);
        Segment { timeline: newest, number }
    };
    let is_archived = |number: u64| archived.contains(&of_number(number));
    let mut numbers = Vec::new();
    if is_archived(reserved) {
        // The run from the reserved segment on has an end, since the archive has.
        numbers.extend((reserved..).find(|number| !is_archived(*number)));
    } else {
        let before = archived.iter().map(|segment| segment.number).filter(|number| *number < reserved);
        let newest = before.filter(|number| is_archived(*number)).max();
        numbers.extend(newest.map(|number| number + 1));
    }
    if numbers.last() != Some(&reserved) {
        numbers.push(reserved);
    }
    numbers.into_iter().map(of_number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    #[test]
    fn stream_continues_the_archive() {
        let history = History::parse(2, b"1\t0/5800000\tno recovery target specified\n").unwrap();
        let of = |archived: &[(u32, u64)], reserved| -> Vec<(u32, u64)> {
            let archived = archived.iter().map(|(timeline, number)| Segment { timeline: *timeline, number: *number });
            let starts = starts(&archived.collect(), reserved, &history, SIZE);
            starts.into_iter().map(|segment| (segment.timeline, segment.number)).collect()
        };
        assert_eq!(of(&[], 4), [(1, 4)]);
        assert_eq!(of(&[(1, 2), (1, 3)], 4), [(1, 4)]);
        assert_eq!(of(&[(1, 3), (1, 4)], 4), [(2, 5), (1, 4)]);
        assert_eq!(of(&[(1, 3), (1, 4), (2, 5), (2, 6)], 4), [(2, 7), (1, 4)]);
        // The archive ends before the slot.
        assert_eq!(of(&[(1, 3)], 8), [(1, 4), (2, 8)]);
        // Another history, which this one left.
        assert_eq!(of(&[(1, 4), (1, 5), (1, 6)], 6), [(2, 5), (2, 6)]);
    }
}
