//! The retention plan of a catalog.

use longshore_catalog::catalog::{Backup, Catalog};
use longshore_core::subject::Subject;
use longshore_retention::{Action, Count, Decision, Policy, Reason, RemoveReason};
use longshore_testkit::memory::MemoryStore;

use crate::{TIMES, back_up, key, plan_series, series};

/// Plans one series. Returns the decisions, newest first.
fn decisions(policy: &Policy, backups: &[Backup]) -> Vec<Decision> {
    plan_series(policy, [backups]).decisions.remove(0)
}

fn kept(reasons: impl Into<Vec<Reason>>) -> Action {
    Action::Keep(reasons.into())
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
