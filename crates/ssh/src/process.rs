//! A running remote command: its streams, its errors, its exit status.

use std::sync::Arc;
use std::time::Instant;

use longshore_core::{Error, Kind, Result, Stage};
use openssh::{Child, ChildStdin, ChildStdout, Session};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use crate::failure;

/// The number of bytes of standard error that are kept, from its end.
const STDERR_BYTES: usize = 4096;

/// A running command. Dropping it closes its streams, which ends a command that reads or writes
/// them.
#[derive(Debug)]
pub struct Process {
    pub(crate) host: String,
    pub(crate) log: CommandLog,
    pub(crate) child: Child<Arc<Session>>,
    pub(crate) stderr: JoinHandle<String>,
    /// The permit that limits concurrent commands on one connection.
    pub(crate) _permit: OwnedSemaphorePermit,
    /// The standard input, until it is closed.
    pub stdin: Option<ChildStdin>,
    /// The standard output, until it is taken.
    pub stdout: Option<ChildStdout>,
}

/// The result of a command.
#[derive(Debug)]
pub struct Exit {
    /// The exit status.
    pub code: i32,
    /// The end of the standard error output.
    pub stderr: String,
}

/// The log of a command. Command lines are long scripts, so only their names are logged.
#[derive(Debug)]
pub(crate) struct CommandLog {
    name: String,
    started: Instant,
}

impl CommandLog {
    /// Logs the start of a command.
    pub(crate) fn started(host: &str, name: &str) -> Self {
        tracing::debug!(target: "longshore::ssh", host, name, "command started");
        Self { name: name.to_owned(), started: Instant::now() }
    }

    /// Logs the end of the command. Without a code, the connection was lost.
    fn ended(&self, host: &str, code: Option<i32>) {
        let (name, elapsed) = (self.name.as_str(), self.started.elapsed());
        tracing::debug!(target: "longshore::ssh", host, name, code, ?elapsed, "command ended");
    }
}

impl Process {
    /// Closes the input and waits for the command's end. A lost connection is an error: the
    /// command's outcome is then unknown.
    pub async fn wait(mut self) -> Result<Exit> {
        self.stdin = None;
        let status = self.child.wait().await;
        let stderr = self.stderr.await.unwrap_or_default();
        let exit = match status {
            Ok(status) => match status.code() {
                Some(code) => Ok(Exit { code, stderr }),
                None => Err(failure::connection_lost(&self.host)),
            },
            // A shell reports a missing program with status 127, which openssh converts to this
            // error.
            Err(openssh::Error::Remote(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Exit { code: 127, stderr })
            }
            Err(error) => Err(failure::connection_lost(&self.host).because(error)),
        };
        self.log.ended(&self.host, exit.as_ref().ok().map(|exit| exit.code));
        exit
    }

    /// Reads all output, at most `limit` bytes, then waits for the command's end.
    pub async fn output(mut self, limit: u64) -> Result<(Vec<u8>, Exit)> {
        let mut output = Vec::new();
        if let Some(stdout) = self.stdout.take() {
            let read = stdout.take(limit + 1).read_to_end(&mut output).await;
            read.map_err(|error| failure::connection_lost(&self.host).because(error))?;
        }
        if output.len() as u64 > limit {
            let message = format!("the host's output exceeds {limit} bytes");
            return Err(Error::new(Stage::Ship, Kind::Failed, self.host, message));
        }
        Ok((output, self.wait().await?))
    }
}

/// Reads standard error until it is closed, and keeps its end.
pub(crate) async fn read_tail(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..length]);
        kept.drain(..kept.len().saturating_sub(STDERR_BYTES));
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}
