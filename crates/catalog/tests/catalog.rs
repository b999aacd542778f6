//! The catalog of a destination: its series, its problems, and the retention plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use longshore_catalog::catalog::{Backup, Catalog, Presence, Series};
use longshore_core::event::ignore;
use longshore_core::key::{BackupName, Key, Timestamp};
use longshore_core::manifest::{MAX_MANIFEST_BYTES, Manifest};
use longshore_core::mark::{Mark, MarkKind, MarkName, Marks};
use longshore_core::subject::Subject;
use longshore_core::{Kind, Stage};
use longshore_retention::{
    Action, Count, Decision, History, PlanContext, Policy, Reason, RemoveReason, SeriesMode, plan,
};
use longshore_testkit::fake_stage::{FakeVerify, dumped, order, pipeline};
use longshore_testkit::memory::{Fault, MemoryStore, Operation};
use longshore_testkit::stream::random;

const TIMES: [&str; 3] = ["2026-06-05_030000", "2026-06-06_030000", "2026-06-07_030000"];

/// Makes a backup of one subject for each time, by `job`.
async fn back_up(store: &MemoryStore, job: &str, subject: &Subject, times: &[&str]) {
    let pipeline = pipeline([("memory", store.clone())]);
    for time in times {
        let order = order(job, subject, time);
        let shipped = pipeline.back_up(&order, dumped(random(1, 1000)), &ignore()).await;
        let delivery = shipped.expect("the dump is sound").deliveries.remove(0);
        delivery.result.expect("the upload succeeds");
    }
}

fn key(text: &str) -> Key {
    Key::parse(text).expect("a valid key")
}

fn series(subject: &str, job: &str) -> Series {
    Series { cluster: "main".into(), subject: Subject::database(subject), job: job.into() }
}

/// Returns the keys that belong to no backup.
fn orphans(catalog: &Catalog) -> Vec<Key> {
    catalog.orphans.iter().map(|orphan| orphan.key.clone()).collect()
}

/// Plans one series. Returns the decisions, newest first.
fn decisions(policy: &Policy, backups: &[Backup]) -> Vec<Decision> {
    let now = Timestamp::parse("2026-06-07_120000").expect("a valid time").time();
    let history = History { backups: backups.iter().map(Backup::candidate).collect(), series_mode: SeriesMode::Policy };
    let context = PlanContext { now, needed: &BTreeMap::new(), trust_clock: false, own_runs: None };
    plan(policy, &[history], context).expect("a valid plan").decisions.remove(0)
}

fn kept(reasons: impl Into<Vec<Reason>>) -> Action {
    Action::Keep(reasons.into())
}

/// Returns the times of a series' backups, as used in names.
fn times(catalog: &Catalog, series: &Series) -> Vec<String> {
    let backups = catalog.series.get(series).map_or(&[][..], Vec::as_slice);
    backups.iter().map(|backup| backup.manifest.time.to_string()).collect()
}

#[tokio::test]
async fn an_empty_destination_has_an_empty_catalog() {
    let catalog = Catalog::read(&MemoryStore::new()).await.unwrap();
    assert!(catalog.series.is_empty() && catalog.unreadable.is_empty() && catalog.orphans.is_empty());
}

#[tokio::test]
async fn series_are_listed_oldest_first() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &[TIMES[2], TIMES[0], TIMES[1]]).await;
    back_up(&store, "nightly", &Subject::Globals, &TIMES[..1]).await;
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(catalog.series.len(), 2);
    assert_eq!(times(&catalog, &series("app", "nightly")), TIMES);
    assert_eq!(catalog.backups().count(), 4);
    assert!(catalog.backups().all(|backup| backup.is_good()));
    assert!(catalog.orphans.is_empty() && catalog.unreadable.is_empty());
}

#[tokio::test]
async fn catalog_contains_more_than_one_batch() {
    let store = MemoryStore::new();
    let start = Timestamp::parse(TIMES[0]).unwrap().time();
    let timestamps: Vec<_> =
        (0..200).map(|hour| Timestamp::new(start + chrono::TimeDelta::hours(hour)).to_string()).collect();
    let timestamps: Vec<_> = timestamps.iter().map(String::as_str).collect();
    back_up(&store, "hourly", &Subject::database("app"), &timestamps).await;
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(times(&catalog, &series("app", "hourly")), timestamps);
}

#[tokio::test]
async fn similar_names_are_different_series() {
    let store = MemoryStore::new();
    let names = [
        "app",
        "app-prod",
        "app_prod",
        "a/b",
        "a_b",
        "a%2Fb",
        "App",
        "app-2026-06-05_030000",
        "globals",
        "app.details",
        "ä",
    ];
    for name in names {
        back_up(&store, "nightly", &Subject::database(name), &TIMES[..1]).await;
    }
    back_up(&store, "nightly", &Subject::Globals, &TIMES[..1]).await;
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(catalog.series.len(), names.len() + 1);
    assert!(catalog.orphans.is_empty() && catalog.unreadable.is_empty());
    for name in names {
        let backups = &catalog.series[&series(name, "nightly")];
        assert_eq!(backups.len(), 1, "{name}");
        assert!(backups[0].is_good(), "{name}");
    }
}

#[tokio::test]
async fn jobs_of_one_database_have_separate_series() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES[..2]).await;
    back_up(&store, "hourly", &Subject::database("app"), &TIMES[2..]).await;
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(times(&catalog, &series("app", "nightly")), TIMES[..2]);
    assert_eq!(times(&catalog, &series("app", "hourly")), TIMES[2..]);
}

#[tokio::test]
async fn missing_or_truncated_artifact_is_reported() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    store.lose(&key("main/app/app-2026-06-05_030000.dump"));
    store.damage(&key("main/app/app-2026-06-06_030000.dump"), |bytes| bytes.truncate(10));
    let catalog = Catalog::read(&store).await.unwrap();
    let found = catalog.backups().map(|backup| backup.artifact);
    assert_eq!(found.collect::<Vec<_>>(), [Presence::Missing, Presence::OtherSize(10), Presence::Whole]);
}

#[tokio::test]
async fn damaged_manifest_hides_no_other() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    let manifests = TIMES.map(|time| key(&format!("main/app/app-{time}.json")));
    store.damage(&manifests[0], |bytes| bytes.truncate(100));
    store.damage(&manifests[1], |bytes| bytes.resize(MAX_MANIFEST_BYTES + 1, b' '));
    let strangers = key("main/app/notes.json");
    store.put(&strangers, "{}");
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(times(&catalog, &series("app", "nightly")), TIMES[2..]);
    let unreadable: Vec<_> = catalog.unreadable.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(unreadable, manifests[..2]);
    assert_eq!(orphans(&catalog), [strangers], "a foreign file with a manifest's suffix is an orphan");
    for (key, error) in &catalog.unreadable {
        assert_eq!((error.kind(), error.subject()), (Kind::Corrupt, key.as_str()));
    }
}

#[tokio::test]
async fn files_of_a_damaged_manifest_are_no_orphans() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES[..2]).await;
    // One manifest is from a newer version, and the other is damaged: deleting their artifacts
    // would destroy backups.
    store.put(&key(&format!("main/app/app-{}.json", TIMES[0])), r#"{"format":3}"#);
    store.put(&key(&format!("main/app/app-{}.json", TIMES[1])), "damaged");
    store.put(&key(&format!("main/app/app-{}.details.json.xor", TIMES[1])), "details");
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(catalog.unreadable.len(), 2);
    assert_eq!(orphans(&catalog), []);
}

#[tokio::test]
async fn details_of_a_manifest_are_no_orphan() {
    let store = MemoryStore::new();
    let mut pipeline = pipeline([("memory", store.clone())]);
    let details = serde_json::Map::from_iter([("tables".to_owned(), 17.into())]);
    pipeline.verify.push(Arc::new(FakeVerify::Finds(details)));
    let order = order("nightly", &Subject::database("app"), TIMES[0]);
    pipeline.back_up(&order, dumped(random(1, 10)), &ignore()).await.unwrap();
    assert_eq!(store.keys().len(), 3);
    assert_eq!(orphans(&Catalog::read(&store).await.unwrap()), []);
}

#[tokio::test]
async fn unnamed_files_are_orphans() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    let mut orphans = Vec::new();
    for text in [
        "main/app/app-2026-06-07_030000.dump.zst",
        "main/app/app-2026-06-08_030000.details.json",
        "main/app/app-2026-06-08_030000.dump",
        "other/file.txt",
    ] {
        store.put(&key(text), "x");
        orphans.push(key(text));
    }
    store.lose(&key("main/app/app-2026-06-05_030000.json"));
    orphans.insert(0, key("main/app/app-2026-06-05_030000.dump"));
    assert_eq!(self::orphans(&Catalog::read(&store).await.unwrap()), orphans);
}

#[tokio::test]
async fn failed_listing_is_never_a_short_catalog() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    for entries in 0..=6 {
        store.heal();
        store.fault(Operation::List, Fault::FailAfter(entries));
        let error = Catalog::read(&store).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "after {entries}");
    }
}

#[tokio::test]
async fn lost_connection_is_never_a_short_catalog() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    // The connection is lost while a manifest is fetched, which is not evidence about the manifest.
    for fault in [Fault::FailAfter(0), Fault::FailAfter(100), Fault::FailAfter(u64::MAX)] {
        store.heal();
        store.fault_at(Operation::Fetch, "2026-06-06_030000.json", fault);
        let error = Catalog::read(&store).await.expect_err("the read fails");
        assert_eq!((error.stage(), error.kind()), (Stage::Ship, Kind::Unavailable), "{fault:?}");
    }
}

#[tokio::test]
async fn denied_manifest_hides_no_other() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    store.fault_at(Operation::Fetch, "2026-06-06_030000.json", Fault::Deny);
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(catalog.backups().count(), 2);
    let [(key, error)] = &catalog.unreadable[..] else { panic!("expected one unreadable manifest") };
    assert_eq!((key.file_name(), error.kind()), ("app-2026-06-06_030000.json", Kind::Denied));
    assert!(catalog.orphans.is_empty(), "the artifact is not an orphan");
}

/// The listing contains a deleted manifest: a prune is running, or the store's listing is stale.
#[tokio::test]
async fn deleted_manifest_is_no_backup() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    store.fault_at(Operation::Fetch, "2026-06-06_030000.json", Fault::Vanish);
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(catalog.backups().count(), 2);
    assert!(catalog.unreadable.is_empty());
}

#[tokio::test]
async fn retention_plans_each_series_independently() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    back_up(&store, "nightly", &Subject::database("app-prod"), &TIMES[..2]).await;
    let catalog = Catalog::read(&store).await.unwrap();
    let policy = Policy { keep_last: Count::AtMost(1), ..Policy::default() };
    let newest = kept([Reason::Newest, Reason::Last]);
    let actions: Vec<_> = catalog
        .series
        .values()
        .map(|backups| decisions(&policy, backups).into_iter().map(|decision| decision.action).collect::<Vec<_>>())
        .collect();
    let removed = Action::Remove(RemoveReason::NoRule);
    assert_eq!(actions, [vec![newest.clone(), removed.clone(), removed.clone()], vec![newest, removed]]);
}

#[tokio::test]
async fn missing_artifact_displaces_no_good_backup() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    store.lose(&key(&format!("main/app/app-{}.dump", TIMES[2])));
    let catalog = Catalog::read(&store).await.unwrap();
    let policy = Policy { keep_last: Count::AtMost(1), ..Policy::default() };
    let actions =
        decisions(&policy, &catalog.series[&series("app", "nightly")]).into_iter().map(|decision| decision.action);
    let newest = kept([Reason::Newest, Reason::Last]);
    assert_eq!(actions.collect::<Vec<_>>(), [kept([Reason::NotGood]), newest, Action::Remove(RemoveReason::NoRule)]);
}

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

#[tokio::test]
async fn moved_manifest_is_reported() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES[..1]).await;
    let there = key("main/app/app-2026-06-05_030000.json");
    let moved = key("main/other/other-2026-06-05_030000.json");
    store.put(&moved, store.get(&there).unwrap());
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(catalog.backups().count(), 1);
    assert_eq!(catalog.unreadable.len(), 1);
    assert_eq!(catalog.unreadable[0].0, moved);
    let error = Manifest::from_bytes(&moved, &store.get(&moved).unwrap()).unwrap_err();
    assert!(error.to_string().contains("another backup"), "{error}");
}
