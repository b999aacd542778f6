//! Letting go of what no rule keeps: per series and destination, the manifest first, so that a backup ends before its bytes do.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use longshore_core::catalog::{Backup, Catalog, Series};
use longshore_core::key::BackupName;
use longshore_core::retention::{Plan, Policy, Reason, plan};
use longshore_core::stage::Store;
use longshore_core::{Error, Result};
use serde::Serialize;

use crate::catalogs::{Catalogued, catalogs};
use crate::config::{Config, Job};
use crate::problem::Problem;
use crate::sweep::{Swept, sweep};

/// Whether to act on a plan or only to show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Remove.
    Act,
    /// Show.
    DryRun,
}

/// What retention decided and did at one destination.
#[derive(Debug, Serialize)]
pub struct Pruned {
    /// The destination's name.
    pub destination: String,
    /// What stays, with the reasons, and what goes, by series.
    pub series: Vec<SeriesPruned>,
    /// What interrupted writers had left there long ago, and that went or would go.
    pub swept: Vec<Swept>,
    /// Why that could not be looked for, if so.
    pub unswept: Option<Problem>,
    /// Why nothing could be decided, if so.
    pub error: Option<Problem>,
}

/// What retention decided and did for one series.
#[derive(Debug, Serialize)]
pub struct SeriesPruned {
    /// The cluster's name.
    pub cluster: String,
    /// What the backups are copies of.
    pub subject: String,
    /// What stays, newest first, with every reason.
    pub keep: Vec<Kept>,
    /// What no rule keeps, oldest first.
    pub remove: Vec<BackupName>,
    /// What should have gone and is still there, and why.
    pub failed: Vec<(BackupName, Problem)>,
}

/// A backup that stays.
#[derive(Debug, Serialize)]
pub struct Kept {
    /// The backup.
    pub name: BackupName,
    /// Every reason to keep it.
    pub reasons: Vec<Reason>,
}

impl Pruned {
    /// Whether all that was decided was done.
    pub fn succeeded(&self) -> bool {
        self.error.is_none()
            && self.unswept.is_none()
            && self.series.iter().all(|series| series.failed.is_empty())
            && self.swept.iter().all(|swept| swept.error.is_none())
    }
}

/// Prunes, or shows what would be pruned, at every destination where a job has a policy.
pub async fn prune(config: &Config, job: Option<&str>, only: Option<&str>, mode: Mode) -> Result<Vec<Pruned>> {
    let jobs: Vec<&Job> = match job {
        Some(name) => vec![config.job(Some(name))?],
        None => config.jobs.values().collect(),
    };
    let mut all = Vec::new();
    for (destination, at) in catalogs(config, only).await? {
        let policies: Vec<(&Job, &Policy)> =
            jobs.iter().filter_map(|job| Some((*job, job.retention.get(&destination)?))).collect();
        if policies.is_empty() {
            continue;
        }
        let pruned = match &at {
            Ok(at) => at_destination(at, &policies, mode, |_| true).await,
            Err(error) => Err(error.clone()),
        };
        all.push(pruned.unwrap_or_else(|error| failed(&destination, &error)));
    }
    Ok(all)
}

/// A destination where nothing could be decided.
pub(crate) fn failed(destination: &str, error: &Error) -> Pruned {
    let error = Some(error.into());
    Pruned { destination: destination.to_owned(), series: Vec::new(), swept: Vec::new(), unswept: None, error }
}

/// Prunes the series of some jobs at one destination, as far as `wanted` lets it.
pub(crate) async fn at_destination(
    at: &Catalogued,
    policies: &[(&Job, &Policy)],
    mode: Mode,
    wanted: impl Fn(&Series) -> bool,
) -> Result<Pruned> {
    let plans = plans(&at.catalog, policies, wanted, Utc::now())?;
    let mut all = Vec::new();
    for (series, Plan { keep, remove }) in plans {
        let mut failed = Vec::new();
        if mode == Mode::Act {
            for name in &remove {
                let backup = at.catalog.backups().find(|backup| backup.name == *name);
                let removed = match backup {
                    Some(backup) => withdraw(&*at.store, backup).await,
                    None => Ok(()),
                };
                // One that cannot be removed stops no other.
                if let Err(error) = removed {
                    failed.push((name.clone(), Problem::from(&error)));
                }
            }
        }
        all.push(SeriesPruned {
            cluster: series.cluster.clone(),
            subject: series.subject.segment(),
            keep: keep.into_iter().map(|(name, reasons)| Kept { name, reasons }).collect(),
            remove,
            failed,
        });
    }
    let (swept, unswept) = match sweep(&*at.store, mode, Utc::now()).await {
        Ok(swept) => (swept, None),
        Err(error) => (Vec::new(), Some(Problem::from(&error))),
    };
    Ok(Pruned { destination: at.name.clone(), series: all, swept, unswept, error: None })
}

/// The backups of a job that its policy would not keep at a destination, were these there as well.
pub(crate) fn would_go<'a>(
    job: &Job,
    at: &Catalogued,
    arriving: impl Iterator<Item = &'a Backup>,
) -> Result<BTreeSet<BackupName>> {
    let Some(policy) = job.retention.get(&at.name) else { return Ok(BTreeSet::new()) };
    let mut catalog = Catalog { series: at.catalog.series.clone(), ..Catalog::default() };
    for backup in arriving {
        let series = catalog.series.entry(Series::of(&backup.manifest)).or_default();
        series.retain(|there| there.name != backup.name);
        series.push(backup.clone());
    }
    for backups in catalog.series.values_mut() {
        backups.sort_by_key(|backup| backup.manifest.time);
    }
    let plans = plans(&catalog, &[(job, policy)], |_| true, Utc::now())?;
    Ok(plans.into_iter().flat_map(|(_, plan)| plan.remove).collect())
}

/// Removes a backup: the manifest first, and the rest only once that is gone.
async fn withdraw(store: &dyn Store, backup: &Backup) -> Result<()> {
    for key in backup.manifest.keys()? {
        store.remove(&key).await?;
    }
    Ok(())
}

/// A plan for each series that has a policy. Databases are decided before what they need, so that nothing goes that a kept one needs.
fn plans<'a>(
    catalog: &'a Catalog,
    policies: &[(&Job, &Policy)],
    wanted: impl Fn(&Series) -> bool,
    now: DateTime<Utc>,
) -> Result<Vec<(&'a Series, Plan)>> {
    let mut order: Vec<_> = catalog.series.iter().collect();
    order.sort_by_key(|(series, _)| !series.subject.is_database());
    let mut needed = needed_by_unreadable(catalog);
    let mut all = Vec::new();
    for (series, backups) in order {
        let policy = policies.iter().find(|(job, _)| job.name == series.job && job.site.cluster.name == series.cluster);
        let planned = match policy {
            Some((_, policy)) if wanted(series) => Some(plan(policy, backups, &needed, now)?),
            _ => None,
        };
        for backup in backups {
            let goes = planned.as_ref().is_some_and(|plan| plan.remove.contains(&backup.name));
            if !goes {
                let needs = backup.manifest.needs.iter();
                needed.extend(needs.map(|need| (need.clone(), backup.name.clone())));
            }
        }
        all.extend(planned.map(|plan| (series, plan)));
    }
    Ok(all)
}

/// What lies beside a manifest that cannot be read, of the same cluster and time: nobody knows what that one needs.
fn needed_by_unreadable(catalog: &Catalog) -> BTreeMap<BackupName, BackupName> {
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
    unreadable.flat_map(beside).collect()
}
