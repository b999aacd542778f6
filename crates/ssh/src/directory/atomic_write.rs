//! Atomic uploads: a temporary file on the host, hidden while it is written, verified there, and
//! published whole without overwriting.
//!
//! A remote `cat` sees only the end of a stream, whether its sender finished or died. So a second
//! command, with the size and digest of the body, verifies the file and gives it its name.

use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use longshore_core::atomic_upload::{AtomicUpload, Backend};
use longshore_core::key::Key;
use longshore_core::meter::{Algorithm, Digest, meter};
use longshore_core::stream::ByteStream;
use longshore_core::temp_name;
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
        Self {
            temp_name: temp_name::unique_name(if folder == "." { "" } else { &folder }),
            folder,
            name: format!("{dot}{key}"),
        }
    }
}

/// The files of one upload.
pub struct Upload {
    directory: Directory,
    location: Location,
    /// The writing command, until its end is awaited.
    process: Option<Process>,
    /// True if the command has reported that the temporary file exists.
    created: bool,
    /// The digest of the body, after it was written completely.
    digest: Option<Digest>,
    /// True if the file is visible under its own name.
    published: bool,
}

impl Upload {
    /// Creates the temporary file for `location`. Fails if a file exists at `location`.
    pub(super) async fn create(directory: Directory, location: Location) -> Result<AtomicUpload<Self>> {
        let process =
            directory.stream(Script::Receive, &[&location.folder, &location.temp_name, &location.name]).await?;
        let (prober, limit) = (directory.clone(), directory.host.stall_timeout());
        let process = Some(process);
        let mut upload =
            AtomicUpload::new(Self { directory, location, process, created: false, digest: None, published: false });
        let stdout = upload.backend.process.as_mut().and_then(|process| process.stdout.as_mut());
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
                upload.backend.created = true;
                Ok(upload)
            }
            Ok(Err(_)) => {
                let error = upload.backend.exit_error().await;
                // A command that ended before it was ready has not created the file. After a lost
                // connection the file may exist.
                if error.kind() != Kind::Unavailable {
                    upload.keep();
                }
                Err(error)
            }
            // Other output, or none, means that the account has no shell.
            Ok(Ok(_)) | Err(_) => Err(upload.backend.directory.no_shell("")),
        }
    }

    /// Returns the upload of a temporary file that another program writes.
    pub(super) fn written(directory: Directory, location: Location, digest: Digest) -> AtomicUpload<Self> {
        let digest = Some(digest);
        AtomicUpload::new(Self { directory, location, process: None, created: true, digest, published: false })
    }

    /// Writes all of `body`; publishing then verifies it.
    pub(super) async fn write_all(&mut self, body: ByteStream) -> Result<()> {
        let (mut body, digest) = meter(body, Algorithm::Sha256, |_| {});
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
        self.close().await?;
        self.digest = digest.get().cloned();
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
}

impl Backend for Upload {
    /// Publishes the temporary file under its name, if its content matches the digest and the name
    /// is free. After a lost connection, a second attempt finds out whether the first one
    /// succeeded.
    async fn publish(&mut self) -> Result<()> {
        let (directory, location) = (&self.directory, &self.location);
        let no_digest = || directory.error(Kind::Failed, "the body ended without a digest");
        let digest = self.digest.as_ref().ok_or_else(no_digest)?;
        let bytes = digest.bytes.to_string();
        let publish = async |attempt: &str| {
            let arguments = [&location.folder, &location.temp_name, &location.name, &bytes, digest.hex(), attempt];
            directory.run(Script::Publish, &arguments).await
        };
        match publish("first").await {
            Err(error) if error.kind() == Kind::Unavailable => publish("again").await?,
            done => done?,
        };
        self.published = true;
        Ok(())
    }

    /// Removes the files with a command of its own.
    fn roll_back(&mut self) -> BoxFuture<'static, Result<()>> {
        let (directory, location, process) = (self.directory.clone(), self.location.clone(), self.process.take());
        // An existing file can be deleted at once, even if bytes are still on their way. Otherwise
        // the command that may still create it has to end first.
        let (created, creator) = (self.created, process.filter(|_| !self.created));
        let state = if self.published { "published" } else { "draft" };
        Box::pin(async move {
            let lost = failure::connection_lost(directory.host.name());
            let ended = match creator {
                Some(creator) => {
                    tokio::time::timeout(EXIT_TIMEOUT, creator.wait()).await.unwrap_or(Err(lost)).map(drop)
                }
                None => Ok(()),
            };
            let arguments = [&location.folder, &location.temp_name, &location.name, state];
            match directory.run(Script::Rollback, &arguments).await {
                // An account that may not run commands has not created a file.
                Err(error) if !created && error.kind() == Kind::Denied => Ok(()),
                // If the first command may still create the file, its deletion proves nothing.
                deleted => deleted.map(drop).and(ended),
            }
        })
    }
}
