//! pg_restore, from a pipe or, where it needs to go back and forth, from files.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use futures_util::StreamExt;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::plugin::Target;
use longshore_core::stream::{self, ByteStream};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::child::{Pipes, Running, feed};
use longshore_pg_client::client::Client;
use longshore_pg_client::directory::{self, TempDir};

use crate::Restorer;

/// What pg_restore makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Create {
    /// The database itself, and what is in it.
    Database,
    /// What is in it.
    Content,
}

/// Plaintext that was seen to open.
pub(crate) enum Ready {
    /// Its first bytes are there; the rest is on its way.
    Stream(ByteStream),
    /// It lies whole in a private folder, as `dump`.
    Folder(TempDir),
}

impl Ready {
    /// The plaintext as a stream; what lies in a folder is no stream any more.
    pub(crate) fn into_stream(self) -> ByteStream {
        match self {
            Self::Stream(stream) => stream,
            Self::Folder(_) => stream::from_bytes(""),
        }
    }
}

/// Refuses what needs a folder where none was named.
pub(crate) fn needs_scratch(target: &Target, manifest: &Manifest) -> Result<()> {
    match manifest.artifact.format {
        Format::Directory => directory::private_folder(target.scratch_dir.as_deref(), Stage::Restore).map(drop),
        Format::Custom if target.jobs > 1 => {
            directory::private_folder(target.scratch_dir.as_deref(), Stage::Restore).map(drop)
        }
        Format::Tar if target.jobs > 1 => {
            let subject = manifest.subject.to_string();
            let message = "pg_restore restores the tar format by one connection alone";
            Err(Error::new(Stage::Restore, Kind::Usage, subject, message).hint("leave --jobs out"))
        }
        _ => Ok(()),
    }
}

/// Waits until the plaintext is seen to open: its first bytes, or, where pg_restore needs files, all of it.
pub(crate) async fn make_ready(target: &Target, manifest: &Manifest, mut plaintext: ByteStream) -> Result<Ready> {
    let label = manifest.subject.to_string();
    let format = manifest.artifact.format;
    if format == Format::Directory || format == Format::Custom && target.jobs > 1 {
        let folder = directory::private_folder(target.scratch_dir.as_deref(), Stage::Restore)?;
        if format == Format::Directory {
            directory::unpack(plaintext, folder.path(), Stage::Restore, &label).await?;
        } else {
            save(plaintext, &folder.path().join("dump"), &label).await?;
        }
        return Ok(Ready::Folder(folder));
    }
    let first = plaintext.next().await.transpose()?;
    let first = stream::from_bytes(first.unwrap_or_default());
    Ok(Ready::Stream(first.chain(plaintext).fuse().boxed()))
}

/// Restores an archive by way of `client`.
pub(crate) async fn restore(
    restorer: &Restorer,
    client: &Client,
    create: Create,
    manifest: &Manifest,
    ready: Ready,
) -> Result<()> {
    let label = manifest.subject.to_string();
    let pg_restore = restorer.tool("pg_restore", manifest).await?;
    let mut command = client.command(&pg_restore);
    command.arg("--exit-on-error");
    if create == Create::Database {
        command.arg("--create");
    }
    command.arg(match manifest.artifact.format {
        Format::Directory => "--format=directory",
        Format::Tar => "--format=tar",
        Format::Custom | Format::Plain => "--format=custom",
    });
    let ended = match ready {
        Ready::Folder(folder) => {
            command.arg(format!("--jobs={}", restorer.target.jobs)).arg(folder.path().join("dump"));
            Running::start(command, "pg_restore", Pipes::Neither)?.wait().await?
        }
        Ready::Stream(mut plaintext) => {
            let mut running = Running::start(command, "pg_restore", Pipes::Input)?;
            feed(&mut running.stdin, &mut plaintext, None).await?;
            let ended = running.wait().await?;
            if ended.status.success() {
                // pg_restore stops at the last block; whether the bytes were the right ones is known at the end.
                stream::drain(plaintext).await?;
            }
            ended
        }
    };
    if ended.status.success() {
        return Ok(());
    }
    let error = client.failure(Stage::Restore, &label, &ended);
    let words = ended.words.last_lines();
    let role_missing = words.contains("role \"") && words.contains("does not exist");
    Err(if role_missing { error.hint("restore the globals first: give --globals") } else { error })
}

/// Writes a stream to a private file.
async fn save(plaintext: ByteStream, path: &Path, label: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| Error::io(Stage::Restore, path.display().to_string(), "cannot make it", error))?;
    let label = label.to_owned();
    let wrap = move |error| Error::io(Stage::Restore, label, "cannot write the archive to scratch", error);
    stream::drain(stream::transform(plaintext, wrap, move |reader, _| io::copy(reader, &mut file).map(drop))).await
}
