//! Atomic uploads: a temporary file on the host, hidden while it is written, verified there, and
//! published whole without overwriting.
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

use super::script::Script;
use super::{Directory, failure};
use crate::process::Process;

/// The time limit for a host to become ready to receive. It only has to create folders.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// The time without an answer after which a second command checks whether the account has a shell.
const PROBE_DELAY: Duration = Duration::from_secs(1);
/// The time limit for a writer to stop: less than the time that an interrupted program waits for
/// its cleanup.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

/// The line that a host sends when it is ready to receive.
const READY_LINE: &[u8] = b"ready\n";

/// The location of a key in a directory: its folder, its name, and its temporary file.
#[derive(Debug, Clone)]
pub struct Location {
    /// The folder, `.` at the top.
    pub folder: String,
    /// The unique hidden name of the temporary file in the folder.
    pub temp_name: String,
    /// The key.
    pub name: String,
}

impl Location {
    /// Returns the location of a key, with a new name for its temporary file.
    pub fn of(key: &Key) -> Self {
        // A leading dash would be read as an option.
        let dot = if key.as_str().starts_with('-') { "./" } else { "" };
        let folder = if key.folder().is_empty() { ".".to_owned() } else { format!("{dot}{}", key.folder()) };
        Self { temp_name: draft::name(if folder == "." { "" } else { &folder }), folder, name: format!("{dot}{key}") }
    }
}

/// A temporary file that is being written. Dropping it deletes the file, unless the body was
/// written completely.
pub(super) struct TempFile {
    directory: Directory,
    location: Location,
    /// The writing command, until its end is awaited.
    process: Option<Process>,
    /// True if the command has reported that the file exists.
    created: bool,
    /// True if other code is responsible for deleting the file.
    disarmed: bool,
}

impl TempFile {
    /// Creates the temporary file for `location`. Fails if a file exists at `location`.
    pub(super) async fn create(directory: Directory, location: Location) -> Result<Self> {
        let process =
            directory.stream(Script::Receive, &[&location.folder, &location.temp_name, &location.name]).await?;
        let mut file = Self { directory, location, process: Some(process), created: false, disarmed: false };
        let (prober, limit) = (file.directory.clone(), file.directory.host.stall_timeout());
        let stdout = file.process.as_mut().and_then(|process| process.stdout.as_mut());
        let mut line = [0; READY_LINE.len()];
        let ready = async {
            match stdout {
                Some(stdout) => stdout.read_exact(&mut line).await,
                None => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        };
        // An SFTP server without a shell sends nothing and waits. A shell that is still creating
        // folders answers the second command.
        let no_shell_error = async {
            tokio::time::sleep(PROBE_DELAY).await;
            match prober.run(Script::Preamble, &[]).await {
                Ok(_) => std::future::pending().await,
                Err(error) => error,
            }
        };
        let ready = tokio::select! {
            ready = tokio::time::timeout(READY_TIMEOUT.min(limit), ready) => ready,
            error = no_shell_error => return Err(error),
        };
        match ready {
            Ok(Ok(_)) if line == READY_LINE => {
                file.created = true;
                Ok(file)
            }
            Ok(Err(_)) => {
                let error = file.exit_error().await;
                // A command that ended before it was ready has not created the file. After a lost
                // connection the file may exist.
                file.disarmed = error.kind() != Kind::Unavailable;
                Err(error)
            }
            // Other output, or none, means that the account has no shell.
            Ok(Ok(_)) | Err(_) => Err(file.directory.no_shell("")),
        }
    }

    /// Writes all of `body`; [`PublishedFile::publish`] then verifies it. If writing fails, the
    /// file is deleted before the error is returned.
    pub(super) async fn write_all(mut self, mut body: ByteStream) -> Result<()> {
        let written = match self.write(&mut body).await {
            Ok(()) => self.close().await,
            Err(error) => Err(error),
        };
        self.disarmed = true;
        if written.is_err() {
            see_out(self.cleanup()).await;
        }
        written
    }

    async fn write(&mut self, body: &mut ByteStream) -> Result<()> {
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            let stdin = self.process.as_mut().and_then(|process| process.stdin.as_mut());
            let written = match stdin {
                Some(stdin) => stdin.write_all(&chunk).await,
                None => Err(io::ErrorKind::BrokenPipe.into()),
            };
            if written.is_err() {
                return Err(self.exit_error().await);
            }
        }
        Ok(())
    }

    /// Waits until the command has ended. The publishing script verifies the file.
    async fn close(&mut self) -> Result<()> {
        let Some(process) = self.process.take() else {
            return Err(failure::connection_lost(self.directory.host.name()));
        };
        let exit = process.wait().await?;
        match exit.code {
            0 => Ok(()),
            _ => Err(self.directory.exit_error(&exit, Some(&self.location.name.as_str()))),
        }
    }

    /// Returns the reason why the command stopped reading.
    async fn exit_error(&mut self) -> longshore_core::Error {
        match tokio::time::timeout(EXIT_TIMEOUT, self.close()).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) => self.directory.no_shell(""),
            Err(_) => failure::connection_lost(self.directory.host.name()),
        }
    }

    /// Returns the cleanup, which runs a command of its own.
    fn cleanup(&mut self) -> impl Future<Output = Result<()>> + Send + 'static {
        let (directory, location, process) = (self.directory.clone(), self.location.clone(), self.process.take());
        // An existing file can be deleted at once, even if bytes are still on their way. Otherwise
        // the command that may still create it has to end first.
        let (created, creator) = (self.created, process.filter(|_| !self.created));
        async move {
            let lost = failure::connection_lost(directory.host.name());
            let ended = match creator {
                Some(creator) => {
                    tokio::time::timeout(EXIT_TIMEOUT, creator.wait()).await.unwrap_or(Err(lost)).map(drop)
                }
                None => Ok(()),
            };
            match roll_back(directory, location, false).await {
                // An account that may not run commands has not created a file.
                Err(error) if !created && error.kind() == Kind::Denied => Ok(()),
                // If the first command may still create the file, its deletion proves nothing.
                deleted => deleted.and(ended),
            }
        }
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.disarmed {
            see_to(self.cleanup());
        }
    }
}

/// Deletes a temporary file, and the file published from it if there is one. A later sweep deletes
/// files that remain.
pub(super) async fn roll_back(directory: Directory, location: Location, published: bool) -> Result<()> {
    let state = if published { "published" } else { "draft" };
    directory.run(Script::Rollback, &[&location.folder, &location.temp_name, &location.name, state]).await.map(drop)
}

/// A visible file whose upload can still be cancelled. Dropping it deletes the file unless it is
/// kept.
#[derive(Debug)]
pub struct PublishedFile(Option<(Directory, Location)>);

impl PublishedFile {
    /// Publishes a temporary file under its name, if its content matches `digest` and the name is
    /// free. After a lost connection, a second attempt finds out whether the first one succeeded.
    pub(super) async fn publish(directory: Directory, location: Location, digest: Digest) -> Result<Self> {
        let bytes = digest.bytes.to_string();
        let publish = async |attempt: &str| {
            let arguments = [&location.folder, &location.temp_name, &location.name, &bytes, digest.hex(), attempt];
            directory.run(Script::Publish, &arguments).await
        };
        let done = match publish("first").await {
            Err(error) if error.kind() == Kind::Unavailable => publish("again").await,
            done => done,
        };
        match done {
            Ok(_) => Ok(Self(Some((directory, location)))),
            Err(error) => {
                see_out(roll_back(directory, location, false)).await;
                Err(error)
            }
        }
    }

    /// Keeps the file: the caller learns of the upload.
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for PublishedFile {
    fn drop(&mut self) {
        if let Some((directory, location)) = self.0.take() {
            see_to(roll_back(directory, location, true));
        }
    }
}
