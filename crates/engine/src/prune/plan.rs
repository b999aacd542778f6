//! Plans from catalogs: the histories of a job at a destination, and the facts that affect them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt};
use longshore_catalog::catalog::{Backup, Catalog, Series};
use longshore_config::Job;
use longshore_core::key::BackupName;
use longshore_core::mark::Marks;
use longshore_core::subject::SubjectKind;
use longshore_core::{Error, Result};
use longshore_retention::{Candidate, History, Hold, OwnRuns, Plan, PlanContext, SeriesMode, plan};

use super::owner::Owner;
use super::removable::removables;
use crate::catalogs::Catalogued;
use crate::run_history::HostHistory;

/// The number of concurrent lock queries to a store.
const LOCK_QUERIES: usize = 16;

/// The decisions for one job, or one adoption, at one destination.
pub(super) struct OwnerPlan<'a> {
    /// The owner of the series.
    pub(super) owner: Owner<'a>,
    /// The owner's series at the destination, each with its mode.
    pub(super) series: Vec<(&'a Series, SeriesMode)>,
    /// For each series, the time of its last backup, if the series has ended.
    pub(super) ended: Vec<Option<DateTime<Utc>>>,
    /// The plan, with one history for each series.
    pub(super) plan: Plan,
}

/// The time until which the store locks each queried backup.
type Locks = BTreeMap<BackupName, Option<DateTime<Utc>>>;

/// The needed backups, each with the backups that need it.
pub(super) type Needed = BTreeMap<BackupName, BTreeSet<BackupName>>;

/// The facts that this host knows about the backups at a destination.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// The time by this host's clock.
    pub(super) now: DateTime<Utc>,
    /// True if the operator has confirmed the clock.
    pub(super) trust_clock: bool,
    /// Holds that were deleted at the destination.
    pub(super) lost_holds: BTreeMap<BackupName, Hold>,
}

/// Decides for the series of an owner. Queries the store's locks of all backups to remove, since
/// locked backups are kept.
pub(super) async fn plan_owner<'a>(
    at: &'a Catalogued,
    owner: Owner<'a>,
    series_mode: impl Fn(&Series) -> SeriesMode,
    facts: &Facts,
    own_runs: Option<&OwnRuns>,
) -> Result<OwnerPlan<'a>> {
    let mut locks = Locks::new();
    loop {
        let owner_plan = plan_with_locks(&at.catalog, owner, &series_mode, &locks, facts, own_runs)?;
        let Some(store) = at.store.capabilities().object_locks else { return Ok(owner_plan) };
        let to_remove: BTreeSet<_> = owner_plan.plan.removed().map(|decision| decision.name.clone()).collect();
        let unqueried = removables(&at.catalog)
            .filter(|backup| to_remove.contains(backup.name()) && !locks.contains_key(backup.name()));
        let answers: Vec<_> = futures_util::stream::iter(unqueried)
            .map(async |backup| {
                let mut until = None;
                for key in backup.lockable_keys()? {
                    until = until.max(store.locked_until(&key).await?);
                }
                Ok::<_, Error>((backup.name().clone(), until))
            })
            .buffered(LOCK_QUERIES)
            .try_collect()
            .await?;
        if answers.is_empty() {
            return Ok(owner_plan);
        }
        locks.extend(answers);
    }
}

/// Decides for the series of an owner with the known locks.
fn plan_with_locks<'a>(
    catalog: &'a Catalog,
    owner: Owner<'a>,
    series_mode: impl Fn(&Series) -> SeriesMode,
    locks: &Locks,
    facts: &Facts,
    own_runs: Option<&OwnRuns>,
) -> Result<OwnerPlan<'a>> {
    let Facts { now, trust_clock, ref lost_holds } = *facts;
    let mut needed = needed_by_unreadable_manifests(catalog);
    for backup in catalog.series.iter().filter(|(series, _)| !owner.makes(series)).flat_map(|(_, backups)| backups) {
        add_needs(&mut needed, backup);
    }
    let (mut series, mut histories) = (Vec::new(), Vec::new());
    for (series_key, backups) in owner.series(catalog) {
        let candidates = backups.iter().map(|backup| {
            let mut candidate = backup.candidate();
            if let Some(hold) = lost_holds.get(backup.name()) {
                candidate.held = Some(hold.clone());
            }
            candidate.locked_until = locks.get(backup.name()).copied().flatten();
            candidate
        });
        let mut backups: Vec<Candidate> = candidates.collect();
        if let Some(first) = begin_of_window(owner, series_key, catalog, now) {
            backups.iter_mut().filter(|backup| backup.name == first).for_each(|backup| backup.begins_window = true);
        }
        series.push((series_key, series_mode(series_key)));
        histories.push(History { backups, series_mode: series_mode(series_key) });
    }
    let ended = owner.ended(catalog, &histories, now);
    let plan = plan(owner.policy(), &histories, PlanContext { now, needed: &needed, trust_clock, own_runs })?;
    Ok(OwnerPlan { owner, series, ended, plan })
}

/// Returns the base backup with which a recovery to the beginning of the job's recovery window
/// begins: the newest good one that is older.
fn begin_of_window(owner: Owner<'_>, series: &Series, catalog: &Catalog, now: DateTime<Utc>) -> Option<BackupName> {
    let begin = now.checked_sub_signed(owner.job()?.recovery_window?)?;
    let bases = catalog.series.get(series)?.iter().filter(|backup| backup.manifest.begins_recovery());
    let older = bases.filter(|backup| backup.candidate().good && backup.manifest.recoverable_from() <= begin);
    older.max_by_key(|backup| backup.manifest.recoverable_from()).map(|backup| backup.name.clone())
}

/// Returns the backups of a job that its policy would delete at a destination if `arriving` were
/// stored there, too.
pub(crate) fn would_remove<'a>(
    job: &Job,
    known: Option<&HostHistory>,
    at: &Catalogued,
    arriving: impl Iterator<Item = &'a Backup>,
) -> Result<BTreeSet<BackupName>> {
    let Some(policy) = job.retention.get(&at.name) else { return Ok(BTreeSet::new()) };
    let mut catalog = Catalog { series: at.catalog.series.clone(), ..Catalog::default() };
    for backup in arriving {
        let series = catalog.series.entry(Series::of(&backup.manifest)).or_default();
        series.retain(|there| there.name != backup.name);
        // A copy does not carry the marks of its source, except for a hold.
        let marks = Marks::with_hold(backup.marks.held.clone());
        series.push(Backup { marks, ..backup.clone() });
    }
    let owner = Owner::Job(job, policy);
    let facts = Facts { now: Utc::now(), trust_clock: true, ..Facts::default() };
    let own_runs = known.map(|known| known.at(&catalog));
    let owner_plan =
        plan_with_locks(&catalog, owner, |_| SeriesMode::Policy, &Locks::new(), &facts, own_runs.as_ref())?;
    Ok(owner_plan.plan.removed().map(|decision| decision.name.clone()).collect())
}

/// Returns the backups that any backup at a destination needs, including possible needs of
/// unreadable manifests.
pub(super) fn needed_backups(catalog: &Catalog) -> Needed {
    let mut needed = needed_by_unreadable_manifests(catalog);
    catalog.backups().for_each(|backup| add_needs(&mut needed, backup));
    needed
}

/// Adds the needs of a backup.
fn add_needs(needed: &mut Needed, backup: &Backup) {
    for need in &backup.manifest.needs {
        needed.entry(need.clone()).or_default().insert(backup.name.clone());
    }
}

/// Returns the backups that an unreadable manifest may need: the globals of the same cluster and
/// time, and in its folder the newest full backup before it with those that continue it.
fn needed_by_unreadable_manifests(catalog: &Catalog) -> Needed {
    let unreadable = catalog.unreadable.iter().filter_map(|(key, _)| BackupName::from_manifest_key(key));
    let siblings_of = |name: BackupName| {
        let is_sibling = |backup: &&Backup| {
            let (cluster, stamp) = (format!("{}/", backup.manifest.cluster.name), format!("-{}", backup.manifest.time));
            backup.manifest.subject.kind() == SubjectKind::ClusterSql
                && name.as_str().starts_with(&cluster)
                && name.as_str().ends_with(&stamp)
        };
        let siblings: Vec<_> =
            catalog.backups().filter(is_sibling).map(|backup| (backup.name.clone(), name.clone())).collect();
        siblings
    };
    let chain_of = |name: BackupName| {
        let before = |backup: &&Backup| {
            backup.name.folder() == name.folder() && name.time().is_some_and(|time| backup.manifest.time < time)
        };
        let mut earlier: Vec<_> = catalog.backups().filter(before).collect();
        earlier.sort_by_key(|backup| backup.manifest.time);
        let full = earlier.iter().rposition(|backup| !backup.manifest.continues_others()).unwrap_or(0);
        earlier.split_off(full).into_iter().map(|backup| (backup.name.clone(), name.clone())).collect::<Vec<_>>()
    };
    let mut needed = Needed::new();
    for (name, dependant) in unreadable.flat_map(|name| [siblings_of(name.clone()), chain_of(name)].concat()) {
        needed.entry(name).or_default().insert(dependant);
    }
    needed
}
