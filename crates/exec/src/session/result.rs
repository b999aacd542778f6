//! The result of an operation: the conditions of success, and the errors.

use longshore_core::{Error, Kind, Result};

use super::{END_TIMEOUT, Ended, Request, Session, shown};
use crate::message::{Done, kind};
use crate::process::description;
use crate::settings::Protocol;

/// The exit status by which a plain command reports damage: that of sysexits for wrong data.
const DATA_ERROR: i32 = 65;

impl Session {
    /// Returns the result of a program that has ended.
    ///
    /// # Errors
    ///
    /// Fails if the program did not exit with 0, left input unread or processes running, or if a
    /// program of the protocol reported no end of its work or other numbers of bytes.
    pub async fn finish(mut self) -> Result<Ended> {
        let (exit, left_processes, unread) = match &self.process {
            Some(process) => (process.exit, process.left_processes, process.unread_bytes()),
            None => (None, false, 0),
        };
        let success = exit.is_some_and(|exit| exit.success());
        let shown = exit.map_or("no exit status".to_owned(), description);
        let problem = if self.protocol == Protocol::V1 && self.done.is_none() {
            Some(format!("ended with {shown} without done"))
        } else if !success && self.done.is_some() {
            Some(format!("ended with {shown} after done"))
        } else if !success {
            Some(format!("ended with {shown}"))
        } else if unread > 0 {
            Some(format!("left {unread} bytes of its input unread"))
        } else if left_processes {
            Some("left processes running, which were killed".to_owned())
        } else {
            self.count_problem()
        };
        if let Some(problem) = problem {
            let kind = if self.protocol == Protocol::None { self.exit_kind() } else { Kind::Failed };
            return Err(self.with_lines(self.error(kind, problem)).await);
        }
        Ok(Ended {
            done: self.done.take().unwrap_or_default(),
            warnings: std::mem::take(&mut self.warnings),
            name: self.name.take(),
        })
    }

    /// Compares the numbers of bytes that a program reported with those that passed.
    pub(super) fn count_problem(&self) -> Option<String> {
        if self.protocol == Protocol::None {
            return None;
        }
        let Done { bytes_in, bytes_out, .. } = self.done.clone().unwrap_or_default();
        let Request { role, .. } = self.request;
        let counts = [
            (role.reads(), "bytes_in", bytes_in, self.bytes_in),
            (role.writes(), "bytes_out", bytes_out, self.bytes_out),
        ];
        counts.into_iter().filter(|(applies, ..)| *applies).find_map(|(_, name, reported, passed)| match reported {
            Some(reported) if reported == passed => None,
            Some(reported) => Some(format!("reported {name} {reported}, but {passed} bytes passed")),
            None => Some(format!("reported done without {name}")),
        })
    }

    /// Returns the error of a program that ended before its work was done: its own, if it reported
    /// one.
    pub(super) async fn ended_early(&mut self, problem: String) -> Error {
        let kind = self.exit_kind();
        if self.protocol == Protocol::V1 {
            return self.why_ended(problem).await;
        }
        self.with_lines(self.error(kind, problem)).await
    }

    /// Returns the kind of error that the exit status means.
    pub(super) fn exit_kind(&self) -> Kind {
        let code = self.process.as_ref().and_then(|process| process.exit?.code());
        if code == Some(DATA_ERROR) { Kind::Corrupt } else { Kind::Failed }
    }

    pub(super) async fn timed_out(&mut self) -> Error {
        let has_exited = self.process.as_ref().is_some_and(|process| process.exit.is_some());
        let problem = if has_exited {
            "ended, but another process holds its output open".to_owned()
        } else if self.done.is_some() {
            format!("did not end within {} s after done", END_TIMEOUT.as_secs())
        } else if self.has_closed_control() {
            "closed descriptor 3 before done".to_owned()
        } else {
            let seconds = self.stall_timeout.as_secs_f64();
            let error = self.error(Kind::Failed, format!("made no progress for {seconds} s, and was ended"));
            return self.with_lines(error).await.hint("raise stall_timeout, or find out what the program waits for");
        };
        self.with_lines(self.error(Kind::Failed, problem)).await
    }

    pub(super) fn error(&self, kind: Kind, problem: String) -> Error {
        Error::new(self.request.stage, kind, &self.request.subject, format!("{} {problem}", self.program))
    }

    /// Returns the error that a program reported.
    pub(super) fn reported(&self, word: &str, message: &str, hint: Option<&str>) -> Error {
        let error = Error::new(self.request.stage, kind(word), &self.request.subject, shown(message))
            .because(format!("reported by {}", self.program));
        match hint {
            Some(hint) => error.hint(shown(hint)),
            None => error,
        }
    }

    /// Adds the last lines of standard error.
    pub(super) async fn with_lines(&mut self, error: Error) -> Error {
        let lines = match &mut self.process {
            Some(process) => process.last_lines().await,
            None => String::new(),
        };
        if lines.is_empty() { error } else { error.because(lines) }
    }
}
