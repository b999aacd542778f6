//! Prunes of adopted files, on a store in memory.

use std::sync::{Arc, LazyLock};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use longshore_catalog::adopt::{AdoptRule, Pattern};
use longshore_catalog::catalog::Catalog;
use longshore_config::Destination;
use longshore_core::key::Key;
use longshore_retention::Count;
use longshore_testkit::memory::{Fault, MemoryStore, Operation};
use tempfile::TempDir;

use crate::catalogs::{JobChoice, find_name};

use super::super::*;

/// A destination in memory with an adoption, and a state folder.
struct AdoptionEnv {
    store: MemoryStore,
    config: Config,
    _state: TempDir,
}

const PATTERN: &str = "{database}-%Y-%m-%d_%H%M%S.dump";

impl AdoptionEnv {
    fn new(policy: Policy) -> Self {
        let state = tempfile::tempdir().unwrap();
        let store = MemoryStore::new();
        let mut config = Config { state_dir: Some(state.path().to_owned()), ..Config::default() };
        config.destinations.insert("nas".to_owned(), Destination::of(store.clone()));
        let env = Self { store, config, _state: state };
        env.with_adoption("old", PATTERN, policy)
    }

    fn with_adoption(mut self, name: &str, pattern: &str, policy: Policy) -> Self {
        let pattern = Pattern::parse(pattern).unwrap();
        let adopt =
            AdoptRule { name: name.to_owned(), cluster: name.to_owned(), pattern, timezone: Tz::UTC, database: None };
        let adoption = Adoption { adopt, destination: "nas".to_owned(), policy };
        self.config.adoptions.insert(name.to_owned(), adoption);
        self
    }

    /// Stores one file for each of these days before now.
    fn put(&self, database: &str, days: std::ops::Range<i64>) {
        for day in days {
            self.store.put(&key(database, day), "a dump");
        }
    }

    async fn prune(&self, request: Request<'_>) -> Result<Vec<Pruned>> {
        prune(&self.config, &request).await
    }

    async fn act(&self) -> Pruned {
        self.prune(ACT).await.unwrap().remove(0)
    }

    fn keys(&self) -> Vec<String> {
        self.store.keys().iter().map(ToString::to_string).collect()
    }
}

const ACT: Request<'static> = Request {
    job: None,
    destination: None,
    mode: Mode::Act,
    overrides: Overrides { clock: false, listing: false },
    retire: None,
};

/// Returns the key of the file made this many days before the first call of this function, to the
/// second. No file is in the future at any time of day, and midnight may pass during the test.
fn key(database: &str, days: i64) -> Key {
    static NOW: LazyLock<DateTime<Utc>> = LazyLock::new(Utc::now);
    let time = *NOW - TimeDelta::days(days);
    Key::parse(&format!("{database}-{}.dump", time.format("%Y-%m-%d_%H%M%S"))).unwrap()
}

fn last(count: u32) -> Policy {
    Policy { keep_last: Count::AtMost(count), ..Policy::default() }
}

#[tokio::test]
async fn policy_applies_to_each_adopted_database_alone() {
    let env = AdoptionEnv::new(last(2));
    env.put("app", 1..6);
    env.put("app-prod", 1..4);
    let strangers = ["notes.txt", "app-2026-02-30_030000.dump", "app-2026-06-07.dump"];
    for stranger in strangers {
        env.store.put(&Key::parse(stranger).unwrap(), "a stranger");
    }
    let ours = Key::parse("main/app/app-2026-06-07_091500.dump.zst.age").unwrap();
    env.store.put(&ours, "of a run that was cut off");
    let dry = env.prune(Request { mode: Mode::DryRun, ..ACT }).await.unwrap().remove(0);
    assert_eq!((dry.series.len(), env.store.removed().len()), (2, 0));
    let pruned = env.act().await;
    assert!(pruned.succeeded() && pruned.series.iter().all(|series| series.adopted));
    assert_eq!(pruned.not_adopted.iter().map(|not| not.key.as_str()).collect::<Vec<_>>(), {
        let mut sorted = strangers;
        sorted.sort_unstable();
        sorted
    });
    let removed: Vec<_> = env.store.removed();
    assert_eq!(removed, [key("app", 5), key("app", 4), key("app", 3), key("app-prod", 3)]);
    assert_eq!(env.act().await.series.iter().map(|series| series.remove.len()).sum::<usize>(), 0);
}

#[tokio::test]
async fn empty_file_is_kept_and_does_not_count() {
    let env = AdoptionEnv::new(last(1));
    env.put("app", 1..4);
    env.store.put(&key("app", 0), "");
    env.act().await;
    let mut left = [key("app", 1).to_string(), key("app", 0).to_string()];
    left.sort();
    assert_eq!(env.keys(), left);
}

#[tokio::test]
async fn prune_refuses_lost_files_until_overridden() {
    let env = AdoptionEnv::new(last(9));
    env.put("app", 0..9);
    env.act().await;
    for day in 0..4 {
        env.store.lose(&key("app", day));
    }
    let pruned = env.act().await;
    assert!(pruned.refused && pruned.error.unwrap().message.contains("5 files that adopt \"old\" claims"));
    let overrides = Overrides { listing: true, ..ACT.overrides };
    assert!(env.prune(Request { overrides, ..ACT }).await.unwrap()[0].succeeded());
    assert!(env.act().await.succeeded());
}

#[tokio::test]
async fn failed_listing_deletes_nothing() {
    let env = AdoptionEnv::new(last(1));
    env.put("app", 0..9);
    env.store.fault(Operation::List, Fault::FailAfter(4));
    assert!(env.act().await.error.is_some());
    assert_eq!(env.keys().len(), 9);
}

#[tokio::test]
async fn failed_deletion_is_reported_and_blocks_no_other() {
    let env = AdoptionEnv::new(last(1));
    env.put("app", 0..4);
    let stuck = key("app", 2);
    env.store.fault_at(Operation::Remove, stuck.as_str(), Fault::Deny);
    let pruned = env.act().await;
    assert_eq!(pruned.series[0].failed[0].0.as_str(), stuck.as_str());
    assert_eq!(env.keys().len(), 2);
}

#[tokio::test]
async fn file_changed_since_the_plan_is_kept() {
    let env = AdoptionEnv::new(last(1));
    env.put("app", 0..3);
    let mut catalog = Catalog::read(&env.store).await.unwrap();
    catalog.adopt(env.config.adoptions.values().map(|adoption| &adoption.adopt));
    let at = Catalogued { name: "nas".to_owned(), store: Arc::new(env.store.clone()), catalog, history: Vec::new() };
    // Another program writes to a file that is to be deleted.
    env.store.put(&key("app", 2), "another dump, and longer");
    let owners = [Owner::Adoption(&env.config.adoptions["old"])];
    let pruned = prune_owners(&env.config, &at, &owners, &ACT, |_| SeriesMode::Policy).await.unwrap();
    assert!(pruned.series[0].failed[0].1.message.contains("its size has changed"));
    assert_eq!(env.store.removed(), [key("app", 1)]);
    // The newest file, which was to be kept, disappears.
    env.put("app", 1..2);
    env.store.lose(&key("app", 0));
    let pruned = prune_owners(&env.config, &at, &owners, &ACT, |_| SeriesMode::Policy).await.unwrap();
    assert_eq!(pruned.series[0].failed.len(), 2);
    assert!(pruned.series[0].failed.iter().all(|(_, problem)| !problem.message.is_empty()));
    assert_eq!(env.keys().len(), 2);
}

#[tokio::test]
async fn file_claimed_by_two_adopts_is_reported_and_kept() {
    let env = AdoptionEnv::new(last(1)).with_adoption("prod", "prod-{database}-%Y-%m-%d_%H%M%S.dump", last(1));
    env.put("prod-app", 0..3);
    let pruned = env.act().await;
    assert_eq!((pruned.problems.len(), env.store.removed().len()), (3, 0));
    assert!(pruned.problems[0].message.contains("several patterns: old, prod"), "{}", pruned.problems[0].message);
}

#[tokio::test]
async fn idle_series_can_be_retired() {
    let env = AdoptionEnv::new(last(2));
    env.put("live", 0..3);
    env.put("gone", 40..43);
    let retire = |series| env.prune(Request { retire: Some(series), ..ACT });
    assert!(retire("old/live").await.unwrap()[0].refused);
    assert!(retire("old/lost").await.is_err());
    assert!(retire("old/gone").await.unwrap()[0].succeeded());
    assert_eq!(env.keys().len(), 3);
}

#[tokio::test]
async fn prune_selects_adopt_by_name() {
    let env = AdoptionEnv::new(last(1)).with_adoption("dir", "dir/{database}-%Y-%m-%d_%H%M%S.dump", last(1));
    env.put("app", 0..3);
    env.put("dir/app", 0..3);
    let pruned = env.prune(Request { job: Some("dir"), ..ACT }).await.unwrap();
    assert_eq!((pruned[0].series.len(), env.keys().len()), (1, 4));
    assert!(env.prune(Request { job: Some("none"), ..ACT }).await.is_err());
    // The state of one adopt's prune does not affect the other's.
    assert!(env.act().await.succeeded());
}

#[tokio::test]
async fn adopted_file_error_explains_manual_restore() {
    let env = AdoptionEnv::new(last(1));
    env.put("app", 0..1);
    let (catalogs, _) = crate::catalogs::read_available(&env.config, None).await.unwrap();
    let error = find_name(&catalogs, "app", JobChoice::Unavailable).unwrap_err();
    assert!(
        error.to_string().contains("is an adopted file") && error.remedy().unwrap().contains("pg_restore"),
        "{error}"
    );
    assert_eq!(find_name(&catalogs, "other", JobChoice::Unavailable).unwrap_err().kind(), Kind::NotFound);
}
