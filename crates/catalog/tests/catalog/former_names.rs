//! Databases named `base` and `wal`, which 0.1.0 stored in the folders that base backups and WAL
//! have now.

use longshore_catalog::catalog::{Backup, Catalog, Presence, Series};
use longshore_catalog::copy::{copy, replace, verify_stored};
use longshore_catalog::mark;
use longshore_core::Kind;
use longshore_core::event::ignore;
use longshore_core::format::FormatName;
use longshore_core::key::{BackupName, Timestamp};
use longshore_core::manifest::{Format, Manifest};
use longshore_core::mark::{Mark, MarkKind};
use longshore_core::meter::Digest;
use longshore_core::stage::Dumped;
use longshore_core::subject::Subject;
use longshore_retention::{Action, Count, Plan, Policy};
use longshore_testkit::fake_stage::{dumped, order, pipeline};
use longshore_testkit::memory::MemoryStore;
use longshore_testkit::stream::random;

use crate::{TIMES, key, manifest_of_format_1, plan_series};

/// The databases, each with its folder in destinations of 0.1.0 and its current one.
const DATABASES: [(&str, &str, &str); 2] = [("base", "base", "%62ase"), ("wal", "wal", "%77al")];

fn name(segment: &str, time: &str) -> BackupName {
    BackupName::new("main", segment, Timestamp::parse(time).unwrap()).unwrap()
}

/// Stores a backup with the bytes `abc` under this name.
fn put(store: &MemoryStore, mut manifest: Manifest, name: &BackupName) {
    manifest.time = name.time().unwrap();
    manifest.needs = Vec::new();
    manifest.artifact.key = name.artifact(&format!("{}.zst.age", manifest.artifact.format.extension())).unwrap();
    manifest.artifact.sealed = Digest::of(b"abc");
    if let Some(details) = &mut manifest.details {
        details.key = name.details(".age").unwrap();
        details.sealed = Digest::of(b"abc");
    }
    for file in manifest.files() {
        store.put(&file.key, "abc");
    }
    store.put(&name.manifest(), manifest.to_bytes().unwrap());
}

/// Stores a backup of a database in this folder.
fn put_database(store: &MemoryStore, database: &str, segment: &str, time: &str) -> BackupName {
    let mut manifest = manifest_of_format_1();
    manifest.subject = Subject::database(database);
    let name = name(segment, time);
    put(store, manifest, &name);
    name
}

/// Stores a base backup of the cluster, by the job of the databases.
fn put_base(store: &MemoryStore, time: &str) -> BackupName {
    let key = key("main/base/base-2026-11-29_030000.json");
    let mut manifest = Manifest::from_bytes(&key, include_bytes!("../../../model/testdata/manifest-2.json")).unwrap();
    manifest.job = "nightly".to_owned();
    let name = name("base", time);
    put(store, manifest, &name);
    name
}

/// Stores two backups of a database by 0.1.0 and a later one.
fn put_series(store: &MemoryStore, (database, former, current): (&str, &str, &str)) -> [BackupName; 3] {
    [
        put_database(store, database, former, TIMES[0]),
        put_database(store, database, former, TIMES[1]),
        put_database(store, database, current, TIMES[2]),
    ]
}

/// Reads a catalog without unreadable and unknown files.
async fn catalog(store: &MemoryStore) -> Catalog {
    let catalog = Catalog::read(store).await.unwrap();
    assert!(catalog.unreadable.is_empty() && catalog.orphans.is_empty(), "{catalog:?}");
    catalog
}

/// Plans all series of a catalog with `keep_last = 1`.
fn plan_last(catalog: &Catalog) -> Plan {
    let policy = Policy { keep_last: Count::AtMost(1), ..Policy::default() };
    plan_series(&policy, catalog.series.values().map(Vec::as_slice))
}

#[tokio::test]
async fn both_names_of_a_database_form_one_series() {
    for database in DATABASES {
        let store = MemoryStore::new();
        let names = put_series(&store, database);
        let catalog = catalog(&store).await;
        let (series, backups) = catalog.series.first_key_value().unwrap();
        let subject = Subject::database(database.0);
        assert_eq!(*series, Series { cluster: "main".into(), subject, job: "nightly".into() });
        assert_eq!(catalog.series.len(), 1);
        let found: Vec<_> = backups.iter().map(|backup| backup.name.clone()).collect();
        assert_eq!(found, names, "oldest first");
        assert!(backups.iter().all(|backup| backup.artifact == Presence::Whole && backup.bytes == 6));
    }
}

#[tokio::test]
async fn retention_counts_both_names_together() {
    for database in DATABASES {
        let store = MemoryStore::new();
        let names = put_series(&store, database);
        let plan = plan_last(&catalog(&store).await);
        let removed: Vec<_> = plan.removed().map(|decision| decision.name.clone()).collect();
        assert_eq!(removed, names[..2]);
        assert!(
            matches!(&plan.decisions[0][0], kept if kept.name == names[2] && matches!(kept.action, Action::Keep(_)))
        );
    }
}

#[tokio::test]
async fn backup_of_0_1_0_is_removed_completely() {
    for database in DATABASES {
        let store = MemoryStore::new();
        let [first, ..] = put_series(&store, database);
        mark::put(&Mark::default(), &store, &first, MarkKind::Verified, first.time().unwrap().time()).await.unwrap();
        let found = catalog(&store).await;
        let backup = found.backups().find(|backup| backup.name == first).unwrap();
        let keys = backup.keys().unwrap();
        assert_eq!(keys.first(), Some(&first.manifest()), "the manifest is removed first");
        assert_eq!(keys.len(), 4, "{keys:?}");
        keys.iter().for_each(|key| store.lose(key));
        assert!(!store.keys().iter().any(|key| key.as_str().starts_with(first.as_str())));
        assert_eq!(catalog(&store).await.backups().count(), 2);
    }
}

#[tokio::test]
async fn marks_apply_to_backups_of_0_1_0() {
    for database in DATABASES {
        let store = MemoryStore::new();
        let [first, second, _] = put_series(&store, database);
        let time = Timestamp::parse(TIMES[2]).unwrap().time();
        mark::put(&Mark::default(), &store, &first, MarkKind::Hold, time).await.unwrap();
        mark::put(&Mark::default(), &store, &second, MarkKind::Damaged, time).await.unwrap();
        let catalog = catalog(&store).await;
        let states: Vec<_> = catalog.backups().map(|backup| (backup.marks.held.is_some(), backup.is_good())).collect();
        assert_eq!(states, [(true, true), (false, false), (false, true)]);
        let removed = plan_last(&catalog).removed().count();
        assert_eq!(removed, 0, "one backup is held, one is damaged, and one is the newest");
    }
}

#[tokio::test]
async fn copies_keep_the_name_of_0_1_0() {
    for database in DATABASES {
        let (from, to) = (MemoryStore::new(), MemoryStore::new());
        let [first, ..] = put_series(&from, database);
        mark::put(&Mark::default(), &from, &first, MarkKind::Hold, first.time().unwrap().time()).await.unwrap();
        let source = catalog(&from).await;
        for backup in source.backups() {
            verify_stored(&from, backup, &ignore()).await.unwrap();
            copy(&from, &to, backup, &ignore()).await.unwrap();
        }
        assert_eq!(to.keys(), from.keys());
        // A damaged copy is replaced in place.
        to.put(&name(database.1, TIMES[0]).artifact(".dump.zst.age").unwrap(), "abd");
        let backup = source.backups().find(|backup| backup.name == first).unwrap();
        replace(&from, &to, backup, &ignore()).await.unwrap();
        assert_eq!(to.keys(), from.keys());
        assert!(catalog(&to).await.backups().all(Backup::is_good));
    }
}

#[tokio::test]
async fn base_backups_form_a_series_of_their_own() {
    let store = MemoryStore::new();
    let databases = put_series(&store, DATABASES[0]);
    let bases = ["2026-06-05_040000", "2026-06-06_040000"].map(|time| put_base(&store, time));
    let catalog = catalog(&store).await;
    let series: Vec<Vec<_>> =
        catalog.series.values().map(|backups| backups.iter().map(|backup| backup.name.clone()).collect()).collect();
    assert_eq!(series, [databases.to_vec(), bases.to_vec()]);
    let plan = plan_last(&catalog);
    let mut removed: Vec<_> = plan.removed().map(|decision| &decision.name).collect();
    removed.sort();
    assert_eq!(removed, [&databases[0], &bases[0], &databases[1]], "each series keeps its newest backup");
}

#[tokio::test]
async fn base_backup_replaces_no_database_of_0_1_0() {
    let store = MemoryStore::new();
    let name = put_database(&store, "base", "base", TIMES[0]);
    let before = store.get(&name.manifest()).unwrap();
    let pipeline = pipeline([("memory", store.clone())]);
    let dump = Dumped { format: Format::Base, ..dumped(random(1, 10)) };
    let shipped = pipeline.back_up(&order("nightly", &Subject::Base, TIMES[0]), dump, &ignore()).await.unwrap();
    assert_eq!(shipped.name, name, "the only case in which both have one name");
    assert_eq!(shipped.deliveries[0].result.as_ref().unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(store.get(&name.manifest()).unwrap(), before);
    let catalog = Catalog::read(&store).await.unwrap();
    let backup = catalog.backups().next().unwrap();
    assert!(backup.is_good() && backup.manifest.subject == Subject::database("base"));
}

#[tokio::test]
async fn new_backup_of_a_database_has_its_current_name() {
    for (database, _, current) in DATABASES {
        let store = MemoryStore::new();
        let pipeline = pipeline([("memory", store.clone())]);
        let order = order("nightly", &Subject::database(database), TIMES[0]);
        pipeline.back_up(&order, dumped(random(1, 10)), &ignore()).await.unwrap();
        let found = catalog(&store).await;
        let backup = found.backups().next().unwrap();
        assert_eq!((&backup.name, backup.manifest.format), (&name(current, TIMES[0]), 1));
    }
}

#[tokio::test]
async fn backups_in_new_formats_are_listed() {
    let store = MemoryStore::new();
    let pipeline = pipeline([("memory", store.clone())]);
    let foreign = Format::Other(FormatName::new("mysqldump").unwrap());
    for (subject, format) in [(Subject::Base, Format::Base), (Subject::database("app"), foreign)] {
        let dump = Dumped { format, ..dumped(random(1, 10)) };
        pipeline.back_up(&order("nightly", &subject, TIMES[0]), dump, &ignore()).await.unwrap();
    }
    let found = catalog(&store).await;
    let artifacts: Vec<_> = found
        .backups()
        .map(|backup| (backup.manifest.artifact.key.file_name(), backup.manifest.format, backup.is_good()))
        .collect();
    let expected = [("app-2026-06-05_030000.x-mysqldump", 2, true), ("base-2026-06-05_030000.base.tar", 2, true)];
    assert_eq!(artifacts, expected);
    // Without their manifests, the files are still recognized as Longshore's.
    for name in [name("app", TIMES[0]), name("base", TIMES[0])] {
        store.lose(&name.manifest());
    }
    let orphans = Catalog::read(&store).await.unwrap().orphans;
    assert!(orphans.len() == 2 && orphans.iter().all(|entry| BackupName::from_file_key(&entry.key).is_some()));
}
