//! A temporary file on the host: hidden while it is written, verified there, and published whole
//! without overwriting.
//!
//! A remote `cat` sees only the end of a stream, whether its sender finished or died. So a second
//! command, with the size and digest of the body, verifies the file and gives it its name.

use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use longshore_core::aftercare::{see_out, see_to};
use longshore_core::draft;
use longshore_core::key::Key;
use longshore_core::meter::Digest;
use longshore_core::stream::ByteStream;
use longshore_core::{Kind, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::errand::Script;
use super::{Directory, failure};
use crate::running::Running;

/// The time limit for a host to become ready to receive. It only has to create folders.
const READY: Duration = Duration::from_secs(120);
/// The time without an answer after which a second command checks whether the account has a shell.
const SILENCE: Duration = Duration::from_secs(1);
/// The time limit for a writer to stop: less than the time that an interrupted program waits for
/// its cleanup.
const GRACE: Duration = Duration::from_secs(10);

/// The line that a host sends when it is ready to receive.
const READY_WORD: &[u8] = b"ready\n";

/// The location of a key in a directory: its folder, its name, and its temporary file.
#[derive(Debug, Clone)]
pub struct Place {
    /// The folder, `.` at the top.
    pub folder: String,
    /// The unique hidden name of the temporary file in the folder.
    pub draft: String,
    /// The key.
    pub name: String,
}

impl Place {
    /// Returns the location of a key, with a new name for its temporary file.
    pub fn of(key: &Key) -> Self {
        // A leading dash would be read as an option.
        let dot = if key.as_str().starts_with('-') { "./" } else { "" };
        let folder = if key.folder().is_empty() { ".".to_owned() } else { format!("{dot}{}", key.folder()) };
        Self { draft: draft::name(if folder == "." { "" } else { &folder }), folder, name: format!("{dot}{key}") }
    }
}

/// A temporary file that is being written. Dropping it deletes the file, unless the body was
/// written completely.
pub(super) struct Draft {
    directory: Directory,
    place: Place,
    /// The writing command, until its end is awaited.
    running: Option<Running>,
    /// True if the command has reported that the file exists.
    begun: bool,
    /// True if other code is responsible for deleting the file.
    settled: bool,
}

impl Draft {
    /// Creates the temporary file for `place`. Fails if a file exists at `place`.
    pub(super) async fn begin(directory: Directory, place: Place) -> Result<Self> {
        let running = directory.stream(Script::Receive, &[&place.folder, &place.draft, &place.name]).await?;
        let mut draft = Self { directory, place, running: Some(running), begun: false, settled: false };
        let (asker, limit) = (draft.directory.clone(), draft.directory.host.stall_timeout());
        let stdout = draft.running.as_mut().and_then(|running| running.stdout.as_mut());
        let mut word = [0; READY_WORD.len()];
        let told = async {
            match stdout {
                Some(stdout) => stdout.read_exact(&mut word).await,
                None => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        };
        // An SFTP server without a shell sends nothing and waits. A shell that is still creating
        // folders answers the second command.
        let asked = async {
            tokio::time::sleep(SILENCE).await;
            match asker.run(Script::Stand, &[]).await {
                Ok(_) => std::future::pending().await,
                Err(error) => error,
            }
        };
        let told = tokio::select! {
            told = tokio::time::timeout(READY.min(limit), told) => told,
            error = asked => return Err(error),
        };
        match told {
            Ok(Ok(_)) if word == READY_WORD => {
                draft.begun = true;
                Ok(draft)
            }
            Ok(Err(_)) => {
                let error = draft.failed().await;
                // A command that ended before it was ready has not created the file. After a lost
                // connection the file may exist.
                draft.settled = error.kind() != Kind::Unavailable;
                Err(error)
            }
            // Other output, or none, means that the account has no shell.
            Ok(Ok(_)) | Err(_) => Err(draft.directory.no_shell("")),
        }
    }

    /// Writes all of `body`; [`Published::make`] then verifies it. If writing fails, the file is
    /// deleted before the error is returned.
    pub(super) async fn fill(mut self, mut body: ByteStream) -> Result<()> {
        let filled = match self.write(&mut body).await {
            Ok(()) => self.close().await,
            Err(error) => Err(error),
        };
        self.settled = true;
        if filled.is_err() {
            see_out(self.removal()).await;
        }
        filled
    }

    async fn write(&mut self, body: &mut ByteStream) -> Result<()> {
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            let stdin = self.running.as_mut().and_then(|running| running.stdin.as_mut());
            let written = match stdin {
                Some(stdin) => stdin.write_all(&chunk).await,
                None => Err(io::ErrorKind::BrokenPipe.into()),
            };
            if written.is_err() {
                return Err(self.failed().await);
            }
        }
        Ok(())
    }

    /// Waits until the command has ended. The publishing script verifies the file.
    async fn close(&mut self) -> Result<()> {
        let Some(running) = self.running.take() else {
            return Err(failure::lost(self.directory.host.name()));
        };
        let ended = running.wait().await?;
        match ended.code {
            0 => Ok(()),
            _ => Err(self.directory.failure(&ended, Some(&self.place.name.as_str()))),
        }
    }

    /// Returns the reason why the command stopped reading.
    async fn failed(&mut self) -> longshore_core::Error {
        match tokio::time::timeout(GRACE, self.close()).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) => self.directory.no_shell(""),
            Err(_) => failure::lost(self.directory.host.name()),
        }
    }

    /// Returns the cleanup, which runs a command of its own.
    fn removal(&mut self) -> impl Future<Output = Result<()>> + Send + 'static {
        let (directory, place, running) = (self.directory.clone(), self.place.clone(), self.running.take());
        // An existing file can be deleted at once, even if bytes are still on their way. Otherwise
        // the command that may still create it has to end first.
        let (begun, maker) = (self.begun, running.filter(|_| !self.begun));
        async move {
            let lost = failure::lost(directory.host.name());
            let ended = match maker {
                Some(maker) => tokio::time::timeout(GRACE, maker.wait()).await.unwrap_or(Err(lost)).map(drop),
                None => Ok(()),
            };
            match withdraw(directory, place, false).await {
                // An account that may not run commands has not created a file.
                Err(error) if !begun && error.kind() == Kind::Denied => Ok(()),
                // If the first command may still create the file, its deletion proves nothing.
                withdrawn => withdrawn.and(ended),
            }
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.settled {
            see_to(self.removal());
        }
    }
}

/// Deletes a temporary file, and the file published from it if there is one. A later sweep deletes
/// files that remain.
pub(super) async fn withdraw(directory: Directory, place: Place, published: bool) -> Result<()> {
    let what = if published { "published" } else { "draft" };
    directory.run(Script::Withdraw, &[&place.folder, &place.draft, &place.name, what]).await.map(drop)
}

/// A visible file whose upload can still be cancelled. Dropping it deletes the file unless it is
/// kept.
#[derive(Debug)]
pub struct Published(Option<(Directory, Place)>);

impl Published {
    /// Publishes a temporary file under its name, if its content matches `digest` and the name is
    /// free. After a lost connection, a second attempt finds out whether the first one succeeded.
    pub(super) async fn make(directory: Directory, place: Place, digest: Digest) -> Result<Self> {
        let bytes = digest.bytes.to_string();
        let publish = async |attempt: &str| {
            let words = [&place.folder, &place.draft, &place.name, &bytes, digest.hex(), attempt];
            directory.run(Script::Publish, &words).await
        };
        let done = match publish("first").await {
            Err(error) if error.kind() == Kind::Unavailable => publish("again").await,
            done => done,
        };
        match done {
            Ok(_) => Ok(Self(Some((directory, place)))),
            Err(error) => {
                see_out(withdraw(directory, place, false)).await;
                Err(error)
            }
        }
    }

    /// Keeps the file: the caller learns of the upload.
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        if let Some((directory, place)) = self.0.take() {
            see_to(withdraw(directory, place, true));
        }
    }
}
