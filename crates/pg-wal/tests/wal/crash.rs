//! Records that a crash left unfinished: the server replaces their rest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use longshore_pg_wal::Lsn;
use longshore_pg_wal::facts::End;
use longshore_pg_wal::page::PAGE_BYTES;
use longshore_pg_wal::segment::{Segment, SegmentSize};
use longshore_testkit::cluster::{Cluster, Installation, NewFolder};

use crate::support::dump::compared;
use crate::support::source::{self, SETTINGS};

const SIZE: SegmentSize = SegmentSize::DEFAULT;

/// Writes a record of a number of bytes, and restarts a copy of the cluster in which the WAL from a
/// page on was never written: `lost` returns it for the record's beginning. Returns the copy and
/// the position of the page.
fn crashed(installation: &Installation, record_bytes: u64, lost: impl Fn(Lsn) -> Lsn) -> (Cluster, Lsn) {
    let cluster = Cluster::start(installation, &SETTINGS);
    cluster.psql("postgres", "SELECT pg_switch_wal(); CHECKPOINT; CREATE TABLE before_crash ();");
    let begin: Lsn = cluster.psql("postgres", "SELECT pg_current_wal_insert_lsn()").parse().unwrap();
    let message = format!("SELECT pg_logical_emit_message(true, 'x', repeat('x', {record_bytes}))");
    cluster.psql("postgres", &message);
    let folder = NewFolder::new();
    let copied = Command::new("cp").arg("-a").arg(cluster.data_dir()).arg(folder.data_dir()).status().unwrap();
    assert!(copied.success());
    fs::remove_file(folder.data_dir().join("postmaster.pid")).unwrap();
    let lost = lost(begin);
    lose(&folder.data_dir().join("pg_wal"), lost);
    let copy = Cluster::start_on(folder, installation, &SETTINGS);
    source::write_records(&copy);
    source::switch_and_archive(&copy);
    (copy, lost)
}

fn archived(cluster: &Cluster, segment: Segment) -> PathBuf {
    cluster.data_dir().join("archive").join(segment.name(SIZE))
}

/// Removes the WAL from `lsn` on.
fn lose(folder: &Path, lsn: Lsn) {
    let segment = Segment::containing(1, lsn, SIZE);
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match Segment::parse(entry.file_name().to_str().unwrap(), SIZE) {
            Ok(found) if found.number == segment.number && lsn > segment.start(SIZE) => {
                let mut bytes = fs::read(entry.path()).unwrap();
                bytes[(lsn.0 - segment.start(SIZE).0) as usize..].fill(0);
                fs::write(entry.path(), bytes).unwrap();
            }
            Ok(found) if found.number >= segment.number => fs::remove_file(entry.path()).unwrap(),
            _ => {}
        }
    }
}

#[test]
fn overwritten_record_is_read_like_pg_waldump() {
    for installation in Installation::all() {
        let (cluster, lost) =
            crashed(&installation, 100_000, |begin| Lsn((begin.0 + 30_000).next_multiple_of(PAGE_BYTES as u64)));
        let (facts, dump) = compared(&installation, &archived(&cluster, Segment::containing(1, lost, SIZE)));
        let overwrite = dump.records.iter().find(|record| record.description.starts_with("OVERWRITE_CONTRECORD"));
        assert_eq!(overwrite.unwrap().lsn, Lsn(lost.0 + 24), "{}", installation.version);
        assert!(facts.first_record.unwrap() < lost && facts.is_complete(), "{facts:?}");
    }
}

#[test]
fn record_overwritten_in_the_next_segment_is_read() {
    for installation in Installation::all() {
        let end_of_segment = |begin| Segment::containing(1, begin, SIZE).end(SIZE);
        let (cluster, lost) = crashed(&installation, 20 << 20, end_of_segment);
        let (before, _) = compared(&installation, &archived(&cluster, Segment::ending(1, lost, SIZE)));
        assert_eq!(before.end, End::Full);
        assert!(before.unfinished_record.unwrap().missing_bytes > 4 << 20, "{before:?}");
        let (after, dump) = compared(&installation, &archived(&cluster, Segment::containing(1, lost, SIZE)));
        assert_eq!((after.continuation_bytes, after.first_record), (0, Some(Lsn(lost.0 + 40))));
        assert!(dump.records[0].description.starts_with("OVERWRITE_CONTRECORD"), "{:?}", dump.records[0]);
        assert_eq!(after.previous_record, before.last_record);
    }
}
