//! Fixtures of this crate's tests: a configuration with one job and one destination in memory, and
//! backups there.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use longshore_catalog::catalog::Catalog;
use longshore_config::registry::Registry;
use longshore_config::{Config, Destination, Job};
use longshore_core::difference::Difference;
use longshore_core::key::{BackupName, Key, Timestamp};
use longshore_core::manifest::Manifest;
use longshore_core::meter::Digest;
use longshore_core::plugin::{JobContext, Plugin};
use longshore_core::run_report::{Id, Outcome, RunReport};
use longshore_core::stage::Verify;
use longshore_core::subject::{Subject, SubjectKind};
use longshore_retention::Policy;
use longshore_testkit::fake_stage::FakeVerify;
use longshore_testkit::memory::MemoryStore;

use crate::catalogs::Catalogued;
use crate::stages::site_without_server;

/// The name of the destination.
pub(crate) const DESTINATION: &str = "memory";

/// Returns a manifest whose artifact, and details if it has any, are the three bytes `abc`.
pub(crate) fn manifest() -> Manifest {
    let key = Key::parse("main/appdb/appdb-2026-06-07_091500.json").unwrap();
    let mut manifest = Manifest::from_bytes(&key, include_bytes!("../../model/testdata/manifest-1.json")).unwrap();
    manifest.artifact.sealed = Digest::of(b"abc");
    if let Some(details) = &mut manifest.details {
        details.sealed = Digest::of(b"abc");
    }
    manifest
}

/// Stores a backup.
pub(crate) fn put(store: &MemoryStore, manifest: &Manifest) {
    for file in manifest.files() {
        store.put(&file.key, "abc");
    }
    store.put(&manifest.name().unwrap().manifest(), manifest.to_bytes().unwrap());
}

/// Stores the backups of a run at `time`: globals, and databases that need them. Returns the names,
/// globals first.
pub(crate) fn put_run(store: &MemoryStore, time: &str, databases: &[&str]) -> Vec<BackupName> {
    put_partial_run(store, time, databases, "")
}

/// Stores the backups of a run that failed to dump one of these databases.
pub(crate) fn put_partial_run(store: &MemoryStore, time: &str, databases: &[&str], failed: &str) -> Vec<BackupName> {
    put_run_with(store, time, databases, failed, |_| {})
}

/// Stores the backups of a run like [`put_partial_run`], and changes each manifest first.
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
        manifest.time = Timestamp::parse(time).unwrap();
        manifest.run = format!("{time}-0");
        manifest.run_backups = 1 + databases.len() as u32;
        manifest.needs =
            names.first().cloned().into_iter().filter(|_| subject.kind() == SubjectKind::Database).collect();
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

/// Stores a difference from a full backup of a run of [`put_run`]. Returns its name.
pub(crate) fn put_difference(store: &MemoryStore, full: &BackupName, time: &str) -> BackupName {
    put_run_with(store, time, &["app"], "", |manifest| {
        if manifest.subject.kind() == SubjectKind::Database {
            let name = manifest.name().unwrap();
            manifest.format = 2;
            manifest.artifact.key = name.artifact(".dump.rdiff.zst.age").unwrap();
            manifest.artifact.difference = Some(Box::new(Difference {
                form: Difference::RDIFF.to_owned(),
                full: full.clone(),
                full_plaintext: manifest.artifact.plaintext.clone(),
                encoded: Digest::of(b"abc"),
                block_bytes: 512,
            }));
            manifest.needs.push(full.clone());
        }
    })
    .remove(1)
}

/// Gives a backup the name that 0.1.0 gave it.
pub(crate) fn rename_as_0_1_0(manifest: &mut Manifest) {
    if let Some(segment) = manifest.subject.former_segment() {
        let name = BackupName::new(&manifest.cluster.name, segment, manifest.time).unwrap();
        manifest.artifact.key = name.artifact(".dump.zst.age").unwrap();
    }
}

/// Stores a base backup of a run at `time`, by the same job. Returns its name.
pub(crate) fn put_base(store: &MemoryStore, time: &str) -> BackupName {
    put_base_with(store, time, |manifest| manifest.base = None).name().unwrap()
}

/// Stores a full base backup of a run at `time`, changed by `change`. Returns its manifest.
pub(crate) fn put_base_with(store: &MemoryStore, time: &str, change: impl FnOnce(&mut Manifest)) -> Manifest {
    let key = Key::parse("main/base/base-2026-11-29_030000.json").unwrap();
    let mut manifest = Manifest::from_bytes(&key, include_bytes!("../../model/testdata/manifest-2.json")).unwrap();
    manifest.job = self::manifest().job;
    manifest.time = Timestamp::parse(time).unwrap();
    manifest.run = format!("{time}-0");
    manifest.artifact.sealed = Digest::of(b"abc");
    let name = manifest.name().unwrap();
    manifest.artifact.key = name.artifact(".base.tar.zst.age").unwrap();
    let facts = serde_json::json!({
        "timeline": 1, "start_lsn": "0/2000028", "stop_lsn": "0/2000130", "wal": "included",
        "wal_segment_bytes": 16 << 20, "from_standby": false, "page_checksums": true, "settings": {},
        "files": 1, "file_bytes": 3
    });
    manifest.base = serde_json::from_value(facts).unwrap();
    change(&mut manifest);
    put(store, &manifest);
    manifest
}

/// Stores a full base backup of the first time, and for each other time an incremental one that
/// continues the one before it. Returns their manifests.
pub(crate) fn put_chain(store: &MemoryStore, times: &[&str]) -> Vec<Manifest> {
    let mut chain: Vec<Manifest> = Vec::new();
    for (index, time) in (2_u32..).zip(times) {
        let manifest = put_base_with(store, time, |manifest| {
            let base = manifest.base.as_mut().unwrap();
            base.start_lsn = format!("0/{index}000028").parse().unwrap();
            if let Some(parent) = chain.last() {
                base.incremental_from = parent.base.as_ref().map(|base| base.start_lsn);
                manifest.needs = vec![parent.name().unwrap()];
            }
        });
        chain.push(manifest);
    }
    chain
}

/// Returns the job that made the backups.
pub(crate) fn job(policy: Option<Policy>) -> Job {
    let manifest = manifest();
    let mut site = site_without_server();
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
        recovery_window: None,
        incremental: None,
        differential: None,
        parallel: 1,
        max_age: None,
        schedule: None,
        hooks: Vec::new(),
        timetable: longshore_config::Timetable::default(),
        drill: longshore_config::DrillSettings::default(),
    }
}

/// Returns a configuration with the job and this destination, and with its state in `folder`.
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

/// Reads the catalog of the destination.
pub(crate) async fn catalogued(store: &MemoryStore) -> Catalogued {
    let catalog = Catalog::read(store).await.unwrap();
    Catalogued { name: DESTINATION.to_owned(), store: Arc::new(store.clone()), catalog, history: Vec::new() }
}

/// Returns a destination with one encrypted backup.
pub(crate) async fn with_backup() -> (MemoryStore, Catalogued) {
    let store = MemoryStore::new();
    put(&store, &manifest());
    let at = catalogued(&store).await;
    (store, at)
}

/// Stores a report of a run that made these backups among this host's reports.
pub(crate) fn put_report(config: &Config, time: &str, made: &[BackupName]) {
    let job = config.jobs.values().next().unwrap();
    let text = include_bytes!("../../model/testdata/run-report-1.json");
    let mut report = RunReport::from_bytes("x", text).unwrap();
    report.begun = Timestamp::parse(time).unwrap().time();
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

/// A verifier that rejects every dump.
#[derive(Clone, serde::Deserialize, schemars::JsonSchema)]
struct Rejects {}

impl Plugin<dyn Verify> for Rejects {
    const TYPE: &'static str = "rejects";

    fn build(self, _: &JobContext) -> longshore_core::Result<Box<dyn Verify>> {
        Ok(Box::new(FakeVerify::Rejects))
    }
}

/// Returns plugins whose default verifier rejects every dump.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry { default_verify: vec![Rejects::TYPE.to_owned()], ..Registry::default() };
    registry.verify.add::<Rejects>();
    registry
}
