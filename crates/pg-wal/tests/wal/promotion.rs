//! The files that promotions leave in an archive: histories, and segments of two timelines.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use longshore_pg_wal::facts::{Mismatch, SegmentFacts};
use longshore_pg_wal::segment::{Segment, SegmentSize};
use longshore_pg_wal::{ArchiveName, History, Lsn};
use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::dump::{Dump, compared};
use crate::support::source::{self, SETTINGS};

const SIZE: SegmentSize = SegmentSize::DEFAULT;

/// Starts a standby, promotes it in the middle of a segment, and returns it after its first segment
/// is archived.
fn promoted(cluster: &Cluster) -> (Cluster, Vec<(ArchiveName, PathBuf)>) {
    let standby = cluster.start_standby(&SETTINGS);
    source::write_records(cluster);
    let last = cluster.psql("postgres", "CHECKPOINT; SELECT pg_current_wal_lsn()");
    while standby.psql("postgres", &format!("SELECT pg_last_wal_replay_lsn() >= '{last}'")) != "t" {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(standby.psql("postgres", "SELECT pg_promote()"), "t");
    source::write_records(&standby);
    let files = source::switch_and_archive(&standby);
    (standby, files)
}

fn history(files: &[(ArchiveName, PathBuf)], timeline: u32) -> History {
    let (_, path) = files.iter().find(|(name, _)| *name == ArchiveName::History { timeline }).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    assert_eq!(History::timeline_in_name(name), Some(timeline));
    History::parse(timeline, &fs::read(path).unwrap()).unwrap()
}

/// Returns the first segment of a timeline, compared with `pg_waldump`.
fn first_segment(
    installation: &Installation,
    files: &[(ArchiveName, PathBuf)],
    timeline: u32,
) -> (Segment, SegmentFacts, Dump) {
    let mut segments = files.iter().filter_map(|(name, path)| match name {
        ArchiveName::Segment(segment) if segment.timeline() == timeline => Some((segment, path)),
        _ => None,
    });
    let (name, path) = segments.next().unwrap();
    let (facts, dump) = compared(installation, path);
    (name.segment(SIZE).unwrap(), facts, dump)
}

#[test]
fn first_segment_after_a_promotion_begins_with_the_parent() {
    for installation in Installation::all() {
        let primary = Cluster::start(&installation, &SETTINGS);
        source::write_records(&primary);
        let (standby, files) = promoted(&primary);
        let history = history(&files, 2);
        let switch_point = history.switch_point(1).unwrap();
        assert_eq!(history.ancestors()[0].reason, "no recovery target specified");
        let (segment, facts, dump) = first_segment(&installation, &files, 2);
        assert_eq!(segment, Segment::containing(2, switch_point, SIZE), "{}", installation.version);
        assert_eq!((facts.first_timeline, facts.last_timeline), (1, 2));
        let ArchiveName::Segment(name) = segment.name(SIZE).parse().unwrap() else { panic!("{segment:?}") };
        let expected = source::expected(&standby, name, SIZE);
        facts.check(&expected).unwrap();
        let error =
            facts.check(&longshore_pg_wal::facts::Expected { segment: Segment { timeline: 1, ..segment }, ..expected });
        assert_eq!(error, Err(Mismatch::Timeline { found: 2, most: 1 }));
        // The first record of the new timeline begins at the switch point.
        assert!(dump.records.iter().any(|record| record.lsn == switch_point), "{switch_point}: {history:?}");
        assert!(history.contains(1, Lsn(switch_point.0 - 1)) && history.contains(2, switch_point));
    }
}

#[test]
fn end_of_a_timeline_is_archived_as_partial() {
    for installation in Installation::all() {
        let primary = Cluster::start(&installation, &SETTINGS);
        source::write_records(&primary);
        let (standby, files) = promoted(&primary);
        let partial = files.iter().find_map(|(name, path)| match name {
            ArchiveName::Partial(segment) => Some((segment, path)),
            _ => None,
        });
        let (name, path) = partial.unwrap();
        assert_eq!(name.timeline(), 1);
        // pg_waldump reads only files with the name of a whole segment.
        let whole = path.with_extension("");
        fs::rename(path, &whole).unwrap();
        let (facts, _) = compared(&installation, &whole);
        facts.check(&source::expected(&standby, *name, SIZE)).unwrap();
        assert!(!facts.is_complete(), "{facts:?}");
        assert_eq!(facts.end_of_records, history(&files, 2).switch_point(1).unwrap(), "{}", installation.version);
        let backups = source::archived(&primary).into_iter().filter_map(|(name, path)| match name {
            ArchiveName::BackupHistory { segment, .. } => Some((name, segment, path)),
            _ => None,
        });
        let [(name, segment, path)] = &backups.collect::<Vec<_>>()[..] else { panic!("one base backup was taken") };
        assert_eq!(segment.timeline(), 1);
        assert!(name.file_size(SIZE).permits(fs::metadata(path).unwrap().len()));
    }
}

#[test]
fn history_of_two_promotions_is_read() {
    for installation in Installation::all() {
        let primary = Cluster::start(&installation, &SETTINGS);
        let (second, _) = promoted(&primary);
        let (_third, files) = promoted(&second);
        let history = history(&files, 3);
        let [first, second] = history.ancestors() else { panic!("{history:?}") };
        assert_eq!((first.timeline, second.timeline), (1, 2), "{}", installation.version);
        assert!(first.switch_point < second.switch_point);
        let (segment, facts, _) = first_segment(&installation, &files, 3);
        assert_eq!(segment, Segment::containing(3, second.switch_point, SIZE));
        assert_eq!(facts.last_timeline, 3);
        assert_eq!(history.timeline_at(facts.last_record.unwrap()), Some(3));
        assert_eq!(history.timeline_at(first.switch_point), Some(2));
    }
}
