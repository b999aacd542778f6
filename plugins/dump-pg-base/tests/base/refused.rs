//! Servers and roles that allow no backup.

use longshore_core::subject::Subject;
use longshore_core::{Kind, Stage};
use longshore_testkit::cluster::{Cluster, Installation};
use serde_json::json;

use crate::support::{stage, superuser_stage, versions};

#[tokio::test]
async fn role_without_replication_is_denied_with_a_hint() {
    for version in versions() {
        let cluster = Cluster::start(&version, &[]);
        cluster.psql("postgres", "create role plain login");
        let connection = cluster.connection().replace("user=postgres", "user=plain");
        let error = stage(&cluster, connection, json!({})).discover().await.err().unwrap();
        assert_eq!((error.stage(), error.kind(), error.subject()), (Stage::Connect, Kind::Denied, "main"));
        assert_eq!(error.sqlstate().unwrap().as_str(), "42501");
        assert!(error.remedy().is_some_and(|hint| hint.contains("REPLICATION")), "{error:?}");
    }
}

#[tokio::test]
async fn role_without_sql_can_back_up() {
    let cluster = Cluster::start(&Installation::of_major(15), &[]);
    cluster.psql(
        "postgres",
        "create role backup login replication; revoke connect on database postgres, template1 from public;",
    );
    let connection = cluster.connection().replace("user=postgres", "user=backup");
    let stage = stage(&cluster, connection, json!({ "checkpoint": "fast" }));
    let taken = crate::support::take(&*stage).await.unwrap();
    assert!(taken.pg_verifybackup(&cluster).contains("successfully verified"));
}

#[tokio::test]
async fn server_without_a_line_in_pg_hba_is_denied_with_a_hint() {
    let cluster = Cluster::start(&Installation::of_major(15), &[]);
    std::fs::write(cluster.data_dir().join("pg_hba.conf"), "local all all trust\n").unwrap();
    cluster.psql("postgres", "select pg_reload_conf()");
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let error = superuser_stage(&cluster, json!({})).discover().await.err().unwrap();
    assert_eq!((error.kind(), error.sqlstate().unwrap().as_str()), (Kind::Denied, "28000"));
    assert!(error.remedy().is_some_and(|hint| hint.contains("pg_hba.conf")), "{error:?}");
}

#[tokio::test]
async fn single_wal_sender_is_too_few() {
    for version in versions() {
        let cluster = Cluster::start(&version, &["max_wal_senders=1"]);
        let stage = superuser_stage(&cluster, json!({ "checkpoint": "fast" }));
        stage.discover().await.unwrap();
        let error = stage.dump(&Subject::Base).await.err().unwrap();
        assert_eq!((error.kind(), error.sqlstate().unwrap().as_str()), (Kind::Unavailable, "53300"));
        assert!(error.remedy().is_some_and(|hint| hint.contains("max_wal_senders")), "{error:?}");
    }
}

#[tokio::test]
async fn missing_slots_are_reported_with_a_hint() {
    let cluster = Cluster::start(&Installation::of_major(15), &["max_replication_slots=0"]);
    let error = superuser_stage(&cluster, json!({})).dump(&Subject::Base).await.err().unwrap();
    assert_eq!((error.kind(), error.sqlstate().unwrap().as_str()), (Kind::Failed, "53400"));
    assert!(error.remedy().is_some_and(|hint| hint.contains("max_replication_slots")), "{error:?}");
}

#[tokio::test]
async fn another_cluster_on_the_same_address_is_refused() {
    let (cluster, other) = {
        let version = Installation::of_major(15);
        (Cluster::start(&version, &[]), Cluster::start(&version, &[]))
    };
    // A service file that changes between discovery and dump has the effect of a moving address.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services");
    let write = |cluster: &Cluster| {
        let lines = cluster.connection().replace(' ', "\n");
        std::fs::write(&file, format!("[moving]\n{lines}\n")).unwrap();
    };
    write(&cluster);
    let connection = format!("service=moving servicefile={}", file.display());
    let stage = stage(&cluster, connection, json!({ "checkpoint": "fast" }));
    stage.discover().await.unwrap();
    write(&other);
    let error = stage.dump(&Subject::Base).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("another cluster"), "{error}");
}
