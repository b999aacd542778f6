//! `[[job.NAME.hook]]`: programs that run before and after a job.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use longshore_core::run_report::Outcome;
use longshore_core::unit::TimeSpan;
use longshore_program::Program;
use serde::Deserialize;

/// The default time limit of a hook.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A program that runs before or after a job.
#[derive(Debug, Clone)]
pub struct Hook {
    /// The moment at which the hook runs.
    pub when: When,
    /// The outcomes of the run after which the hook runs; `None` means all of them.
    pub on: Option<BTreeSet<Outcome>>,
    /// The program.
    pub program: Program,
}

/// The moment at which a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Before the first dump.
    Before,
    /// After the run, with any outcome.
    After,
}

/// An outcome of a run after which hooks run. A run that meets the lock of another one has no
/// hooks, and a run that is lost cannot run them any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "HookOutcome")]
enum WrittenOutcome {
    /// All parts succeeded.
    Done,
    /// Some parts succeeded.
    Partial,
    /// The run failed.
    Failed,
    /// The run found a damaged backup or dump.
    Damaged,
    /// A safety rule forbade the run.
    Refused,
    /// A hook before the run skipped it.
    Skipped,
    /// A signal ended the run.
    Interrupted,
}

impl From<WrittenOutcome> for Outcome {
    fn from(outcome: WrittenOutcome) -> Self {
        match outcome {
            WrittenOutcome::Done => Self::Done,
            WrittenOutcome::Partial => Self::Partial,
            WrittenOutcome::Failed => Self::Failed,
            WrittenOutcome::Damaged => Self::Damaged,
            WrittenOutcome::Refused => Self::Refused,
            WrittenOutcome::Skipped => Self::Skipped,
            WrittenOutcome::Interrupted => Self::Interrupted,
        }
    }
}

/// `[[job.NAME.hook]]`: a program that runs before or after the job.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    /// The moment at which the program runs.
    when: When,
    /// The outcomes of the run after which the program runs. By default all of them.
    on: Option<BTreeSet<WrittenOutcome>>,
    /// The program's absolute path, and its arguments.
    #[schemars(length(min = 1))]
    program: Vec<String>,
    /// The time limit, by default `"5m"`.
    timeout: Option<TimeSpan>,
    /// The working directory.
    dir: Option<PathBuf>,
    /// Variables that are added to the environment.
    #[serde(default)]
    env: BTreeMap<String, String>,
}

impl Written {
    /// Resolves the table, or returns the error message.
    pub(crate) fn resolve(self) -> Result<Hook, String> {
        let Self { when, on, program, timeout, dir, env } = self;
        match program.first() {
            None => return Err("hook: program is empty: write [\"/path/to/program\", \"argument\"]".to_owned()),
            Some(path) if !path.starts_with('/') => {
                return Err("hook: the first word of program must be an absolute path".to_owned());
            }
            Some(_) => {}
        }
        if when == When::Before && on.is_some() {
            return Err("hook: on applies only to hooks with when = \"after\"".to_owned());
        }
        let timeout = timeout.map_or(TIMEOUT, TimeSpan::duration);
        if timeout.is_zero() {
            return Err("hook: timeout must be longer than zero, such as \"5m\"".to_owned());
        }
        let on = on.map(|on| on.into_iter().map(Outcome::from).collect());
        Ok(Hook { when, on, program: Program { argv: program, dir, env, timeout } })
    }
}
