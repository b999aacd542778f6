//! A notice, as each channel receives it.

use std::fmt;

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

/// The version of the JSON form of a notice.
const FORMAT: u32 = 1;

/// The event that a notice reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A run of a job begins.
    RunStarted,
    /// A run of a job succeeded.
    RunOk,
    /// The last run of a job failed, was refused, interrupted or killed.
    RunFailed,
    /// The last run of a job succeeded in part.
    RunPartial,
    /// A backup is damaged.
    Damaged,
    /// The last drill of a job failed.
    DrillFailed,
    /// The newest backup is older than permitted, or there is none.
    Stale,
    /// A destination lacks the newest backup, or archived WAL.
    MissingCopy,
    /// The newest backup is much smaller than the previous ones, or lacks tables.
    Shrunk,
    /// A destination has less free space than the newest backups take.
    Space,
    /// A destination cannot be read.
    Unreadable,
    /// Another warning of `longshore status`.
    Warning,
    /// An earlier problem is over.
    Recovered,
}

impl Event {
    /// The events that are reported unless the configuration selects others: all problems and their
    /// end.
    pub const DEFAULT: [Self; 11] = [
        Self::RunFailed,
        Self::RunPartial,
        Self::Damaged,
        Self::DrillFailed,
        Self::Stale,
        Self::MissingCopy,
        Self::Shrunk,
        Self::Space,
        Self::Unreadable,
        Self::Warning,
        Self::Recovered,
    ];

    /// Returns the name of the event in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::RunStarted => "run_started",
            Self::RunOk => "run_ok",
            Self::RunFailed => "run_failed",
            Self::RunPartial => "run_partial",
            Self::Damaged => "damaged",
            Self::DrillFailed => "drill_failed",
            Self::Stale => "stale",
            Self::MissingCopy => "missing_copy",
            Self::Shrunk => "shrunk",
            Self::Space => "space",
            Self::Unreadable => "unreadable",
            Self::Warning => "warning",
            Self::Recovered => "recovered",
        }
    }

    /// Returns the severity of the event.
    pub fn severity(self) -> Severity {
        match self {
            Self::RunStarted | Self::RunOk | Self::Recovered => Severity::Info,
            Self::RunFailed | Self::Damaged | Self::DrillFailed | Self::Stale | Self::Unreadable => Severity::Critical,
            Self::RunPartial | Self::MissingCopy | Self::Shrunk | Self::Space | Self::Warning => Severity::Warning,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The severity of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// No problem.
    Info,
    /// An operator should examine the problem.
    Warning,
    /// A promise of the configuration is broken.
    Critical,
}

/// The state of the subject of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A problem begins.
    Onset,
    /// A problem persists.
    Reminder,
    /// A problem is over.
    Recovered,
    /// A run begins.
    Started,
    /// A hook skipped a run.
    Skipped,
    /// A run succeeded.
    Success,
    /// A test by the operator.
    Test,
}

/// A notice. Its JSON form is stable: fields are added, and never change their meaning.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Notice {
    /// The version of the JSON form: 1.
    pub format: u32,
    /// The event.
    pub event: Event,
    /// The state of the subject.
    pub state: State,
    /// The severity.
    pub severity: Severity,
    /// The host that sends the notice.
    pub host: String,
    /// The job, if the notice concerns one.
    pub job: Option<String>,
    /// The series, as `CLUSTER/SUBJECT`, if the notice concerns one.
    pub series: Option<String>,
    /// The destination, if the notice concerns one.
    pub destination: Option<String>,
    /// The verb of the run, if the notice concerns one.
    pub verb: Option<String>,
    /// The id of the run's report, if the notice concerns a run.
    pub run: Option<String>,
    /// The outcome of the run.
    pub outcome: Option<String>,
    /// The exit code of the run.
    pub exit_code: Option<u8>,
    /// The begin of the problem, as far as this host knows.
    pub since: DateTime<Utc>,
    /// The time of the notice.
    pub time: DateTime<Utc>,
    /// The subject in one line.
    pub title: String,
    /// The description, without messages of errors.
    pub text: String,
    /// The messages of errors, which may name hosts, folders and tables. Only with `detail = true`.
    pub detail: Option<String>,
}

impl Notice {
    /// Creates a notice about an event, without any details.
    pub fn new(event: Event, state: State, host: &str, title: String, text: String) -> Self {
        let now = Utc::now().trunc_subsecs(0);
        Self {
            format: FORMAT,
            event,
            state,
            severity: if state == State::Recovered { Severity::Info } else { event.severity() },
            host: host.to_owned(),
            job: None,
            series: None,
            destination: None,
            verb: None,
            run: None,
            outcome: None,
            exit_code: None,
            since: now,
            time: now,
            title,
            text,
            detail: None,
        }
    }

    /// Returns the text with the detail, if the notice has one.
    pub fn body(&self) -> String {
        match &self.detail {
            Some(detail) => format!("{}\n\n{detail}", self.text),
            None => self.text.clone(),
        }
    }
}
