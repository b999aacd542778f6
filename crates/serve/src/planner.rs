//! The scheduled tasks that are due.

use std::collections::BTreeMap;
use std::process::ExitStatus;

use chrono::{DateTime, TimeDelta, Utc};
use longshore_config::Config;
use longshore_core::Result;
use longshore_core::lock::Lock;
use longshore_core::run_report::Outcome;
use longshore_engine::counters::{CounterFile, Counters, DueKey};
use longshore_engine::schedule::{arguments, claim, histories};
use longshore_schedule::{Action, History, PastRun, Reason, plan};

/// The time between two looks at the schedules.
const INTERVAL: TimeDelta = TimeDelta::seconds(30);

/// The schedules of a configuration. Keeps no state that the run reports do not have.
pub(crate) struct Planner {
    /// The time at which each task was first seen: one that never ran has missed nothing before.
    since: BTreeMap<DueKey, DateTime<Utc>>,
    /// The starts of each task by this service that left no report.
    unreported: BTreeMap<DueKey, Vec<PastRun>>,
    /// The time of the last look.
    looked: Option<DateTime<Utc>>,
    /// The last due time of each task that passed during a run of the task.
    skipped: BTreeMap<DueKey, DateTime<Utc>>,
    /// Shows that this service starts the tasks.
    _lock: Lock,
}

/// A task to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) verb: String,
    pub(crate) job: String,
    pub(crate) arguments: Vec<String>,
}

impl Planner {
    /// Claims the tasks of a configuration. Fails if another service starts them.
    pub(crate) fn claim(config: &Config) -> Result<Self> {
        let lock = claim(config)?;
        Ok(Self {
            since: BTreeMap::new(),
            unreported: BTreeMap::new(),
            looked: None,
            skipped: BTreeMap::new(),
            _lock: lock,
        })
    }

    /// Returns the tasks that are due; `None` if the last look was less than 30 s ago.
    /// `begun` returns the time at which a task was started or queued, if it has not ended.
    pub(crate) fn due(
        &mut self,
        config: &Config,
        now: DateTime<Utc>,
        begun: impl Fn(&str, &str) -> Option<DateTime<Utc>>,
    ) -> Result<Option<Vec<Due>>> {
        if self.looked.is_some_and(|looked| now >= looked && now - looked < INTERVAL) {
            return Ok(None);
        }
        self.looked = Some(now);
        let mut all = Vec::new();
        for known in histories(config, None)? {
            let (job, verb) = (known.task.job.clone(), known.task.verb);
            let running = known.running.or_else(|| begun(verb.name(), &job));
            let key = DueKey { job: job.clone(), verb: verb.name().to_owned() };
            let since = *self.since.entry(key.clone()).or_insert(now);
            let mut runs = known.runs;
            add_unreported(&mut runs, self.unreported.entry(key.clone()).or_default());
            let history = History { runs: &runs, running, since };
            match plan(&known.task, &history, now).action {
                Action::Start { reason, .. } => {
                    if reason == Reason::Missed {
                        count(config, |counters| *counters.caught_up.entry(key).or_default() += 1);
                    }
                    let Some(own) = config.jobs.get(&job) else { continue };
                    all.push(Due { verb: verb.name().to_owned(), arguments: arguments(own, verb), job });
                }
                Action::Running { skipped: Some(due) } if self.skipped.get(&key) != Some(&due) => {
                    self.skipped.insert(key.clone(), due);
                    count(config, |counters| *counters.skipped.entry(key).or_default() += 1);
                }
                Action::Running { .. } | Action::Wait => {}
            }
        }
        Ok(Some(all))
    }

    /// Records the end of a task. If it left no report, its exit status decides about retries.
    pub(crate) fn end(&mut self, verb: &str, job: &str, begun: DateTime<Utc>, status: Option<&ExitStatus>) {
        let outcome = match status.map(ExitStatus::code) {
            Some(Some(0)) => Outcome::Done,
            Some(Some(3)) => Outcome::Partial,
            Some(Some(4)) => Outcome::Damaged,
            Some(Some(5)) => Outcome::Locked,
            Some(Some(6)) => Outcome::Refused,
            Some(Some(_)) => Outcome::Failed,
            Some(None) | None => Outcome::Lost,
        };
        let key = DueKey { job: job.to_owned(), verb: verb.to_owned() };
        self.unreported.entry(key).or_default().push(PastRun { begun, ended: Utc::now(), outcome });
    }
}

/// Adds the runs without a report, and forgets those before the newest report.
fn add_unreported(runs: &mut Vec<PastRun>, unreported: &mut Vec<PastRun>) {
    let newest = runs.iter().map(|run| run.begun).max();
    unreported.retain(|run| Some(run.begun) > newest);
    runs.extend(unreported.iter());
}

/// Changes the counters of this host. A failure loses a count, and nothing else.
fn count(config: &Config, change: impl FnOnce(&mut Counters)) {
    if let Err(error) = CounterFile::of(config).and_then(|file| file.update(change)) {
        tracing::warn!("cannot count: {}", error.chain());
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use longshore_schedule::{Expression, Schedule, Task, Verb};

    use super::*;

    #[test]
    fn task_without_reports_is_retried_as_often_as_configured() {
        let task = Task {
            job: "nightly".to_owned(),
            verb: Verb::Run,
            schedule: Schedule::new(Expression::try_from("0 3 * * *".to_owned()).unwrap(), Tz::UTC),
            delay: TimeDelta::zero(),
            catch_up: true,
            retry: 2,
            retry_wait: TimeDelta::minutes(10),
        };
        let since: DateTime<Utc> = "2026-06-07T02:00:00Z".parse().unwrap();
        let (mut unreported, mut starts) = (Vec::new(), 0);
        for minute in 0..300 {
            let now = since + TimeDelta::minutes(minute);
            let mut runs = Vec::new();
            add_unreported(&mut runs, &mut unreported);
            if let Action::Start { .. } = plan(&task, &History { runs: &runs, running: None, since }, now).action {
                starts += 1;
                unreported.push(PastRun { begun: now, ended: now, outcome: Outcome::Failed });
            }
        }
        assert_eq!(starts, 3);
        // A report makes the memory superfluous.
        let report = PastRun { begun: since + TimeDelta::days(1), ended: since, outcome: Outcome::Done };
        add_unreported(&mut vec![report], &mut unreported);
        assert!(unreported.is_empty());
    }
}
