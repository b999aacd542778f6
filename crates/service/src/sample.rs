//! What tests of this crate have in common: a configuration with one job and one destination in memory, and backups in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use longshore_core::catalog::Catalog;
use longshore_core::key::{BackupName, Key, Stamp};
use longshore_core::manifest::Manifest;
use longshore_core::meter::Digest;
use longshore_core::retention::Policy;
use longshore_core::run_report::{Id, Outcome, RunReport};
use longshore_core::subject::Subject;
use longshore_testkit::memory::MemoryStore;

use crate::catalogs::Catalogued;
use crate::config::{Config, Destination, Job};
use crate::verify::ashore;

/// The destination's name.
pub(crate) const DESTINATION: &str = "memory";

/// A manifest whose artifact, and details where there are any, are the three bytes `abc`.
pub(crate) fn manifest() -> Manifest {
    let key = Key::parse("main/appdb/appdb-2026-06-07_091500.json").unwrap();
    let mut manifest = Manifest::from_bytes(&key, include_bytes!("../../core/testdata/manifest-1.json")).unwrap();
    manifest.artifact.sealed = Digest::of(b"abc");
    if let Some(details) = &mut manifest.details {
        details.sealed = Digest::of(b"abc");
    }
    manifest
}

/// Puts a backup there.
pub(crate) fn put(store: &MemoryStore, manifest: &Manifest) {
    for file in manifest.files() {
        store.put(&file.key, "abc");
    }
    store.put(&manifest.name().unwrap().manifest(), manifest.to_bytes().unwrap());
}

/// Puts what a run of the job made at `time` there: globals, and databases that need them. Returns the names, globals first.
pub(crate) fn put_run(store: &MemoryStore, time: &str, databases: &[&str]) -> Vec<BackupName> {
    put_run_but(store, time, databases, "")
}

/// Puts what a run made there that was to make these databases, and failed with one.
pub(crate) fn put_run_but(store: &MemoryStore, time: &str, databases: &[&str], failed: &str) -> Vec<BackupName> {
    put_run_with(store, time, databases, failed, |_| {})
}

/// The same, each manifest changed before it is put.
pub(crate) fn put_run_with(
    store: &MemoryStore,
    time: &str,
    databases: &[&str],
    failed: &str,
    change: impl Fn(&mut Manifest),
) -> Vec<BackupName> {
    let subjects = [Subject::Globals].into_iter().chain(databases.iter().map(|name| Subject::database(*name)));
    let mut names: Vec<BackupName> = Vec::new();
    for subject in subjects.filter(|subject| *subject != Subject::database(failed)) {
        let mut manifest = manifest();
        manifest.time = Stamp::parse(time).unwrap();
        manifest.run = format!("{time}-0");
        manifest.run_backups = 1 + databases.len() as u32;
        manifest.needs = names.first().cloned().into_iter().filter(|_| subject.is_database()).collect();
        manifest.subject = subject;
        let name = manifest.name().unwrap();
        manifest.artifact.key = name.artifact(".dump.zst.age").unwrap();
        manifest.details = None;
        change(&mut manifest);
        put(store, &manifest);
        names.push(name);
    }
    names
}

/// The job that made them.
pub(crate) fn job(policy: Option<Policy>) -> Job {
    let manifest = manifest();
    let mut site = ashore();
    site.cluster.name = manifest.cluster.name;
    Job {
        name: manifest.job,
        site,
        pause_replay: false,
        dump: Vec::new(),
        verify: None,
        encrypt: None,
        ship: vec![DESTINATION.to_owned()],
        retention: policy.map(|policy| (DESTINATION.to_owned(), policy)).into_iter().collect(),
        parallel: 1,
        max_age: None,
        schedule: None,
        drill: crate::config::Drilling::default(),
    }
}

/// A configuration with that job and this destination, which keeps what it remembers in `folder`.
pub(crate) fn config(folder: &Path, store: &MemoryStore, policy: Option<Policy>) -> Config {
    let job = job(policy);
    Config {
        path: folder.join("config.toml"),
        lock_dir: Some(folder.join("locks")),
        state_dir: Some(folder.join("state")),
        destinations: BTreeMap::from([(DESTINATION.to_owned(), Destination::of(store.clone()))]),
        jobs: BTreeMap::from([(job.name.clone(), job)]),
        ..Config::default()
    }
}

/// The destination, as it is now.
pub(crate) async fn catalogued(store: &MemoryStore) -> Catalogued {
    let catalog = Catalog::read(store).await.unwrap();
    Catalogued { name: DESTINATION.to_owned(), store: Arc::new(store.clone()), catalog }
}

/// A destination with one sealed backup.
pub(crate) async fn with_backup() -> (MemoryStore, Catalogued) {
    let store = MemoryStore::new();
    put(&store, &manifest());
    let at = catalogued(&store).await;
    (store, at)
}

/// Puts the report of a run that made these backups where this host keeps its reports.
pub(crate) fn put_report(config: &Config, time: &str, made: &[BackupName]) {
    let job = config.jobs.values().next().unwrap();
    let text = include_bytes!("../../core/testdata/run-report-1.json");
    let mut report = RunReport::from_bytes("x", text).unwrap();
    report.begun = Stamp::parse(time).unwrap().time();
    report.id = Id::new(report.begun, "run", "0");
    report.outcome = Outcome::Done;
    let subject = report.subjects.iter().find(|subject| subject.backup.is_some()).unwrap().clone();
    report.subjects = made
        .iter()
        .map(|name| {
            let mut subject = subject.clone();
            subject.backup = Some(name.clone());
            subject
        })
        .collect();
    let folder = config.state_dir.clone().unwrap().join("runs");
    std::fs::create_dir_all(&folder).unwrap();
    let file = format!("{}-{}.{}.json", job.name, config.digest(), report.id);
    std::fs::write(folder.join(file), report.to_bytes().unwrap()).unwrap();
}
