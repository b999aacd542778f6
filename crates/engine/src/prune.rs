//! Deletion of backups that no rule keeps: by series and destination, the manifest first, so that a
//! backup becomes invisible before its bytes are deleted.

mod execute;
mod owner;
mod plan;
mod removable;
mod remove_backup;
mod report;
#[cfg(test)]
mod tests;
mod warning;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use longshore_catalog::adopt::Refusal;
use longshore_catalog::catalog::Series;
use longshore_config::{Adoption, Config, Job};
use longshore_core::key::BackupName;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_retention::{Action, Policy, SeriesMode};

use self::execute::execute;
use self::owner::Owner;
use self::plan::{Facts, OwnerPlan, plan_owner};
use crate::catalogs::{Catalogued, read_catalogs};
use crate::destination_state::DestinationState;
use crate::error_report::ErrorReport;
use crate::mount;
use crate::report_retention;
use crate::run_history::HostHistory;
use crate::sweep::sweep;
use crate::wal;

pub(crate) use self::plan::would_remove;
pub use self::remove_backup::{RemoveRequest, remove_backup};
pub use self::report::{Kept, NotAdopted, Pruned, Removed, SeriesPruned};
pub(crate) use self::report::{serialize_reasons, serialize_zone};
pub use crate::mode::Mode;

/// A request to prune.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The only job whose backups are pruned.
    pub job: Option<&'a str>,
    /// The only destination that is pruned.
    pub destination: Option<&'a str>,
    /// The mode.
    pub mode: Mode,
    /// The safety rules to override.
    pub overrides: Overrides,
    /// The series to delete completely, as `CLUSTER/SUBJECT`. `None` applies the policies.
    pub retire: Option<&'a str>,
}

/// The safety rules that an operator can override.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overrides {
    /// Ignore that the newest backup is dated in the future.
    pub clock: bool,
    /// Ignore that far fewer backups are listed than last time, or that the destination's folder is
    /// on another file system.
    pub listing: bool,
}

/// Prunes, or shows the plan, at every destination where a job has a policy.
pub async fn prune(config: &Config, request: &Request<'_>) -> Result<Vec<Pruned>> {
    let (jobs, adoptions) = requested_owners(config, request.job)?;
    let mut all = Vec::new();
    let mut found = request.retire.is_none();
    for (destination, at) in read_catalogs(config, request.destination).await? {
        let owners = owners(jobs.iter().copied(), adoptions.iter().copied(), &destination);
        if owners.is_empty() {
            // Without a policy, leftovers of killed runs are removed all the same.
            let ships = jobs.iter().any(|job| job.ship.contains(&destination));
            if let (true, None, Ok(at)) = (ships, request.retire, at) {
                if request.overrides.listing && request.mode == Mode::Act {
                    mount::accept(config, &destination, &*at.store)?;
                }
                let swept = sweep_leftovers(config, &at, request.mode).await;
                all.extend(swept.unwrap_or_else(|error| Some(failed_destination(&destination, &error))));
            }
            continue;
        }
        let pruned = async {
            let at = at?;
            if let Some(words) = request.retire {
                found |= at
                    .catalog
                    .series
                    .keys()
                    .chain(at.catalog.adopted.keys())
                    .any(|series| matches_series(series, words));
            }
            let series_mode = |series: &Series| match request.retire {
                None => SeriesMode::Policy,
                Some(words) if matches_series(series, words) => SeriesMode::Retire,
                Some(_) => SeriesMode::KeepAll,
            };
            prune_owners(config, &at, &owners, request, series_mode).await
        };
        all.push(pruned.await.unwrap_or_else(|error| failed_destination(&destination, &error)));
    }
    if request.retire.is_none() {
        prune_wal(config, &jobs, (request.destination, request.mode), &mut all).await;
    }
    match request.retire {
        Some(words) if !found && all.iter().all(|pruned| pruned.error.is_none()) => {
            Err(Error::new(Stage::Retention, Kind::Usage, words, "no such series")
                .hint("write CLUSTER/SUBJECT, such as \"main/appdb\": `longshore list` shows all series"))
        }
        _ => Ok(all),
    }
}

/// Returns the decisions of all policies about the backups in these catalogs, for a view. Locks of
/// the store are not queried.
pub(crate) async fn explain(config: &Config, catalogs: &[Catalogued]) -> Vec<Pruned> {
    let request =
        Request { job: None, destination: None, mode: Mode::DryRun, overrides: Overrides::default(), retire: None };
    let mut all = Vec::new();
    for at in catalogs {
        let owners: Vec<Owner<'_>> = owners(config.jobs.values(), config.adoptions.values(), &at.name);
        if owners.is_empty() {
            continue;
        }
        let pruned = prune_owners(config, at, &owners, &request, |_| SeriesMode::Policy).await;
        all.push(pruned.unwrap_or_else(|error| failed_destination(&at.name, &error)));
    }
    all
}

/// Returns the owners of backups at a destination.
fn owners<'a>(
    jobs: impl Iterator<Item = &'a Job>,
    adoptions: impl Iterator<Item = &'a Adoption>,
    destination: &str,
) -> Vec<Owner<'a>> {
    jobs.filter_map(|job| Some(Owner::Job(job, job.retention.get(destination)?)))
        .chain(adoptions.filter(|it| it.destination == destination).map(Owner::Adoption))
        .collect()
}

/// Returns the job or adoption of this name, or all jobs and adoptions if no name is given.
fn requested_owners<'a>(config: &'a Config, name: Option<&str>) -> Result<(Vec<&'a Job>, Vec<&'a Adoption>)> {
    match name {
        None => Ok((config.jobs.values().collect(), config.adoptions.values().collect())),
        Some(name) => match config.adoptions.get(name) {
            Some(adoption) => Ok((Vec::new(), vec![adoption])),
            None => Ok((vec![config.job(Some(name))?], Vec::new())),
        },
    }
}

/// Prunes the WAL of the jobs' clusters, once the base backups are pruned.
pub(crate) async fn prune_wal(
    config: &Config,
    jobs: &[&Job],
    (destination, mode): (Option<&str>, Mode),
    all: &mut Vec<Pruned>,
) {
    let clusters: BTreeSet<&str> = jobs.iter().map(|job| job.site.cluster.name.as_str()).collect();
    for cluster in clusters {
        let pruned = wal::prune::prune(config, Some(cluster), destination, mode).await;
        for (destination, pruned) in pruned {
            match all.iter_mut().find(|at| at.destination == destination) {
                Some(at) => at.wal.push(pruned),
                None => all.push(Pruned { wal: vec![pruned], ..Pruned::of(&destination) }),
            }
        }
    }
}

/// Returns true if the words are the series' cluster and subject. Nothing shorter matches, since
/// the whole series would be deleted.
fn matches_series(series: &Series, words: &str) -> bool {
    words
        .split_once('/')
        .is_some_and(|(cluster, subject)| cluster == series.cluster && subject == series.subject.segment())
}

/// Returns the report of a destination where the plan failed.
pub(crate) fn failed_destination(destination: &str, error: &Error) -> Pruned {
    Pruned { error: Some(error.into()), refused: error.kind() == Kind::Refused, ..Pruned::of(destination) }
}

/// Removes only leftovers of killed runs, at a destination without a policy. Returns `None` if
/// there are none.
pub(crate) async fn sweep_leftovers(config: &Config, at: &Catalogued, mode: Mode) -> Result<Option<Pruned>> {
    // The state is needed only to remember orphans until they are old enough.
    let mut state = match at.catalog.orphans.is_empty() {
        true => None,
        false => Some(DestinationState::open(config, &at.name)?),
    };
    let before = Utc::now() - config.destination(&at.name)?.orphan_grace;
    let swept = sweep(at, state.as_mut(), mode, before).await?;
    if let (Some(state), Mode::Act) = (&state, mode) {
        state.save()?;
    }
    if swept.is_empty() {
        return Ok(None);
    }
    Ok(Some(Pruned { swept, ..Pruned::of(&at.name) }))
}

/// Prunes the series of some jobs at one destination, each by its mode.
#[cfg(test)]
pub(crate) async fn at_destination(
    config: &Config,
    at: &Catalogued,
    policies: &[(&Job, &Policy)],
    request: &Request<'_>,
    series_mode: impl Fn(&Series) -> SeriesMode,
) -> Result<Pruned> {
    let owners: Vec<_> = policies.iter().map(|(job, policy)| Owner::Job(job, policy)).collect();
    prune_owners(config, at, &owners, request, series_mode).await
}

/// Prunes the series of a job at one destination, at the end of a run that made backups there. A
/// loss that an earlier run has reported is a warning.
pub(crate) async fn after_run(
    config: &Config,
    at: &Catalogued,
    (job, policy): (&Job, &Policy),
    new_backups: &BTreeSet<BackupName>,
    series_mode: impl Fn(&Series) -> SeriesMode,
) -> Result<Pruned> {
    let request = Request {
        job: Some(&job.name),
        destination: Some(&at.name),
        mode: Mode::Act,
        overrides: Overrides::default(),
        retire: None,
    };
    prune_owners_after_run(config, at, &[Owner::Job(job, policy)], &request, series_mode, Some(new_backups)).await
}

/// Prunes the series of some jobs and adoptions at one destination, each by its mode.
async fn prune_owners(
    config: &Config,
    at: &Catalogued,
    owners: &[Owner<'_>],
    request: &Request<'_>,
    series_mode: impl Fn(&Series) -> SeriesMode,
) -> Result<Pruned> {
    prune_owners_after_run(config, at, owners, request, series_mode, None).await
}

/// Prunes as [`prune_owners`], at the end of a run that made the backups `new_backups`.
async fn prune_owners_after_run(
    config: &Config,
    at: &Catalogued,
    owners: &[Owner<'_>],
    request: &Request<'_>,
    series_mode: impl Fn(&Series) -> SeriesMode,
    new_backups: Option<&BTreeSet<BackupName>>,
) -> Result<Pruned> {
    let now = Utc::now();
    let backups = at.catalog.backups().count() + at.catalog.unreadable.len();
    let mut pruned = Pruned::of(&at.name);
    let (mut state, mut problems) = match DestinationState::open(config, &at.name) {
        Ok(state) => (Some(state), Vec::new()),
        Err(error) => (None, vec![ErrorReport::from(&error)]),
    };
    if let Some(state) = &mut state {
        match request.overrides.listing {
            true => {
                state.mount_point = mount::point(&*at.store);
                let listed: BTreeSet<&BackupName> = at.catalog.marked().map(|(name, _)| name).collect();
                state.holds.retain(|name, _| listed.contains(name));
            }
            false => {
                if let Err(error) = state.expect_backups(&at.name, backups) {
                    return report_loss(state, backups, new_backups, pruned, error);
                }
                for name in adoption_names(owners) {
                    state.expect_adopted(&at.name, name, adopted_file_count(at, name))?;
                }
            }
        }
        state.reported_loss = None;
    }
    let mut facts = Facts { now, trust_clock: request.overrides.clock, ..Facts::default() };
    if let Some(state) = &state {
        let listed: BTreeSet<&BackupName> = at.catalog.marked().map(|(name, _)| name).collect();
        for (name, hold) in state.lost_holds(&at.catalog, now) {
            pruned.warnings.push(warning::lost_hold(name, listed.contains(name)));
            facts.lost_holds.insert(name.clone(), warning::effective_hold(hold));
        }
    }
    let mut plans: Vec<OwnerPlan<'_>> = Vec::new();
    for owner in owners {
        let mut is_known = true;
        let mut known = match owner.job().map(|job| HostHistory::of(config, job)).transpose() {
            Ok(known) => known.flatten(),
            Err(error) => {
                problems.push(ErrorReport::from(&error));
                is_known = false;
                None
            }
        };
        if let Some(known) = &mut known {
            known.add(new_backups.into_iter().flatten());
        }
        let own_runs = known.map(|known| known.at(&at.catalog));
        plans.push(plan_owner(at, *owner, &series_mode, &facts, own_runs.as_ref()).await?);
        if let (Some(job), None, Some(state)) = (owner.job(), own_runs, &mut state) {
            let is_new = |name: &BackupName| new_backups.is_some_and(|new_backups| new_backups.contains(name));
            let mut others = plans.last().into_iter().flat_map(|owner_plan| owner_plan.plan.decisions.iter().flatten());
            if is_known && others.any(|decision| !is_new(&decision.name)) && state.unknown_runs.insert(job.name.clone())
            {
                pruned.warnings.push(warning::unknown_runs(&job.name));
            }
        }
    }
    if request.retire.is_some() {
        plans.iter().try_for_each(OwnerPlan::refuse_growing_series)?;
    }
    let failures = match request.mode {
        Mode::Act => execute(at, &plans).await,
        Mode::DryRun => BTreeMap::new(),
    };
    pruned.series = plans.iter().flat_map(|owner_plan| owner_plan.report(&failures)).collect();
    pruned.warnings.extend(pruned.series.iter().filter_map(warning::unproven));
    if request.mode == Mode::Act {
        for job in owners.iter().filter_map(|owner| owner.job()) {
            report_retention::prune(&*at.store, &at.catalog.reports, &job.site.cluster.name, &job.name).await;
        }
    }
    match sweep(at, state.as_mut(), request.mode, now - config.destination(&at.name)?.orphan_grace).await {
        Ok(swept) => pruned.swept = swept,
        Err(error) => problems.push(ErrorReport::from(&error)),
    }
    for owner_plan in plans.iter().filter(|owner_plan| owner_plan.plan.excess_bytes > 0) {
        problems.push(owner_plan.size_exceeded());
    }
    if let (Some(state), Mode::Act) = (&mut state, request.mode) {
        let removed_count = |of: &dyn Fn(&SeriesPruned) -> bool| -> usize {
            let those = pruned.series.iter().filter(|series| of(series));
            those.map(|series| series.remove.len() - series.failed.len()).sum()
        };
        state.backups = backups.saturating_sub(removed_count(&|series| !series.adopted));
        for name in adoption_names(owners) {
            let left = adopted_file_count(at, name)
                .saturating_sub(removed_count(&|series| series.adopted && series.job == name));
            state.adopted.insert(name.to_owned(), left);
        }
        state.remember_holds(&at.catalog, now);
        problems.extend(state.save().err().as_ref().map(ErrorReport::from));
    }
    problems.extend(warning::denied_manifests(&at.catalog, owners));
    if adoption_names(owners).next().is_some() {
        for (key, refusal) in &at.catalog.not_adopted {
            if matches!(refusal, Refusal::Ambiguous(_)) {
                problems.push(ErrorReport { message: format!("{key} is skipped: {refusal}"), hint: None });
            }
            pruned.not_adopted.push(NotAdopted { key: key.clone(), why: refusal.to_string() });
        }
    }
    pruned.problems = problems;
    Ok(pruned)
}

/// Reports a loss of backups, after which nothing is pruned. The first run that detects the loss
/// fails in part; later runs warn unless more backups are missing.
fn report_loss(
    state: &mut DestinationState,
    backups: usize,
    new_backups: Option<&BTreeSet<BackupName>>,
    mut pruned: Pruned,
    error: Error,
) -> Result<Pruned> {
    if new_backups.is_none() {
        return Err(error);
    }
    if state.reported_loss.is_some_and(|then| backups >= then) {
        let ErrorReport { message, hint } = ErrorReport::from(&error);
        pruned.warnings.push(ErrorReport { message: format!("nothing was pruned: {message}"), hint });
        return Ok(pruned);
    }
    state.reported_loss = Some(backups);
    state.save()?;
    Err(error)
}

/// Returns the names of the adoptions among the owners.
fn adoption_names<'a>(owners: &[Owner<'a>]) -> impl Iterator<Item = &'a str> {
    let adoption_names = owners.iter().copied().filter(|owner| matches!(owner, Owner::Adoption(_)));
    adoption_names.map(Owner::name)
}

/// Returns the number of files that an adoption claims at a destination.
fn adopted_file_count(at: &Catalogued, name: &str) -> usize {
    at.catalog.adopted.iter().filter(|(series, _)| series.job == name).map(|(_, files)| files.len()).sum()
}

impl OwnerPlan<'_> {
    /// Fails if a series to retire still grows.
    fn refuse_growing_series(&self) -> Result<()> {
        for (series, ended) in self.series.iter().zip(&self.ended) {
            if series.1 == SeriesMode::Retire && ended.is_none() {
                let name = format!("{}/{}", series.0.cluster, series.0.subject.segment());
                let message = match self.owner {
                    Owner::Job(job, _) => {
                        format!(
                            "job \"{}\" made a backup of the series in its newest run: the series still grows",
                            job.name
                        )
                    }
                    Owner::Operator(..) => continue,
                    Owner::Adoption(_) => "its newest file is recent: the series may still grow".to_owned(),
                };
                return Err(Error::new(Stage::Retention, Kind::Refused, name, message)
                    .hint("exclude the database from the job first; only a series that the job no longer makes can be retired"));
            }
        }
        Ok(())
    }

    /// Returns the problem that the kept backups exceed the policy's total size.
    fn size_exceeded(&self) -> ErrorReport {
        ErrorReport {
            message: format!(
                "the backups of \"{}\" take {} bytes more than max_total_size, but none of them may be deleted",
                self.owner.name(),
                self.plan.excess_bytes
            ),
            hint: Some("raise max_total_size, or release holds".to_owned()),
        }
    }

    /// Reports the decisions and their results.
    fn report(&self, failures: &BTreeMap<BackupName, ErrorReport>) -> Vec<SeriesPruned> {
        let mut all = Vec::new();
        for (place, ((series, _), decisions)) in self.series.iter().zip(&self.plan.decisions).enumerate() {
            let mut pruned = SeriesPruned {
                cluster: series.cluster.clone(),
                subject: series.subject.segment(),
                job: series.job.clone(),
                adopted: matches!(self.owner, Owner::Adoption(_)),
                policy: self.owner.policy().to_string(),
                timezone: self.owner.policy().timezone,
                keep: Vec::new(),
                remove: Vec::new(),
                failed: Vec::new(),
                refused: self.plan.refused.iter().find(|(refused, _)| *refused == place).map(|(_, error)| error.into()),
                ahead: self
                    .plan
                    .future_dated
                    .iter()
                    .filter(|(at, _)| *at == place)
                    .map(|(_, name)| name.clone())
                    .collect(),
                ended: self.ended[place],
            };
            for decision in decisions {
                let (name, bytes, time) = (decision.name.clone(), decision.bytes, decision.time);
                match &decision.action {
                    Action::Keep(reasons) => pruned.keep.push(Kept { name, bytes, time, reasons: reasons.clone() }),
                    Action::Remove(cause) => {
                        pruned.failed.extend(failures.get(&name).map(|problem| (name.clone(), problem.clone())));
                        pruned.remove.push(Removed { name, bytes, time, cause: *cause, why: None });
                    }
                }
            }
            pruned.remove.reverse();
            all.push(pruned);
        }
        all
    }
}

/// Formats a time.
pub fn format_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
