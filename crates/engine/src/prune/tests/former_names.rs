//! Series of a database named `base`, which 0.1.0 stored in the folder that base backups have now.

use super::*;
use crate::fixture::{put_base, put_run_with, rename_as_0_1_0};
use crate::prune::{RemoveRequest, remove_backup};

/// Adds runs of 0.1.0 on the days 1 to 3, and runs of this version on the days 4 and 5.
fn both_versions(policy: Policy) -> PruneEnv {
    let prune = PruneEnv::new(policy);
    (1..=3).for_each(|day| drop(put_run_with(&prune.store, &time(day), &["base"], "", rename_as_0_1_0)));
    (4..=5).for_each(|day| drop(put_run(&prune.store, &time(day), &["base"])));
    prune
}

fn names(store: &MemoryStore) -> Vec<String> {
    let manifests = store.keys().into_iter().filter_map(|key| BackupName::from_manifest_key(&key));
    manifests.map(|name| name.file_name().to_owned()).filter(|name| !name.starts_with("globals")).collect()
}

#[tokio::test]
async fn prune_counts_both_names_together() {
    let prune = both_versions(last(3));
    assert_eq!(names(&prune.store).len(), 5);
    let pruned = prune.prune(&ACT).await;
    assert!(pruned.succeeded(), "{pruned:?}");
    assert_eq!(prune.days("%62ase").await, ["03", "04", "05"]);
    assert_eq!(prune.days("globals").await, ["03", "04", "05"], "those that the backups need");
    let expected = ["%62ase-2026-05-04_030000", "%62ase-2026-05-05_030000", "base-2026-05-03_030000"];
    assert_eq!(names(&prune.store), expected);
    assert_eq!(prune.store.keys().len(), 3 * 2 * 2, "a manifest and an artifact for each");
}

#[tokio::test]
async fn prune_counts_base_backups_on_their_own() {
    let prune = both_versions(last(2));
    (6..=8).for_each(|day| drop(put_base(&prune.store, &time(day))));
    let pruned = prune.prune(&ACT).await;
    assert!(pruned.succeeded(), "{pruned:?}");
    assert_eq!(
        (prune.days("%62ase").await, prune.days("base").await),
        (vec!["04".into(), "05".into()], vec!["07".into(), "08".into()])
    );
}

#[tokio::test]
async fn unreadable_dump_keeps_no_base_backup() {
    let prune = PruneEnv::new(last(1));
    (1..=2).for_each(|day| drop(put_base(&prune.store, &time(day))));
    // Such a dump of the same run may need its globals, but never the base backup.
    prune.store.put(&name("app", 1).manifest(), "{");
    assert!(prune.prune(&ACT).await.succeeded());
    assert_eq!(prune.days("base").await, ["02"]);
}

#[tokio::test]
async fn backup_of_0_1_0_is_held_and_removed_by_name() {
    let prune = both_versions(Policy { keep_last: Count::All, ..Policy::default() });
    let request =
        RemoveRequest { name: "main/base/base-2026-05-02_030000", destination: None, why: "a test", mode: Mode::Act };
    let mark = Mark::default();
    let held = name("base", 2);
    let at = Timestamp::parse(&time(5)).unwrap().time();
    longshore_catalog::mark::put(&mark, &prune.store, &held, MarkKind::Hold, at).await.unwrap();
    let refused = remove_backup(&prune.config, &request).await.unwrap().remove(0);
    assert!(refused.was_refused(), "{refused:?}");
    let later = at + TimeDelta::seconds(1);
    longshore_catalog::mark::put(&mark, &prune.store, &held, MarkKind::Released, later).await.unwrap();
    let removed = remove_backup(&prune.config, &request).await.unwrap().remove(0);
    assert!(removed.succeeded(), "{removed:?}");
    assert_eq!(prune.days("%62ase").await, ["01", "03", "04", "05"]);
}
