//! The stage that runs pg_basebackup.

use longshore_core::Kind;
use longshore_core::check::Outcome;
use longshore_core::subject::Subject;
use longshore_pg_base::facts::Wal;
use longshore_testkit::cluster::Cluster;
use serde_json::json;

use crate::support::{create_tablespace, superuser_stage, take, take_fails, versions};

#[tokio::test]
async fn pg_basebackup_streams_the_same_format() {
    for version in versions() {
        let cluster = Cluster::start(&version, &[]);
        let settings = json!({ "client": "pg_basebackup", "checkpoint": "fast", "max_rate": "1GiB" });
        let stage = superuser_stage(&cluster, settings);
        let discovery = stage.discover().await.unwrap();
        let taken = take(&*stage).await.unwrap();
        let facts = taken.facts();
        assert_eq!((facts.wal, facts.label.split(' ').next()), (Wal::Included, Some("longshore")));
        assert_eq!(Some(facts.system_identifier.to_string()), discovery.server.system_identifier);
        assert!(taken.pg_verifybackup(&cluster).contains("successfully verified"));
        let findings = stage.check().await;
        assert!(findings.iter().all(|finding| finding.outcome != Outcome::Failed), "{findings:?}");
    }
}

#[tokio::test]
async fn pg_basebackup_refuses_tablespaces_with_a_hint() {
    let [version, _] = versions();
    let cluster = Cluster::start(&version, &[]);
    create_tablespace(&cluster, "more");
    let stage = superuser_stage(&cluster, json!({ "client": "pg_basebackup" }));
    let error = stage.discover().await.err().unwrap();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.remedy().is_some_and(|hint| hint.contains("longshore")), "{error:?}");
    assert_eq!(stage.dump(&Subject::Base).await.err().unwrap().kind(), Kind::Refused);
    let failed = stage.check().await.into_iter().filter(|finding| finding.outcome == Outcome::Failed).count();
    assert_eq!(failed, 1);
}

#[tokio::test]
async fn failed_pg_basebackup_fails_the_stream() {
    let [version, _] = versions();
    let cluster = Cluster::start(&version, &["max_wal_senders=0"]);
    let error = take_fails(&*superuser_stage(&cluster, json!({ "client": "pg_basebackup" }))).await;
    assert!(error.chain().contains("pg_basebackup ended with exit status 1"), "{}", error.chain());
}
