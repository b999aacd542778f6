//! Guarantees of `remove`: it removes one backup by hand, within the limits of a prune.

use super::*;
use crate::prune::{RemoveRequest, remove_backup};

const REQUEST: RemoveRequest<'static> = RemoveRequest { name: "", destination: None, why: "a test", mode: Mode::Act };

impl PruneEnv {
    async fn remove(&self, name: &str) -> Pruned {
        remove_backup(&self.config, &RemoveRequest { name, ..REQUEST }).await.unwrap().remove(0)
    }

    async fn refusal(&self, name: &str) -> String {
        let kept = self.store.keys();
        let pruned = self.remove(name).await;
        assert!(pruned.was_refused() && !pruned.succeeded(), "{pruned:?}");
        assert_eq!(self.store.keys(), kept);
        let problem = pruned.series[0].refused.clone().unwrap();
        format!("{} hint: {}", problem.message, problem.hint.unwrap())
    }
}

/// Three days of backups, with a policy that would keep all.
fn three() -> PruneEnv {
    PruneEnv::with_days(Policy { keep_last: Count::All, ..Policy::default() }, 1..=3)
}

#[tokio::test]
async fn remove_deletes_manifest_first() {
    let prune = three();
    let shown =
        remove_backup(&prune.config, &RemoveRequest { name: "app-2026-05-02_030000", mode: Mode::DryRun, ..REQUEST })
            .await;
    assert_eq!(prune.store.removed(), []);
    let pruned = prune.remove("app-2026-05-02_030000").await;
    assert!(pruned.succeeded(), "{pruned:?}");
    assert_eq!(prune.days("app").await, ["01", "03"]);
    assert_eq!(prune.days("app-prod").await.len(), 3);
    assert_eq!(prune.store.removed()[0].as_str(), "main/app/app-2026-05-02_030000.json");
    let report = serde_json::to_value(&pruned).unwrap();
    assert_eq!(report["series"][0]["remove"][0]["why"], "a test");
    assert_eq!(report["series"][0]["remove"][0]["cause"], "by_hand");
    assert_eq!(serde_json::to_value(&shown.unwrap()[0].series).unwrap(), report["series"]);
    // The next prune does not find the listing too short.
    prune.remove("app-2026-05-01_030000").await;
    assert!(prune.prune(&ACT).await.succeeded());
}

#[tokio::test]
async fn remove_refuses_last_good_backups() {
    let prune = three();
    prune.remove("app-2026-05-01_030000").await;
    prune.remove("app-2026-05-03_030000").await;
    let refusal = prune.refusal("app-2026-05-02_030000").await;
    assert!(refusal.contains("among the last good backups") && refusal.contains("make another"), "{refusal}");
    let two = PruneEnv::with_days(Policy { min_keep: 2.try_into().unwrap(), ..last(1) }, 1..=3);
    two.remove("app-2026-05-01_030000").await;
    assert!(two.refusal("app-2026-05-02_030000").await.contains("among the last good backups"));
}

#[tokio::test]
async fn remove_deletes_damaged_backups_but_not_the_good_one() {
    let prune = three();
    for day in [2, 3] {
        prune.store.lose(&name("app", day).artifact(".dump.zst.age").unwrap());
    }
    assert!(prune.refusal("app-2026-05-01_030000").await.contains("among the last good backups"));
    assert!(prune.remove("app-2026-05-02_030000").await.succeeded());
    assert_eq!(prune.days("app").await, ["01", "03"]);
}

#[tokio::test]
async fn remove_refuses_held_or_needed_backups() {
    let prune = three();
    let why = HoldChange::Hold { until: None, why: "the audit".to_owned() };
    hold(&prune.config, "app-2026-05-02_030000", None, &why).await.unwrap();
    let refusal = prune.refusal("app-2026-05-02_030000").await;
    assert!(refusal.contains("held: the audit") && refusal.contains("longshore unhold"), "{refusal}");
    let refusal = prune.refusal("globals-2026-05-01_030000").await;
    for dependant in ["needed by ", "app-2026-05-01_030000", "app-prod-2026-05-01_030000"] {
        assert!(refusal.contains(dependant), "{refusal}");
    }
    prune.remove("app-2026-05-01_030000").await;
    prune.remove("app-prod-2026-05-01_030000").await;
    assert!(prune.remove("globals-2026-05-01_030000").await.succeeded());
}

#[tokio::test]
async fn remove_counts_needs_of_other_jobs() {
    let prune = PruneEnv::new(last(9));
    let databases: Vec<String> = (0..5).map(|number| format!("db{number}")).collect();
    let databases: Vec<&str> = databases.iter().map(String::as_str).collect();
    for day in 1..=2 {
        put_run(&prune.store, &time(day), &databases);
    }
    let mut other = prune.config;
    other.jobs.clear();
    let prune = PruneEnv { config: other, ..prune };
    let refusal = prune.refusal("globals-2026-05-01_030000").await;
    assert!(refusal.contains("needed by db0-2026-05-01_030000, db1-2026-05-01_030000 and 3 more"), "{refusal}");
}

#[tokio::test]
async fn remove_refuses_only_verified_and_drilled_backup() {
    let prune = three();
    for kind in [MarkKind::Verified, MarkKind::Drilled] {
        longshore_catalog::mark::put(&Mark::default(), &prune.store, &name("app", 2), kind, Utc::now()).await.unwrap();
    }
    let refusal = prune.refusal("app-2026-05-02_030000").await;
    assert!(refusal.contains("newest verified, newest drilled"), "{refusal}");
}

#[tokio::test]
async fn remove_refuses_locked_backups() {
    let prune = three();
    prune.store.lock(&name("app", 2).artifact(".dump.zst.age").unwrap(), Utc::now() + TimeDelta::days(3));
    assert!(prune.refusal("app-2026-05-02_030000").await.contains("retained by the store until"));
}

#[tokio::test]
async fn remove_accepts_only_backup_names() {
    let prune = three();
    let error = async |name| remove_backup(&prune.config, &RemoveRequest { name, ..REQUEST }).await.unwrap_err();
    assert!(error("app").await.to_string().contains("a series"));
    let unknown = error("app-2026-05-02_030001").await;
    assert!(unknown.remedy().unwrap().contains("did you mean \"app-2026-05-02_030000\"?"), "{unknown:?}");
    assert!(error("nosuch").await.to_string().contains("no backup of that name"));
    prune.store.fault(Operation::List, Fault::Deny);
    assert_eq!(error("nosuch").await.kind(), Kind::Denied, "the backup may be at this destination");
}
