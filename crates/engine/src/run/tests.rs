//! The order of a run's copies, and the backups that each of them needs.

use longshore_core::event::ignore;
use longshore_core::key::Key;
use longshore_core::manifest::{Manifest, Server};
use longshore_testkit::fake_stage::{Content, FakeDump, pipeline};
use longshore_testkit::memory::{Fault, MemoryStore, Operation};

use super::*;

const TIME: &str = "2026-06-07_091500";

/// Returns a run to two destinations.
fn active_run(near: &MemoryStore, far: &MemoryStore) -> ActiveRun<'static> {
    let server = Server { server_version: "17.4".to_owned(), system_identifier: None };
    ActiveRun {
        incrementals: None,
        differentials: None,
        pipeline: pipeline([("near", near.clone()), ("far", far.clone())]),
        job: "nightly".to_owned(),
        run_id: format!("{TIME}-test"),
        run_backups: 5,
        run_not_captured: Vec::new(),
        time: Timestamp::parse(TIME).unwrap(),
        cluster: Cluster { name: "main".to_owned(), server },
        is_standby: false,
        observer: ignore(),
    }
}

/// Returns the discovered subjects of a server.
async fn discovered() -> Vec<(Arc<dyn Dump>, DiscoveredSubject)> {
    let subjects =
        [Subject::Base, Subject::database("app"), Subject::Globals, Subject::database("crm"), Subject::Tablespaces];
    let content = Content::Whole("abc".into());
    let dump: Arc<dyn Dump> = Arc::new(FakeDump::new(subjects.map(|subject| (subject, content.clone()))));
    survey(&[dump]).await.unwrap().subjects
}

fn name(segment: &str) -> BackupName {
    BackupName::new("main", segment, Timestamp::parse(TIME).unwrap()).unwrap()
}

/// Returns the stored text of a manifest.
fn text(store: &MemoryStore, segment: &str) -> String {
    String::from_utf8(store.get(&name(segment).manifest()).unwrap().to_vec()).unwrap()
}

fn needs(store: &MemoryStore, segment: &str) -> Vec<BackupName> {
    Manifest::from_bytes(&name(segment).manifest(), text(store, segment).as_bytes()).unwrap().needs
}

#[tokio::test]
async fn databases_need_the_globals_of_their_destination() {
    let (near, far) = (MemoryStore::new(), MemoryStore::new());
    far.fault_at(Operation::Ship, &format!("globals-{TIME}.dump"), Fault::Deny);
    let reports = active_run(&near, &far).copy_all(discovered().await, 2).await;
    assert_eq!(reports.len(), 5);
    for database in ["app", "crm"] {
        assert_eq!(needs(&near, database), [name("globals"), name("tablespaces")]);
        assert_eq!(needs(&far, database), [name("tablespaces")]);
    }
    // The text in the manifests of 0.1.0.
    let expected = "\n  \"needs\": [\n    \"main/globals/globals-2026-06-07_091500\",\n    \
                    \"main/tablespaces/tablespaces-2026-06-07_091500\"\n  ],\n";
    assert!(text(&near, "app").contains(expected), "{}", text(&near, "app"));
    for other in ["globals", "tablespaces", "base"] {
        assert!(!text(&near, other).contains("needs"), "{other}");
    }
}

#[tokio::test]
async fn base_backup_does_not_delay_dumps() {
    let (near, far) = (MemoryStore::new(), MemoryStore::new());
    active_run(&near, &far).copy_all(discovered().await, 1).await;
    let folder = |key: Key| key.folder().rsplit('/').next().unwrap_or_default().to_owned();
    let mut order: Vec<_> = near.shipped().into_iter().map(folder).collect();
    order.dedup();
    assert_eq!(order, ["globals", "tablespaces", "app", "crm", "base"]);
}

#[tokio::test]
async fn source_names_needed_backups_of_earlier_runs() {
    let (near, far) = (MemoryStore::new(), MemoryStore::new());
    let parent = BackupName::new("main", "base", Timestamp::parse("2026-06-06_091500").unwrap()).unwrap();
    let mut subjects = discovered().await;
    for (_, surveyed) in &mut subjects {
        match surveyed.subject.kind() {
            SubjectKind::ClusterFiles => surveyed.needs = vec![parent.clone()],
            // Such a database needs no globals: its source decides.
            SubjectKind::Database => surveyed.run_needs = RunNeeds::Nothing,
            SubjectKind::ClusterSql => {}
        }
    }
    active_run(&near, &far).copy_all(subjects, 2).await;
    for store in [&near, &far] {
        assert_eq!(needs(store, "base"), std::slice::from_ref(&parent));
        assert_eq!(needs(store, "app"), []);
        assert!(!text(store, "app").contains("needs"));
    }
}
