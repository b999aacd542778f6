//! Deletion of backups that no rule keeps: by series and destination, the manifest first, so that a
//! backup becomes invisible before its bytes are deleted.

mod decide;
mod one;
mod owner;
mod removable;
mod remove;
mod report;
#[cfg(test)]
mod tests;
mod warning;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use longshore_catalog::adopt::Refusal;
use longshore_catalog::catalog::Series;
use longshore_core::key::BackupName;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_retention::{Fate, Policy, Regime};

pub(crate) use self::decide::would_go;
use self::decide::{Decided, Facts, decide};
pub use self::one::{One, remove_one};
use self::owner::Owner;
use self::remove::remove;
pub use self::report::{Kept, NotAdopted, Pruned, Removed, SeriesPruned};
pub(crate) use self::report::{by_name, in_words};
use crate::catalogs::{Catalogued, catalogs};
use crate::config::{Adoption, Config, Job};
use crate::memory::Memory;
use crate::mount;
use crate::problem::Problem;
use crate::run_report::{self, Known};
use crate::sweep::sweep;

/// The mode of a command that deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Delete.
    Act,
    /// Only show the plan.
    DryRun,
}

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
    pub despite: Despite,
    /// The series to delete completely, as `CLUSTER/SUBJECT`. `None` applies the policies.
    pub retire: Option<&'a str>,
}

/// The safety rules that an operator can override.
#[derive(Debug, Clone, Copy, Default)]
pub struct Despite {
    /// Ignore that the newest backup is dated in the future.
    pub clock: bool,
    /// Ignore that far fewer backups are listed than last time, or that the destination's folder is
    /// on another file system.
    pub listing: bool,
}

/// Prunes, or shows the plan, at every destination where a job has a policy.
pub async fn prune(config: &Config, request: &Request<'_>) -> Result<Vec<Pruned>> {
    let (jobs, adoptions) = asked_for(config, request.job)?;
    let mut all = Vec::new();
    let mut found = request.retire.is_none();
    for (destination, at) in catalogs(config, request.destination).await? {
        let owners: Vec<Owner<'_>> = jobs
            .iter()
            .filter_map(|job| Some(Owner::Job(job, job.retention.get(&destination)?)))
            .chain(adoptions.iter().filter(|it| it.destination == destination).map(|it| Owner::Adoption(it)))
            .collect();
        if owners.is_empty() {
            // Without a policy, leftovers of killed runs are removed all the same.
            let ships = jobs.iter().any(|job| job.ship.contains(&destination));
            if let (true, None, Ok(at)) = (ships, request.retire, at) {
                if request.despite.listing && request.mode == Mode::Act {
                    mount::accept(config, &destination, &*at.store)?;
                }
                let swept = sweep_alone(config, &at, request.mode).await;
                all.extend(swept.unwrap_or_else(|error| Some(failed(&destination, &error))));
            }
            continue;
        }
        let pruned = async {
            let at = at?;
            if let Some(words) = request.retire {
                found |=
                    at.catalog.series.keys().chain(at.catalog.adopted.keys()).any(|series| is_called(series, words));
            }
            let regime = |series: &Series| match request.retire {
                None => Regime::Policy,
                Some(words) if is_called(series, words) => Regime::Retire,
                Some(_) => Regime::LeaveAlone,
            };
            of_owners(config, &at, &owners, request, regime).await
        };
        all.push(pruned.await.unwrap_or_else(|error| failed(&destination, &error)));
    }
    match request.retire {
        Some(words) if !found && all.iter().all(|pruned| pruned.error.is_none()) => {
            Err(Error::new(Stage::Retention, Kind::Usage, words, "no such series")
                .hint("write CLUSTER/SUBJECT, such as \"main/appdb\": `longshore list` shows all series"))
        }
        _ => Ok(all),
    }
}

/// Returns the job or adoption of this name, or all jobs and adoptions if no name is given.
fn asked_for<'a>(config: &'a Config, name: Option<&str>) -> Result<(Vec<&'a Job>, Vec<&'a Adoption>)> {
    match name {
        None => Ok((config.jobs.values().collect(), config.adoptions.values().collect())),
        Some(name) => match config.adoptions.get(name) {
            Some(adoption) => Ok((Vec::new(), vec![adoption])),
            None => Ok((vec![config.job(Some(name))?], Vec::new())),
        },
    }
}

/// Returns true if the words are the series' cluster and subject. Nothing shorter matches, since
/// the whole series would be deleted.
fn is_called(series: &Series, words: &str) -> bool {
    words
        .split_once('/')
        .is_some_and(|(cluster, subject)| cluster == series.cluster && subject == series.subject.segment())
}

/// Returns the report of a destination where the plan failed.
pub(crate) fn failed(destination: &str, error: &Error) -> Pruned {
    Pruned { error: Some(error.into()), refused: error.kind() == Kind::Refused, ..Pruned::of(destination) }
}

/// Removes only leftovers of killed runs, at a destination without a policy. Returns `None` if
/// there are none.
pub(crate) async fn sweep_alone(config: &Config, at: &Catalogued, mode: Mode) -> Result<Option<Pruned>> {
    // The state is needed only to remember orphans until they are old enough.
    let mut memory = match at.catalog.orphans.is_empty() {
        true => None,
        false => Some(Memory::of(config, &at.name)?),
    };
    let before = Utc::now() - config.destination(&at.name)?.orphan_grace;
    let swept = sweep(at, memory.as_mut(), mode, before).await?;
    if let (Some(memory), Mode::Act) = (&memory, mode) {
        memory.keep()?;
    }
    if swept.is_empty() {
        return Ok(None);
    }
    Ok(Some(Pruned { swept, ..Pruned::of(&at.name) }))
}

/// Prunes the series of some jobs at one destination, each by its regime.
#[cfg(test)]
pub(crate) async fn at_destination(
    config: &Config,
    at: &Catalogued,
    policies: &[(&Job, &Policy)],
    request: &Request<'_>,
    regime: impl Fn(&Series) -> Regime,
) -> Result<Pruned> {
    let owners: Vec<_> = policies.iter().map(|(job, policy)| Owner::Job(job, policy)).collect();
    of_owners(config, at, &owners, request, regime).await
}

/// Prunes the series of a job at one destination, at the end of a run that made backups there. A
/// loss that an earlier run has reported is a warning.
pub(crate) async fn after_run(
    config: &Config,
    at: &Catalogued,
    (job, policy): (&Job, &Policy),
    made: &BTreeSet<BackupName>,
    regime: impl Fn(&Series) -> Regime,
) -> Result<Pruned> {
    let request = Request {
        job: Some(&job.name),
        destination: Some(&at.name),
        mode: Mode::Act,
        despite: Despite::default(),
        retire: None,
    };
    of_owners_after(config, at, &[Owner::Job(job, policy)], &request, regime, Some(made)).await
}

/// Prunes the series of some jobs and adoptions at one destination, each by its regime.
async fn of_owners(
    config: &Config,
    at: &Catalogued,
    owners: &[Owner<'_>],
    request: &Request<'_>,
    regime: impl Fn(&Series) -> Regime,
) -> Result<Pruned> {
    of_owners_after(config, at, owners, request, regime, None).await
}

/// Prunes as [`of_owners`], at the end of a run that made the backups `made`.
async fn of_owners_after(
    config: &Config,
    at: &Catalogued,
    owners: &[Owner<'_>],
    request: &Request<'_>,
    regime: impl Fn(&Series) -> Regime,
    made: Option<&BTreeSet<BackupName>>,
) -> Result<Pruned> {
    let now = Utc::now();
    let backups = at.catalog.backups().count() + at.catalog.unreadable.len();
    let mut pruned = Pruned::of(&at.name);
    let (mut memory, mut problems) = match Memory::of(config, &at.name) {
        Ok(memory) => (Some(memory), Vec::new()),
        Err(error) => (None, vec![Problem::from(&error)]),
    };
    if let Some(memory) = &mut memory {
        match request.despite.listing {
            true => {
                memory.mount_point = mount::point(&*at.store);
                let there: BTreeSet<&BackupName> = at.catalog.backups().map(|backup| &backup.name).collect();
                memory.holds.retain(|name, _| there.contains(name));
            }
            false => {
                if let Err(error) = memory.compare(&at.name, backups) {
                    return lost(memory, backups, made, pruned, error);
                }
                for name in adopting(owners) {
                    memory.compare_adopted(&at.name, name, adopted_files(at, name))?;
                }
            }
        }
        memory.reported_loss = None;
    }
    let mut facts = Facts { now, trust_clock: request.despite.clock, ..Facts::default() };
    if let Some(memory) = &memory {
        let there: BTreeSet<&BackupName> = at.catalog.backups().map(|backup| &backup.name).collect();
        for (name, hold) in memory.lost_holds(&at.catalog, now) {
            pruned.warnings.push(warning::lost_hold(name, there.contains(name)));
            facts.lost_holds.insert(name.clone(), warning::still_held(hold));
        }
    }
    let mut decided: Vec<Decided<'_>> = Vec::new();
    for owner in owners {
        let mut is_known = true;
        let mut known = match owner.job().map(|job| Known::of(config, job)).transpose() {
            Ok(known) => known.flatten(),
            Err(error) => {
                problems.push(Problem::from(&error));
                is_known = false;
                None
            }
        };
        if let Some(known) = &mut known {
            known.add(made.into_iter().flatten());
        }
        let own_runs = known.map(|known| known.at(&at.catalog));
        decided.push(decide(at, *owner, &regime, &facts, own_runs.as_ref()).await?);
        if let (Some(job), None, Some(memory)) = (owner.job(), own_runs, &mut memory) {
            let made = |name: &BackupName| made.is_some_and(|made| made.contains(name));
            let mut others = decided.last().into_iter().flat_map(|decided| decided.plan.decisions.iter().flatten());
            if is_known && others.any(|decision| !made(&decision.name)) && memory.unknown_runs.insert(job.name.clone())
            {
                pruned.warnings.push(warning::unknown_runs(&job.name));
            }
        }
    }
    if request.retire.is_some() {
        decided.iter().try_for_each(Decided::refuse_to_retire_what_grows)?;
    }
    let failures = match request.mode {
        Mode::Act => remove(at, &decided).await,
        Mode::DryRun => BTreeMap::new(),
    };
    pruned.series = decided.iter().flat_map(|decided| decided.series(&failures)).collect();
    pruned.warnings.extend(pruned.series.iter().filter_map(warning::unproven));
    if request.mode == Mode::Act {
        for job in owners.iter().filter_map(|owner| owner.job()) {
            run_report::prune(&*at.store, &at.catalog.reports, &job.site.cluster.name, &job.name).await;
        }
    }
    match sweep(at, memory.as_mut(), request.mode, now - config.destination(&at.name)?.orphan_grace).await {
        Ok(swept) => pruned.swept = swept,
        Err(error) => problems.push(Problem::from(&error)),
    }
    for decided in decided.iter().filter(|decided| decided.plan.excess_bytes > 0) {
        problems.push(decided.too_large());
    }
    if let (Some(memory), Mode::Act) = (&mut memory, request.mode) {
        let gone = |of: &dyn Fn(&SeriesPruned) -> bool| -> usize {
            let those = pruned.series.iter().filter(|series| of(series));
            those.map(|series| series.remove.len() - series.failed.len()).sum()
        };
        memory.backups = backups.saturating_sub(gone(&|series| !series.adopted));
        for name in adopting(owners) {
            let left = adopted_files(at, name).saturating_sub(gone(&|series| series.adopted && series.job == name));
            memory.adopted.insert(name.to_owned(), left);
        }
        memory.remember_holds(&at.catalog, now);
        problems.extend(memory.keep().err().as_ref().map(Problem::from));
    }
    problems.extend(warning::denied(&at.catalog, owners));
    if adopting(owners).next().is_some() {
        for (key, refusal) in &at.catalog.not_adopted {
            if matches!(refusal, Refusal::ClaimedByAll(_)) {
                problems.push(Problem { message: format!("{key} is skipped: {refusal}"), hint: None });
            }
            pruned.not_adopted.push(NotAdopted { key: key.clone(), why: refusal.to_string() });
        }
    }
    pruned.problems = problems;
    Ok(pruned)
}

/// Reports a loss of backups, after which nothing is pruned. The first run that detects the loss
/// fails in part; later runs warn unless more backups are missing.
fn lost(
    memory: &mut Memory,
    backups: usize,
    made: Option<&BTreeSet<BackupName>>,
    mut pruned: Pruned,
    error: Error,
) -> Result<Pruned> {
    if made.is_none() {
        return Err(error);
    }
    if memory.reported_loss.is_some_and(|then| backups >= then) {
        let Problem { message, hint } = Problem::from(&error);
        pruned.warnings.push(Problem { message: format!("nothing was pruned: {message}"), hint });
        return Ok(pruned);
    }
    memory.reported_loss = Some(backups);
    memory.keep()?;
    Err(error)
}

/// Returns the names of the adoptions among the owners.
fn adopting<'a>(owners: &[Owner<'a>]) -> impl Iterator<Item = &'a str> {
    let adopting = owners.iter().copied().filter(|owner| matches!(owner, Owner::Adoption(_)));
    adopting.map(Owner::name)
}

/// Returns the number of files that an adoption claims at a destination.
fn adopted_files(at: &Catalogued, name: &str) -> usize {
    at.catalog.adopted.iter().filter(|(series, _)| series.job == name).map(|(_, files)| files.len()).sum()
}

impl Decided<'_> {
    /// Fails if a series to retire still grows.
    fn refuse_to_retire_what_grows(&self) -> Result<()> {
        for (series, ended) in self.series.iter().zip(&self.ended) {
            if series.1 == Regime::Retire && ended.is_none() {
                let name = format!("{}/{}", series.0.cluster, series.0.subject.segment());
                let message = match self.owner {
                    Owner::Job(job, _) => {
                        format!(
                            "job \"{}\" made a backup of the series in its newest run: the series still grows",
                            job.name
                        )
                    }
                    Owner::Person(..) => continue,
                    Owner::Adoption(_) => "its newest file is recent: the series may still grow".to_owned(),
                };
                return Err(Error::new(Stage::Retention, Kind::Refused, name, message)
                    .hint("exclude the database from the job first; only a series that the job no longer makes can be retired"));
            }
        }
        Ok(())
    }

    /// Returns the problem that the kept backups exceed the policy's total size.
    fn too_large(&self) -> Problem {
        Problem {
            message: format!(
                "the backups of \"{}\" take {} bytes more than max_total_size, but none of them may be deleted",
                self.owner.name(),
                self.plan.excess_bytes
            ),
            hint: Some("raise max_total_size, or release holds".to_owned()),
        }
    }

    /// Reports the decisions and their results.
    fn series(&self, failures: &BTreeMap<BackupName, Problem>) -> Vec<SeriesPruned> {
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
                ahead: self.plan.ahead.iter().filter(|(at, _)| *at == place).map(|(_, name)| name.clone()).collect(),
                ended: self.ended[place],
            };
            for decision in decisions {
                let (name, bytes, time) = (decision.name.clone(), decision.bytes, decision.time);
                match &decision.fate {
                    Fate::Keep(reasons) => pruned.keep.push(Kept { name, bytes, time, reasons: reasons.clone() }),
                    Fate::Remove(cause) => {
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
pub fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
