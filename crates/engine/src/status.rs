//! The state of every series at every destination, and problems that need attention, derived from
//! the contents of destinations.

mod differences;
mod drills;
mod evaluate;
mod gaps;
mod growth;
mod lost;
mod not_captured;
mod report;
mod runs;
#[cfg(test)]
mod tests;
mod wal;

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use longshore_catalog::catalog::{Backup, Series};
use longshore_config::Config;
use longshore_config::registry::Registry;
use longshore_config::suggestion;
use longshore_core::plugin::Identities;
use longshore_core::terms::MaxAge;
use longshore_core::{Error, Kind, Result, Stage};
use serde_json::{Map, Value};

use self::drills::drills;
use self::evaluate::{Criteria, ReadCatalog, distinct_good_backups, evaluate, vanished_message};
#[cfg(test)]
pub(crate) use self::lost::loss_issues;
use crate::catalogs::{Catalogued, read_with_wal};
use crate::details::fetch_record;
use crate::error_report::ErrorReport;
use crate::run_history::last_runs;
use crate::untrusted::{ignored_marks, is_untrusted, untrusted};
use crate::wal::status::Completeness;

pub use self::differences::Differences;
pub use self::not_captured::NotCaptured;
pub use self::report::{
    AtDestination, BackupAge, Copies, DestinationStatus, DrillTime, Issue, IssueKind, Level, Proof, RestoreTime,
    SeriesStatus, Size, Status, Tables, WalStatus,
};
pub(crate) use self::runs::failures;
pub use self::runs::{JobStatus, RunStatus};

/// A function that returns the names of the tables in a record of a dump, if the record
/// contains them.
pub type TablesOf<'a> = dyn Fn(&Map<String, Value>) -> Option<BTreeSet<String>> + 'a;

/// A request for the status.
pub struct Request<'a> {
    /// The only job whose series are shown, configured on this host or not.
    pub job: Option<&'a str>,
    /// The maximum age of a series' newest backup, for jobs that state none.
    pub max_age: Option<MaxAge>,
    /// The identities that decrypt the records with names of tables.
    pub identities: &'a Identities,
    /// The function that reads names of tables from a record.
    pub tables: &'a TablesOf<'a>,
}

/// Returns the status of the destinations of one job, or of all. An unreadable destination needs
/// attention itself, and the others are still shown.
pub async fn status(config: &Config, registry: &Registry, request: &Request<'_>) -> Result<Status> {
    let reads = read_all(config, request.job).await;
    Ok(status_of(config, registry, request, reads).await?.0)
}

/// Returns the status of destinations that were read, and the catalogs of the readable ones.
pub(crate) async fn status_of(
    config: &Config,
    registry: &Registry,
    request: &Request<'_>,
    reads: Vec<(String, Result<Catalogued>)>,
) -> Result<(Status, Vec<Catalogued>)> {
    let now = Utc::now();
    let (mut read, mut destinations, mut attention) = (Vec::new(), Vec::new(), Vec::new());
    let includes = |series: &Series| request.job.is_none_or(|job| job == series.job);
    for (name, at) in reads {
        match at {
            Ok(at) => {
                let (status, more) = destination_status(&at, includes).await;
                destinations.push(status);
                attention.extend(more);
                attention.extend(lost::loss_issues(config, &at, now));
                read.push(at);
            }
            Err(error) => {
                attention.push(destination_issue(
                    IssueKind::Unreadable,
                    &name,
                    format!("cannot be read: {}", error.chain()),
                ));
                destinations.push(unreadable_status(name, &error));
            }
        }
    }
    let (last_runs, errors) = last_runs(config, registry, request.identities, &read, request.job).await;
    attention.extend(errors.iter().map(|(name, error)| {
        let message = format!("a run report cannot be read: {}", error.chain());
        Issue { destination: name.clone(), ..destination_issue(IssueKind::Unknown, "", message) }
    }));
    let completeness = Completeness::of(read.len() == destinations.len());
    let (wal, of_wal) = wal::wal(config, request.job, (&read, completeness), now);
    attention.extend(of_wal);
    let criteria = Criteria { config, job: request.job, max_age: request.max_age, reported: &last_runs, now };
    if let Some(job) = request.job.filter(|job| !config.jobs.contains_key(*job)) {
        let is_known = read.iter().any(|at| at.catalog.series.keys().any(|series| series.job == job))
            || last_runs.keys().any(|(_, known)| known == job);
        if !is_known && read.len() == destinations.len() {
            let known = read.iter().flat_map(|at| at.catalog.series.keys()).map(|series| series.job.as_str());
            let known = known.chain(config.jobs.keys().map(String::as_str));
            let all = "`longshore status` without a job shows all jobs";
            return Err(Error::new(
                Stage::Config,
                Kind::Usage,
                job,
                "no such job, and no backup of a job of that name",
            )
            .hint(suggestion::hint(job, known, all)));
        }
    }
    let (drills, errors) = drills(&read, |series| criteria.includes(series)).await;
    attention.extend(errors.iter().map(|(name, error)| {
        destination_issue(IssueKind::Unknown, name, format!("the record of a drill cannot be read: {}", error.chain()))
    }));
    let catalogs: Vec<_> = read.iter().map(|at| ReadCatalog { name: &at.name, catalog: &at.catalog }).collect();
    let (mut series, found) = evaluate(&catalogs, drills, &criteria);
    attention.extend(found);
    let (jobs, found) = runs::jobs(&last_runs, &catalogs, &criteria);
    attention.extend(found);
    for status in &mut series {
        add_table_names(status, &read, registry, request, &mut attention, &criteria).await;
    }
    if let Err(error) = gaps::add_gaps(config, &mut series, now) {
        let message = format!("the run reports of this host cannot be read: {}", error.chain());
        attention.push(Issue { destination: None, ..destination_issue(IssueKind::Unknown, "", message) });
    }
    let all = read.iter().flat_map(|at| &at.catalog.series).filter(|(series, _)| criteria.includes(series));
    let not_captured = not_captured::not_captured(all.map(|(series, backups)| (series, backups.as_slice())));
    let mut status = Status { time: now, attention: Vec::new(), jobs, not_captured, series, destinations, wal };
    status.add(attention);
    Ok((status, read))
}

/// Reads the catalogs of the destinations that a configured job ships to, or of all destinations.
async fn read_all(config: &Config, job: Option<&str>) -> Vec<(String, Result<Catalogued>)> {
    match job.and_then(|name| config.jobs.get(name)) {
        Some(job) => read_with_wal(config, &job.ship).await,
        None => read_with_wal(config, config.destinations.keys()).await,
    }
}

/// Returns the state of a destination, and its problems.
async fn destination_status(at: &Catalogued, includes: impl Fn(&Series) -> bool) -> (DestinationStatus, Vec<Issue>) {
    let mut attention = Vec::new();
    let unreadable = &at.catalog.unreadable;
    let untrusted: Vec<_> = untrusted(&at.catalog).collect();
    if let Some((_, error)) = untrusted.first() {
        let records = if untrusted.len() == 1 { "record of a backup is" } else { "records of backups are" };
        let message = format!("{} {records} refused, such as {}", untrusted.len(), error.chain());
        attention.push(destination_issue(IssueKind::Untrusted, &at.name, message));
    }
    attention.extend(
        at.history
            .iter()
            .map(|problem| destination_issue(IssueKind::HistoryChanged, &at.name, problem.message.clone())),
    );
    attention.extend(
        ignored_marks(at.catalog.backups()).map(|marks| destination_issue(IssueKind::MarkIgnored, &at.name, marks)),
    );
    let unreadable: Vec<_> = unreadable.iter().filter(|(_, error)| !is_untrusted(error)).collect();
    if let Some((_, error)) = unreadable.iter().find(|(_, error)| error.kind() == Kind::Corrupt).or(unreadable.first())
    {
        // A manifest of a newer version, or one without permission to read, may be intact.
        let kind = if error.kind() == Kind::Corrupt { IssueKind::Damaged } else { IssueKind::Unreadable };
        let records = if unreadable.len() == 1 { "record of a backup" } else { "records of backups" };
        let message = format!("{} {records} cannot be read, such as {}", unreadable.len(), error.chain());
        attention.push(destination_issue(kind, &at.name, message));
    }
    let free_bytes = match at.store.capabilities().free_space {
        None => None,
        Some(room) => room.free_bytes().await.map_or_else(
            |error| {
                let message = format!("its free space cannot be determined: {}", error.chain());
                attention.push(destination_issue(IssueKind::Unknown, &at.name, message));
                None
            },
            Some,
        ),
    };
    let requested = || at.catalog.series.iter().filter(|(series, _)| includes(series));
    let backups = || requested().flat_map(|(_, backups)| backups);
    let status = DestinationStatus {
        name: at.name.clone(),
        series: requested().count(),
        backups: backups().count(),
        unreadable: unreadable.len() + untrusted.len(),
        bytes: backups().fold(0, |sum, backup| sum.saturating_add(evaluate::bytes(backup))),
        free_bytes,
        error: None,
    };
    (status, attention)
}

/// Returns the state of a destination that could not be read.
fn unreadable_status(name: String, error: &Error) -> DestinationStatus {
    let error = Some(ErrorReport::from(error));
    DestinationStatus { name, series: 0, backups: 0, unreadable: 0, bytes: 0, free_bytes: None, error }
}

fn destination_issue(kind: IssueKind, destination: &str, message: String) -> Issue {
    Issue { destination: Some(destination.to_owned()), ..Issue::new(kind, message) }
}

/// Names the tables that vanished from a series, if the records of both backups can be decrypted.
async fn add_table_names(
    status: &mut SeriesStatus,
    read: &[Catalogued],
    registry: &Registry,
    request: &Request<'_>,
    attention: &mut [Issue],
    criteria: &Criteria<'_>,
) {
    let Some(tables) = status.tables.as_mut().filter(|tables| vanished_message(tables).is_some()) else { return };
    let is_it = |series: &Series| {
        series.cluster == status.cluster && series.job == status.job && series.subject.segment() == status.subject
    };
    let by_destination: BTreeMap<&str, &[Backup]> = read
        .iter()
        .flat_map(|at| at.catalog.series.iter().map(move |(series, backups)| (at, series, backups)))
        .filter(|(_, series, _)| is_it(series))
        .map(|(at, _, backups)| (at.name.as_str(), backups.as_slice()))
        .collect();
    let good = distinct_good_backups(by_destination.values().copied(), criteria.now);
    let [.., before, newest] = good.as_slice() else { return };
    let names = async |wanted: &Backup| {
        for at in read {
            let there = by_destination.get(at.name.as_str()).copied().unwrap_or_default();
            let Some(backup) = there.iter().find(|backup| backup.name == wanted.name) else { continue };
            // Without an identity, only the numbers of tables are known.
            if let Ok(Some(details)) = fetch_record(registry, request.identities, &*at.store, backup).await {
                return (request.tables)(&details);
            }
        }
        None
    };
    let (Some(before), Some(newest)) = (names(before).await, names(newest).await) else { return };
    tables.vanished = Some(before.difference(&newest).cloned().collect());
    let series = format!("{}/{}", status.cluster, status.subject);
    let is_it = |it: &&mut Issue| {
        it.kind == IssueKind::TablesVanished
            && it.series.as_ref() == Some(&series)
            && it.job.as_ref() == Some(&status.job)
    };
    if let (Some(it), Some(message)) = (attention.iter_mut().find(is_it), vanished_message(tables)) {
        it.message = message;
    }
}
