//! Servers that archive their WAL into a folder of their data directory.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use longshore_pg_wal::ArchiveName;
use longshore_pg_wal::archive_name::SegmentName;
use longshore_pg_wal::facts::Expected;
use longshore_pg_wal::segment::SegmentSize;
use longshore_testkit::cluster::{Cluster, Installation};

/// The settings of servers that archive.
pub(crate) const SETTINGS: [&str; 8] = [
    "wal_level=logical",
    "max_wal_senders=4",
    "archive_mode=on",
    "archive_command=mkdir -p archive && cp \"%p\" \"archive/%f\"",
    "max_prepared_transactions=5",
    "full_page_writes=on",
    "synchronous_commit=on",
    "wal_compression=on",
];

/// Starts a server on a new cluster with segments of `mebibytes`.
pub(crate) fn start_with_segments(installation: &Installation, mebibytes: u32) -> Cluster {
    Cluster::start_with_segments(installation, mebibytes, &SETTINGS)
}

/// Writes records of many kinds: of any length, with commits, aborts, prepared and nested
/// transactions, replication origins and restore points.
pub(crate) fn write_records(cluster: &Cluster) {
    cluster.psql(
        "postgres",
        "DROP TABLE IF EXISTS things; CREATE TABLE things (n int PRIMARY KEY, t text);
         SELECT pg_create_restore_point('before everything');
         DO $$ BEGIN FOR n IN 1..300 LOOP
             INSERT INTO things VALUES (n, repeat('x', n * 7 % 3000));
             IF n % 3 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
         END LOOP; END $$;
         BEGIN; INSERT INTO things VALUES (1000); PREPARE TRANSACTION 'kept';
         BEGIN; INSERT INTO things VALUES (1001); PREPARE TRANSACTION 'dropped';
         COMMIT PREPARED 'kept'; ROLLBACK PREPARED 'dropped';
         BEGIN; INSERT INTO things VALUES (1002); SAVEPOINT a; INSERT INTO things VALUES (1003); COMMIT;
         SELECT pg_logical_emit_message(true, 'large', repeat('y', 100000));
         SELECT pg_replication_origin_create('elsewhere'), pg_replication_origin_session_setup('elsewhere');
         INSERT INTO things VALUES (1004);
         BEGIN; INSERT INTO things VALUES (1005);
         SELECT pg_replication_origin_xact_setup('0/1000', '2020-02-02'); COMMIT;
         SELECT pg_replication_origin_session_reset(); SELECT pg_replication_origin_drop('elsewhere');
         SELECT pg_create_restore_point('äfter'), pg_create_restore_point(repeat('z', 63));",
    );
}

/// Writes random data of a number of mebibytes, which WAL compression does not shrink.
pub(crate) fn write_mebibytes(cluster: &Cluster, mebibytes: u32) {
    cluster.psql(
        "postgres",
        &format!(
            "CREATE TABLE IF NOT EXISTS filler (t text);
             INSERT INTO filler SELECT repeat(md5(n::text), 30) FROM generate_series(1, {mebibytes} * 1000) n;"
        ),
    );
}

/// Ends the current segment and waits until everything is archived. Returns the archived files in
/// the order of their names.
pub(crate) fn switch_and_archive(cluster: &Cluster) -> Vec<(ArchiveName, PathBuf)> {
    cluster.psql("postgres", "SELECT pg_switch_wal()");
    archived(cluster)
}

/// Waits until everything is archived, and returns the files in the order of their names.
pub(crate) fn archived(cluster: &Cluster) -> Vec<(ArchiveName, PathBuf)> {
    let status = cluster.data_dir().join("pg_wal/archive_status");
    let is_waiting = || {
        let mut names = fs::read_dir(&status).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.any(|name| name.ends_with(".ready"))
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while is_waiting() {
        assert!(Instant::now() < deadline, "not archived: {}", cluster.log());
        thread::sleep(Duration::from_millis(20));
    }
    let mut files: Vec<_> = fs::read_dir(cluster.data_dir().join("archive")).unwrap().map(|it| it.unwrap()).collect();
    files.sort_by_key(|file| file.file_name());
    files.iter().map(|file| (file.file_name().to_str().unwrap().parse().unwrap(), file.path())).collect()
}

/// Returns the content that the archive promises for a segment of this name.
pub(crate) fn expected(cluster: &Cluster, name: SegmentName, size: SegmentSize) -> Expected {
    let system_identifier = cluster.psql("postgres", "SELECT system_identifier FROM pg_control_system()");
    let system_identifier = system_identifier.parse().unwrap();
    Expected { segment: name.segment(size).unwrap(), segment_size: size, system_identifier }
}
