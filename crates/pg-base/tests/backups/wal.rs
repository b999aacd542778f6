//! The WAL in backups of real servers: each page that recovery needs must be present.

use longshore_pg_base::facts::Wal;
use longshore_pg_wal::segment::{Segment, SegmentSize};
use longshore_testkit::cluster::Installation;

use crate::support::{damage, real, tar, verify};

/// A backup with its WAL.
struct WithWal {
    archive: Vec<u8>,
    /// The path of the last segment.
    last: String,
    /// The place of its content in the archive.
    content: usize,
    /// The bytes of the last segment that the backup needs.
    needed_bytes: usize,
}

impl WithWal {
    fn of(installation: &Installation) -> Self {
        let source = real::Source::start(installation, &[]);
        let archive = source.back_up(&["-X", "fetch"]).merged();
        let facts = verify(&archive).unwrap();
        let segment = Segment::ending(1, facts.stop_lsn, SegmentSize::DEFAULT);
        let last = format!("pg_wal/{}", segment.name(SegmentSize::DEFAULT));
        let needed_bytes = (facts.stop_lsn.0 - segment.start(SegmentSize::DEFAULT).0) as usize;
        let mut reader = ::tar::Archive::new(&archive[..]);
        let mut entries = reader.entries().unwrap().map(Result::unwrap);
        let entry = entries.find(|entry| entry.path_bytes() == last.as_bytes()).unwrap();
        let content = entry.raw_file_position() as usize;
        Self { last, content, needed_bytes, archive }
    }

    /// Flips a bit of the last segment and returns the message of the error.
    #[track_caller]
    fn fault(&mut self, at: usize) -> String {
        self.archive[self.content + at] ^= 0x40;
        let error = verify(&self.archive).unwrap_err();
        self.archive[self.content + at] ^= 0x40;
        assert_eq!(error.place, self.last, "{error}");
        error.message
    }
}

#[test]
fn damage_in_wal_is_found() {
    for installation in Installation::all() {
        let mut backup = WithWal::of(&installation);
        let last_page = (backup.needed_bytes - 1) / 8192 * 8192;
        for (at, message) in [
            (0, "magic number"),
            (4, "timeline"),
            (9, "address"),
            (24, "WAL of system"),
            (34, "segment size"),
            (last_page + 1, "magic number"),
            (last_page + 2, "flags"),
            (last_page + 10, "address"),
        ] {
            let fault = backup.fault(at);
            assert!(fault.contains(message), "{}, byte {at}: {fault}", installation.version);
        }
    }
}

fn segments_that_ended_early_are_verified(installation: &Installation) {
    let source = real::Source::start(installation, &["full_page_writes=on"]);
    source.cluster.psql("postgres", "SELECT pg_create_restore_point('one'), pg_switch_wal();");
    // A standby forces no checkpoint, so its backup begins before the switches.
    source.cluster.psql("postgres", "DROP TABLE stars; DROP TABLESPACE outer_space; CHECKPOINT;");
    let standby = source.cluster.start_standby(&["full_page_writes=on"]);
    source.cluster.psql(
        "postgres",
        "SELECT pg_create_restore_point('two'), pg_switch_wal(); SELECT pg_create_restore_point('three');
         SELECT pg_switch_wal();",
    );
    let last = source.cluster.psql("postgres", "SELECT pg_current_wal_insert_lsn()");
    let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{last}'");
    while standby.psql("postgres", &replayed) != "t" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let facts = verify(&real::back_up(&standby, &["-X", "fetch"]).merged()).unwrap();
    assert_eq!(facts.wal, Wal::Included, "{}", installation.version);
    let bytes = facts.stop_lsn.0 - facts.start_lsn.0;
    assert!(bytes > 16 << 20, "the range contains a switch: {facts:?}");
}

#[test]
fn segments_that_ended_early_are_verified_with_the_newest_release() {
    segments_that_ended_early_are_verified(&Installation::of_major(18));
}

mod slow {
    use super::*;

    #[test]
    fn segments_that_ended_early_are_verified_with_each_release() {
        Installation::all().iter().for_each(segments_that_ended_early_are_verified);
    }
}

#[test]
fn segment_of_another_size_is_found() {
    let backup = WithWal::of(&Installation::system());
    let mut members = tar::members(&backup.archive);
    for bytes in [0, 8 << 20] {
        damage::content(&mut members, &backup.last).resize(bytes, 0);
        let error = verify(&tar::archive(&members)).unwrap_err();
        assert_eq!(error.place, backup.last);
        assert_eq!(error.message, format!("{bytes} bytes instead of 16777216"));
    }
}

#[test]
fn wal_after_the_end_of_the_backup_has_no_meaning() {
    let mut backup = WithWal::of(&Installation::system());
    let end = backup.needed_bytes.next_multiple_of(8192);
    backup.archive[backup.content + end..backup.content + (16 << 20)].fill(7);
    assert_eq!(verify(&backup.archive).unwrap().wal, Wal::Included);
}

#[test]
fn missing_segment_is_found() {
    let backup = WithWal::of(&Installation::system());
    let mut members = tar::members(&backup.archive);
    // Another segment remains, so that the backup is not one without WAL.
    let mut other = members.iter().find(|member| member.path == backup.last).unwrap().clone();
    other.path = backup.last.replacen("pg_wal/00000001", "pg_wal/00000007", 1);
    members.retain(|member| member.path != backup.last);
    damage::insert(&mut members, &other.path, &other.content);
    let error = verify(&tar::archive(&members)).unwrap_err();
    assert_eq!(error.place, backup.last);
    assert!(error.message.contains("missing: the backup needs WAL from"), "{error}");
}
