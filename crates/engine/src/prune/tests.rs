//! Guarantees of prune, tested with a destination in memory that fails on purpose.

mod adopted;
mod former_names;
mod remove_backup;
mod untrusted_destination;

use std::collections::BTreeSet;

use chrono::{TimeDelta, Utc};
use longshore_catalog::catalog::Catalog;
use longshore_core::key::{BackupName, Key, Timestamp};
use longshore_core::mark::{Mark, MarkKind};
use longshore_retention::{Count, Policy, Reason, RemoveReason};
use longshore_testkit::memory::{Fault, MemoryStore, Operation};
use tempfile::TempDir;

use super::*;
use crate::fixture::{DESTINATION, catalogued, config, put_base_with, put_partial_run, put_run};
use crate::hold::{HoldChange, hold};

/// A destination, and a host that prunes it.
struct PruneEnv {
    store: MemoryStore,
    config: Config,
    _folder: TempDir,
}

#[tokio::test]
async fn base_backup_before_the_recovery_window_is_kept() {
    let mut prune = PruneEnv::new(last(1));
    let now = Utc::now();
    let names = [30, 20, 3, 2].map(|days| {
        let time = now - TimeDelta::days(days);
        let manifest = put_base_with(&prune.store, &time.format("%Y-%m-%d_%H%M%S").to_string(), |manifest| {
            manifest.base.as_mut().unwrap().finished = Some(time);
        });
        manifest.name().unwrap()
    });
    prune.config.jobs.values_mut().for_each(|job| job.recovery_window = Some(TimeDelta::days(14)));
    assert!(prune.prune(&ACT).await.succeeded());
    let catalog = Catalog::read(&prune.store).await.unwrap();
    assert_eq!(catalog.backups().map(|backup| &backup.name).collect::<Vec<_>>(), [&names[1], &names[3]]);
}

const ACT: Request<'static> = Request {
    job: None,
    destination: None,
    mode: Mode::Act,
    overrides: Overrides { clock: false, listing: false },
    retire: None,
};

impl PruneEnv {
    fn new(policy: Policy) -> Self {
        let (folder, store) = (TempDir::new().unwrap(), MemoryStore::new());
        let config = config(folder.path(), &store, Some(policy));
        Self { store, config, _folder: folder }
    }

    /// Adds runs of two databases at 03:00 on these days of May 2026.
    fn with_days(policy: Policy, days: impl IntoIterator<Item = u32>) -> Self {
        let prune = Self::new(policy);
        for day in days {
            put_run(&prune.store, &time(day), &["app", "app-prod"]);
        }
        prune
    }

    async fn prune(&self, request: &Request<'_>) -> Pruned {
        prune(&self.config, request).await.unwrap().remove(0)
    }

    /// Returns the days of a subject's backups, oldest first.
    async fn days(&self, subject: &str) -> Vec<String> {
        let catalog = Catalog::read(&self.store).await.unwrap();
        let of_subject = catalog.backups().filter(|backup| backup.manifest.subject.segment() == subject);
        of_subject.map(|backup| backup.manifest.time.time().format("%d").to_string()).collect()
    }
}

fn time(day: u32) -> String {
    format!("2026-05-{day:02}_030000")
}

fn last(count: u32) -> Policy {
    Policy { keep_last: Count::AtMost(count), ..Policy::default() }
}

fn name(subject: &str, day: u32) -> BackupName {
    BackupName::new("main", subject, Timestamp::parse(&time(day)).unwrap()).unwrap()
}

/// Returns the names of the backups reported as failed.
fn failed(pruned: &Pruned) -> BTreeSet<&str> {
    pruned.series.iter().flat_map(|series| &series.failed).map(|(name, _)| name.file_name()).collect()
}

#[tokio::test]
async fn prune_deletes_unkept_backups_once() {
    let prune = PruneEnv::with_days(last(2), 1..=5);
    let first = prune.prune(&ACT).await;
    assert!(first.succeeded(), "{first:?}");
    for subject in ["app", "app-prod", "globals"] {
        assert_eq!(prune.days(subject).await, ["04", "05"], "{subject}");
    }
    assert_eq!(prune.store.keys().len(), 3 * 2 * 2, "a manifest and an artifact for each");
    let removed = prune.store.removed().len();
    assert!(prune.prune(&ACT).await.succeeded());
    assert_eq!(prune.store.removed().len(), removed);
}

#[tokio::test]
async fn dry_run_reports_the_same_plan_and_deletes_nothing() {
    let prune = PruneEnv::with_days(last(2), 1..=5);
    let shown = prune.prune(&Request { mode: Mode::DryRun, ..ACT }).await;
    assert_eq!(prune.store.removed(), []);
    let done = prune.prune(&ACT).await;
    assert_eq!(serde_json::to_value(shown.series).unwrap(), serde_json::to_value(done.series).unwrap());
}

#[tokio::test]
async fn failed_deletion_blocks_only_needed_backups() {
    let prune = PruneEnv::with_days(last(1), 1..=3);
    prune.store.fault_at(Operation::Remove, "app-2026-05-01_030000.json", Fault::Deny);
    let pruned = prune.prune(&ACT).await;
    assert!(!pruned.succeeded());
    assert_eq!(failed(&pruned), BTreeSet::from(["app-2026-05-01_030000", "globals-2026-05-01_030000"]));
    assert_eq!(prune.days("app").await, ["01", "03"], "the backup stays in the catalog");
    assert_eq!(prune.days("app-prod").await, ["03"]);
    assert_eq!(prune.days("globals").await, ["01", "03"], "the globals that it needs stay with it");
    prune.store.heal();
    assert!(prune.prune(&ACT).await.succeeded());
    assert_eq!(prune.days("globals").await, ["03"]);
}

#[tokio::test]
async fn incomplete_listing_deletes_nothing() {
    let prune = PruneEnv::with_days(last(1), 1..=3);
    for entries in 0..18 {
        prune.store.heal();
        prune.store.fault(Operation::List, Fault::FailAfter(entries));
        let pruned = prune.prune(&ACT).await;
        assert!(pruned.error.is_some() && !pruned.refused, "after {entries}");
    }
    assert_eq!(prune.store.removed(), []);
}

#[tokio::test]
async fn killed_prune_leaves_whole_backups_and_next_prune_finishes() {
    let mut steps = 0;
    loop {
        let mut prune = PruneEnv::with_days(last(1), 1..=3);
        // Every deletion from the n-th on fails, as after a kill.
        let going: Vec<Key> = {
            let whole = PruneEnv::with_days(last(1), 1..=3);
            whole.prune(&ACT).await;
            whole.store.removed()
        };
        for key in &going[steps..] {
            prune.store.fault_at(Operation::Remove, key.as_str(), Fault::Deny);
        }
        prune.prune(&ACT).await;
        prune.store.heal();
        let catalog = Catalog::read(&prune.store).await.unwrap();
        let there: BTreeSet<_> = catalog.backups().map(|backup| &backup.name).collect();
        for backup in catalog.backups() {
            assert!(backup.is_good(), "{} after {steps} steps", backup.name);
            assert!(
                backup.manifest.needs.iter().all(|need| there.contains(need)),
                "{} after {steps} steps",
                backup.name
            );
        }
        assert!(catalog.orphans.len() <= going.len());
        // Orphans wait for their grace period, which is zero here.
        prune.config.destinations.get_mut(DESTINATION).unwrap().orphan_grace = -TimeDelta::seconds(1);
        assert!(prune.prune(&ACT).await.succeeded());
        assert_eq!(prune.store.keys().len(), 3 * 2, "after {steps} steps");
        if steps == going.len() {
            break;
        }
        steps += 1;
    }
    assert_eq!(steps, 2 * 3 * 2);
}

#[tokio::test]
async fn prune_refuses_lost_backups_until_overridden() {
    let prune = PruneEnv::with_days(last(10), 1..=6);
    assert!(prune.prune(&ACT).await.succeeded());
    for day in 1..=2 {
        for subject in ["app", "app-prod", "globals"] {
            prune.store.lose(&name(subject, day).manifest());
        }
    }
    assert!(prune.prune(&ACT).await.succeeded(), "a third may be missing");
    for day in 3..=4 {
        for subject in ["app", "app-prod", "globals"] {
            prune.store.lose(&name(subject, day).manifest());
        }
    }
    for _ in 0..2 {
        let pruned = prune.prune(&ACT).await;
        assert!(pruned.refused && pruned.was_refused());
        let error = pruned.error.unwrap();
        assert!(error.message.contains("found 6 backups, but the last prune left 12"), "{}", error.message);
        assert!(error.hint.unwrap().contains("--despite listing"));
    }
    let overrides = Overrides { listing: true, clock: false };
    assert!(prune.prune(&Request { overrides, ..ACT }).await.succeeded());
    assert!(prune.prune(&ACT).await.succeeded(), "once suffices");
}

#[tokio::test]
async fn clock_behind_newest_backup_refuses_only_its_series() {
    let prune = PruneEnv::with_days(last(1), 1..=3);
    let ahead = Timestamp::new(Utc::now() + TimeDelta::days(400)).to_string();
    put_run(&prune.store, &ahead, &["app"]);
    let pruned = prune.prune(&ACT).await;
    assert!(!pruned.succeeded() && !pruned.was_refused());
    let refused: Vec<_> =
        pruned.series.iter().filter(|series| series.refused.is_some()).map(|s| s.subject.as_str()).collect();
    assert_eq!(refused, ["globals", "app"]);
    assert_eq!((prune.days("app").await.len(), prune.days("app-prod").await.len()), (4, 1));
    let overrides = Overrides { clock: true, listing: false };
    assert!(prune.prune(&Request { overrides, ..ACT }).await.succeeded());
    assert_eq!(prune.days("app").await.len(), 2, "the newest of today and the future backup");
}

#[tokio::test]
async fn series_with_failed_dump_has_not_ended() {
    let prune = PruneEnv::with_days(last(1), 1..=3);
    put_partial_run(&prune.store, &time(4), &["app", "app-prod"], "app-prod");
    let pruned = prune.prune(&ACT).await;
    assert!(pruned.series.iter().all(|series| series.ended.is_none()), "{pruned:?}");
    let retired = Request { retire: Some("main/app-prod"), ..ACT };
    let refused = super::prune(&prune.config, &retired).await.unwrap().remove(0);
    assert!(refused.was_refused(), "{refused:?}");
    assert_eq!(prune.days("app-prod").await, ["03"]);
}

#[tokio::test]
async fn ended_series_is_reported_and_kept_until_retired() {
    let prune = PruneEnv::with_days(last(1), 1..=3);
    put_run(&prune.store, &time(4), &["app"]);
    let pruned = prune.prune(&ACT).await;
    let ended = |subject: &str| pruned.series.iter().find(|series| series.subject == subject).unwrap().ended;
    assert_eq!((ended("app"), ended("globals")), (None, None));
    assert_eq!(ended("app-prod").unwrap().to_rfc3339(), "2026-05-03T03:00:00+00:00");
    assert_eq!(prune.days("app-prod").await, ["03"]);
    // A series that grows, and a missing one.
    let growing = super::prune(&prune.config, &Request { retire: Some("main/app"), ..ACT }).await.unwrap().remove(0);
    assert!(growing.was_refused(), "{growing:?}");
    for unknown in ["main/other", "app-prod", "other/app-prod", "main/app*"] {
        let error = super::prune(&prune.config, &Request { retire: Some(unknown), ..ACT }).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{unknown}");
    }
    assert_eq!(prune.days("app").await, ["04"]);
    assert!(prune.prune(&Request { retire: Some("main/app-prod"), ..ACT }).await.succeeded());
    assert_eq!(prune.days("app-prod").await, Vec::<String>::new());
    assert_eq!((prune.days("app").await, prune.days("globals").await.len()), (vec!["04".to_owned()], 2));
    prune.prune(&ACT).await;
    assert_eq!(prune.days("globals").await, ["04"], "the globals that only the retired series needed");
}

#[tokio::test]
async fn hold_keeps_backup_and_its_needs_until_released() {
    let prune = PruneEnv::with_days(last(1), 1..=3);
    let change = HoldChange::Hold { until: None, why: "the audit of 2026".to_owned() };
    let held = hold(&prune.config, "app-2026-05-01_030000", None, &change).await.unwrap();
    assert!(held.len() == 1 && held[0].error.is_none());
    let pruned = prune.prune(&ACT).await;
    assert_eq!(
        (prune.days("app").await.len(), prune.days("globals").await),
        (2, vec!["01".to_owned(), "03".to_owned()])
    );
    let app = pruned.series.iter().find(|series| series.subject == "app").unwrap();
    assert_eq!(app.keep[1].reasons[0].to_string(), "held: the audit of 2026");
    let released = hold(&prune.config, "app-2026-05-01_030000", None, &HoldChange::Release).await.unwrap();
    assert!(released[0].error.is_none());
    assert!(prune.prune(&ACT).await.succeeded());
    assert_eq!((prune.days("app").await, prune.days("globals").await), (vec!["03".to_owned()], vec!["03".to_owned()]));
    assert_eq!(prune.store.keys().len(), 3 * 2, "its marks were deleted");
    let error = hold(&prune.config, "app", None, &HoldChange::Release).await.unwrap_err();
    assert!(error.to_string().contains("is not held"), "{error}");
}

#[tokio::test]
async fn hold_after_the_plan_keeps_backup() {
    let prune = PruneEnv::with_days(last(1), 1..=3);
    let at = catalogued(&prune.store).await;
    for (kind, subject) in [(MarkKind::Hold, "app"), (MarkKind::Restoring, "app-prod")] {
        let until = Some(Utc::now() + TimeDelta::hours(1));
        let mark = Mark { until, ..Mark::default() };
        longshore_catalog::mark::put(&mark, &prune.store, &name(subject, 1), kind, Utc::now()).await.unwrap();
    }
    let job = prune.config.jobs.values().next().unwrap();
    let policies = [(job, &job.retention[DESTINATION])];
    let pruned = at_destination(&prune.config, &at, &policies, &ACT, |_| SeriesMode::Policy).await.unwrap();
    let all = ["app-2026-05-01_030000", "app-prod-2026-05-01_030000", "globals-2026-05-01_030000"];
    assert_eq!(failed(&pruned), BTreeSet::from(all));
    assert_eq!(prune.days("app").await, ["01", "03"]);
    assert_eq!(prune.days("globals").await, ["01", "03"]);
}

#[tokio::test]
async fn damage_of_last_good_backup_keeps_the_others() {
    // A failed drill by 0.1.0 does not count against a backup.
    for (kind, is_pruned) in [(MarkKind::Damaged, false), (MarkKind::Unrestorable, true)] {
        let prune = PruneEnv::with_days(last(1), 1..=3);
        let at = catalogued(&prune.store).await;
        longshore_catalog::mark::put(&Mark::default(), &prune.store, &name("app", 3), kind, Utc::now()).await.unwrap();
        let job = prune.config.jobs.values().next().unwrap();
        let policies = [(job, &job.retention[DESTINATION])];
        let pruned = at_destination(&prune.config, &at, &policies, &ACT, |_| SeriesMode::Policy).await.unwrap();
        assert_eq!(pruned.succeeded(), is_pruned);
        let left: &[&str] = if is_pruned { &["03"] } else { &["01", "02", "03"] };
        assert_eq!(prune.days("app").await, left);
    }
}

#[tokio::test]
async fn loss_of_last_good_backup_keeps_the_others() {
    let prune = PruneEnv::with_days(last(1), 1..=3);
    let at = catalogued(&prune.store).await;
    prune.store.lose(&name("app", 3).artifact(".dump.zst.age").unwrap());
    let job = prune.config.jobs.values().next().unwrap();
    let policies = [(job, &job.retention[DESTINATION])];
    let pruned = at_destination(&prune.config, &at, &policies, &ACT, |_| SeriesMode::Policy).await.unwrap();
    assert!(!pruned.succeeded());
    assert_eq!(prune.days("app").await, ["01", "02", "03"]);
    assert_eq!(prune.days("app-prod").await, ["03"], "another series is not affected");
    assert_eq!(prune.days("globals").await, ["01", "02", "03"]);
}

#[tokio::test]
async fn sweep_removes_orphans_after_grace_period() {
    let mut prune = PruneEnv::with_days(last(5), 1..=2);
    let orphan = name("app", 9).artifact(".dump.zst.age").unwrap();
    let notes = Key::parse("main/app/app-2026-05-09_030000.txt").unwrap();
    prune.store.put(&orphan, "half");
    prune.store.put(&notes, "a person's");
    // Scripts use such names, too, and a manifest may exist that no listing shows.
    let strangers = [name("app", 8).artifact(".dump").unwrap(), name("old", 8).artifact(".dump").unwrap()];
    strangers.iter().for_each(|stranger| prune.store.put(stranger, "a script's"));
    let hidden = name("app", 7);
    prune.store.put(&hidden.artifact(".dump.zst.age").unwrap(), "whole");
    prune.store.fault_at(Operation::Fetch, hidden.manifest().as_str(), Fault::Deny);
    let first = prune.prune(&ACT).await;
    assert!(first.swept.is_empty(), "the age is counted from the first sighting");
    prune.config.destinations.get_mut(DESTINATION).unwrap().orphan_grace = TimeDelta::zero();
    let shown = prune.prune(&Request { mode: Mode::DryRun, ..ACT }).await;
    assert!(shown.swept.len() == 1 && shown.swept[0].orphan && shown.swept[0].bytes == Some(4));
    assert!(prune.store.get(&orphan).is_some());
    assert_eq!(prune.prune(&ACT).await.swept.len(), 1);
    assert!(prune.store.get(&orphan).is_none());
    assert!(prune.store.get(&notes).is_some(), "foreign files are kept");
    assert!(strangers.iter().all(|stranger| prune.store.get(stranger).is_some()));
    assert!(prune.store.get(&hidden.artifact(".dump.zst.age").unwrap()).is_some());
}

#[tokio::test]
async fn sweep_removes_unsealed_artifacts_beside_details() {
    let mut prune = PruneEnv::with_days(last(1), 1..=3);
    let details = Key::parse(&format!("{}.details.json", name("app", 9))).unwrap();
    let [ours, stranger] = [9, 8].map(|day| name("app", day).artifact(".dump.zst").unwrap());
    for key in [&ours, &details, &stranger] {
        prune.store.put(key, "half");
    }
    prune.config.destinations.get_mut(DESTINATION).unwrap().orphan_grace = -TimeDelta::seconds(1);
    // The artifact is deleted first: without its details it would never be removed.
    prune.store.fault_at(Operation::Remove, ours.as_str(), Fault::Deny);
    prune.store.fault_at(Operation::Remove, details.as_str(), Fault::Deny);
    prune.prune(&ACT).await;
    prune.store.heal();
    assert!(prune.prune(&ACT).await.succeeded());
    assert_eq!((prune.store.get(&ours), prune.store.get(&details)), (None, None));
    let order: Vec<_> = prune.store.removed().into_iter().filter(|key| *key == ours || *key == details).collect();
    assert_eq!(order, [ours, details]);
    assert!(prune.store.get(&stranger).is_some());
}

#[tokio::test]
async fn prune_reports_kept_backups_above_max_total_size() {
    let policy = Policy { max_total_size: Some(longshore_core::unit::ByteSize::new(5)), ..last(3) };
    let prune = PruneEnv::with_days(policy, 1..=3);
    let pruned = prune.prune(&ACT).await;
    // The three newest of three bytes each, and nothing else.
    assert_eq!((prune.days("app").await, prune.days("globals").await), (vec!["03".to_owned()], vec!["03".to_owned()]));
    assert!(!pruned.succeeded());
    assert!(pruned.problems[0].message.contains("4 bytes more than max_total_size"), "{:?}", pruned.problems);
    assert!(
        pruned.series.iter().flat_map(|series| &series.remove).all(|removed| removed.cause == RemoveReason::TotalSize)
    );
}

#[tokio::test]
async fn damaged_state_file_is_reported_and_prune_continues() {
    let prune = PruneEnv::with_days(last(1), 1..=3);
    prune.prune(&ACT).await;
    let folder = prune.config.state_dir.clone().unwrap();
    let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&file, "{").unwrap();
    put_run(&prune.store, &time(4), &["app", "app-prod"]);
    let pruned = prune.prune(&ACT).await;
    assert!(!pruned.succeeded() && pruned.problems[0].message.contains(&file.display().to_string()), "{pruned:?}");
    assert_eq!(prune.days("app").await, ["04"]);
}

#[tokio::test]
async fn prune_keeps_locked_backups_without_failure() {
    let prune = PruneEnv::with_days(last(1), 1..=3);
    let until = Utc::now() + TimeDelta::days(30);
    prune.store.lock(&name("app", 1).artifact(".dump.zst.age").unwrap(), until);
    let pruned = prune.prune(&ACT).await;
    assert!(pruned.succeeded(), "{pruned:?}");
    assert_eq!((prune.days("app").await.len(), prune.days("globals").await.len()), (2, 2));
    let app = pruned.series.iter().find(|series| series.subject == "app").unwrap();
    assert_eq!(app.keep[1].reasons, [Reason::Locked { until }]);
    prune.store.lock(&name("app", 1).artifact(".dump.zst.age").unwrap(), Utc::now());
    prune.prune(&ACT).await;
    assert_eq!(prune.days("globals").await, ["03"]);
}
