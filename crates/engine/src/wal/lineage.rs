//! The timelines that recovery of a base backup follows, and the segments that it needs.
//!
//! Of a segment that two timelines share, PostgreSQL reads the one of the newer timeline, which
//! begins with a copy of the older one's WAL.

use std::collections::{BTreeMap, BTreeSet};

use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_wal::Lsn;
use longshore_pg_wal::history::{History, Section};
use longshore_pg_wal::segment::{Segment, SegmentSize};

/// The part of a base backup that decides which WAL it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BackupRange {
    pub(crate) timeline: u32,
    pub(crate) start: Lsn,
    pub(crate) stop: Lsn,
}

/// The archived WAL from a base backup on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lineage {
    /// The timeline on which recovery ends.
    pub(crate) timeline: u32,
    /// The segments without a gap, from the start of the backup on.
    pub(crate) segments: Vec<Segment>,
    /// The last of them, if only its beginning is archived.
    pub(crate) partial: Option<Segment>,
    /// The first segment that is not archived.
    pub(crate) missing: Segment,
    /// True if later segments are archived: the missing one is a gap, and not the end.
    pub(crate) is_gap: bool,
}

/// Returns the timeline on which recovery ends unless another one is requested: the newest one with
/// WAL.
///
/// # Errors
///
/// Fails with [`Kind::Refused`] if the WAL of another timeline would be left out: only a person
/// knows which of two histories is the right one.
pub(crate) fn newest_timeline(
    backup: BackupRange,
    histories: &BTreeMap<u32, History>,
    archived: &BTreeSet<Segment>,
    size: SegmentSize,
) -> Result<u32> {
    let newest = archived.iter().map(|segment| segment.timeline).max().unwrap_or(0);
    if newest <= backup.timeline {
        return Ok(backup.timeline);
    }
    let refused = |message: String| Error::new(Stage::Restore, Kind::Refused, format!("timeline {newest}"), message);
    let Some(history) = histories.get(&newest) else {
        return Err(refused(format!("the archive has WAL of it, but not {newest:08X}.history")).hint(format!(
            "archive the file from the server: `longshore wal push pg_wal/{newest:08X}.history`; or recover only along \
             an older timeline: --timeline {}",
            backup.timeline
        )));
    };
    let choice = format!(
        "choose the history to recover: --timeline {newest} is the newer one, --timeline {} that of the newest backup",
        backup.timeline
    );
    if !descends(history, backup) {
        let message = format!("left timeline {} before the newest backup ended there", backup.timeline);
        return Err(refused(message).hint(choice));
    }
    let ancestors = history.lineage().filter(|section| section.timeline >= backup.timeline);
    for (timeline, end) in ancestors.filter_map(|section| Some((section.timeline, section.end?))) {
        let last = archived.iter().filter(|segment| segment.timeline == timeline).map(|segment| segment.number).max();
        if last.is_some_and(|last| last > Segment::containing(timeline, end, size).number) {
            let message = format!("left timeline {timeline} at {end}, and timeline {timeline} has later WAL, too");
            return Err(refused(message).hint(choice));
        }
    }
    Ok(newest)
}

/// Returns true if a timeline continues that of the backup after its end.
pub(crate) fn descends(history: &History, backup: BackupRange) -> bool {
    history.switch_point(backup.timeline).is_some_and(|switch_point| switch_point >= backup.stop)
}

/// Returns the error of a timeline whose history is not archived.
pub(crate) fn missing_history(timeline: u32) -> Error {
    let message = format!("the archive has no {timeline:08X}.history");
    Error::new(Stage::Restore, Kind::Refused, format!("timeline {timeline}"), message)
        .hint("`longshore wal status` shows the archived timelines")
}

/// Returns the archived WAL of a timeline from a base backup on. Of the segments whose beginning is
/// archived, only one at the very end counts.
///
/// # Errors
///
/// Fails with [`Kind::Refused`] if the timeline does not continue that of the backup, or if the
/// archive lacks WAL that makes the backup consistent.
pub(crate) fn lineage(
    backup: BackupRange,
    timeline: u32,
    histories: &BTreeMap<u32, History>,
    (archived, partial): (&BTreeSet<Segment>, &BTreeSet<Segment>),
    size: SegmentSize,
) -> Result<Lineage> {
    let refused = |message: String| Error::new(Stage::Restore, Kind::Refused, format!("timeline {timeline}"), message);
    let own = History::without_ancestors(timeline);
    if timeline < backup.timeline {
        let message = format!("the backup is of the later timeline {}", backup.timeline);
        return Err(refused(message).hint("choose an older backup, by its name or with --at"));
    }
    let history = match histories.get(&timeline) {
        _ if timeline == backup.timeline => histories.get(&timeline).unwrap_or(&own),
        Some(history) if descends(history, backup) => history,
        Some(_) => {
            let message = format!("began before the backup, which is of timeline {}, ended", backup.timeline);
            return Err(refused(message).hint("choose an older backup, or omit --timeline"));
        }
        None => return Err(missing_history(timeline)),
    };
    let sections: Vec<Section> = history.lineage().collect();
    let first = Segment::containing(backup.timeline, backup.start, size).number;
    let of_number = |number: u64| {
        let begins = |section: &&Section| Segment::containing(section.timeline, section.begin, size).number <= number;
        let newest = sections.iter().rev().find(begins).map_or(backup.timeline, |section| section.timeline);
        Segment { timeline: newest, number }
    };
    let mut segments: Vec<Segment> =
        (first..).map(of_number).take_while(|segment| archived.contains(segment)).collect();
    let end = of_number(first + segments.len() as u64);
    let is_later = |segment: &Segment| segment.number > end.number && of_number(segment.number) == *segment;
    let is_gap = archived.iter().chain(partial).any(is_later);
    let partial = (!is_gap && partial.contains(&end)).then_some(end);
    segments.extend(partial);
    let missing = of_number(first + segments.len() as u64);
    let needed = Segment::ending(backup.timeline, backup.stop, size).number;
    if missing.number <= needed {
        let message = format!(
            "the archive lacks {}, in which the backup ends, at {}: nothing after the backup can be recovered from it",
            missing.name(size),
            backup.stop
        );
        return Err(refused(message).hint("choose another backup, by its name or with --at; or find the segment in pg_wal, and archive it with `longshore wal push`"));
    }
    Ok(Lineage { timeline, segments, partial, missing, is_gap })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn segments(names: &[&str]) -> BTreeSet<Segment> {
        names.iter().map(|name| Segment::parse(name, SIZE).unwrap()).collect()
    }

    fn histories() -> BTreeMap<u32, History> {
        let second = History::parse(2, b"1\t0/5800000\tno recovery target specified\n").unwrap();
        let third = History::parse(3, b"1\t0/5800000\treason\n\n2\t0/7000000\treason\n").unwrap();
        [(2, second), (3, third)].into()
    }

    fn backup(timeline: u32, start: u64, stop: u64) -> BackupRange {
        BackupRange { timeline, start: Lsn(start), stop: Lsn(stop) }
    }

    fn names(lineage: &Lineage) -> Vec<String> {
        lineage.segments.iter().map(|segment| segment.name(SIZE)).collect()
    }

    #[test]
    fn newest_timeline_is_chosen_only_if_it_has_all_wal() {
        let newest = |backup, names: &[&str]| newest_timeline(backup, &histories(), &segments(names), SIZE);
        let old = backup(1, 0x400_0028, 0x400_0100);
        let (first, second) = ("000000010000000000000005", "000000020000000000000006");
        assert_eq!(newest(old, &[first, second, "000000030000000000000008"]).unwrap(), 3);
        // A history without WAL is that of a test.
        assert_eq!(newest(old, &[first]).unwrap(), 1);
        assert_eq!(newest(backup(3, 0x800_0028, 0x800_0100), &[first, second]).unwrap(), 3);
        for (backup, names, reason) in [
            // Timeline 1 continued after the fork, and so a backup was made there.
            (backup(1, 0x600_0028, 0x600_0100), &[first, second][..], "before the newest backup ended"),
            (old, &["000000010000000000000007", second], "timeline 1 has later WAL"),
            (old, &[first, "000000090000000000000007"], "00000009.history"),
        ] {
            let error = newest(backup, names).unwrap_err();
            assert!(error.kind() == Kind::Refused && error.chain().contains(reason), "{}", error.chain());
        }
    }

    #[test]
    fn gap_before_a_new_timeline_is_a_gap() {
        let archived = segments(&["000000010000000000000004", "000000020000000000000006"]);
        let until_gap =
            lineage(backup(1, 0x400_0028, 0x400_0100), 2, &histories(), (&archived, &BTreeSet::new()), SIZE).unwrap();
        assert_eq!(until_gap.missing.name(SIZE), "000000020000000000000005");
        assert!(until_gap.is_gap);
    }

    #[test]
    fn shared_segment_is_that_of_the_newer_timeline() {
        let archived = segments(&[
            "000000010000000000000004",
            "000000010000000000000005",
            "000000020000000000000005",
            "000000020000000000000006",
            "000000030000000000000007",
            "000000030000000000000008",
        ]);
        let all =
            lineage(backup(1, 0x400_0028, 0x400_0100), 3, &histories(), (&archived, &BTreeSet::new()), SIZE).unwrap();
        let expected = [
            "000000010000000000000004",
            "000000020000000000000005",
            "000000020000000000000006",
            "000000030000000000000007",
            "000000030000000000000008",
        ];
        assert_eq!(names(&all), expected);
        assert_eq!(all.missing.name(SIZE), "000000030000000000000009");
        assert!(!all.is_gap);
        let old =
            lineage(backup(1, 0x400_0028, 0x400_0100), 1, &histories(), (&archived, &BTreeSet::new()), SIZE).unwrap();
        assert_eq!(names(&old), ["000000010000000000000004", "000000010000000000000005"]);
    }

    #[test]
    fn gap_ends_the_lineage_or_is_refused() {
        let archived = segments(&["000000010000000000000004", "000000010000000000000006"]);
        let until_gap =
            lineage(backup(1, 0x400_0028, 0x400_0100), 1, &BTreeMap::new(), (&archived, &BTreeSet::new()), SIZE)
                .unwrap();
        assert_eq!(until_gap.missing.name(SIZE), "000000010000000000000005");
        assert!(until_gap.is_gap);
        let error =
            lineage(backup(1, 0x400_0028, 0x500_0100), 1, &BTreeMap::new(), (&archived, &BTreeSet::new()), SIZE)
                .unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.chain().contains("000000010000000000000005"), "{}", error.chain());
    }

    #[test]
    fn partial_segment_counts_only_at_the_end() {
        let archived = segments(&["000000010000000000000004"]);
        let partial = segments(&["000000010000000000000004", "000000010000000000000005"]);
        let backup = backup(1, 0x400_0028, 0x400_0100);
        let of = |timeline, archived: &BTreeSet<Segment>, partial: &BTreeSet<Segment>| {
            lineage(backup, timeline, &histories(), (archived, partial), SIZE).unwrap()
        };
        let whole = of(1, &archived, &partial);
        assert_eq!(names(&whole), ["000000010000000000000004", "000000010000000000000005"]);
        assert_eq!(whole.partial.map(|segment| segment.number), Some(5));
        assert!(!whole.is_gap && whole.missing.number == 6);
        // Timeline 2 has its own copy of the beginning.
        let on_second = of(2, &archived, &partial);
        assert!(on_second.partial.is_none() && on_second.missing.name(SIZE) == "000000020000000000000005");
        let more = segments(&["000000010000000000000004", "000000010000000000000006"]);
        let gap = of(1, &more, &partial);
        assert!(gap.is_gap && gap.partial.is_none() && gap.missing.number == 5);
    }

    #[test]
    fn other_timelines_are_refused() {
        let archived = segments(&["000000010000000000000006"]);
        for timeline in [2, 7] {
            let refused =
                lineage(backup(1, 0x600_0028, 0x600_0100), timeline, &histories(), (&archived, &BTreeSet::new()), SIZE);
            assert_eq!(refused.unwrap_err().kind(), Kind::Refused, "{timeline}");
        }
    }
}
