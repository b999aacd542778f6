//! Backups that cannot be right, and roles that may not take them.

use longshore_core::Kind;
use longshore_core::check::Outcome;
use longshore_testkit::cluster::{Cluster, Installation};
use serde_json::json;

use crate::support::{stage, superuser_stage, take, take_fails};

#[tokio::test]
async fn folder_of_another_cluster_is_refused() {
    let [one, other] = [15, 17].map(|major| Cluster::start(&Installation::of_major(major), &[]));
    let settings = json!({ "checkpoint": "fast", "data_directory": other.data_dir() });
    let stage = superuser_stage(&one, settings);
    let error = take_fails(&*stage).await;
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("system identifier"), "{error}");
    assert!(stage.check().await.iter().any(|finding| finding.outcome == Outcome::Failed));
}

#[tokio::test]
async fn folder_of_a_standby_is_refused() {
    let primary = Cluster::start(&Installation::of_major(17), &[]);
    let standby = primary.start_standby(&[]);
    let settings = json!({ "checkpoint": "fast", "data_directory": standby.data_dir() });
    let error = take_fails(&*superuser_stage(&primary, settings)).await;
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("port"), "{error}");
}

#[tokio::test]
async fn few_rights_suffice() {
    let cluster = Cluster::start(&Installation::of_major(15), &[]);
    cluster.psql("postgres", "create role backup login");
    let connection = cluster.connection().replace("user=postgres", "user=backup");
    let as_backup = |settings| stage(&cluster, connection.clone(), settings);
    let error = take_fails(&*as_backup(json!({ "checkpoint": "fast", "wal": "archive" }))).await;
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.remedy().is_some_and(|hint| hint.contains("pg_backup_stop(boolean)")), "{error:?}");
    cluster.psql(
        "postgres",
        "grant execute on function pg_backup_start(text, boolean), pg_backup_stop(boolean) to backup;
         grant pg_read_all_settings to backup",
    );
    take(&*as_backup(json!({ "checkpoint": "fast", "wal": "archive" }))).await.unwrap();
    let with_wal = as_backup(json!({ "checkpoint": "fast" }));
    assert_eq!(take_fails(&*with_wal).await.kind(), Kind::Denied);
    assert!(with_wal.check().await.iter().any(|finding| finding.message.contains("may not reserve WAL")));
    cluster.psql("postgres", "alter role backup replication");
    // A session that stays idle for longer while files are read.
    cluster.psql("postgres", "alter role backup set idle_session_timeout = '100ms'");
    let slowly = as_backup(json!({ "checkpoint": "fast", "max_rate": "16MiB" }));
    take(&*slowly).await.unwrap();
    let findings = with_wal.check().await;
    assert!(findings.iter().all(|finding| finding.outcome != Outcome::Failed), "{findings:?}");
}
