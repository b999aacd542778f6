//! A destination that other programs write to, and a destination that lost backups.

use longshore_catalog::catalog::Backup;
use longshore_core::mark::MarkName;

use super::*;
use crate::decrypted;
use crate::fixture::put_report;
use crate::status;

impl PruneEnv {
    /// Adds runs of these days, with reports on this host.
    fn with_reports(policy: Policy, days: impl IntoIterator<Item = u32>) -> Self {
        let prune = Self::new(policy);
        for day in days {
            let made = put_run(&prune.store, &time(day), &["app"]);
            put_report(&prune.config, &time(day), &made);
        }
        prune
    }

    /// Ends a run that made these backups.
    async fn after_run(&self, made: &[BackupName]) -> Result<Pruned> {
        let at = catalogued(&self.store).await;
        let job = self.config.jobs.values().next().unwrap();
        let made = made.iter().cloned().collect();
        after_run(&self.config, &at, (job, &job.retention[DESTINATION]), &made, |_| SeriesMode::Policy).await
    }

    async fn attention(&self) -> Vec<status::IssueKind> {
        let at = catalogued(&self.store).await;
        status::loss_issues(&self.config, &at, Utc::now()).into_iter().map(|it| it.kind).collect()
    }
}

#[tokio::test]
async fn foreign_backups_do_not_count_until_decoded_here() {
    let prune = PruneEnv::with_reports(last(3), 1..=5);
    let junk = ["2026-05-05_040000", "2026-05-05_050000", "2026-05-05_060000"];
    junk.iter().for_each(|time| drop(put_run(&prune.store, time, &["app"])));
    let pruned = prune.prune(&ACT).await;
    assert!(pruned.succeeded(), "{pruned:?}");
    assert_eq!(prune.days("app").await, ["03", "04", "05", "05", "05", "05"]);
    let warning = pruned.warnings.iter().find(|warning| warning.message.contains("main/app")).unwrap();
    assert!(warning.message.starts_with("3 backups of main/app"), "{}", warning.message);
    assert!(warning.hint.as_ref().unwrap().contains("longshore verify main/app/app-2026-05-05_"));
    // A backup decrypted here counts; a changed one does not.
    let at = catalogued(&prune.store).await;
    let newest = |backup: &&Backup| backup.name.as_str() == "main/app/app-2026-05-05_060000";
    let backup = at.catalog.backups().find(newest).unwrap();
    let job = prune.config.jobs.values().next().unwrap();
    decrypted::record(&prune.config, job, backup).unwrap();
    let mut changed = backup.clone();
    std::sync::Arc::make_mut(&mut changed.manifest).artifact.sealed = longshore_core::meter::Digest::of(b"abd");
    prune.store.put(&changed.name.manifest(), changed.manifest.to_bytes().unwrap());
    prune.prune(&ACT).await;
    assert_eq!(prune.days("app").await.len(), 6);
    prune.store.put(&backup.name.manifest(), backup.manifest.to_bytes().unwrap());
    prune.prune(&ACT).await;
    assert_eq!(prune.days("app").await, ["04", "05", "05", "05", "05"]);
}

#[tokio::test]
async fn backups_of_the_run_under_way_count_before_its_report() {
    let prune = PruneEnv::with_reports(last(1), 1..=2);
    let made = put_run(&prune.store, &time(3), &["app"]);
    let pruned = prune.after_run(&made).await.unwrap();
    assert!(pruned.succeeded() && pruned.warnings.is_empty(), "{pruned:?}");
    assert_eq!(prune.days("app").await, ["03"]);
}

#[tokio::test]
async fn host_without_reports_counts_all_and_warns_once() {
    let prune = PruneEnv::with_days(last(1), 1..=3);
    let first = prune.prune(&ACT).await;
    assert!(first.succeeded() && first.warnings[0].message.contains("no report of a run"), "{first:?}");
    assert_eq!(prune.days("app").await, ["03"]);
    assert!(prune.prune(&ACT).await.warnings.is_empty());
}

#[tokio::test]
async fn backups_older_than_the_oldest_report_count() {
    let prune = PruneEnv::with_days(last(2), 1..=3);
    let made = put_run(&prune.store, &time(4), &["app", "app-prod"]);
    put_report(&prune.config, &time(4), &made);
    let pruned = prune.prune(&ACT).await;
    assert!(pruned.succeeded() && pruned.warnings.is_empty(), "{pruned:?}");
    assert_eq!(prune.days("app").await, ["03", "04"]);
}

#[tokio::test]
async fn future_backup_does_not_count() {
    let prune = PruneEnv::with_reports(last(1), 1..=3);
    let ahead = Timestamp::new(Utc::now() + TimeDelta::days(2)).to_string();
    put_run(&prune.store, &ahead, &["app"]);
    let pruned = prune.prune(&ACT).await;
    assert!(!pruned.succeeded() && !pruned.was_refused());
    let named: Vec<_> = pruned.series.iter().flat_map(|series| &series.ahead).map(|name| name.file_name()).collect();
    assert_eq!(named.len(), 2, "globals and the database: {named:?}");
    assert_eq!(prune.days("app").await.len(), 2, "the rest of the series is pruned");
}

#[tokio::test]
async fn lost_backups_fail_one_run_and_stay_in_status() {
    let prune = PruneEnv::with_days(last(10), 1..=6);
    assert!(prune.prune(&ACT).await.succeeded());
    for day in 1..=4 {
        ["app", "app-prod", "globals"].iter().for_each(|subject| prune.store.lose(&name(subject, day).manifest()));
    }
    let made = put_run(&prune.store, &time(7), &["app", "app-prod"]);
    let error = prune.after_run(&made).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.remedy().unwrap().contains("longshore prune --despite listing"));
    for _ in 0..2 {
        let later = prune.after_run(&made).await.unwrap();
        assert!(later.succeeded() && later.series.is_empty(), "{later:?}");
        assert!(later.warnings[0].message.starts_with("nothing was pruned"), "{later:?}");
        assert_eq!(prune.attention().await, [status::IssueKind::BackupsLost]);
    }
    // More backups are missing: this is a new loss.
    ["app", "app-prod"].iter().for_each(|subject| prune.store.lose(&name(subject, 5).manifest()));
    assert!(prune.after_run(&made).await.is_err());
    assert!(prune.after_run(&made).await.is_ok());
    assert!(prune.prune(&ACT).await.refused, "a manual prune is refused until the operator accepts the loss");
    let overrides = Overrides { listing: true, clock: false };
    assert!(prune.prune(&Request { overrides, ..ACT }).await.succeeded());
    assert!(prune.after_run(&made).await.unwrap().warnings.iter().all(|it| !it.message.starts_with("nothing")));
    assert_eq!(prune.attention().await, []);
}

#[tokio::test]
async fn deleted_hold_stays_effective_and_is_reported() {
    let prune = PruneEnv::with_days(last(1), 1..=3);
    let change = HoldChange::Hold { until: None, why: "an audit".to_owned() };
    let held = "app-2026-05-01_030000";
    hold(&prune.config, held, None, &change).await.unwrap();
    prune.prune(&ACT).await;
    let delete = || {
        let holds = prune.store.keys().into_iter().filter(|key| MarkName::from_key(key).is_some());
        holds.for_each(|key| prune.store.lose(&key));
    };
    delete();
    for _ in 0..2 {
        let pruned = prune.prune(&ACT).await;
        assert!(pruned.warnings.iter().any(|warning| warning.message.contains("was deleted or shortened")));
        assert_eq!(prune.days("app").await, ["01", "03"]);
        assert_eq!(prune.attention().await, [status::IssueKind::HoldLost]);
    }
    let released = hold(&prune.config, held, None, &HoldChange::Release).await.unwrap();
    assert!(released[0].error.is_none());
    assert_eq!(prune.attention().await, []);
    let pruned = prune.prune(&ACT).await;
    assert!(pruned.succeeded() && prune.days("app").await == ["03"], "{pruned:?}");
}

#[tokio::test]
async fn full_backup_before_an_unreadable_manifest_stays() {
    let prune = PruneEnv::with_days(last(1), 1..=4);
    // It may be a difference from the backup before it.
    prune.store.fault_at(Operation::Fetch, "app-2026-05-03_030000.json", Fault::Break);
    assert!(prune.prune(&ACT).await.error.is_none());
    prune.store.heal();
    assert_eq!(prune.days("app").await, ["02", "03", "04"]);
}

#[tokio::test]
async fn unreadable_manifest_blocks_no_other_series() {
    let prune = PruneEnv::with_days(last(1), 1..=3);
    prune.store.fault_at(Operation::Fetch, "app-prod-2026-05-03_030000.json", Fault::Break);
    let pruned = prune.prune(&ACT).await;
    assert!(pruned.error.is_none(), "{pruned:?}");
    assert_eq!(prune.days("app").await, ["03"]);
    prune.store.heal();
    assert_eq!(prune.days("app-prod").await, ["02", "03"], "the newest readable and the unreadable backup are kept");
    assert_eq!(prune.days("globals").await, ["02", "03"]);
}
