//! pg_restore, from a pipe or, where it needs to go back and forth, from files.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

use futures_util::StreamExt;
use longshore_core::drill::Phase;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::plugin::{Section, Target};
use longshore_core::stream::{self, ByteStream, CHUNK_BYTES, StreamReader};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::offsets;
use longshore_pg_client::child::{Ended, Pipes, Running, feed};
use longshore_pg_client::client::Client;
use longshore_pg_client::directory::{self, TempDir};
use longshore_pg_client::money;
use tokio::process::Command;

use crate::landing::maintenance;
use crate::patience::{self, Taken};
use crate::selection::ListFile;
use crate::{Restorer, phase, roles};

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

/// Whether the plaintext is put into files: where pg_restore reads nothing else, and where there is a place for them, since it can
/// then be seen how long each part takes.
pub(crate) fn in_files(target: &Target, manifest: &Manifest) -> bool {
    match manifest.artifact.format {
        Format::Directory => true,
        Format::Custom => target.jobs > 1 || target.scratch_dir.is_some(),
        Format::Tar | Format::Plain => false,
    }
}

/// Refuses what needs a folder where none was named.
pub(crate) fn needs_scratch(target: &Target, manifest: &Manifest) -> Result<()> {
    if manifest.artifact.format == Format::Tar && target.jobs > 1 {
        let subject = manifest.subject.to_string();
        let message = "pg_restore restores the tar format by one connection alone";
        return Err(Error::new(Stage::Restore, Kind::Usage, subject, message).hint("leave --jobs out"));
    }
    match in_files(target, manifest) {
        true => directory::private_folder(target.scratch_dir.as_deref(), Stage::Restore).map(drop),
        false => Ok(()),
    }
}

/// Waits until the plaintext is seen to open: its first bytes, or, where pg_restore needs files, all of it.
pub(crate) async fn make_ready(target: &Target, manifest: &Manifest, plaintext: ByteStream) -> Result<Ready> {
    let label = manifest.subject.to_string();
    let mut plaintext = roles::renamed(target, manifest, plaintext);
    if in_files(target, manifest) {
        let folder = directory::private_folder(target.scratch_dir.as_deref(), Stage::Restore)?;
        if manifest.artifact.format == Format::Directory {
            directory::unpack(plaintext, folder.path(), Stage::Restore, &label).await?;
            roles::rename_in(target, manifest, &folder.path().join("dump"))?;
        } else {
            save(plaintext, &folder.path().join("dump"), &label).await?;
        }
        return Ok(Ready::Folder(folder));
    }
    let first = plaintext.next().await.transpose()?;
    let first = stream::from_bytes(first.unwrap_or_default());
    Ok(Ready::Stream(first.chain(plaintext).fuse().boxed()))
}

/// Restores an archive into `database`, and tells what took how long.
pub(crate) async fn restore(
    restorer: &Restorer,
    database: &str,
    create: Create,
    manifest: &Manifest,
    ready: Ready,
) -> Result<Vec<Phase>> {
    let work = Work {
        restorer,
        client: money::as_dumped(&maintenance(&restorer.client, database), manifest.database.as_ref()).await?,
        database,
        manifest,
        pg_restore: restorer.tool("pg_restore", manifest).await?,
        list: ListFile::write(&restorer.target)?,
    };
    let chosen = &restorer.target.selection.sections;
    let begun = Instant::now();
    match ready {
        Ready::Stream(plaintext) => {
            work.take_stream(create, plaintext).await?;
            Ok(vec![phase("restore", begun)])
        }
        Ready::Folder(folder) if chosen.is_empty() => {
            work.take_files(create, &[Section::PreData, Section::Data], &folder).await?;
            let restored = phase("restore", begun);
            let begun = Instant::now();
            work.take_files(Create::Content, &[Section::PostData], &folder).await?;
            Ok(vec![restored, phase("index", begun)])
        }
        Ready::Folder(folder) => {
            work.take_files(create, chosen, &folder).await?;
            Ok(vec![phase("restore", begun)])
        }
    }
}

/// An archive on its way into a database.
struct Work<'a> {
    restorer: &'a Restorer,
    client: Client,
    database: &'a str,
    manifest: &'a Manifest,
    pg_restore: longshore_pg_client::tool::Tool,
    list: ListFile,
}

impl Work<'_> {
    /// pg_restore as it is called for all forms, and whom it connects as.
    fn command(&self, create: Create, sections: &[Section]) -> (Client, Command) {
        let client = match create {
            Create::Database => maintenance(&self.client, self.database),
            Create::Content => self.client.to_database(self.database),
        };
        let mut command = client.command(&self.pg_restore);
        command.arg("--exit-on-error");
        if create == Create::Database {
            command.arg("--create");
        }
        command.arg(match self.manifest.artifact.format {
            Format::Directory => "--format=directory",
            Format::Tar => "--format=tar",
            Format::Custom | Format::Plain => "--format=custom",
        });
        self.list.tell(&mut command, &self.restorer.target);
        command.args(sections.iter().map(|section| format!("--section={}", section.name())));
        (client, command)
    }

    async fn take_stream(&self, create: Create, plaintext: ByteStream) -> Result<()> {
        let (client, command) = self.command(create, &self.restorer.target.selection.sections);
        let taken = Taken::default();
        let mut plaintext = taken.count(plaintext);
        let work = async {
            let mut running = Running::start(command, "pg_restore", Pipes::Input)?;
            feed(&mut running.stdin, &mut plaintext, None).await?;
            let ended = running.wait().await?;
            if ended.status.success() {
                // pg_restore stops at the last block; whether the bytes were the right ones is known at the end.
                stream::drain(plaintext).await?;
            }
            Ok(ended)
        };
        self.judge(&client, patience::wait(&client, &self.label(), self.limit(), &taken, work).await?)
    }

    async fn take_files(&self, create: Create, sections: &[Section], folder: &TempDir) -> Result<()> {
        let (client, mut command) = self.command(create, sections);
        command.arg(format!("--jobs={}", self.restorer.target.jobs)).arg(folder.path().join("dump"));
        let work = async { Running::start(command, "pg_restore", Pipes::Neither)?.wait().await };
        let ended = patience::wait(&client, &self.label(), self.limit(), &Taken::default(), work).await?;
        self.judge(&client, ended)
    }

    fn judge(&self, client: &Client, ended: Ended) -> Result<()> {
        if ended.status.success() {
            return Ok(());
        }
        let error = client.failure(Stage::Restore, &self.label(), &ended);
        let words = ended.words.last_lines();
        let role_missing = words.contains("role \"") && words.contains("does not exist");
        Err(if role_missing { error.hint("restore the globals first: give --globals") } else { error })
    }

    fn label(&self) -> String {
        self.manifest.subject.to_string()
    }

    fn limit(&self) -> std::time::Duration {
        self.restorer.target.stall_timeout
    }
}

/// Writes a stream to a private file, and into its TOC where its data is: connections that work side by side would else each read it from the
/// beginning to find theirs.
async fn save(plaintext: ByteStream, path: &Path, label: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| Error::io(Stage::Restore, path.display().to_string(), "cannot make it", error))?;
    let label = label.to_owned();
    let wrap = move |error| Error::io(Stage::Restore, label, "cannot write the archive to scratch", error);
    let saved = stream::transform(plaintext, wrap, move |reader, _| {
        let mut saving = Saving { reader, file: &mut file };
        let missing = offsets::missing(BufReader::with_capacity(CHUNK_BYTES, &mut saving));
        let patches = match missing {
            Ok(patches) => patches,
            Err(error) if error.io().is_some() => return Err(roles::carried(error)),
            // What it did not read, since it is no archive that it knows, is for pg_restore to judge.
            Err(_) => Vec::new(),
        };
        io::copy(&mut saving, &mut io::sink())?;
        for patch in patches {
            file.write_all_at(&patch.bytes, patch.at)?;
        }
        Ok(())
    });
    stream::drain(saved).await
}

/// Writes what is read of a stream to a file.
struct Saving<'a> {
    reader: &'a mut StreamReader,
    file: &'a mut File,
}

impl Read for Saving<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.file.write_all(&buffer[..length])?;
        Ok(length)
    }
}
