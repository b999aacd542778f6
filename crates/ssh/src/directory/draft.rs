//! A file on its way: hidden while it is written, judged on the other side, and published whole, once, over nothing.
//!
//! The end of a stream is all that a far `cat` sees, whether its sender has finished or died. So the draft gets its name by a second
//! command, which is told what was sent and judges what has arrived.

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

/// How long a host may take until it is ready to receive: it has folders to make, no more.
const READY: Duration = Duration::from_secs(120);
/// After what silence it is asked whether anybody is there who understands.
const SILENCE: Duration = Duration::from_secs(1);
/// How long a writer that was told to stop may take: less than a program that was told to end waits for what it has left.
const GRACE: Duration = Duration::from_secs(10);

/// The word that a host says once it is ready to receive.
const READY_WORD: &[u8] = b"ready\n";

/// Where a key lies in a directory: its folder, its name, and a draft beside it.
#[derive(Debug, Clone)]
pub struct Place {
    /// The folder, `.` at the top.
    pub folder: String,
    /// A hidden name in the folder that nobody else has.
    pub draft: String,
    /// The key.
    pub name: String,
}

impl Place {
    /// The place of a key, with a draft of a new name.
    pub fn of(key: &Key) -> Self {
        // What begins with a dash would be an option.
        let dot = if key.as_str().starts_with('-') { "./" } else { "" };
        let folder = if key.folder().is_empty() { ".".to_owned() } else { format!("{dot}{}", key.folder()) };
        Self { draft: draft::name(if folder == "." { "" } else { &folder }), folder, name: format!("{dot}{key}") }
    }
}

/// A file that is being written. Unless it was filled, dropping it removes it.
pub(super) struct Draft {
    directory: Directory,
    place: Place,
    /// The writer, until its end is waited for.
    running: Option<Running>,
    /// Whether the writer has said that the file is there.
    begun: bool,
    /// Whether somebody else sees to the file.
    settled: bool,
}

impl Draft {
    /// Begins a draft of what is to be at `place`, if nothing is there.
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
        // Who is no shell but an SFTP server says nothing, and waits. A shell that is asked while it makes folders says that it is one.
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
                // Who ended without the word has made nothing; of who was cut off nobody knows.
                draft.settled = error.kind() != Kind::Unavailable;
                Err(error)
            }
            // Whoever speaks otherwise, or says nothing, is no shell.
            Ok(Ok(_)) | Err(_) => Err(draft.directory.no_shell("")),
        }
    }

    /// Writes all of `body`, for [`Published::make`] to see to. When that fails, the draft is gone before the error is told.
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

    /// Waits until the other side has written it all. Whether it has is for the publisher to judge.
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

    /// Why the writer reads no further.
    async fn failed(&mut self) -> longshore_core::Error {
        match tokio::time::timeout(GRACE, self.close()).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) => self.directory.no_shell(""),
            Err(_) => failure::lost(self.directory.host.name()),
        }
    }

    /// What removes it, by a command of its own.
    fn removal(&mut self) -> impl Future<Output = Result<()>> + Send + 'static {
        let (directory, place, running) = (self.directory.clone(), self.place.clone(), self.running.take());
        // A file that is there can go at once, whatever is still on its way to it. One that is not may yet be made.
        let (begun, maker) = (self.begun, running.filter(|_| !self.begun));
        async move {
            let lost = failure::lost(directory.host.name());
            let ended = match maker {
                Some(maker) => tokio::time::timeout(GRACE, maker.wait()).await.unwrap_or(Err(lost)).map(drop),
                None => Ok(()),
            };
            match withdraw(directory, place, false).await {
                // Whom the host lets do nothing, such as an account without a shell, it has let make nothing.
                Err(error) if !begun && error.kind() == Kind::Denied => Ok(()),
                // While nobody knows whether it will still be made, its removal proves nothing.
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

/// Takes back a draft, and the file that it became, if it did. What cannot be taken back now is found by a sweep.
pub(super) async fn withdraw(directory: Directory, place: Place, published: bool) -> Result<()> {
    let what = if published { "published" } else { "draft" };
    directory.run(Script::Withdraw, &[&place.folder, &place.draft, &place.name, what]).await.map(drop)
}

/// A file that is visible, whose shipper may still be gone: unless it is kept, dropping it takes it back.
#[derive(Debug)]
pub struct Published(Option<(Directory, Place)>);

impl Published {
    /// Gives a draft its name, if it is what `digest` says and the name is free. A connection that is lost over it is made anew: what
    /// happened is seen there, and not guessed.
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

    /// The shipper is there to hear it: the file stays.
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
