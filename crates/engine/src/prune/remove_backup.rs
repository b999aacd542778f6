//! Removal of a single backup by hand, subject to the floors, holds, locks and needs that
//! limit a prune.

use std::collections::BTreeMap;

use chrono::Utc;
use longshore_catalog::catalog::{Backup, Series};
use longshore_config::Config;
use longshore_core::key::BackupName;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_retention::{Action, PlanContext, Policy, Reason, SeriesMode, describe_reasons, plan_single};

use super::execute::execute;
use super::owner::Owner;
use super::plan::{OwnerPlan, needed_backups};
use super::{Mode, Pruned, failed_destination};
use crate::catalogs::{Catalogued, adopted_file_error, read_catalogs, unknown_backup};
use crate::destination_state::DestinationState;
use crate::error_report::ErrorReport;
use crate::run_history::HostHistory;

/// A request to remove one backup.
#[derive(Debug, Clone, Copy)]
pub struct RemoveRequest<'a> {
    /// The name of the backup, in full or without the folders.
    pub name: &'a str,
    /// The only destination to remove the backup from; `None` means all.
    pub destination: Option<&'a str>,
    /// The reason, for the report.
    pub why: &'a str,
    /// The mode.
    pub mode: Mode,
}

/// Removes a backup from every destination that has it, or from the one named.
///
/// # Errors
///
/// Fails if no destination, or more than one series, has a backup of that name.
pub async fn remove_backup(config: &Config, request: &RemoveRequest<'_>) -> Result<Vec<Pruned>> {
    let read = read_catalogs(config, request.destination).await?;
    let name = find_name(&read, request.name)?;
    // A job that is not configured on this host is limited only by the rules for all jobs.
    let floors = Policy::default();
    let mut all = Vec::new();
    for (destination, at) in read {
        let pruned = match &at {
            Err(error) => failed_destination(&destination, error),
            Ok(at) => {
                let Some(backup) = at.catalog.backups().find(|backup| backup.name == name) else { continue };
                remove_at_destination(config, &floors, at, backup, request)
                    .await
                    .unwrap_or_else(|error| failed_destination(&destination, &error))
            }
        };
        all.push(pruned);
    }
    Ok(all)
}

/// Returns the one backup with this name. Only names match, since the newest backup of a series
/// changes with each run.
fn find_name(read: &[(String, Result<Catalogued>)], words: &str) -> Result<BackupName> {
    let readable: Vec<&Catalogued> = read.iter().filter_map(|(_, at)| at.as_ref().ok()).collect();
    let all = || readable.iter().flat_map(|at| at.catalog.backups());
    let mut names: Vec<&BackupName> = all().map(|backup| &backup.name).filter(|name| name.as_str() == words).collect();
    if names.is_empty() {
        names = all().map(|backup| &backup.name).filter(|name| name.file_name() == words).collect();
    }
    names.sort_unstable();
    names.dedup();
    match names[..] {
        [name] => Ok(name.clone()),
        [] if all().any(|backup| crate::catalogs::matches_backup(words, backup)) => {
            Err(Error::new(Stage::Config, Kind::Usage, words, "a series, not the name of a backup")
                .hint(format!("write one of the names that `longshore list {words} --all` shows")))
        }
        [] => Err(adopted_file_error(readable.iter().copied(), words).unwrap_or_else(|| {
            match read.iter().find_map(|(_, at)| at.as_ref().err()) {
                // The backup may be at the destination that could not be read.
                Some(error) => error.clone(),
                None => unknown_backup(readable.iter().copied(), words),
            }
        })),
        _ => {
            let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
            Err(Error::new(Stage::Config, Kind::Usage, words, "the name matches more than one backup")
                .hint(format!("write the full name: {}", names.join(", "))))
        }
    }
}

async fn remove_at_destination(
    config: &Config,
    floors: &Policy,
    at: &Catalogued,
    backup: &Backup,
    request: &RemoveRequest<'_>,
) -> Result<Pruned> {
    let mut state = DestinationState::open(config, &at.name)?;
    // An incomplete listing may lack the backups that need this one.
    state.expect_backups(&at.name, at.catalog.backups().count() + at.catalog.unreadable.len())?;
    let owner_plan = plan_removal(config, floors, at, backup, &state).await?;
    let mut pruned = Pruned::of(&at.name);
    let failures = match request.mode {
        Mode::Act => execute(at, std::slice::from_ref(&owner_plan)).await,
        Mode::DryRun => BTreeMap::new(),
    };
    pruned.series = owner_plan.report(&failures);
    for series in &mut pruned.series {
        series.keep.retain(|kept| kept.name == backup.name);
        series.ended = None;
        for removed in &mut series.remove {
            removed.why = Some(request.why.to_owned());
        }
        let gone = series.remove.len() - series.failed.len();
        if request.mode == Mode::Act && gone > 0 {
            state.backups = state.backups.saturating_sub(gone);
            pruned.problems.extend(state.save().err().as_ref().map(ErrorReport::from));
        }
    }
    Ok(pruned)
}

/// Decides for one backup, with the store's locks.
async fn plan_removal<'a>(
    config: &'a Config,
    floors: &'a Policy,
    at: &'a Catalogued,
    backup: &'a Backup,
    state: &DestinationState,
) -> Result<OwnerPlan<'a>> {
    let now = Utc::now();
    let own = Series::of(&backup.manifest);
    let (series, backups) = at.catalog.series.get_key_value(&own).ok_or_else(|| {
        Error::new(
            Stage::Catalog,
            Kind::NotFound,
            backup.name.as_str(),
            "the series of the backup is not in the catalog",
        )
    })?;
    let job = config.jobs.get(&series.job).filter(|job| job.site.cluster.name == series.cluster);
    let policy = job.and_then(|job| job.retention.get(&at.name)).unwrap_or(floors);
    let mut candidates: Vec<_> = backups.iter().map(Backup::candidate).collect();
    let lost_holds = state.lost_holds(&at.catalog, now);
    for candidate in candidates.iter_mut().filter(|candidate| candidate.name == backup.name) {
        candidate.held = lost_holds.get(&backup.name).map(|hold| hold.hold()).or(candidate.held.take());
    }
    let known = job.map(|job| HostHistory::of(config, job)).transpose()?.flatten();
    let own_runs = known.map(|known| known.at(&at.catalog));
    if let Some(store) = at.store.capabilities().object_locks {
        for candidate in candidates.iter_mut().filter(|candidate| candidate.name == backup.name) {
            for key in backup.lockable_keys()? {
                candidate.locked_until = candidate.locked_until.max(store.locked_until(&key).await?);
            }
        }
    }
    let needed = needed_backups(&at.catalog);
    let context = PlanContext { now, needed: &needed, trust_clock: true, own_runs: own_runs.as_ref() };
    let mut plan = plan_single(policy, &candidates, &backup.name, context);
    let action = plan.decisions.iter().flatten().find(|decision| decision.name == backup.name);
    if let Some(Action::Keep(reasons)) = action.map(|decision| &decision.action) {
        plan.refused.push((0, refusal(backup, reasons)));
    }
    let owner = Owner::Operator(&series.job, policy);
    Ok(OwnerPlan { owner, series: vec![(series, SeriesMode::KeepAll)], ended: vec![None], plan })
}

/// Returns the error of a backup that must be kept, with the action that would permit its removal.
fn refusal(backup: &Backup, reasons: &[Reason]) -> Error {
    let hint = match reasons.first() {
        Some(Reason::Held { .. }) => format!("`longshore unhold {}` ends the hold", backup.name),
        Some(Reason::LastGood) => "make another backup first".to_owned(),
        Some(Reason::NewestVerified) => "verify another backup of the series first".to_owned(),
        Some(Reason::NewestDrilled) => "drill another backup of the series first".to_owned(),
        Some(Reason::NeededBy(_)) => "remove the backups that need it first".to_owned(),
        Some(Reason::Restoring { .. }) => "wait until the restore ends".to_owned(),
        Some(Reason::Young { .. }) => "wait, or lower min_age in the policy".to_owned(),
        _ => "wait until the time shown".to_owned(),
    };
    let message = format!("must be kept: {}", describe_reasons(reasons));
    Error::new(Stage::Retention, Kind::Refused, backup.name.as_str(), message).hint(hint)
}
