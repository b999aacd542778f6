//! The marks of a backup: holds, results of read-backs and drills, withdrawals.

use longshore_catalog::catalog::{Catalog, Presence};
use longshore_core::Kind;
use longshore_core::key::{BackupName, Timestamp};
use longshore_core::mark::{Mark, MarkKind, MarkName, Marks};
use longshore_core::subject::Subject;
use longshore_testkit::memory::{Fault, MemoryStore, Operation};

use crate::{TIMES, back_up, key, orphans, series};

/// Stores a mark beside the oldest backup of `app`, `second` seconds after a fixed time.
async fn mark(store: &MemoryStore, kind: MarkKind, until: Option<&str>, second: i64) -> MarkName {
    let until = until.map(|until| Timestamp::parse(until).expect("a valid time").time());
    mark_with(store, &Mark { until, why: "an audit".to_owned(), ..Mark::default() }, kind, second).await
}

async fn mark_with(store: &MemoryStore, mark: &Mark, kind: MarkKind, second: i64) -> MarkName {
    let backup = BackupName::new("main", "app", Timestamp::parse(TIMES[0]).expect("a time")).expect("a name");
    let time = Timestamp::parse("2026-06-06_120000").expect("a time").time() + chrono::TimeDelta::seconds(second);
    longshore_catalog::mark::put(mark, store, &backup, kind, time).await.expect("the upload succeeds")
}

/// Returns the marks beside the oldest backup of `app`.
async fn marks(store: &MemoryStore) -> Marks {
    let catalog = Catalog::read(store).await.expect("a valid catalog");
    assert_eq!(orphans(&catalog), [], "a mark belongs to its backup");
    catalog.series[&series("app", "nightly")][0].marks.clone()
}

#[tokio::test]
async fn hold_applies_until_its_release() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    mark(&store, MarkKind::Hold, Some("2026-07-01_000000"), 0).await;
    mark(&store, MarkKind::Hold, Some("2026-06-10_000000"), 1).await;
    let hold = marks(&store).await.held.unwrap();
    assert_eq!((hold.until.unwrap().to_rfc3339(), hold.why.as_str()), ("2026-07-01T00:00:00+00:00".into(), "an audit"));
    mark(&store, MarkKind::Hold, None, 2).await;
    assert_eq!(marks(&store).await.held.unwrap().until, None, "the longest hold applies");
    mark(&store, MarkKind::Released, None, 3).await;
    assert_eq!(marks(&store).await.held, None);
    mark(&store, MarkKind::Hold, None, 4).await;
    assert!(marks(&store).await.held.is_some());
}

#[tokio::test]
async fn two_marks_of_one_second_are_kept() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    let (first, second) = (mark(&store, MarkKind::Hold, None, 0).await, mark(&store, MarkKind::Hold, None, 0).await);
    assert_ne!(first, second);
    assert_eq!(marks(&store).await.names, [first, second]);
}

#[tokio::test]
async fn unreadable_hold_applies() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    let name = mark(&store, MarkKind::Hold, Some("2026-06-06_130000"), 0).await;
    store.fault_at(Operation::Fetch, name.key().unwrap().as_str(), Fault::Deny);
    assert_eq!(marks(&store).await.held.unwrap().until, None);
    store.heal();
    store.damage(&name.key().unwrap(), |bytes| bytes.truncate(3));
    assert_eq!(marks(&store).await.held.unwrap().until, None);
    store.fault_at(Operation::Fetch, name.key().unwrap().as_str(), Fault::FailAfter(0));
    assert_eq!(
        Catalog::read(&store).await.unwrap_err().kind(),
        Kind::Unavailable,
        "a lost connection is not a finding"
    );
}

#[tokio::test]
async fn latest_result_counts() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    assert!(!marks(&store).await.verified());
    mark(&store, MarkKind::Verified, None, 0).await;
    mark(&store, MarkKind::Drilled, None, 0).await;
    assert!(marks(&store).await.verified() && marks(&store).await.drilled());
    mark(&store, MarkKind::Damaged, None, 1).await;
    assert!(!marks(&store).await.verified() && !marks(&store).await.drilled());
    let catalog = Catalog::read(&store).await.unwrap();
    let damaged = &catalog.series[&series("app", "nightly")][0];
    assert!(!damaged.is_good() && damaged.artifact == Presence::Whole);
    mark(&store, MarkKind::Verified, None, 2).await;
    assert!(marks(&store).await.verified() && !marks(&store).await.damaged());
}

#[tokio::test]
async fn read_back_does_not_cancel_drill_damage() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    let drill = Mark { verdict: Some("damaged".to_owned()), ..Mark::default() };
    let name = mark_with(&store, &drill, MarkKind::Damaged, 0).await;
    mark(&store, MarkKind::Verified, None, 1).await;
    let found = marks(&store).await;
    assert!(found.damaged() && !found.failed_read_back() && found.verified() && !found.drilled());
    let catalog = Catalog::read(&store).await.unwrap();
    let backup = &catalog.series[&series("app", "nightly")][0];
    assert_eq!((backup.is_good(), backup.damage().as_deref()), (false, Some("found by a drill")));
    // An unreadable mark counts like a drill's.
    store.damage(&name.key().unwrap(), |bytes| bytes.truncate(3));
    assert!(marks(&store).await.damaged());
    mark(&store, MarkKind::Drilled, None, 2).await;
    assert!(marks(&store).await.drilled() && !marks(&store).await.damaged());
    mark_with(&store, &drill, MarkKind::Damaged, 3).await;
    assert!(!marks(&store).await.drilled() && marks(&store).await.damaged());
}

#[tokio::test]
async fn successful_drill_cancels_read_back_damage() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    mark(&store, MarkKind::Damaged, None, 0).await;
    mark(&store, MarkKind::Drilled, None, 1).await;
    assert!(!marks(&store).await.damaged() && marks(&store).await.drilled());
}

#[tokio::test]
async fn failed_drill_of_0_1_0_requires_another() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    mark(&store, MarkKind::Unrestorable, None, 0).await;
    let catalog = Catalog::read(&store).await.unwrap();
    let backup = &catalog.series[&series("app", "nightly")][0];
    assert_eq!((backup.is_good(), backup.advice()), (true, Some("a drill by 0.1.0 failed: drill again")));
    mark(&store, MarkKind::Drilled, None, 1).await;
    assert!(!marks(&store).await.needs_another_drill());
}

#[tokio::test]
async fn a_withdrawn_mark_does_not_count() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    mark(&store, MarkKind::Verified, None, 0).await;
    let wrong = mark_with(&store, &Mark::default(), MarkKind::Damaged, 1).await;
    assert!(marks(&store).await.damaged());
    let withdrawal = Mark { withdraws: vec![wrong.label()], ..Mark::default() };
    mark_with(&store, &withdrawal, MarkKind::Withdrawn, 2).await;
    let found = marks(&store).await;
    assert!(!found.damaged() && found.verified() && found.names.contains(&wrong), "the withdrawn mark still exists");
    // Only the named mark is withdrawn.
    mark(&store, MarkKind::Damaged, None, 3).await;
    assert!(marks(&store).await.damaged());
}

#[tokio::test]
async fn mark_without_its_backup_is_an_orphan() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES[..1]).await;
    let name = mark(&store, MarkKind::Verified, None, 0).await;
    let catalog = Catalog::read(&store).await.unwrap();
    let keys = catalog.backups().next().unwrap().keys().unwrap();
    assert_eq!(
        (keys.first().unwrap().file_name(), keys.last().unwrap()),
        ("app-2026-06-05_030000.json", &name.key().unwrap())
    );
    store.lose(&key("main/app/app-2026-06-05_030000.json"));
    assert!(orphans(&Catalog::read(&store).await.unwrap()).contains(&name.key().unwrap()));
}
