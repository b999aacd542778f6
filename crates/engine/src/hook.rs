//! The hooks of a job: programs of the operator that run before and after a run, under its lock.

use std::sync::{Arc, Mutex, PoisonError};

use longshore_config::{Config, Hook, Job, When};
use longshore_core::key::Timestamp;
use longshore_core::meter::Digest;
use longshore_core::run_report::{Outcome, RunReport};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_program::Program;
use serde_json::json;

use crate::lock::JobLock;

/// The exit status by which a hook skips the run: that of sysexits for a temporary failure.
const SKIP: i32 = 75;

/// The lock of a run, held until its hooks have ended.
#[derive(Clone)]
pub struct RunLock(pub(crate) Arc<JobLock>);

impl RunLock {
    /// Takes the lock of a job on this host.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Locked`] if another run holds the lock.
    pub async fn take(config: &Config, job: &Job) -> Result<Self> {
        Ok(Self(Arc::new(JobLock::take(config, job).await?)))
    }

    /// Returns the time of the run.
    pub(crate) fn time(&self) -> Timestamp {
        self.0.time
    }

    /// Returns the run's time with a suffix that distinguishes the run from other hosts' runs of
    /// the same second.
    pub(crate) fn run_id(&self, job: &str) -> String {
        let seed = format!("{job} {} {:?}", std::process::id(), self.0.holder.since);
        format!("{}-{}", self.time(), &Digest::of(seed.as_bytes()).hex()[..8])
    }
}

/// The decision of the hooks before a run.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// The run may begin.
    Run,
    /// A hook skipped the run.
    Skip {
        /// The program that skipped it, with its last lines.
        reason: String,
    },
}

/// The hooks of a job.
pub struct JobHooks {
    job: String,
    cluster: String,
    hooks: Vec<Hook>,
    /// The run whose hooks have begun.
    active: Mutex<Option<ActiveHooks>>,
}

/// A run whose hooks have begun. Its lock prevents a run whose hooks would overlap.
struct ActiveHooks {
    _lock: RunLock,
    run_id: String,
}

impl JobHooks {
    /// Returns the hooks of a job.
    pub fn of(job: &Job) -> Self {
        Self {
            job: job.name.clone(),
            cluster: job.site.cluster.name.clone(),
            hooks: job.hooks.clone(),
            active: Mutex::default(),
        }
    }

    /// Returns true if a hook may have to run at the end.
    pub fn are_active(&self) -> bool {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).is_some()
            && self.hooks.iter().any(|hook| hook.when == When::After)
    }

    /// Runs the hooks before a run, until one fails.
    ///
    /// # Errors
    ///
    /// Fails if a hook fails: then nothing may be dumped.
    pub async fn before(&self, lock: &RunLock) -> Result<Decision> {
        let run_id = lock.run_id(&self.job);
        let active = ActiveHooks { _lock: lock.clone(), run_id: run_id.clone() };
        *self.active.lock().unwrap_or_else(PoisonError::into_inner) = Some(active);
        let input = json!({
            "job": self.job,
            "cluster": self.cluster,
            "run": run_id,
            "time": lock.time().time(),
        });
        let variables = [("LONGSHORE_JOB", self.job.clone()), ("LONGSHORE_RUN", run_id)];
        for hook in self.hooks.iter().filter(|hook| hook.when == When::Before) {
            let Hook { program, .. } = hook;
            let ending = program.run(Stage::Hook, &variables, input.to_string().as_bytes()).await;
            let ending = ending.map_err(|error| self.about(error))?;
            match ending.status.code() {
                Some(0) => {}
                Some(SKIP) => return Ok(Decision::Skip { reason: skip_reason(program, &ending.last_lines) }),
                _ => return Err(self.about(ending.error(Stage::Hook, program))),
            }
        }
        Ok(Decision::Run)
    }

    /// Runs the hooks after a run, and releases its lock. `report` is the report of the run so far.
    /// Returns the errors of hooks that failed.
    pub async fn after(&self, report: &RunReport) -> Vec<Error> {
        let Some(active) = self.active.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Vec::new();
        };
        let is_wanted =
            |hook: &&Hook| hook.when == When::After && hook.on.as_ref().is_none_or(|on| on.contains(&report.outcome));
        let input = match report.to_bytes() {
            Ok(input) => input,
            Err(error) => return vec![error],
        };
        let variables = [
            ("LONGSHORE_JOB", self.job.clone()),
            ("LONGSHORE_RUN", active.run_id.clone()),
            ("LONGSHORE_OUTCOME", report.outcome.to_string()),
            ("LONGSHORE_EXIT", report.exit_code.map(|code| code.to_string()).unwrap_or_default()),
        ];
        let mut errors = Vec::new();
        for hook in self.hooks.iter().filter(is_wanted) {
            match hook.program.run(Stage::Hook, &variables, &input).await {
                Ok(ending) if ending.status.success() => {}
                Ok(ending) => errors.push(self.about(ending.error(Stage::Hook, &hook.program))),
                Err(error) => errors.push(self.about(error)),
            }
        }
        errors
    }

    /// Adds the job to the subject of an error, which is the program.
    fn about(&self, error: Error) -> Error {
        let subject = format!("{}: {}", self.job, error.subject());
        error.about(subject)
    }
}

fn skip_reason(program: &Program, last_lines: &str) -> String {
    let lines = if last_lines.is_empty() { String::new() } else { format!(": {last_lines}") };
    format!("{} ended with exit status {SKIP}{lines}", program.path().display())
}

/// Returns true if a run with this outcome has not examined its job: another run held its lock, or
/// a hook skipped it.
pub fn is_no_run(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Locked | Outcome::Skipped)
}

/// Checks that only root and this user can replace the programs of a job's hooks.
///
/// # Errors
///
/// Fails with the error of the first program that cannot be run.
pub(crate) fn check(job: &Job) -> Result<()> {
    job.hooks.iter().try_for_each(|hook| match &hook.program.dir {
        Some(dir) if !dir.is_dir() => {
            let message = "the dir of the hook is no folder";
            Err(Error::new(Stage::Hook, Kind::NotFound, dir.display().to_string(), message).hint("create the folder"))
        }
        _ => hook.program.check(Stage::Hook),
    })
}
