//! The last runs of each job, and those of them that need attention.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use longshore_core::run_report::{DestinationOutcome, Outcome, RunReport};
use longshore_core::unit::format_age;
use serde::Serialize;

use super::evaluate::{Criteria, ReadCatalog};
use super::report::{Issue, IssueKind};
use crate::run_history::{JobKey, LastRun, LastRuns, RUN};

/// The maximum lead of a backup over the last report. A newer backup is of a run that left
/// no report here.
const MAX_REPORT_LAG: TimeDelta = TimeDelta::minutes(2);
/// The maximum number of failed subjects that are named.
const MAX_NAMED: usize = 3;

/// A job, with the outcome of its last runs.
#[derive(Debug, Serialize)]
pub struct JobStatus {
    /// The name of the cluster.
    pub cluster: String,
    /// The name of the job.
    pub job: String,
    /// The last run; `None` if no run is reported.
    pub last_run: Option<RunStatus>,
    /// The start time of the run in progress on this host.
    pub running_since: Option<DateTime<Utc>>,
    /// The last run of each other command.
    pub others: Vec<RunStatus>,
}

/// The outcome of one run of a command.
#[derive(Debug, Serialize)]
pub struct RunStatus {
    /// The id of the report.
    pub id: String,
    /// The command.
    pub verb: String,
    /// The outcome.
    pub outcome: Outcome,
    /// The name of the host.
    pub host: String,
    /// The start time.
    pub begun: DateTime<Utc>,
    /// The end time.
    pub ended: Option<DateTime<Utc>>,
    /// The seconds since the end, or since the start.
    pub age_seconds: i64,
    /// The exit code.
    pub exit_code: Option<u8>,
    /// The reason for a failure, as far as it can be read here.
    pub reason: Option<String>,
    /// The destination that the report was read from; `None` if it was read on this host.
    pub destination: Option<String>,
}

impl RunStatus {
    fn new(found: &LastRun, now: DateTime<Utc>) -> Self {
        let LastRun { report, destination, .. } = found;
        Self {
            id: report.id.to_string(),
            verb: report.verb.clone(),
            outcome: report.outcome,
            host: report.host.clone(),
            begun: report.begun,
            ended: report.ended,
            age_seconds: (now - report.ended.unwrap_or(report.begun)).num_seconds(),
            exit_code: report.exit_code,
            reason: reason(found),
            destination: destination.clone(),
        }
    }

    /// Formats the time since the end, or since the start.
    pub fn format_age(&self) -> String {
        format_age(TimeDelta::seconds(self.age_seconds.max(0)))
    }

    /// Returns the problem of the run, if it has one.
    fn issue(&self) -> Option<(IssueKind, String)> {
        let (ago, reason) =
            (self.format_age(), self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default());
        match self.outcome {
            Outcome::Done | Outcome::Locked | Outcome::Skipped => None,
            Outcome::Partial => Some((IssueKind::RunPartial, format!("last run was partial {ago} ago{reason}"))),
            Outcome::Interrupted => Some((IssueKind::RunInterrupted, format!("last run was interrupted {ago} ago"))),
            Outcome::Failed | Outcome::Damaged => {
                Some((IssueKind::RunFailed, format!("last run failed {ago} ago{reason}")))
            }
            Outcome::Refused => Some((IssueKind::RunFailed, format!("last run failed {ago} ago, refused{reason}"))),
            Outcome::Lost => Some((
                IssueKind::RunLost,
                format!("last run was lost: begun {ago} ago, it was killed, or its host stopped"),
            )),
        }
    }
}

/// Returns the reason for a failure: the message of the error if it can be read, or else its class.
fn reason(found: &LastRun) -> Option<String> {
    let LastRun { report, details, .. } = found;
    if matches!(report.outcome, Outcome::Done | Outcome::Lost) {
        return None;
    }
    let class = || report.error.as_ref().map(ToString::to_string);
    details.first().or_else(class).or_else(|| failures(report))
}

/// Lists the subjects and destinations that failed, with the classes of their errors.
pub(crate) fn failures(report: &RunReport) -> Option<String> {
    let class = |at: &DestinationOutcome| at.error.as_ref().map(|class| format!(" ({class})")).unwrap_or_default();
    let subjects = report.subjects.iter().filter_map(|subject| match (&subject.error, subject.outcome) {
        (_, Outcome::Done) => None,
        (Some(class), _) => Some(format!("{} ({class})", subject.subject)),
        (None, _) => {
            let failed = subject.destinations.iter().filter(|at| at.outcome != Outcome::Done);
            let places = failed.map(|at| format!("{}{}", at.destination, class(at))).collect::<Vec<_>>();
            Some(match places.is_empty() {
                true => subject.subject.clone(),
                false => format!("{} at {}", subject.subject, places.join(", ")),
            })
        }
    });
    let left_out = report.left_out.iter().map(|at| format!("{}{}", at.destination, class(at)));
    let all: Vec<_> = subjects.chain(left_out).collect();
    let more = all.len().saturating_sub(MAX_NAMED);
    let named = all.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
    match more {
        0 => (!all.is_empty()).then_some(named),
        more => Some(format!("{named} and {more} more")),
    }
}

/// Returns the requested jobs, and the problems of their last runs.
pub(super) fn jobs(
    last_runs: &BTreeMap<JobKey, LastRuns>,
    catalogs: &[ReadCatalog<'_>],
    criteria: &Criteria<'_>,
) -> (Vec<JobStatus>, Vec<Issue>) {
    let configured = criteria.config.jobs.values().filter(|job| criteria.job.is_none_or(|only| only == job.name));
    let configured = configured.map(|job| (job.site.cluster.name.clone(), job.name.clone()));
    let keys: std::collections::BTreeSet<JobKey> = last_runs.keys().cloned().chain(configured).collect();
    let no_runs = LastRuns::default();
    let (mut jobs, mut attention) = (Vec::new(), Vec::new());
    for key in keys {
        let runs = last_runs.get(&key).unwrap_or(&no_runs);
        let (cluster, job) = key;
        let status = |found: &LastRun| RunStatus::new(found, criteria.now);
        let last_run = runs.verbs.get(RUN).map(status);
        let is_newest = |run: &RunStatus| {
            newest_backup(catalogs, &cluster, &job) <= Some(run.ended.unwrap_or(run.begun) + MAX_REPORT_LAG)
        };
        if let Some((kind, message)) = last_run.as_ref().filter(|run| is_newest(run)).and_then(RunStatus::issue) {
            attention.push(Issue { job: Some(job.clone()), ..Issue::new(kind, message) });
        }
        let of_run = runs.running.iter().filter(|report| report.verb == RUN);
        jobs.push(JobStatus {
            cluster,
            job,
            last_run,
            running_since: of_run.map(|report| report.begun).max(),
            others: runs.verbs.values().filter(|found| found.report.verb != RUN).map(status).collect(),
        });
    }
    (jobs, attention)
}

/// Returns the time of a job's newest backup.
fn newest_backup(catalogs: &[ReadCatalog<'_>], cluster: &str, job: &str) -> Option<DateTime<Utc>> {
    let series = catalogs.iter().flat_map(|at| &at.catalog.series);
    let of_job = series.filter(|(series, _)| series.cluster == cluster && series.job == job);
    of_job.filter_map(|(_, backups)| backups.last()).map(|backup| backup.manifest.time.time()).max()
}
