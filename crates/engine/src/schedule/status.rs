//! When each task is due, when it ran last, and what starts it.

use chrono::{DateTime, TimeDelta, Utc};
use longshore_config::Config;
use longshore_core::Result;
use longshore_core::run_report::Outcome;
use longshore_schedule::{History, Verb, plan};
use serde::Serialize;

use super::history::{TaskHistory, histories};
use super::host::Host;
use super::starter::{Starter, starters};

/// The state of a scheduled task.
#[derive(Debug, Serialize)]
pub struct TaskStatus {
    /// The name of the job.
    pub job: String,
    /// The verb.
    pub verb: Verb,
    /// The cron expression, as written.
    pub schedule: String,
    /// The time zone of the schedule.
    pub timezone: String,
    /// The next due time.
    pub next: Option<DateTime<Utc>>,
    /// The longest delay of a start after its due time, in seconds.
    pub jitter_seconds: u64,
    /// The last run on this host.
    pub last: Option<LastRun>,
    /// The begin of the run in progress on this host.
    pub running_since: Option<DateTime<Utc>>,
    /// The number of due times that passed without a run since the last one, at most 1000.
    pub missed: u32,
    /// The programs that start the task; empty if none was found.
    pub started_by: Vec<Starter>,
}

/// The last run of a task.
#[derive(Debug, Serialize)]
pub struct LastRun {
    /// The begin of the run.
    pub begun: DateTime<Utc>,
    /// The end of the run, if it is known.
    pub ended: Option<DateTime<Utc>>,
    /// The outcome.
    pub outcome: Outcome,
    /// The exit code, if there was one.
    pub exit_code: Option<u8>,
}

/// Returns the state of the tasks of one job, or of all.
///
/// # Errors
/// Fails if the job is unknown, or if the run reports cannot be listed.
pub fn status(config: &Config, host: &Host, job: Option<&str>, now: DateTime<Utc>) -> Result<Vec<TaskStatus>> {
    let mut starters = starters(config, host);
    let histories = histories(config, job)?;
    Ok(histories
        .into_iter()
        .map(|history| {
            let key = (history.task.job.clone(), history.task.verb);
            let started_by = starters.remove(&key).unwrap_or_default().into_iter().collect();
            let jitter = config.jobs.get(&history.task.job).map(|job| job.timetable.jitter.duration());
            task_status(history, started_by, jitter.unwrap_or_default().as_secs(), now)
        })
        .collect())
}

fn task_status(history: TaskHistory, started_by: Vec<Starter>, jitter_seconds: u64, now: DateTime<Utc>) -> TaskStatus {
    let TaskHistory { mut task, runs, running, last } = history;
    // A task that never ran has missed nothing: the time of its configuration is unknown.
    let since = now;
    // The delay of a timer differs from that of `serve`: the longest one decides what was missed.
    task.delay = TimeDelta::try_seconds(i64::try_from(jitter_seconds).unwrap_or_default()).unwrap_or_default();
    let missed = plan(&task, &History { runs: &runs, running, since }, now).missed;
    TaskStatus {
        job: task.job,
        verb: task.verb,
        schedule: task.schedule.expression().to_owned(),
        timezone: task.schedule.zone().name().to_owned(),
        next: task.schedule.next(now),
        jitter_seconds,
        last: last.map(|report| LastRun {
            begun: report.begun,
            ended: report.ended,
            outcome: report.outcome,
            exit_code: report.exit_code,
        }),
        running_since: running,
        missed,
        started_by,
    }
}
