//! What a program that called us is told.

use std::process::ExitCode;

use longshore_core::{Error, Kind, Stage};
use longshore_service::report::Outcome;

/// The exit codes, as the README lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All of it succeeded.
    Done = 0,
    /// What was asked for, or the configuration, cannot work.
    Usage = 1,
    /// It failed.
    Failed = 2,
    /// Some of it succeeded.
    Partial = 3,
    /// A bad backup was found.
    Damaged = 4,
    /// Another process is at it.
    Locked = 5,
    /// A safety rule forbids it.
    Refused = 6,
    /// A mistake in Longshore.
    Bug = 70,
    /// SIGHUP.
    HungUp = 129,
    /// SIGINT.
    Interrupted = 130,
    /// SIGTERM.
    Terminated = 143,
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
