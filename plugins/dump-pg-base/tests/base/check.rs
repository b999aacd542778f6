//! The preflight check.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use longshore_core::check::{Finding, Outcome};
use longshore_testkit::cluster::{Cluster, Installation};
use serde_json::json;

use crate::support::{stage, superuser_stage, versions};

fn with(outcome: Outcome, findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().filter(|finding| finding.outcome == outcome).collect()
}

#[tokio::test]
async fn suitable_server_has_no_problem() {
    for version in versions() {
        let cluster = Cluster::start(&version, &[]);
        let findings = superuser_stage(&cluster, json!({})).check().await;
        assert!(findings.iter().all(|finding| finding.outcome == Outcome::Good), "{findings:?}");
        let text = format!("{findings:?}");
        assert!(text.contains("connected for replication") && text.contains("max_slot_wal_keep_size"), "{text}");
        assert_eq!(cluster.psql("postgres", "select count(*) from pg_replication_slots"), "0");
    }
}

#[tokio::test]
async fn problems_are_found_before_a_backup() {
    let version = Installation::of_major(15);
    for (settings, problem) in [
        (&["wal_level=minimal", "max_wal_senders=0"][..], "max_wal_senders"),
        (&["max_wal_senders=1"], "max_wal_senders"),
        (&["max_replication_slots=0"], "max_replication_slots"),
    ] {
        let cluster = Cluster::start(&version, settings);
        let findings = superuser_stage(&cluster, json!({})).check().await;
        let failed = with(Outcome::Failed, &findings);
        let remedy = failed.first().and_then(|finding| finding.remedy.as_deref()).unwrap_or_default();
        assert!(failed.len() == 1 && remedy.contains(problem), "{settings:?}: {findings:?}");
    }
}

#[tokio::test]
async fn configuration_outside_of_the_data_directory_is_a_warning() {
    let folder = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir_in("/tmp").unwrap();
    let outside = folder.path().join("hba.conf");
    fs::write(&outside, "local all all trust\nlocal replication all trust\n").unwrap();
    fs::set_permissions(&outside, Permissions::from_mode(0o644)).unwrap();
    let setting = format!("hba_file={}", outside.display());
    let cluster = Cluster::start(&Installation::of_major(15), &[&setting]);
    let findings = superuser_stage(&cluster, json!({})).check().await;
    let warnings = with(Outcome::Warning, &findings);
    assert!(warnings.len() == 1 && warnings[0].message.contains("hba.conf"), "{findings:?}");
    // The paths are hidden from this role.
    cluster.psql("postgres", "create role backup login replication");
    let connection = cluster.connection().replace("user=postgres", "user=backup");
    let findings = stage(&cluster, connection, json!({})).check().await;
    assert!(findings.iter().all(|finding| finding.outcome == Outcome::Good), "{findings:?}");
}
