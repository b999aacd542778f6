//! The log of child processes: the start, the end and the duration of each. Arguments and
//! environments may contain secrets, so they are never logged.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Instant;

/// A child process in progress.
#[derive(Debug)]
pub struct ChildLog {
    program: String,
    pid: Option<u32>,
    started: Instant,
}

impl ChildLog {
    /// Logs the start of a program.
    pub fn started(program: &str, pid: Option<u32>) -> Self {
        tracing::info!(target: "longshore::child", program, pid, "started");
        Self { program: program.to_owned(), pid, started: Instant::now() }
    }

    /// Logs the end of the program.
    pub fn ended(&self, status: ExitStatus) {
        let Self { program, pid, started } = self;
        let (code, signal, elapsed) = (status.code(), status.signal(), started.elapsed());
        tracing::info!(target: "longshore::child", program, pid, code, signal, ?elapsed, "ended");
    }

    /// Logs that the program is ended before it has finished.
    pub fn aborted(&self) {
        let Self { program, pid, started } = self;
        tracing::info!(target: "longshore::child", program, pid, elapsed = ?started.elapsed(), "aborted");
    }
}
