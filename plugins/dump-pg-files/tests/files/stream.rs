//! The stream: the same tar as by the server, and nothing at the server after its end.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use futures_util::StreamExt;
use longshore_core::manifest::Format;
use longshore_core::subject::Subject;
use longshore_core::{Kind, Stage};
use longshore_pg_base::facts::{PageChecksums, Source, Wal};
use longshore_pg_client::cluster_files::TABLESPACES;
use longshore_testkit::cluster::{Cluster, Installation, Load};
use serde_json::json;

use crate::support::{create_tablespace, expect_idle, read, superuser_stage, take, take_fails, versions};

#[tokio::test]
async fn pg_verifybackup_agrees_with_our_manifest() {
    for major in [15, 16, 17, 18] {
        let cluster = Cluster::start(&Installation::of_major(major), &[]);
        let path = create_tablespace(&cluster, "fast");
        cluster.psql(
            "postgres",
            "create table a tablespace fast as select generate_series(1, 100000) n;
             create unlogged table u as select generate_series(1, 1000) n;
             create database other;",
        );
        let stage = superuser_stage(&cluster, json!({ "checkpoint": "fast", "threads": 3 }));
        let discovery = stage.discover().await.unwrap();
        assert_eq!((discovery.subjects[0].subject.clone(), discovery.is_standby), (Subject::Base, false));
        let dumped = stage.dump(&Subject::Base).await.unwrap();
        assert_eq!(dumped.format, Format::Base);
        let taken = read(dumped).await.unwrap();
        let facts = taken.facts();
        assert_eq!(Some(facts.system_identifier.to_string()), discovery.server.system_identifier);
        assert_eq!((facts.version, facts.wal, facts.source), (major, Wal::Included, Source::Primary));
        assert!(facts.label.starts_with("longshore 2"), "{}", facts.label);
        assert_eq!(facts.tablespaces.len(), 1);
        taken.pg_verifybackup(&cluster);

        let folder = taken.unpack();
        let entry = &taken.notes.details[TABLESPACES][0];
        assert_eq!((entry["path"].as_str(), entry["name"].as_str()), (path.to_str(), Some("fast")));
        assert!(folder.path().join(format!("pg_tblspc/{}", entry["oid"])).is_dir());
        let unlogged = cluster.psql("postgres", "select pg_relation_filepath('u')");
        assert!(folder.path().join(format!("{unlogged}_init")).exists() && !folder.path().join(unlogged).exists());
        assert_eq!(taken.notes.warnings, [""; 0]);
        assert!(taken.notes.finished.is_some());
        expect_idle(&cluster).await;
    }
}

#[tokio::test]
async fn wal_can_be_left_to_the_archive() {
    let cluster = Cluster::start(&Installation::of_major(17), &[]);
    let stage = superuser_stage(&cluster, json!({ "checkpoint": "fast", "wal": "archive" }));
    assert!(stage.needs_wal_archive());
    assert_eq!(take(&*stage).await.unwrap().facts().wal, Wal::NotIncluded);
}

#[tokio::test]
async fn standby_can_be_backed_up() {
    for version in versions() {
        let primary = Cluster::start(&version, &["full_page_writes=on"]);
        let standby = primary.start_standby(&[]);
        let stage = superuser_stage(&standby, json!({ "checkpoint": "fast" }));
        assert!(stage.discover().await.unwrap().is_standby);
        let taken = take(&*stage).await.unwrap();
        assert_eq!(taken.facts().source, Source::Standby);
        taken.pg_verifybackup(&standby);
    }
}

#[tokio::test]
async fn dropped_stream_leaves_nothing_on_the_server() {
    let cluster = Cluster::start(&Installation::of_major(15), &[]);
    let stage = superuser_stage(&cluster, json!({ "checkpoint": "fast", "max_rate": "1MiB" }));
    let mut dumped = stage.dump(&Subject::Base).await.unwrap();
    dumped.stream.next().await.unwrap().unwrap();
    assert_eq!(cluster.psql("postgres", "select count(*) from pg_replication_slots where temporary"), "1");
    drop(dumped);
    expect_idle(&cluster).await;
}

#[tokio::test]
async fn lost_session_discards_the_backup() {
    let cluster = Cluster::start(&Installation::of_major(17), &[]);
    let stage = superuser_stage(&cluster, json!({ "checkpoint": "fast" }));
    let mut dumped = stage.dump(&Subject::Base).await.unwrap();
    dumped.stream.next().await.unwrap().unwrap();
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'longshore'";
    cluster.psql("postgres", end);
    let error = read(dumped).await.map(|_| ()).unwrap_err();
    assert_eq!((error.stage(), error.kind(), error.subject()), (Stage::Dump, Kind::Unavailable, "base"));
    assert!(error.chain().contains("session of the backup was lost"), "{}", error.chain());
    expect_idle(&cluster).await;
}

#[tokio::test]
async fn stopped_cluster_is_backed_up_as_it_is() {
    for version in versions() {
        let cluster = Cluster::start(&version, &[]);
        create_tablespace(&cluster, "fast");
        cluster.psql("postgres", "create table a tablespace fast as select generate_series(1, 1000) n");
        let settings = json!({ "data_directory": cluster.data_dir() });
        let stopped = cluster.stop();
        let stage = superuser_stage(&stopped, settings);
        let discovery = stage.discover().await.unwrap();
        assert_eq!(discovery.server.server_version, version.major.to_string());
        let findings = stage.check().await;
        assert!(findings[0].message.contains("shut down"), "{findings:?}");
        let taken = take(&*stage).await.unwrap();
        let facts = taken.facts();
        assert_eq!((facts.wal, facts.label.as_str(), facts.tablespaces.len()), (Wal::Included, "", 1));
        assert_eq!(facts.start_lsn, facts.control.redo);
        taken.pg_verifybackup(&stopped);
    }
}

/// Changes a byte of block 3 of a new table, and returns the path of its file.
fn damage_a_page(cluster: &Cluster) -> String {
    let create = "create table damaged as select repeat('x', 1000) from generate_series(1, 100); checkpoint;
                  select pg_relation_filepath('damaged')";
    let path = cluster.psql("postgres", create);
    let file = OpenOptions::new().read(true).write(true).open(cluster.data_dir().join(&path)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 3 * 8192 + 5000).unwrap();
    file.write_all_at(&[byte[0] ^ 0xFF], 3 * 8192 + 5000).unwrap();
    path
}

#[tokio::test]
async fn damaged_page_fails_the_dump_or_is_recorded() {
    let cluster = Cluster::start(&Installation::of_major(15), &[]);
    let path = damage_a_page(&cluster);
    let error = take_fails(&*superuser_stage(&cluster, json!({ "checkpoint": "fast" }))).await;
    assert_eq!((error.stage(), error.kind(), error.subject()), (Stage::Dump, Kind::Corrupt, "base"));
    assert!(error.chain().contains(&format!("block 3 of {path}")), "{}", error.chain());
    assert!(error.remedy().is_some_and(|hint| hint.contains("damaged_pages = \"record\"")), "{error:?}");

    let stage = superuser_stage(&cluster, json!({ "checkpoint": "fast", "damaged_pages": "record" }));
    let PageChecksums::On { damaged, .. } = take(&*stage).await.unwrap().facts().page_checksums else {
        panic!("the cluster has checksums")
    };
    let pages: Vec<_> = damaged.first.iter().map(|page| (page.path.as_str(), page.block)).collect();
    assert_eq!(pages, [(path.as_str(), 3)]);
}

/// Writes, checkpoints and recycles WAL.
const WRITE: Load<'_> = Load {
    database: "postgres",
    script: "insert into load select n, repeat(n::text, 100) from generate_series(1, 20000) n;
             update load set t = t || 'x' where n % 7 = 0; select pg_switch_wal(); checkpoint; truncate load",
    pause: Duration::from_secs(1),
};

#[tokio::test(flavor = "multi_thread")]
async fn busy_server_is_copied_with_its_wal() {
    for version in versions() {
        let recycle = ["wal_keep_size=0", "max_wal_size=32MB", "min_wal_size=32MB", "full_page_writes=on"];
        let cluster = Cluster::start(&version, &recycle);
        cluster.psql("postgres", "create table load (n int, t text)");
        let stage = superuser_stage(&cluster, json!({ "checkpoint": "fast", "max_rate": "8MiB", "threads": 2 }));
        let dumped = stage.dump(&Subject::Base).await.unwrap();
        let runtime = tokio::runtime::Handle::current();
        let (taken, rounds) =
            tokio::task::block_in_place(|| cluster.under_load(&[WRITE], || runtime.block_on(read(dumped)).unwrap()));
        let facts = taken.facts();
        let segments = (facts.stop_lsn.0 - facts.start_lsn.0) >> 24;
        assert!(rounds[0] >= 2 && segments >= 2, "{rounds:?} rounds, {segments} segments: the server wrote too little");
        assert_eq!(facts.wal, Wal::Included);
        taken.pg_verifybackup(&cluster);
    }
}
