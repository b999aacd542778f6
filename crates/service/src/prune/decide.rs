//! From catalogs to plans: the histories of a job at a destination, and what else bears on them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt};
use longshore_core::catalog::{Backup, Catalog, Series};
use longshore_core::key::BackupName;
use longshore_core::mark::Marks;
use longshore_core::retention::{Circumstances, History, Hold, OwnRuns, Plan, Regime, plan};
use longshore_core::{Error, Result};

use super::owner::Owner;
use super::removable::removables;
use crate::catalogs::Catalogued;
use crate::config::Job;
use crate::run_report::Known;

/// How many backups a store is asked about at once.
const QUESTIONS: usize = 16;

/// What is decided for one job, or one adoption, at one destination.
pub(super) struct Decided<'a> {
    /// Whose series they are.
    pub(super) owner: Owner<'a>,
    /// Its series there, and what was to be done with each.
    pub(super) series: Vec<(&'a Series, Regime)>,
    /// For each, when its last backup was made, if the job went on without it.
    pub(super) ended: Vec<Option<DateTime<Utc>>>,
    /// The plan, whose histories are these series.
    pub(super) plan: Plan,
}

/// Until when a store keeps backups from removal, for those that it was asked about.
type Locks = BTreeMap<BackupName, Option<DateTime<Utc>>>;

/// What is needed, each with those that need it.
pub(super) type Needed = BTreeMap<BackupName, BTreeSet<BackupName>>;

/// The knowledge of this host about the backups at a destination.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// The time by its clock.
    pub(super) now: DateTime<Utc>,
    /// True if a person has said that the clock is right.
    pub(super) trust_clock: bool,
    /// Holds that were deleted there.
    pub(super) lost_holds: BTreeMap<BackupName, Hold>,
}

/// Decides for the series of a job. What the plan would remove, the store is asked about: what it has locked stays.
pub(super) async fn decide<'a>(
    at: &'a Catalogued,
    owner: Owner<'a>,
    regime: impl Fn(&Series) -> Regime,
    facts: &Facts,
    own_runs: Option<&OwnRuns>,
) -> Result<Decided<'a>> {
    let mut locks = Locks::new();
    loop {
        let decided = by_plan(&at.catalog, owner, &regime, &locks, facts, own_runs)?;
        let Some(store) = at.store.locks() else { return Ok(decided) };
        let going: BTreeSet<_> = decided.plan.removed().map(|decision| decision.name.clone()).collect();
        let unasked = removables(&at.catalog)
            .filter(|backup| going.contains(backup.name()) && !locks.contains_key(backup.name()));
        let answers: Vec<_> = futures_util::stream::iter(unasked)
            .map(async |backup| {
                let mut until = None;
                for key in backup.made()? {
                    until = until.max(store.locked_until(&key).await?);
                }
                Ok::<_, Error>((backup.name().clone(), until))
            })
            .buffered(QUESTIONS)
            .try_collect()
            .await?;
        if answers.is_empty() {
            return Ok(decided);
        }
        locks.extend(answers);
    }
}

/// Decides for the series of a job or an adoption, by what is known of locks.
fn by_plan<'a>(
    catalog: &'a Catalog,
    owner: Owner<'a>,
    regime: impl Fn(&Series) -> Regime,
    locks: &Locks,
    facts: &Facts,
    own_runs: Option<&OwnRuns>,
) -> Result<Decided<'a>> {
    let Facts { now, trust_clock, ref lost_holds } = *facts;
    let mut needed = needed_by_unreadable(catalog);
    for backup in catalog.series.iter().filter(|(series, _)| !owner.makes(series)).flat_map(|(_, backups)| backups) {
        note_needs(&mut needed, backup);
    }
    let (mut series, mut histories) = (Vec::new(), Vec::new());
    for (own, backups) in owner.series(catalog) {
        let candidates = backups.iter().map(|backup| {
            let mut candidate = backup.candidate();
            if let Some(hold) = lost_holds.get(backup.name()) {
                candidate.held = Some(hold.clone());
            }
            candidate.locked_until = locks.get(backup.name()).copied().flatten();
            candidate
        });
        series.push((own, regime(own)));
        histories.push(History { backups: candidates.collect(), regime: regime(own) });
    }
    let ended = owner.ended(catalog, &histories, now);
    let plan = plan(owner.policy(), &histories, Circumstances { now, needed: &needed, trust_clock, own_runs })?;
    Ok(Decided { owner, series, ended, plan })
}

/// The backups of a job that its policy would not keep at a destination, were these there as well.
pub(crate) fn would_go<'a>(
    job: &Job,
    known: Option<&Known>,
    at: &Catalogued,
    arriving: impl Iterator<Item = &'a Backup>,
) -> Result<BTreeSet<BackupName>> {
    let Some(policy) = job.retention.get(&at.name) else { return Ok(BTreeSet::new()) };
    let mut catalog = Catalog { series: at.catalog.series.clone(), ..Catalog::default() };
    for backup in arriving {
        let series = catalog.series.entry(Series::of(&backup.manifest)).or_default();
        series.retain(|there| there.name != backup.name);
        // What is known of it elsewhere is not known of it there, but that somebody holds it goes with it.
        let marks = Marks::holding(backup.marks.held.clone());
        series.push(Backup { marks, ..backup.clone() });
    }
    let owner = Owner::Job(job, policy);
    let facts = Facts { now: Utc::now(), trust_clock: true, ..Facts::default() };
    let own_runs = known.map(|known| known.at(&catalog));
    let decided = by_plan(&catalog, owner, |_| Regime::Policy, &Locks::new(), &facts, own_runs.as_ref())?;
    Ok(decided.plan.removed().map(|decision| decision.name.clone()).collect())
}

/// What any backup at a destination needs, and what those may need whose manifests cannot be read.
pub(super) fn needed(catalog: &Catalog) -> Needed {
    let mut needed = needed_by_unreadable(catalog);
    catalog.backups().for_each(|backup| note_needs(&mut needed, backup));
    needed
}

/// Adds what a backup needs.
fn note_needs(needed: &mut Needed, backup: &Backup) {
    for need in &backup.manifest.needs {
        needed.entry(need.clone()).or_default().insert(backup.name.clone());
    }
}

/// What lies beside a manifest that cannot be read, of the same cluster and time: nobody knows what that one needs.
fn needed_by_unreadable(catalog: &Catalog) -> Needed {
    let unreadable = catalog.unreadable.iter().filter_map(|(key, _)| BackupName::of_manifest(key));
    let beside = |name: BackupName| {
        let same = |backup: &&Backup| {
            let (cluster, stamp) = (format!("{}/", backup.manifest.cluster.name), format!("-{}", backup.manifest.time));
            !backup.manifest.subject.is_database()
                && name.as_str().starts_with(&cluster)
                && name.as_str().ends_with(&stamp)
        };
        let found: Vec<_> = catalog.backups().filter(same).map(|backup| (backup.name.clone(), name.clone())).collect();
        found
    };
    let mut needed = Needed::new();
    for (name, by) in unreadable.flat_map(beside) {
        needed.entry(name).or_default().insert(by);
    }
    needed
}
