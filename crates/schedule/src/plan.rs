//! The decision about one task: start, wait or skip.
//!
//! The decision needs no state of its own. The run reports of the task are its memory, so a
//! scheduler that was killed continues where it stopped.
//!
//! - A due time is served by a run that began at it or later, or that was in progress at it.
//! - A due time that is not served is started. If it passed more than [`GRACE`] ago, it was missed:
//!   it is started only with [`Task::catch_up`], and one start serves all missed due times.
//! - A run that failed, was interrupted, was killed or met a lock is retried [`Task::retry`] times,
//!   unless a later run succeeded or the next due time comes first. A run that found damage or was
//!   refused is not retried, since a retry would end the same way.
//! - While the task runs, it is not started again.

use chrono::{DateTime, TimeDelta, Utc};
use longshore_model::run_report::{Outcome, RunReport};
use serde::Serialize;

use crate::task::Task;

/// The time after which a due time that was not started counts as missed.
pub const GRACE: TimeDelta = TimeDelta::minutes(5);
/// The furthest that the beginning of a run may be ahead of the clock. A run further ahead was
/// recorded with a wrong clock and serves no due time; otherwise it would prevent all starts until
/// then.
const MAX_CLOCK_LEAD: TimeDelta = TimeDelta::minutes(5);
/// The most missed due times to count.
const MAX_MISSED: u32 = 1000;
/// The most due times to examine in search of one that is not served yet.
const MAX_SERVED: u32 = 100;

/// A run of the task that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastRun {
    /// The time of its begin.
    pub begun: DateTime<Utc>,
    /// The time of its end; the begin if the end is unknown.
    pub ended: DateTime<Utc>,
    /// The outcome of the run.
    pub outcome: Outcome,
}

impl From<&RunReport> for PastRun {
    fn from(report: &RunReport) -> Self {
        Self { begun: report.begun, ended: report.ended.unwrap_or(report.begun), outcome: report.outcome }
    }
}

impl PastRun {
    /// Returns true if the run began at this due time or later, or was in progress at it.
    fn serves(&self, due: DateTime<Utc>) -> bool {
        self.begun >= due || self.ended >= due
    }

    fn is_retried(&self) -> bool {
        match self.outcome {
            Outcome::Failed | Outcome::Locked | Outcome::Interrupted | Outcome::Lost => true,
            Outcome::Done | Outcome::Partial | Outcome::Damaged | Outcome::Refused | Outcome::Skipped => false,
        }
    }
}

/// The runs of a task so far.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    /// The runs that have ended, in any order: at least those since the last due time before the
    /// newest, and the newest.
    pub runs: &'a [PastRun],
    /// The begin of the run in progress. A start that waits in a queue counts as in progress.
    pub running: Option<DateTime<Utc>>,
    /// The time since which the schedule applies. Of a task without any run, earlier due times
    /// are not missed.
    pub since: DateTime<Utc>,
}

/// The decision about a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The action now.
    pub action: Action,
    /// The time of the next start after now, delay and retries included. `None` if there is none.
    pub next: Option<DateTime<Utc>>,
    /// The number of due times that passed without a run since the last one, at most 1000.
    pub missed: u32,
}

/// An action of the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing.
    Wait,
    /// Start the task.
    Start {
        /// The due time that the start serves.
        due: DateTime<Utc>,
        /// The reason of the start.
        reason: Reason,
    },
    /// Nothing, since the task is in progress.
    Running {
        /// The newest due time that passed during the run, if any: it is skipped.
        skipped: Option<DateTime<Utc>>,
    },
}

/// The reason of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The task is due.
    Due,
    /// The task was due earlier, but the scheduler did not run.
    Missed,
    /// The task failed.
    Retry {
        /// The number of the retry, from 1.
        attempt: u32,
    },
}

/// Decides about a task.
pub fn plan(task: &Task, history: &History<'_>, now: DateTime<Utc>) -> Plan {
    let is_known = |time: DateTime<Utc>| time <= now + MAX_CLOCK_LEAD;
    let mut runs: Vec<PastRun> = history.runs.iter().filter(|run| is_known(run.begun)).copied().collect();
    for run in &mut runs {
        run.ended = Some(run.ended).filter(|ended| *ended > run.begun && is_known(*ended)).unwrap_or(run.begun);
    }
    runs.sort_by_key(|run| run.begun);
    let planner = Planner { task, runs: &runs, since: history.since, now };
    planner.plan(history.running)
}

/// The facts of a decision.
struct Planner<'a> {
    task: &'a Task,
    /// The runs, the oldest first.
    runs: &'a [PastRun],
    since: DateTime<Utc>,
    now: DateTime<Utc>,
}

impl Planner<'_> {
    fn plan(&self, running: Option<DateTime<Utc>>) -> Plan {
        let last_due = self.task.schedule.last(self.now - self.task.delay);
        let next_due = self.next_due();
        if let Some(begun) = running {
            // The run in progress serves the due time at its begin, and skips later ones.
            let skipped = last_due.filter(|due| begun < *due);
            return Plan { action: Action::Running { skipped }, next: next_due, missed: 0 };
        }
        if let Some(due) = last_due.filter(|due| !self.is_served(*due)) {
            let is_late = self.now - due > self.task.delay + GRACE;
            let missed = if is_late { self.missed(due) } else { 0 };
            let action = match (is_late, self.task.catch_up) {
                (false, _) => Action::Start { due, reason: Reason::Due },
                (true, true) => Action::Start { due, reason: Reason::Missed },
                (true, false) => Action::Wait,
            };
            return Plan { action, next: next_due, missed };
        }
        match self.retry() {
            Some(retry) if retry.at <= self.now => {
                let reason = Reason::Retry { attempt: retry.attempt };
                Plan { action: Action::Start { due: retry.due, reason }, next: next_due, missed: 0 }
            }
            retry => {
                let next = next_due.into_iter().chain(retry.map(|retry| retry.at)).min();
                Plan { action: Action::Wait, next, missed: 0 }
            }
        }
    }

    /// Returns true if a run serves the due time, or if none has to.
    fn is_served(&self, due: DateTime<Utc>) -> bool {
        match self.runs {
            [] => due <= self.since,
            runs => runs.iter().any(|run| run.serves(due)),
        }
    }

    /// Returns the time of the next start that no run serves already: a person may have started the
    /// task between the due time and the delayed start.
    fn next_due(&self) -> Option<DateTime<Utc>> {
        let mut due = self.task.schedule.next(self.now - self.task.delay)?;
        for _ in 0..MAX_SERVED {
            if due > self.now || !self.runs.iter().any(|run| run.serves(due)) {
                break;
            }
            due = self.task.schedule.next(due)?;
        }
        Some(due + self.task.delay)
    }

    /// Counts the due times up to `due` that no run serves.
    fn missed(&self, due: DateTime<Utc>) -> u32 {
        let last_run = self.runs.iter().map(|run| run.ended).max().unwrap_or(self.since);
        let mut missed = 0;
        let mut due = Some(due);
        while let Some(time) = due.filter(|due| *due > last_run && missed < MAX_MISSED) {
            missed += 1;
            due = self.task.schedule.last(time - TimeDelta::seconds(1));
        }
        missed
    }

    /// Returns the retry of the last run, if the run is retried.
    fn retry(&self) -> Option<Retry> {
        let last = self.runs.last()?;
        let due = self.task.schedule.last(last.begun)?;
        let attempts = self.runs.iter().filter(|run| run.begun >= due);
        if !attempts.clone().all(PastRun::is_retried) {
            return None;
        }
        let attempt = u32::try_from(attempts.count()).ok()?;
        let at = last.ended.checked_add_signed(self.task.retry_wait)?;
        (attempt <= self.task.retry).then_some(Retry { due, attempt, at })
    }
}

/// A retry of a run.
struct Retry {
    /// The due time of the run.
    due: DateTime<Utc>,
    /// The number of the retry, from 1.
    attempt: u32,
    /// The time of the retry.
    at: DateTime<Utc>,
}
