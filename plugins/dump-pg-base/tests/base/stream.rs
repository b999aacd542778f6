//! The stream: one tar of all tablespaces, and nothing on the server after its end.

use futures_util::StreamExt;
use longshore_core::manifest::Format;
use longshore_core::subject::Subject;
use longshore_pg_client::cluster_files::TABLESPACES;
use longshore_testkit::cluster::{Cluster, Installation};
use serde_json::json;

use crate::support::{create_tablespace, exists, read, superuser_stage, take, versions, wait_for};

/// The numbers of slots and of running backups.
const IN_PROGRESS: &str =
    "select (select count(*) from pg_replication_slots where temporary and slot_type = 'physical'),
    (select count(*) from pg_stat_progress_basebackup)";

#[tokio::test]
async fn two_tablespaces_unpack_into_one_folder() {
    for version in versions() {
        let cluster = Cluster::start(&version, &[]);
        let paths = [create_tablespace(&cluster, "fast"), create_tablespace(&cluster, "slow")];
        cluster.psql(
            "postgres",
            "create table a tablespace fast as select generate_series(1, 100000) n;
             create table b tablespace slow as select generate_series(1, 1000) n;",
        );
        let stage = superuser_stage(&cluster, json!({ "checkpoint": "fast" }));
        let discovery = stage.discover().await.unwrap();
        assert_eq!(discovery.server.server_version.split('.').next(), Some(&*version.major.to_string()));
        assert_eq!((discovery.subjects[0].subject.clone(), discovery.is_standby), (Subject::Base, false));

        let dumped = stage.dump(&Subject::Base).await.unwrap();
        assert_eq!((&dumped.format, &*dumped.tool.name), (&Format::Base, "BASE_BACKUP"));
        let estimated = dumped.estimated_bytes.unwrap();
        let taken = read(dumped).await.unwrap();
        let facts = taken.facts();
        assert_eq!(Some(facts.system_identifier.to_string()), discovery.server.system_identifier);
        assert!(facts.label.starts_with("longshore 2"), "{}", facts.label);
        // The estimate lacks the WAL and includes what the server leaves out.
        assert!((facts.file_bytes / 2..facts.file_bytes * 2).contains(&estimated), "{estimated}");
        assert!(taken.pg_verifybackup(&cluster).contains("successfully verified"));

        let folder = taken.unpack();
        let mut names = Vec::new();
        for (entry, path) in taken.notes.details[TABLESPACES].as_array().unwrap().iter().zip(&paths) {
            assert_eq!(entry["path"], path.to_str().unwrap());
            assert!(exists(&folder, format!("pg_tblspc/{}", entry["oid"])));
            names.push(entry["name"].as_str().unwrap().to_owned());
        }
        assert_eq!(names, ["fast", "slow"]);
        assert_eq!(taken.notes.warnings, [""; 0]);
        wait_for(&cluster, IN_PROGRESS, "0|0").await;
    }
}

#[tokio::test]
async fn dropped_stream_leaves_nothing_on_the_server() {
    for version in versions() {
        let cluster = Cluster::start(&version, &[]);
        let stage = superuser_stage(&cluster, json!({ "checkpoint": "fast", "max_rate": "1MiB" }));
        let mut dumped = stage.dump(&Subject::Base).await.unwrap();
        dumped.stream.next().await.unwrap().unwrap();
        assert_eq!(cluster.psql("postgres", IN_PROGRESS), "1|1");
        drop(dumped);
        wait_for(&cluster, IN_PROGRESS, "0|0").await;
    }
}

#[tokio::test]
async fn dump_without_a_reader_leaves_nothing_on_the_server() {
    let cluster = Cluster::start(&Installation::of_major(15), &[]);
    let stage = superuser_stage(&cluster, json!({ "checkpoint": "fast" }));
    drop(stage.dump(&Subject::Base).await.unwrap());
    wait_for(&cluster, IN_PROGRESS, "0|0").await;
}

#[tokio::test]
async fn standby_can_be_backed_up() {
    for version in versions() {
        // A standby cannot be backed up if its primary omits full pages, as test clusters do.
        let primary = Cluster::start(&version, &["full_page_writes=on"]);
        let standby = primary.start_standby(&[]);
        let stage = superuser_stage(&standby, json!({ "checkpoint": "fast" }));
        assert!(stage.discover().await.unwrap().is_standby);
        let taken = take(&*stage).await.unwrap();
        assert_eq!(taken.facts().source, longshore_pg_base::facts::Source::Standby);
    }
}

#[tokio::test]
async fn stopped_server_fails_the_stream() {
    let cluster = Cluster::start(&Installation::of_major(15), &[]);
    let stage = superuser_stage(&cluster, json!({ "checkpoint": "fast", "max_rate": "1MiB" }));
    let mut dumped = stage.dump(&Subject::Base).await.unwrap();
    dumped.stream.next().await.unwrap().unwrap();
    drop(cluster);
    let error = read(dumped).await.err().unwrap();
    assert_eq!((error.kind(), error.subject()), (longshore_core::Kind::Unavailable, "base"), "{}", error.chain());
}
