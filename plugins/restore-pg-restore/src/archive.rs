//! pg_restore, from a pipe or, where it needs to go back and forth, from files.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use futures_util::StreamExt;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::stream::{self, ByteStream};
use longshore_core::{Error, Result, Stage};
use longshore_pg_client::child::{Pipes, Running, feed};
use longshore_pg_client::client::Client;
use longshore_pg_client::directory;

use crate::Hoist;

/// What pg_restore makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Create {
    /// The database itself, and what is in it.
    Database,
    /// What is in it.
    Content,
}

/// Restores an archive by way of `client`.
pub(crate) async fn restore(
    hoist: &Hoist,
    client: &Client,
    create: Create,
    manifest: &Manifest,
    plaintext: ByteStream,
) -> Result<()> {
    let label = manifest.subject.to_string();
    let pg_restore = hoist.tool("pg_restore", manifest).await?;
    let mut command = client.command(&pg_restore);
    command.arg("--exit-on-error");
    if create == Create::Database {
        command.arg("--create");
    }
    let jobs = hoist.target.jobs;
    if jobs > 1 {
        command.arg(format!("--jobs={jobs}"));
    }

    let scratch = hoist.target.scratch_dir.as_deref();
    let ended = match manifest.artifact.format {
        Format::Directory => {
            let folder = directory::private_folder(scratch, Stage::Restore)?;
            directory::unpack(plaintext, folder.path(), Stage::Restore, &label).await?;
            command.arg("--format=directory").arg(folder.path().join("dump"));
            Running::start(command, "pg_restore", Pipes::Neither)?.wait().await?
        }
        Format::Custom if jobs > 1 => {
            let folder = directory::private_folder(scratch, Stage::Restore)?;
            let file = folder.path().join("archive");
            save(plaintext, &file, &label).await?;
            command.arg("--format=custom").arg(file);
            Running::start(command, "pg_restore", Pipes::Neither)?.wait().await?
        }
        format => {
            command.arg(if format == Format::Tar { "--format=tar" } else { "--format=custom" });
            let mut running = Running::start(command, "pg_restore", Pipes::Input)?;
            feed(&mut running.stdin, plaintext, None).await?;
            running.wait().await?
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
async fn save(plaintext: ByteStream, path: &std::path::Path, label: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| Error::io(Stage::Restore, path.display().to_string(), "cannot make it", error))?;
    let label = label.to_owned();
    let wrap = move |error| Error::io(Stage::Restore, label, "cannot write the archive to scratch", error);
    let mut saved = stream::transform(plaintext, wrap, move |reader, _| io::copy(reader, &mut file).map(drop));
    while let Some(chunk) = saved.next().await {
        chunk?;
    }
    Ok(())
}
