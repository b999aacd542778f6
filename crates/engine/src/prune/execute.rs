//! Deletion of the backups that a plan removes, after the destination was listed again.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use longshore_core::key::{BackupName, Key};
use longshore_core::mark::{MarkKind, MarkName};
use longshore_core::stage::Store;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_retention::Action;

use super::plan::OwnerPlan;
use super::removable::{Removable, SeriesKey, removables};
use crate::catalogs::Catalogued;
use crate::error_report::ErrorReport;
use crate::removal::state_removals;

/// The number of backups deleted between two listings.
const BATCH: usize = 500;
/// The number of backups deleted concurrently.
const CONCURRENT_DELETIONS: usize = 16;

/// Deletes backups in the plan's order. Returns the backups that are still stored, with the errors.
/// A backup that cannot be deleted blocks only the backups that it needs.
pub(super) async fn execute(at: &Catalogued, plans: &[OwnerPlan<'_>]) -> BTreeMap<BackupName, ErrorReport> {
    let all: BTreeMap<&BackupName, Removable<'_>> =
        removables(&at.catalog).map(|backup| (backup.name(), backup)).collect();
    let to_remove: Vec<Removable<'_>> = plans
        .iter()
        .flat_map(|owner_plan| owner_plan.plan.removed())
        .filter_map(|decision| all.get(&decision.name).copied())
        .collect();
    let survivors = survivors(plans, &all);
    let mut failures = BTreeMap::new();
    let mut needed: BTreeSet<&BackupName> = BTreeSet::new();
    for batch in to_remove.chunks(BATCH) {
        let recheck = Recheck::list(&*at.store, batch, &survivors).await;
        let permitted = |backup: &&Removable<'_>| {
            !needed.contains(backup.name())
                && recheck.as_ref().is_ok_and(|recheck| recheck.expect_removable(**backup).is_ok())
        };
        let stated = batch.iter().filter(permitted).filter_map(|backup| backup.backup());
        let recheck = match state_removals(&*at.store, &at.name, stated).await {
            Ok(()) => recheck,
            Err(error) => Err(error),
        };
        for group in independent_groups(batch) {
            let removals = group.iter().map(async |backup| {
                let allowed = match &recheck {
                    Ok(_) if needed.contains(backup.name()) => {
                        Err(refused(*backup, "a backup that needs it could not be removed"))
                    }
                    Ok(recheck) => recheck.expect_removable(*backup),
                    Err(error) => Err(error.clone()),
                };
                match allowed {
                    Ok(()) => delete_backup(&*at.store, *backup).await,
                    refused => refused,
                }
            });
            for (backup, removed) in group.iter().zip(join_all(removals).await) {
                if let Err(error) = removed {
                    needed.extend(backup.needs());
                    failures.insert(backup.name().clone(), ErrorReport::from(&error));
                }
            }
        }
    }
    failures
}

/// Splits a batch into groups of backups that do not need each other.
fn independent_groups<'a, 'b>(batch: &'b [Removable<'a>]) -> Vec<&'b [Removable<'a>]> {
    let mut groups = Vec::new();
    let (mut begin, mut needed) = (0, BTreeSet::new());
    for (index, backup) in batch.iter().enumerate() {
        if index - begin == CONCURRENT_DELETIONS || needed.contains(backup.name()) {
            groups.push(&batch[begin..index]);
            (begin, needed) = (index, BTreeSet::new());
        }
        needed.extend(backup.needs());
    }
    groups.push(&batch[begin..]);
    groups
}

/// Deletes a backup: the manifest first, and the rest only after the manifest is deleted.
async fn delete_backup(store: &dyn Store, backup: Removable<'_>) -> Result<()> {
    for key in backup.keys()? {
        store.remove(&key).await?;
    }
    Ok(())
}

/// Returns, for each pruned series, the newest good backup to keep, which every later listing
/// must contain.
fn survivors<'a>(
    plans: &[OwnerPlan<'_>],
    all: &BTreeMap<&BackupName, Removable<'a>>,
) -> BTreeMap<SeriesKey, Removable<'a>> {
    let mut survivors = BTreeMap::new();
    for owner_plan in plans {
        for decisions in &owner_plan.plan.decisions {
            let stays = decisions.iter().filter(|decision| matches!(decision.action, Action::Keep(_)));
            let good = stays.filter_map(|decision| all.get(&decision.name)).find(|backup| backup.is_good());
            survivors.extend(good.map(|backup| (backup.series_key(), *backup)));
        }
    }
    survivors
}

/// A new listing of a destination, compared with the plan.
struct Recheck {
    /// The series whose newest good backup has disappeared or was marked damaged.
    lost: BTreeSet<SeriesKey>,
    /// Backups marked since the plan was made.
    marked: BTreeSet<BackupName>,
    /// Adopted files whose size has changed.
    changed: BTreeSet<Key>,
}

impl Recheck {
    /// Lists the destination again, before a batch is deleted.
    async fn list(
        store: &dyn Store,
        batch: &[Removable<'_>],
        survivors: &BTreeMap<SeriesKey, Removable<'_>>,
    ) -> Result<Self> {
        let batch_series: BTreeSet<SeriesKey> = batch.iter().map(|backup| backup.series_key()).collect();
        let mut expected_keys: BTreeMap<Key, &SeriesKey> = BTreeMap::new();
        for (series, survivor) in survivors.iter().filter(|(series, _)| batch_series.contains(*series)) {
            expected_keys.extend(survivor.required_keys().into_iter().map(|key| (key, series)));
        }
        let survivor_names: BTreeMap<&BackupName, &SeriesKey> = survivors
            .iter()
            .filter(|(series, _)| batch_series.contains(*series))
            .map(|(series, survivor)| (survivor.name(), series))
            .collect();
        let known: BTreeSet<&MarkName> =
            batch.iter().chain(survivors.values()).flat_map(|backup| backup.marks()).collect();
        let names: BTreeSet<&BackupName> = batch.iter().map(|backup| backup.name()).collect();
        let sizes: BTreeMap<&Key, u64> = batch.iter().filter_map(|backup| backup.size_of_adopted()).collect();
        let (mut lost, mut marked, mut changed) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut entries = store.list(None).await?;
        while let Some(entry) = entries.try_next().await? {
            // An empty file is not a good backup: another program may have emptied it.
            if entry.bytes > 0 {
                expected_keys.remove(&entry.key);
            }
            if let Some(mark) = MarkName::from_key(&entry.key).filter(|mark| !known.contains(mark)) {
                match mark.kind {
                    MarkKind::Damaged => {
                        lost.extend(survivor_names.get(&mark.backup).map(|series| (*series).clone()));
                    }
                    MarkKind::Hold | MarkKind::Restoring if names.contains(&mark.backup) => {
                        marked.insert(mark.backup);
                    }
                    _ => {}
                }
            }
            if sizes.get(&entry.key).is_some_and(|bytes| *bytes != entry.bytes) {
                changed.insert(entry.key);
            }
        }
        lost.extend(expected_keys.into_values().cloned());
        Ok(Self { lost, marked, changed })
    }

    /// Fails if a backup may no longer be deleted.
    fn expect_removable(&self, backup: Removable<'_>) -> Result<()> {
        if self.lost.contains(&backup.series_key()) {
            return Err(refused(
                backup,
                "the newest good backup of its series has disappeared, or was found damaged, since the plan was made",
            ));
        }
        if backup.size_of_adopted().is_some_and(|(key, _)| self.changed.contains(key)) {
            return Err(refused(backup, "its size has changed since the plan was made: another program writes to it"));
        }
        if self.marked.contains(backup.name()) {
            return Err(refused(backup, "a hold or a restore began since the plan was made"));
        }
        Ok(())
    }
}

fn refused(backup: Removable<'_>, message: &str) -> Error {
    Error::new(Stage::Retention, Kind::Refused, backup.name().as_str(), message)
}
