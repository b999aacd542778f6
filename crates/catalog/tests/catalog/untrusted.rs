//! Limits of trust in a destination: marks dated in the future, sizes, unreadable files.

use chrono::{DateTime, TimeDelta, Utc};
use longshore_catalog::catalog::{Backup, Catalog};
use longshore_core::Kind;
use longshore_core::key::{BackupName, Timestamp};
use longshore_core::manifest::Manifest;
use longshore_core::mark::{Mark, MarkKind, MarkName};
use longshore_core::meter::Digest;
use longshore_core::subject::Subject;
use longshore_testkit::memory::{Fault, MemoryStore, Operation};

use crate::manifest_of_format_1;

/// Stores a backup of a database with the three bytes `abc`.
fn put(store: &MemoryStore, database: &str, time: &str, change: impl FnOnce(&mut Manifest)) -> BackupName {
    let mut manifest = manifest_of_format_1();
    manifest.subject = Subject::database(database);
    manifest.time = Timestamp::parse(time).unwrap();
    manifest.needs = Vec::new();
    manifest.details = None;
    let name = manifest.name().unwrap();
    manifest.artifact.key = name.artifact(".dump.zst.age").unwrap();
    manifest.artifact.sealed = Digest::of(b"abc");
    store.put(&manifest.artifact.key.clone(), "abc");
    change(&mut manifest);
    store.put(&name.manifest(), manifest.to_bytes().unwrap());
    name
}

async fn only_backup(store: &MemoryStore) -> Backup {
    let catalog = Catalog::read(store).await.unwrap();
    assert!(catalog.unreadable.is_empty() && catalog.orphans.is_empty());
    catalog.backups().next().unwrap().clone()
}

async fn mark(store: &MemoryStore, name: &BackupName, kind: MarkKind, time: DateTime<Utc>) -> MarkName {
    longshore_catalog::mark::put(&Mark::default(), store, name, kind, time).await.unwrap()
}

fn far_future() -> DateTime<Utc> {
    "9999-06-07T09:15:00Z".parse().unwrap()
}

#[tokio::test]
async fn future_marks_are_ignored() {
    let now = Utc::now();
    let hour = |hours| now - TimeDelta::hours(hours);
    let store = MemoryStore::new();
    let name = put(&store, "app", "2026-06-05_030000", |_| {});
    mark(&store, &name, MarkKind::Damaged, far_future()).await;
    let backup = only_backup(&store).await;
    assert!(backup.is_good() && backup.candidate().good, "the backup still counts as good");
    assert!(backup.advice().unwrap().contains("future"), "the operator is warned");
    // Future marks neither cancel damage nor release a hold.
    let damage = mark(&store, &name, MarkKind::Damaged, hour(2)).await;
    mark(&store, &name, MarkKind::Hold, hour(2)).await;
    for kind in [MarkKind::Verified, MarkKind::Drilled, MarkKind::Released, MarkKind::Restoring] {
        mark(&store, &name, kind, far_future()).await;
    }
    let withdrawal = Mark { withdraws: vec![damage.label()], ..Mark::default() };
    longshore_catalog::mark::put(&withdrawal, &store, &name, MarkKind::Withdrawn, far_future()).await.unwrap();
    let backup = only_backup(&store).await;
    assert!(!backup.is_good() && backup.marks.held.is_some() && backup.marks.restoring_until.is_none());
    assert!(!backup.marks.verified() && !backup.marks.drilled());
    // A new finding counts, although a mark of the year 9999 exists.
    mark(&store, &name, MarkKind::Verified, now).await;
    let backup = only_backup(&store).await;
    assert!(backup.is_good() && backup.marks.verified());
}

#[tokio::test]
async fn backup_with_near_future_damage_does_not_count() {
    let store = MemoryStore::new();
    let name = put(&store, "app", "2026-06-05_030000", |_| {});
    mark(&store, &name, MarkKind::Damaged, Utc::now() + TimeDelta::days(2)).await;
    let backup = only_backup(&store).await;
    assert!(backup.is_good());
    assert!(!backup.candidate().good, "retention must not count this backup");
}

#[tokio::test]
async fn restoring_mark_expires_after_days() {
    let store = MemoryStore::new();
    let name = put(&store, "app", "2026-06-05_030000", |_| {});
    let begun = Utc::now() - TimeDelta::hours(1);
    let restoring = Mark { until: Some(far_future()), ..Mark::default() };
    let put = longshore_catalog::mark::put(&restoring, &store, &name, MarkKind::Restoring, begun).await.unwrap();
    let until = only_backup(&store).await.marks.restoring_until.unwrap();
    assert!(until > begun && until < begun + TimeDelta::days(8), "{until}");
    // An unreadable mark protects its backup for the same time.
    store.put(&put.key().unwrap(), "{");
    let marks = only_backup(&store).await.marks;
    assert_eq!(marks.restoring_until.unwrap(), until);
    assert_eq!(marks.unreadable.len(), 1);
}

#[tokio::test]
async fn withdrawal_does_not_affect_later_marks() {
    let store = MemoryStore::new();
    let name = put(&store, "app", "2026-06-05_030000", |_| {});
    let now = Utc::now();
    let later = MarkName { backup: name.clone(), kind: MarkKind::Damaged, time: Timestamp::new(now) };
    let withdrawal = Mark { withdraws: vec![later.label()], ..Mark::default() };
    longshore_catalog::mark::put(&withdrawal, &store, &name, MarkKind::Withdrawn, now - TimeDelta::days(1))
        .await
        .unwrap();
    mark(&store, &name, MarkKind::Damaged, now).await;
    assert!(!only_backup(&store).await.is_good());
}

#[tokio::test]
async fn backup_size_is_that_of_the_listing() {
    for (exists, expected) in [(true, 3), (false, 0)] {
        let store = MemoryStore::new();
        let name = put(&store, "app", "2026-06-05_030000", |manifest| manifest.artifact.sealed.bytes = u64::MAX);
        if !exists {
            store.lose(&name.artifact(".dump.zst.age").unwrap());
        }
        assert_eq!(only_backup(&store).await.candidate().bytes, expected);
    }
}

#[tokio::test]
async fn an_unreadable_file_hides_no_other_series() {
    let store = MemoryStore::new();
    put(&store, "app", "2026-06-05_030000", |_| {});
    let name = put(&store, "other", "2026-06-05_030000", |_| {});
    mark(&store, &name, MarkKind::Hold, Utc::now()).await;
    store.fault_at(Operation::Fetch, "other-2026-06-05_030000.json", Fault::Break);
    let catalog = Catalog::read(&store).await.unwrap();
    let [backup] = catalog.backups().collect::<Vec<_>>()[..] else { panic!("{catalog:?}") };
    assert_eq!(backup.manifest.subject, Subject::database("app"));
    let [(key, error)] = &catalog.unreadable[..] else { panic!("{catalog:?}") };
    assert_eq!((key, error.kind()), (&name.manifest(), Kind::Failed));
    // An unreadable mark protects its backup.
    store.heal();
    let held = store.keys().into_iter().find(|key| key.as_str().contains(".hold.")).unwrap();
    store.fault_at(Operation::Fetch, held.as_str(), Fault::Break);
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(catalog.backups().filter(|backup| backup.marks.held.is_some()).count(), 1);
}

#[tokio::test]
async fn unreadable_destination_has_no_catalog() {
    let store = MemoryStore::new();
    put(&store, "app", "2026-06-05_030000", |_| {});
    for day in 10..20 {
        put(&store, "other", &format!("2026-06-{day}_030000"), |_| {});
    }
    store.fault(Operation::Fetch, Fault::Break);
    assert_eq!(Catalog::read(&store).await.unwrap_err().kind(), Kind::Failed, "all manifests are unreadable");
    store.heal();
    for day in 10..20 {
        store.fault_at(Operation::Fetch, &format!("other-2026-06-{day}_030000.json"), Fault::Break);
    }
    assert_eq!(Catalog::read(&store).await.unwrap_err().kind(), Kind::Failed, "too many manifests are unreadable");
    store.heal();
    store.fault_at(Operation::Fetch, "app-2026-06-05_030000.json", Fault::FailAfter(0));
    assert_eq!(Catalog::read(&store).await.unwrap_err().kind(), Kind::Unavailable, "the connection is lost");
}
