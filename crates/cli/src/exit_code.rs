//! Exit codes.

use std::fmt;
use std::process::ExitCode;

use longshore_core::{Error, Kind, Stage};
use longshore_engine::report::Outcome;

/// The exit codes, as the README lists them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Success.
    #[default]
    Done = 0,
    /// Invalid arguments or configuration.
    Usage = 1,
    /// Failure.
    Failed = 2,
    /// Partial success.
    Partial = 3,
    /// A damaged backup was found.
    Damaged = 4,
    /// Another process holds the lock.
    Locked = 5,
    /// Refused by a safety rule.
    Refused = 6,
    /// A bug in Longshore.
    Bug = 70,
    /// SIGHUP.
    HungUp = 129,
    /// SIGINT.
    Interrupted = 130,
    /// SIGTERM.
    Terminated = 143,
}

/// The states of a monitoring plugin. Their numbers overlap with other exit codes by convention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NagiosState {
    /// 0
    Ok,
    /// 1
    Warning,
    /// 2
    Critical,
    /// 3
    Unknown,
}

impl From<NagiosState> for Exit {
    fn from(state: NagiosState) -> Self {
        match state {
            NagiosState::Ok => Self::Done,
            NagiosState::Warning => Self::Usage,
            NagiosState::Critical => Self::Failed,
            NagiosState::Unknown => Self::Partial,
        }
    }
}

impl fmt::Display for NagiosState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        })
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error.kind() {
            Kind::Usage => Self::Usage,
            Kind::NotFound if error.stage() == Stage::Config => Self::Usage,
            Kind::Corrupt => Self::Damaged,
            Kind::Locked => Self::Locked,
            Kind::Refused | Kind::AlreadyExists => Self::Refused,
            Kind::NotFound | Kind::Denied | Kind::Unavailable | Kind::Failed => Self::Failed,
        }
    }
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::Partial => Self::Partial,
            Outcome::Failed => Self::Failed,
        }
    }
}
