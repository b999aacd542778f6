//! Prunes of adopted files, on a store in memory.

use std::sync::{Arc, LazyLock};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use longshore_catalog::adopt::{Adopt, Pattern};
use longshore_catalog::catalog::Catalog;
use longshore_core::key::Key;
use longshore_retention::Count;
use longshore_testkit::memory::{Fault, MemoryStore, Operation};
use tempfile::TempDir;

use super::super::*;
use crate::config::Destination;

/// A destination in memory with an adoption, and a state folder.
struct Harbour {
    store: MemoryStore,
    config: Config,
    _state: TempDir,
}

const PATTERN: &str = "{database}-%Y-%m-%d_%H%M%S.dump";

impl Harbour {
    fn new(policy: Policy) -> Self {
        let state = tempfile::tempdir().unwrap();
        let store = MemoryStore::new();
        let mut config = Config { state_dir: Some(state.path().to_owned()), ..Config::default() };
        config.destinations.insert("nas".to_owned(), Destination::of(store.clone()));
        let harbour = Self { store, config, _state: state };
        harbour.adopting("old", PATTERN, policy)
    }

    fn adopting(mut self, name: &str, pattern: &str, policy: Policy) -> Self {
        let pattern = Pattern::parse(pattern).unwrap();
        let adopt = Adopt { name: name.to_owned(), cluster: name.to_owned(), pattern, timezone: Tz::UTC };
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
    despite: Despite { clock: false, listing: false },
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
async fn each_database_keeps_what_the_policy_says_and_nothing_else_is_touched() {
    let harbour = Harbour::new(last(2));
    harbour.put("app", 1..6);
    harbour.put("app-prod", 1..4);
    let strangers = ["notes.txt", "app-2026-02-30_030000.dump", "app-2026-06-07.dump"];
    for stranger in strangers {
        harbour.store.put(&Key::parse(stranger).unwrap(), "a stranger");
    }
    let ours = Key::parse("main/app/app-2026-06-07_091500.dump.zst.age").unwrap();
    harbour.store.put(&ours, "of a run that was cut off");
    let dry = harbour.prune(Request { mode: Mode::DryRun, ..ACT }).await.unwrap().remove(0);
    assert_eq!((dry.series.len(), harbour.store.removed().len()), (2, 0));
    let pruned = harbour.act().await;
    assert!(pruned.succeeded() && pruned.series.iter().all(|series| series.adopted));
    assert_eq!(pruned.not_adopted.iter().map(|not| not.key.as_str()).collect::<Vec<_>>(), {
        let mut sorted = strangers;
        sorted.sort_unstable();
        sorted
    });
    let removed: Vec<_> = harbour.store.removed();
    assert_eq!(removed, [key("app", 5), key("app", 4), key("app", 3), key("app-prod", 3)]);
    assert_eq!(harbour.act().await.series.iter().map(|series| series.remove.len()).sum::<usize>(), 0);
}

#[tokio::test]
async fn an_empty_file_takes_no_place_and_stays() {
    let harbour = Harbour::new(last(1));
    harbour.put("app", 1..4);
    harbour.store.put(&key("app", 0), "");
    harbour.act().await;
    let mut left = [key("app", 1).to_string(), key("app", 0).to_string()];
    left.sort();
    assert_eq!(harbour.keys(), left);
}

#[tokio::test]
async fn a_listing_that_came_back_short_is_refused_until_a_person_says_otherwise() {
    let harbour = Harbour::new(last(9));
    harbour.put("app", 0..9);
    harbour.act().await;
    for day in 0..4 {
        harbour.store.lose(&key("app", day));
    }
    let pruned = harbour.act().await;
    assert!(pruned.refused && pruned.error.unwrap().message.contains("5 files that adopt \"old\" claims"));
    let despite = Despite { listing: true, ..ACT.despite };
    assert!(harbour.prune(Request { despite, ..ACT }).await.unwrap()[0].succeeded());
    assert!(harbour.act().await.succeeded());
}

#[tokio::test]
async fn a_listing_that_fails_lets_nothing_go() {
    let harbour = Harbour::new(last(1));
    harbour.put("app", 0..9);
    harbour.store.fault(Operation::List, Fault::FailAfter(4));
    assert!(harbour.act().await.error.is_some());
    assert_eq!(harbour.keys().len(), 9);
}

#[tokio::test]
async fn what_cannot_be_removed_is_told_and_stops_no_other() {
    let harbour = Harbour::new(last(1));
    harbour.put("app", 0..4);
    let stuck = key("app", 2);
    harbour.store.fault_at(Operation::Remove, stuck.as_str(), Fault::Deny);
    let pruned = harbour.act().await;
    assert_eq!(pruned.series[0].failed[0].0.as_str(), stuck.as_str());
    assert_eq!(harbour.keys().len(), 2);
}

#[tokio::test]
async fn what_changed_since_the_plan_stays() {
    let harbour = Harbour::new(last(1));
    harbour.put("app", 0..3);
    let mut catalog = Catalog::read(&harbour.store).await.unwrap();
    catalog.adopt(harbour.config.adoptions.values().map(|adoption| &adoption.adopt));
    let at = Catalogued { name: "nas".to_owned(), store: Arc::new(harbour.store.clone()), catalog };
    // Another program writes to a file that is to be deleted.
    harbour.store.put(&key("app", 2), "another dump, and longer");
    let owners = [Owner::Adoption(&harbour.config.adoptions["old"])];
    let pruned = of_owners(&harbour.config, &at, &owners, &ACT, |_| Regime::Policy).await.unwrap();
    assert!(pruned.series[0].failed[0].1.message.contains("its size has changed"));
    assert_eq!(harbour.store.removed(), [key("app", 1)]);
    // The newest file, which was to be kept, disappears.
    harbour.put("app", 1..2);
    harbour.store.lose(&key("app", 0));
    let pruned = of_owners(&harbour.config, &at, &owners, &ACT, |_| Regime::Policy).await.unwrap();
    assert_eq!(pruned.series[0].failed.len(), 2);
    assert!(pruned.series[0].failed.iter().all(|(_, problem)| !problem.message.is_empty()));
    assert_eq!(harbour.keys().len(), 2);
}

#[tokio::test]
async fn what_two_adopts_claim_is_a_problem_and_stays() {
    let harbour = Harbour::new(last(1)).adopting("prod", "prod-{database}-%Y-%m-%d_%H%M%S.dump", last(1));
    harbour.put("prod-app", 0..3);
    let pruned = harbour.act().await;
    assert_eq!((pruned.problems.len(), harbour.store.removed().len()), (3, 0));
    assert!(pruned.problems[0].message.contains("several patterns: old, prod"), "{}", pruned.problems[0].message);
}

#[tokio::test]
async fn a_series_is_retired_once_nothing_comes_for_long() {
    let harbour = Harbour::new(last(2));
    harbour.put("live", 0..3);
    harbour.put("gone", 40..43);
    let retire = |series| harbour.prune(Request { retire: Some(series), ..ACT });
    assert!(retire("old/live").await.unwrap()[0].refused);
    assert!(retire("old/lost").await.is_err());
    assert!(retire("old/gone").await.unwrap()[0].succeeded());
    assert_eq!(harbour.keys().len(), 3);
}

#[tokio::test]
async fn one_adopt_is_pruned_by_its_name() {
    let harbour = Harbour::new(last(1)).adopting("dir", "dir/{database}-%Y-%m-%d_%H%M%S.dump", last(1));
    harbour.put("app", 0..3);
    harbour.put("dir/app", 0..3);
    let pruned = harbour.prune(Request { job: Some("dir"), ..ACT }).await.unwrap();
    assert_eq!((pruned[0].series.len(), harbour.keys().len()), (1, 4));
    assert!(harbour.prune(Request { job: Some("none"), ..ACT }).await.is_err());
    // The state of one adopt's prune does not affect the other's.
    assert!(harbour.act().await.succeeded());
}

#[tokio::test]
async fn what_was_adopted_says_how_to_undo_it_by_hand() {
    let harbour = Harbour::new(last(1));
    harbour.put("app", 0..1);
    let (catalogs, _) = crate::catalogs::readable(&harbour.config, None).await.unwrap();
    let error = crate::catalogs::named(&catalogs, "app").unwrap_err();
    assert!(
        error.to_string().contains("is an adopted file") && error.remedy().unwrap().contains("pg_restore"),
        "{error}"
    );
    assert_eq!(crate::catalogs::named(&catalogs, "other").unwrap_err().kind(), Kind::NotFound);
}
