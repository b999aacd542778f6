//! A command that runs on a host: its streams, its last words, its end.

use std::sync::Arc;

use longshore_core::{Error, Kind, Result, Stage};
use openssh::{Child, ChildStdin, ChildStdout, Session};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use crate::failure;

/// How many bytes of standard error are kept: its last ones.
const WORDS_BYTES: usize = 4096;

/// A command that runs. Dropping it closes its streams, which ends what reads or writes them.
#[derive(Debug)]
pub struct Running {
    pub(crate) host: String,
    pub(crate) child: Child<Arc<Session>>,
    pub(crate) words: JoinHandle<String>,
    /// Its place among those that one connection carries.
    pub(crate) _place: OwnedSemaphorePermit,
    /// Its standard input, until it is closed.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, until it is taken.
    pub stdout: Option<ChildStdout>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub code: i32,
    /// The last of what it wrote to standard error.
    pub said: String,
}

impl Running {
    /// Closes its input and waits for its end. A connection that is lost is an error: whether the command was done, nobody knows then.
    pub async fn wait(mut self) -> Result<Ended> {
        self.stdin = None;
        let status = self.child.wait().await;
        let said = self.words.await.unwrap_or_default();
        match status {
            Ok(status) => match status.code() {
                Some(code) => Ok(Ended { code, said }),
                None => Err(failure::lost(&self.host)),
            },
            // That is how a shell says that there is no such program, and what the crate makes of it.
            Err(openssh::Error::Remote(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Ended { code: 127, said })
            }
            Err(error) => Err(failure::lost(&self.host).because(error)),
        }
    }

    /// Reads all of its output, at most `limit` bytes, then waits for its end.
    pub async fn output(mut self, limit: u64) -> Result<(Vec<u8>, Ended)> {
        let mut output = Vec::new();
        if let Some(stdout) = self.stdout.take() {
            let read = stdout.take(limit + 1).read_to_end(&mut output).await;
            read.map_err(|error| failure::lost(&self.host).because(error))?;
        }
        if output.len() as u64 > limit {
            let message = format!("the host answers with more than {limit} bytes");
            return Err(Error::new(Stage::Ship, Kind::Failed, self.host, message));
        }
        Ok((output, self.wait().await?))
    }
}

/// Listens to standard error until it is closed. However much is said, little is kept.
pub(crate) async fn listen(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..length]);
        kept.drain(..kept.len().saturating_sub(WORDS_BYTES));
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}
