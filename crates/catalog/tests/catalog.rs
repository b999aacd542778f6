//! The catalog of a destination: its series, its problems, and the retention plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use longshore_catalog::catalog::{Backup, Catalog, Presence, Series};
use longshore_core::key::{BackupName, Key, Stamp};
use longshore_core::manifest::{MAX_MANIFEST_BYTES, Manifest};
use longshore_core::mark::{Mark, MarkName, Marks, Says};
use longshore_core::progress::unwatched;
use longshore_core::subject::Subject;
use longshore_core::{Kind, Stage};
use longshore_retention::{Cause, Circumstances, Count, Decision, Fate, History, Policy, Reason, Regime, plan};
use longshore_testkit::fake_stage::{FakeVerify, dumped, order, pipeline};
use longshore_testkit::memory::{Fault, MemoryStore, Operation};
use longshore_testkit::stream::random;

const TIMES: [&str; 3] = ["2026-06-05_030000", "2026-06-06_030000", "2026-06-07_030000"];

/// Makes a backup of one subject for each time, by `job`.
async fn back_up(store: &MemoryStore, job: &str, subject: &Subject, times: &[&str]) {
    let pipeline = pipeline([("memory", store.clone())]);
    for time in times {
        let order = order(job, subject, time);
        let shipped = pipeline.back_up(&order, dumped(random(1, 1000)), &unwatched()).await;
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
fn decided(policy: &Policy, backups: &[Backup]) -> Vec<Decision> {
    let now = Stamp::parse("2026-06-07_120000").expect("a valid time").time();
    let history = History { backups: backups.iter().map(Backup::candidate).collect(), regime: Regime::Policy };
    let circumstances = Circumstances { now, needed: &BTreeMap::new(), trust_clock: false, own_runs: None };
    plan(policy, &[history], circumstances).expect("a valid plan").decisions.remove(0)
}

fn kept(reasons: impl Into<Vec<Reason>>) -> Fate {
    Fate::Keep(reasons.into())
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
async fn backups_are_listed_by_series_the_oldest_first() {
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
async fn more_backups_than_are_fetched_at_once_are_all_there() {
    let store = MemoryStore::new();
    let start = Stamp::parse(TIMES[0]).unwrap().time();
    let stamps: Vec<_> = (0..200).map(|hour| Stamp::new(start + chrono::TimeDelta::hours(hour)).to_string()).collect();
    let stamps: Vec<_> = stamps.iter().map(String::as_str).collect();
    back_up(&store, "hourly", &Subject::database("app"), &stamps).await;
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(times(&catalog, &series("app", "hourly")), stamps);
}

#[tokio::test]
async fn names_that_begin_alike_or_look_alike_do_not_meet() {
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
async fn two_jobs_that_back_up_the_same_database_are_two_series() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES[..2]).await;
    back_up(&store, "hourly", &Subject::database("app"), &TIMES[2..]).await;
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(times(&catalog, &series("app", "nightly")), TIMES[..2]);
    assert_eq!(times(&catalog, &series("app", "hourly")), TIMES[2..]);
}

#[tokio::test]
async fn an_artifact_that_is_missing_or_cut_is_told() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    store.lose(&key("main/app/app-2026-06-05_030000.dump"));
    store.damage(&key("main/app/app-2026-06-06_030000.dump"), |bytes| bytes.truncate(10));
    let catalog = Catalog::read(&store).await.unwrap();
    let found = catalog.backups().map(|backup| backup.artifact);
    assert_eq!(found.collect::<Vec<_>>(), [Presence::Missing, Presence::OtherSize(10), Presence::Whole]);
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_is_reported_and_hides_no_other() {
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
async fn what_belongs_to_a_manifest_that_cannot_be_read_is_no_orphan() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES[..2]).await;
    // One manifest is from a newer version, and the other is damaged: deleting their artifacts
    // would destroy backups.
    store.put(&key(&format!("main/app/app-{}.json", TIMES[0])), r#"{"format":2}"#);
    store.put(&key(&format!("main/app/app-{}.json", TIMES[1])), "damaged");
    store.put(&key(&format!("main/app/app-{}.details.json.xor", TIMES[1])), "details");
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(catalog.unreadable.len(), 2);
    assert_eq!(orphans(&catalog), []);
}

#[tokio::test]
async fn the_details_that_a_manifest_names_are_no_orphan() {
    let store = MemoryStore::new();
    let mut pipeline = pipeline([("memory", store.clone())]);
    let details = serde_json::Map::from_iter([("tables".to_owned(), 17.into())]);
    pipeline.verify.push(Arc::new(FakeVerify::Finds(details)));
    let order = order("nightly", &Subject::database("app"), TIMES[0]);
    pipeline.back_up(&order, dumped(random(1, 10)), &unwatched()).await.unwrap();
    assert_eq!(store.keys().len(), 3);
    assert_eq!(orphans(&Catalog::read(&store).await.unwrap()), []);
}

#[tokio::test]
async fn what_no_manifest_names_is_an_orphan() {
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
async fn a_listing_that_fails_half_way_is_an_error_and_never_a_short_catalog() {
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
async fn a_manifest_that_cannot_be_fetched_is_an_error_and_never_a_short_catalog() {
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
async fn a_manifest_that_may_not_be_read_is_reported_and_hides_no_other() {
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
async fn a_manifest_that_went_away_since_it_was_listed_is_no_backup() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    store.fault_at(Operation::Fetch, "2026-06-06_030000.json", Fault::Vanish);
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(catalog.backups().count(), 2);
    assert!(catalog.unreadable.is_empty());
}

#[tokio::test]
async fn retention_plans_each_series_of_a_catalog_by_itself() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    back_up(&store, "nightly", &Subject::database("app-prod"), &TIMES[..2]).await;
    let catalog = Catalog::read(&store).await.unwrap();
    let policy = Policy { keep_last: Count::AtMost(1), ..Policy::default() };
    let newest = kept([Reason::Newest, Reason::Last]);
    let fates: Vec<_> = catalog
        .series
        .values()
        .map(|backups| decided(&policy, backups).into_iter().map(|decision| decision.fate).collect::<Vec<_>>())
        .collect();
    let gone = Fate::Remove(Cause::NoRule);
    assert_eq!(fates, [vec![newest.clone(), gone.clone(), gone.clone()], vec![newest, gone]]);
}

#[tokio::test]
async fn a_lost_artifact_pushes_no_good_backup_out() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    store.lose(&key(&format!("main/app/app-{}.dump", TIMES[2])));
    let catalog = Catalog::read(&store).await.unwrap();
    let policy = Policy { keep_last: Count::AtMost(1), ..Policy::default() };
    let fates = decided(&policy, &catalog.series[&series("app", "nightly")]).into_iter().map(|decision| decision.fate);
    let newest = kept([Reason::Newest, Reason::Last]);
    assert_eq!(fates.collect::<Vec<_>>(), [kept([Reason::NotGood]), newest, Fate::Remove(Cause::NoRule)]);
}

/// Stores a mark beside the oldest backup of `app`, `second` seconds after a fixed time.
async fn mark(store: &MemoryStore, says: Says, until: Option<&str>, second: i64) -> MarkName {
    let until = until.map(|until| Stamp::parse(until).expect("a valid time").time());
    mark_with(store, &Mark { until, why: "an audit".to_owned(), ..Mark::default() }, says, second).await
}

async fn mark_with(store: &MemoryStore, mark: &Mark, says: Says, second: i64) -> MarkName {
    let backup = BackupName::new("main", "app", Stamp::parse(TIMES[0]).expect("a time")).expect("a name");
    let time = Stamp::parse("2026-06-06_120000").expect("a time").time() + chrono::TimeDelta::seconds(second);
    longshore_catalog::mark::put(mark, store, &backup, says, time).await.expect("the upload succeeds")
}

/// Returns the marks beside the oldest backup of `app`.
async fn marks(store: &MemoryStore) -> Marks {
    let catalog = Catalog::read(store).await.expect("a valid catalog");
    assert_eq!(orphans(&catalog), [], "a mark belongs to its backup");
    catalog.series[&series("app", "nightly")][0].marks.clone()
}

#[tokio::test]
async fn a_hold_counts_until_it_is_released() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    mark(&store, Says::Hold, Some("2026-07-01_000000"), 0).await;
    mark(&store, Says::Hold, Some("2026-06-10_000000"), 1).await;
    let hold = marks(&store).await.held.unwrap();
    assert_eq!((hold.until.unwrap().to_rfc3339(), hold.why.as_str()), ("2026-07-01T00:00:00+00:00".into(), "an audit"));
    mark(&store, Says::Hold, None, 2).await;
    assert_eq!(marks(&store).await.held.unwrap().until, None, "the longest hold applies");
    mark(&store, Says::Released, None, 3).await;
    assert_eq!(marks(&store).await.held, None);
    mark(&store, Says::Hold, None, 4).await;
    assert!(marks(&store).await.held.is_some());
}

#[tokio::test]
async fn two_marks_of_one_second_are_two() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    let (first, second) = (mark(&store, Says::Hold, None, 0).await, mark(&store, Says::Hold, None, 0).await);
    assert_ne!(first, second);
    assert_eq!(marks(&store).await.names, [first, second]);
}

#[tokio::test]
async fn a_hold_that_cannot_be_read_holds() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    let name = mark(&store, Says::Hold, Some("2026-06-06_130000"), 0).await;
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
async fn what_was_found_last_counts() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    assert!(!marks(&store).await.verified());
    mark(&store, Says::Verified, None, 0).await;
    mark(&store, Says::Drilled, None, 0).await;
    assert!(marks(&store).await.verified() && marks(&store).await.drilled());
    mark(&store, Says::Damaged, None, 1).await;
    assert!(!marks(&store).await.verified() && !marks(&store).await.drilled());
    let catalog = Catalog::read(&store).await.unwrap();
    let damaged = &catalog.series[&series("app", "nightly")][0];
    assert!(!damaged.is_good() && damaged.artifact == Presence::Whole);
    mark(&store, Says::Verified, None, 2).await;
    assert!(marks(&store).await.verified() && !marks(&store).await.damaged());
}

#[tokio::test]
async fn damage_found_by_a_drill_is_not_lifted_by_reading() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    let drill = Mark { verdict: Some("damaged".to_owned()), ..Mark::default() };
    let name = mark_with(&store, &drill, Says::Damaged, 0).await;
    mark(&store, Says::Verified, None, 1).await;
    let found = marks(&store).await;
    assert!(found.damaged() && !found.unreadable() && found.verified() && !found.drilled());
    let catalog = Catalog::read(&store).await.unwrap();
    let backup = &catalog.series[&series("app", "nightly")][0];
    assert_eq!((backup.is_good(), backup.damage().as_deref()), (false, Some("found by a drill")));
    // An unreadable mark counts like a drill's.
    store.damage(&name.key().unwrap(), |bytes| bytes.truncate(3));
    assert!(marks(&store).await.damaged());
    mark(&store, Says::Drilled, None, 2).await;
    assert!(marks(&store).await.drilled() && !marks(&store).await.damaged());
    mark_with(&store, &drill, Says::Damaged, 3).await;
    assert!(!marks(&store).await.drilled() && marks(&store).await.damaged());
}

#[tokio::test]
async fn a_drill_that_succeeds_lifts_what_reading_found() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    mark(&store, Says::Damaged, None, 0).await;
    mark(&store, Says::Drilled, None, 1).await;
    assert!(!marks(&store).await.damaged() && marks(&store).await.drilled());
}

#[tokio::test]
async fn a_failed_drill_of_0_1_0_only_asks_for_another() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    mark(&store, Says::Unrestorable, None, 0).await;
    let catalog = Catalog::read(&store).await.unwrap();
    let backup = &catalog.series[&series("app", "nightly")][0];
    assert_eq!((backup.is_good(), backup.advice()), (true, Some("a drill by 0.1.0 failed: drill again")));
    mark(&store, Says::Drilled, None, 1).await;
    assert!(!marks(&store).await.to_be_drilled_again());
}

#[tokio::test]
async fn a_withdrawn_mark_does_not_count() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    mark(&store, Says::Verified, None, 0).await;
    let wrong = mark_with(&store, &Mark::default(), Says::Damaged, 1).await;
    assert!(marks(&store).await.damaged());
    let withdrawal = Mark { withdraws: vec![wrong.label()], ..Mark::default() };
    mark_with(&store, &withdrawal, Says::Withdrawn, 2).await;
    let found = marks(&store).await;
    assert!(!found.damaged() && found.verified() && found.names.contains(&wrong), "the withdrawn mark still exists");
    // Only the named mark is withdrawn.
    mark(&store, Says::Damaged, None, 3).await;
    assert!(marks(&store).await.damaged());
}

#[tokio::test]
async fn a_mark_goes_with_its_backup_and_without_it_is_an_orphan() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES[..1]).await;
    let name = mark(&store, Says::Verified, None, 0).await;
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
async fn a_manifest_that_was_moved_by_hand_is_reported() {
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
