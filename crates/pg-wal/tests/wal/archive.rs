//! Segments that a server archives, compared with `pg_waldump`.

use std::fs;

use longshore_pg_wal::facts::{End, Rest};
use longshore_pg_wal::segment::SegmentSize;
use longshore_pg_wal::{ArchiveName, History};
use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::dump::compared;
use crate::support::source::{self, SETTINGS};

/// The beginnings of the descriptions that each archive has.
const KINDS: [&str; 6] =
    ["COMMIT ", "ABORT ", "COMMIT_PREPARED ", "ABORT_PREPARED ", "RESTORE_POINT before", "RESTORE_POINT äfter"];

/// Compares all segments of an archive, and returns the number of full and of switched ones.
fn compare(cluster: &Cluster, installation: &Installation, size: SegmentSize) -> (usize, usize) {
    let (mut full, mut switched, mut before) = (0, 0, None);
    let mut missing_kinds = KINDS.to_vec();
    for (name, path) in source::switch_and_archive(cluster) {
        assert!(name.file_size(size).permits(fs::metadata(&path).unwrap().len()), "{name}");
        let ArchiveName::Segment(segment) = name else { panic!("{name}") };
        let (facts, dump) = compared(installation, &path);
        missing_kinds.retain(|kind| !dump.records.iter().any(|record| record.description.starts_with(kind)));
        facts.check(&source::expected(cluster, segment, size)).unwrap();
        assert_eq!(facts.end_of_records == segment.segment(size).unwrap().end(size), facts.unfinished_record.is_none());
        if let Some((previous_record, missing_bytes)) = before {
            let found = (facts.previous_record, facts.continuation_bytes);
            assert_eq!(found, (previous_record, missing_bytes), "{name} of {}", installation.version);
        }
        before = Some(match facts.unfinished_record {
            Some(record) => (Some(record.lsn), record.missing_bytes),
            None => (facts.last_record, 0),
        });
        match facts.end {
            End::Full => full += 1,
            End::Switched(Rest::Zeros) => switched += 1,
            end => panic!("{name}: {end:?}"),
        }
    }
    assert_eq!(missing_kinds, [""; 0]);
    (full, switched)
}

#[test]
fn archived_segments_are_read_like_pg_waldump() {
    for installation in Installation::all() {
        let cluster = Cluster::start(&installation, &SETTINGS);
        source::write_records(&cluster);
        cluster.psql("postgres", "SELECT pg_switch_wal()");
        source::write_mebibytes(&cluster, 20);
        source::write_records(&cluster);
        let (full, switched) = compare(&cluster, &installation, SegmentSize::DEFAULT);
        assert!(full >= 1 && switched >= 2, "{full} full and {switched} switched of {}", installation.version);
    }
}

#[test]
fn segments_of_other_sizes_are_read_like_pg_waldump() {
    for (major, mebibytes) in [(15, 1), (18, 64)] {
        let installation = Installation::of_major(major);
        let cluster = source::start_with_segments(&installation, mebibytes);
        source::write_records(&cluster);
        source::write_mebibytes(&cluster, 3);
        let size = SegmentSize::new(u64::from(mebibytes) << 20).unwrap();
        let (full, switched) = compare(&cluster, &installation, size);
        assert!(full > 2 || mebibytes == 64, "{full}");
        assert_eq!(switched, 1);
    }
}

#[test]
fn running_segment_is_unfinished() {
    for installation in Installation::all() {
        let cluster = Cluster::start(&installation, &SETTINGS);
        source::write_records(&cluster);
        let name = cluster.psql("postgres", "CHECKPOINT; SELECT pg_walfile_name(pg_current_wal_insert_lsn())");
        // A copy, since the server may write more meanwhile.
        let copy = cluster.data_dir().join(&name);
        fs::copy(cluster.data_dir().join("pg_wal").join(&name), &copy).unwrap();
        let (facts, _) = compared(&installation, &copy);
        assert_eq!(facts.end, End::Unfinished(Rest::Zeros), "{}", installation.version);
        assert_eq!(History::timeline_in_name(&name), None);
        let insert = cluster.psql("postgres", "SELECT pg_current_wal_insert_lsn()");
        assert!(facts.end_of_records <= insert.parse().unwrap(), "{} after {insert}", facts.end_of_records);
    }
}
