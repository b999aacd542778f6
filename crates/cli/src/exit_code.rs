//! Exit codes.

use std::fmt;
use std::process::ExitCode;

use longshore_core::{Error, Kind, Stage};
use longshore_engine::report::Outcome;

use crate::args::wal::Caller;

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
    /// A file that recovery asks for is at no destination.
    Absent = 7,
    /// A bug in Longshore.
    Bug = 70,
    /// SIGHUP.
    HungUp = 129,
    /// SIGINT.
    Interrupted = 130,
    /// SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// Returns the exit code for the program that acts on it. PostgreSQL counts no failure of an
    /// archive_command above 125, and takes 1 to 125 of a restore_command for the end of the WAL.
    pub(crate) fn code(self, caller: Caller) -> ExitCode {
        ExitCode::from(match (caller, self) {
            (_, Self::Done) => 0,
            (Caller::Other, exit) => exit as u8,
            (Caller::ArchiveCommand, _) | (Caller::RestoreCommand, Self::Absent) => 1,
            (Caller::RestoreCommand, Self::Damaged) => 151,
            (Caller::RestoreCommand, Self::Usage) => 152,
            (Caller::RestoreCommand, Self::Bug) => 153,
            (Caller::RestoreCommand, Self::Failed | Self::Partial | Self::Locked | Self::Refused) => 150,
            (Caller::RestoreCommand, Self::HungUp | Self::Interrupted | Self::Terminated) => self as u8,
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absence_ends_recovery() {
        let all = [Exit::Usage, Exit::Failed, Exit::Partial, Exit::Damaged, Exit::Locked, Exit::Refused, Exit::Bug];
        for exit in all.into_iter().chain([Exit::HungUp, Exit::Interrupted, Exit::Terminated]) {
            let code = (126..=255).map(ExitCode::from).find(|code| *code == exit.code(Caller::RestoreCommand));
            assert!(code.is_some(), "{exit:?}");
            assert_eq!(exit.code(Caller::ArchiveCommand), ExitCode::from(1), "{exit:?}");
        }
        assert_eq!(Exit::Absent.code(Caller::RestoreCommand), ExitCode::from(1));
    }
}
