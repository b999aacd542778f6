//! The tasks of the configuration, with their runs so far.

use std::path::PathBuf;

use chrono::{DateTime, SubsecRound, Utc};
use longshore_config::{Config, Job};
use longshore_core::Result;
use longshore_core::run_report::{Id, Outcome, RunReport};
use longshore_schedule::{PastRun, Task, Verb};

use crate::dirs;
use crate::run_history::ReportDir;

/// The number of reports of a task to read: more than its retries.
const MAX_REPORTS: usize = 120;

/// A task, with its runs so far on this host.
#[derive(Debug)]
pub struct TaskHistory {
    /// The task.
    pub task: Task,
    /// The newest runs that have ended.
    pub runs: Vec<PastRun>,
    /// The begin of the run in progress.
    pub running: Option<DateTime<Utc>>,
    /// The report of the last run.
    pub last: Option<RunReport>,
}

/// Returns the tasks of one job, or of all, with their runs so far.
///
/// # Errors
/// Fails if the job is unknown, or if the run reports cannot be listed.
pub fn histories(config: &Config, job: Option<&str>) -> Result<Vec<TaskHistory>> {
    let jobs: Vec<&Job> = match job {
        Some(name) => vec![config.job(Some(name))?],
        None => config.jobs.values().collect(),
    };
    let report_dirs = ReportDir::open_all(config, jobs.iter().copied())?;
    let mut histories = Vec::new();
    for job in jobs {
        let report_dir = report_dirs.iter().find(|(of, _)| of.name == job.name).map(|(_, report_dir)| report_dir);
        for task in job.timetable.tasks(&job.name, &host_name()) {
            histories.push(match report_dir {
                Some(report_dir) => history(task, report_dir)?,
                None => TaskHistory { task, runs: Vec::new(), running: None, last: None },
            });
        }
    }
    Ok(histories)
}

fn history(task: Task, report_dir: &ReportDir) -> Result<TaskHistory> {
    let verb = task.verb.name();
    let (mut runs, mut last): (Vec<PastRun>, Option<RunReport>) = (Vec::new(), None);
    let ids: Vec<Id> = report_dir.reports()?.into_iter().filter(|id| id.verb == verb).collect();
    for id in ids.iter().rev().take(MAX_REPORTS) {
        match report_dir.read_report(id) {
            Ok(report) => {
                runs.push(PastRun::from(&report));
                last = last.or(Some(report));
            }
            // A damaged report still shows that a run began.
            Err(_) => {
                let begun = id.time.time();
                runs.push(PastRun { begun, ended: begun, outcome: Outcome::Lost });
            }
        }
    }
    let markers = report_dir.markers()?;
    let killed: Vec<RunReport> =
        markers.ended.into_iter().map(|(_, report)| report).filter(|report| report.verb == verb).collect();
    for report in killed {
        // A run that was killed while its report was uploaded has a report.
        if ids.contains(&report.id) {
            continue;
        }
        runs.push(PastRun::from(&report));
        last = last.filter(|last| last.begun > report.begun).or(Some(report));
    }
    let running = markers.running.iter().filter(|report| report.verb == verb).map(|report| report.begun).max();
    Ok(TaskHistory { task, runs, running, last })
}

/// Returns true if a run of a task that was started at `since` has left a report, or a marker from
/// which the next run makes one. Without readable reports, none was left.
pub fn left_report(config: &Config, job: &str, verb: &str, since: DateTime<Utc>) -> bool {
    let Some(job) = config.jobs.get(job) else { return false };
    let Ok(all) = ReportDir::open_all(config, std::iter::once(job)) else { return false };
    // Ids have whole seconds.
    let is_of_run = |id: &Id| id.verb == verb && id.time.time() >= since.trunc_subsecs(0);
    all.iter().any(|(_, report_dir)| {
        let markers = report_dir.markers().unwrap_or_default();
        let marked = markers.ended.iter().map(|(_, report)| report).chain(&markers.running);
        report_dir.reports().is_ok_and(|ids| ids.iter().any(is_of_run))
            || marked.into_iter().any(|it| is_of_run(&it.id))
    })
}

/// Returns the folder whose run reports show the past runs, if there is one.
pub fn state_folder(config: &Config) -> Option<PathBuf> {
    dirs::state_dir(config)
}

/// Returns the name of this host, as in run reports.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Returns the arguments of Longshore that run a task of a job, without the configuration.
pub fn arguments(job: &Job, verb: Verb) -> Vec<String> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    match (verb, job.timetable.verify_percent) {
        (Verb::Verify, Some(percent)) => words(&["verify", "--job", &job.name, "--percent", &percent.to_string()]),
        (Verb::Verify, None) => words(&["verify", "--job", &job.name]),
        (Verb::Run | Verb::Drill | Verb::Sync | Verb::Prune, _) => words(&[verb.name(), &job.name]),
    }
}
