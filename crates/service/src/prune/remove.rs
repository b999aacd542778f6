//! Deletion of the backups that a plan removes, after the destination was listed again.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use longshore_core::key::{BackupName, Key};
use longshore_core::mark::{MarkName, Says};
use longshore_core::stage::Store;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_retention::Fate;

use super::decide::Decided;
use super::removable::{Line, Removable, removables};
use crate::catalogs::Catalogued;
use crate::problem::Problem;

/// The number of backups deleted between two listings.
const BATCH: usize = 500;
/// The number of backups deleted concurrently.
const AT_ONCE: usize = 16;

/// Deletes backups in the plan's order. Returns the backups that are still stored, with the errors.
/// A backup that cannot be deleted blocks only the backups that it needs.
pub(super) async fn remove(at: &Catalogued, decided: &[Decided<'_>]) -> BTreeMap<BackupName, Problem> {
    let all: BTreeMap<&BackupName, Removable<'_>> =
        removables(&at.catalog).map(|backup| (backup.name(), backup)).collect();
    let going: Vec<Removable<'_>> = decided
        .iter()
        .flat_map(|decided| decided.plan.removed())
        .filter_map(|decision| all.get(&decision.name).copied())
        .collect();
    let witnesses = witnesses(decided, &all);
    let mut failures = BTreeMap::new();
    let mut needed: BTreeSet<&BackupName> = BTreeSet::new();
    for batch in going.chunks(BATCH) {
        let look = Look::again(&*at.store, batch, &witnesses).await;
        for wave in waves(batch) {
            let removals = wave.iter().map(async |backup| {
                let allowed = match &look {
                    Ok(_) if needed.contains(backup.name()) => {
                        Err(kept_back(*backup, "a backup that needs it could not be removed"))
                    }
                    Ok(look) => look.allows(*backup),
                    Err(error) => Err(error.clone()),
                };
                match allowed {
                    Ok(()) => withdraw(&*at.store, *backup).await,
                    kept_back => kept_back,
                }
            });
            for (backup, removed) in wave.iter().zip(join_all(removals).await) {
                if let Err(error) = removed {
                    needed.extend(backup.needs());
                    failures.insert(backup.name().clone(), Problem::from(&error));
                }
            }
        }
    }
    failures
}

/// Splits a batch into groups of backups that do not need each other.
fn waves<'a, 'b>(batch: &'b [Removable<'a>]) -> Vec<&'b [Removable<'a>]> {
    let mut waves = Vec::new();
    let (mut begin, mut needed) = (0, BTreeSet::new());
    for (place, backup) in batch.iter().enumerate() {
        if place - begin == AT_ONCE || needed.contains(backup.name()) {
            waves.push(&batch[begin..place]);
            (begin, needed) = (place, BTreeSet::new());
        }
        needed.extend(backup.needs());
    }
    waves.push(&batch[begin..]);
    waves
}

/// Deletes a backup: the manifest first, and the rest only after the manifest is deleted.
async fn withdraw(store: &dyn Store, backup: Removable<'_>) -> Result<()> {
    for key in backup.keys()? {
        store.remove(&key).await?;
    }
    Ok(())
}

/// Returns, for each pruned series, the newest good backup to keep, which every later listing
/// must contain.
fn witnesses<'a>(decided: &[Decided<'_>], all: &BTreeMap<&BackupName, Removable<'a>>) -> BTreeMap<Line, Removable<'a>> {
    let mut witnesses = BTreeMap::new();
    for decided in decided {
        for decisions in &decided.plan.decisions {
            let stays = decisions.iter().filter(|decision| matches!(decision.fate, Fate::Keep(_)));
            let good = stays.filter_map(|decision| all.get(&decision.name)).find(|backup| backup.is_good());
            witnesses.extend(good.map(|backup| (backup.line(), *backup)));
        }
    }
    witnesses
}

/// A new listing of a destination, compared with the plan.
struct Look {
    /// The series whose newest good backup has disappeared or was marked damaged.
    bereft: BTreeSet<Line>,
    /// Backups marked since the plan was made.
    marked: BTreeSet<BackupName>,
    /// Adopted files whose size has changed.
    changed: BTreeSet<Key>,
}

impl Look {
    /// Lists the destination again, before a batch is deleted.
    async fn again(
        store: &dyn Store,
        batch: &[Removable<'_>],
        witnesses: &BTreeMap<Line, Removable<'_>>,
    ) -> Result<Self> {
        let concerned: BTreeSet<Line> = batch.iter().map(|backup| backup.line()).collect();
        let mut awaited: BTreeMap<Key, &Line> = BTreeMap::new();
        for (line, witness) in witnesses.iter().filter(|(line, _)| concerned.contains(*line)) {
            awaited.extend(witness.essence().into_iter().map(|key| (key, line)));
        }
        let stay: BTreeMap<&BackupName, &Line> = witnesses
            .iter()
            .filter(|(line, _)| concerned.contains(*line))
            .map(|(line, one)| (one.name(), line))
            .collect();
        let known: BTreeSet<&MarkName> =
            batch.iter().chain(witnesses.values()).flat_map(|backup| backup.marks()).collect();
        let names: BTreeSet<&BackupName> = batch.iter().map(|backup| backup.name()).collect();
        let sizes: BTreeMap<&Key, u64> = batch.iter().filter_map(|backup| backup.size_of_adopted()).collect();
        let (mut bereft, mut marked, mut changed) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut entries = store.list().await?;
        while let Some(entry) = entries.try_next().await? {
            // An empty file is not a good backup: another program may have emptied it.
            if entry.bytes > 0 {
                awaited.remove(&entry.key);
            }
            if let Some(mark) = MarkName::of(&entry.key).filter(|mark| !known.contains(mark)) {
                match mark.says {
                    Says::Damaged => {
                        bereft.extend(stay.get(&mark.backup).map(|line| (*line).clone()));
                    }
                    Says::Hold | Says::Restoring if names.contains(&mark.backup) => {
                        marked.insert(mark.backup);
                    }
                    _ => {}
                }
            }
            if sizes.get(&entry.key).is_some_and(|bytes| *bytes != entry.bytes) {
                changed.insert(entry.key);
            }
        }
        bereft.extend(awaited.into_values().cloned());
        Ok(Self { bereft, marked, changed })
    }

    /// Fails if a backup may no longer be deleted.
    fn allows(&self, backup: Removable<'_>) -> Result<()> {
        if self.bereft.contains(&backup.line()) {
            return Err(kept_back(
                backup,
                "the newest good backup of its series has disappeared, or was found damaged, since the plan was made",
            ));
        }
        if backup.size_of_adopted().is_some_and(|(key, _)| self.changed.contains(key)) {
            return Err(kept_back(
                backup,
                "its size has changed since the plan was made: another program writes to it",
            ));
        }
        if self.marked.contains(backup.name()) {
            return Err(kept_back(backup, "a hold or a restore began since the plan was made"));
        }
        Ok(())
    }
}

fn kept_back(backup: Removable<'_>, message: &str) -> Error {
    Error::new(Stage::Retention, Kind::Refused, backup.name().as_str(), message)
}
