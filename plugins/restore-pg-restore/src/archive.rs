//! pg_restore, from a pipe or, where it needs to go back and forth, from files.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

use futures_util::StreamExt;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::plugin::{Target, TargetContent};
use longshore_core::stage::Restored;
use longshore_core::stream::{self, ByteStream, CHUNK_BYTES, StreamReader};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::offsets;
use longshore_pg_archive::outline::Outline;
use longshore_pg_client::child::{Ended, Pipes, Running, feed};
use longshore_pg_client::client::{Client, plain_command};
use longshore_pg_client::directory::{self, TempDir};
use longshore_pg_client::money;
use longshore_pg_client::tool::Tool;

use crate::landing::maintenance;
use crate::later::{Finish, Later};
use crate::patience::{self, Taken};
use crate::plan::{self, Plan, Structure};
use crate::selection::{self, ListFile};
use crate::{Restorer, contents, database, foreign_keys, head, phase, roles};

/// Plaintext that was seen to open.
pub(crate) struct Ready {
    plaintext: Plaintext,
    /// The archive's table of contents; nothing of a script, and of an archive of an unknown version.
    outline: Option<Outline>,
}

enum Plaintext {
    /// Its first bytes are there; the rest is on its way.
    Stream(ByteStream),
    /// It is complete, in a private folder, as `dump`.
    Folder(TempDir),
}

impl Ready {
    /// Whether the plaintext was put into files.
    pub(crate) fn is_in_files(&self) -> bool {
        matches!(self.plaintext, Plaintext::Folder(_))
    }

    pub(crate) fn outline(&self) -> Option<&Outline> {
        self.outline.as_ref()
    }

    /// The plaintext as a stream; a folder has none.
    pub(crate) fn into_stream(self) -> ByteStream {
        match self.plaintext {
            Plaintext::Stream(stream) => stream,
            Plaintext::Folder(_) => stream::from_bytes(""),
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

/// Waits until the plaintext is seen to open: its table of contents, or, where pg_restore needs files, all of it.
pub(crate) async fn make_ready(target: &Target, manifest: &Manifest, plaintext: ByteStream) -> Result<Ready> {
    let label = manifest.subject.to_string();
    let mut plaintext = roles::renamed(target, manifest, plaintext);
    if in_files(target, manifest) {
        let folder = directory::private_folder(target.scratch_dir.as_deref(), Stage::Restore)?;
        let dump = folder.path().join("dump");
        if manifest.artifact.format == Format::Directory {
            directory::unpack(plaintext, folder.path(), Stage::Restore, &label).await?;
            roles::rename_in(target, manifest, &dump)?;
        } else {
            save(plaintext, &dump, &label).await?;
        }
        let outline = head::of_files(&dump, target, manifest)?;
        return Ok(Ready { plaintext: Plaintext::Folder(folder), outline });
    }
    if manifest.artifact.format == Format::Plain {
        let first = plaintext.next().await.transpose()?;
        let first = stream::from_bytes(first.unwrap_or_default());
        let plaintext = Plaintext::Stream(first.chain(plaintext).fuse().boxed());
        return Ok(Ready { plaintext, outline: None });
    }
    let (outline, plaintext) = head::of_stream(plaintext, target, manifest).await?;
    Ok(Ready { plaintext: Plaintext::Stream(plaintext), outline })
}

/// Restores an archive into `database`, the data first.
pub(crate) async fn restore(
    restorer: &Restorer,
    database: &str,
    as_archived: bool,
    manifest: &Manifest,
    ready: Ready,
) -> Result<Restored> {
    let pg_restore = restorer.tool("pg_restore", manifest).await?;
    let client = money::as_dumped(&maintenance(&restorer.client, database), manifest.database.as_ref()).await?;
    let client = client.to_database(database);
    let work = Work { restorer, client: client.clone(), manifest, pg_restore };
    let Ready { plaintext, outline } = ready;
    let Some(outline) = outline else {
        // What is not known cannot be planned.
        let begun = Instant::now();
        let list = restorer.target.selection.list.as_deref();
        work.run(plaintext, &Run { list, chooses: true, on_error: OnError::Stop, triggers: Triggers::Act }).await?;
        return Ok(Restored { phases: vec![phase("restore", begun)], ..Restored::default() });
    };
    let dump = match &plaintext {
        Plaintext::Folder(folder) => Some(folder.path().join("dump")),
        Plaintext::Stream(_) => None,
    };
    let ids = work.selected(as_archived, dump.as_deref(), &outline).await?;
    let missing = work.missing_roles(&outline).await?;
    let structure = match restorer.target.content {
        TargetContent::MustBeEmpty => Structure::Apart,
        // A database without an index or a constraint takes the place of no other.
        TargetContent::Append | TargetContent::Replace => Structure::WithData,
    };
    let missing = missing.iter().map(String::as_str).collect();
    let plan = Plan::new(&outline, &ids, structure, &missing);
    let finish = Finish { restorer, client, manifest, outline: &outline };
    let mut later = Later::default();
    let mut phases = Vec::new();

    let begun = Instant::now();
    if as_archived {
        later.extend(finish.dress(&database::own(&outline)).await?);
    }
    let triggers = work.triggers(&plan).await?;
    let main = plan::list(&plan.main);
    let run = Run { list: Some(&main), chooses: false, on_error: OnError::Stop, triggers };
    let head = Plaintext::Stream(stream::from_bytes(outline.head.clone()));
    let again = match plaintext {
        Plaintext::Stream(plaintext) if plan.main.is_empty() => {
            stream::drain(plaintext).await?;
            head
        }
        Plaintext::Stream(plaintext) => {
            work.run(Plaintext::Stream(plaintext), &run).await?;
            head
        }
        folder if plan.main.is_empty() => folder,
        folder => work.run(folder, &run).await?.unwrap_or(head),
    };
    if triggers == Triggers::Disabled {
        match foreign_keys::violated(&finish.client, &plan.main).await {
            Ok(violated) => later.left_out.extend(violated),
            // The rows are there.
            Err(error) => later.warnings.push(format!("foreign keys could not be checked: {}", error.chain())),
        }
    }
    phases.push(phase("restore", begun));

    if !plan.after.is_empty() {
        let begun = Instant::now();
        let after = plan::list(&plan.after);
        let run = Run { list: Some(&after), chooses: false, on_error: OnError::Continue, triggers: Triggers::Act };
        if work.made_all(again, &run).await? == Made::NotAll {
            later.extend(finish.look_again(&plan.after).await?);
        }
        phases.push(phase("index", begun));
    }
    if !plan.last.is_empty() {
        let begun = Instant::now();
        let (acting, passive): (Vec<_>, Vec<_>) = plan.last.iter().copied().partition(|item| plan::acts(item));
        later.extend(finish.make(&passive).await?);
        later.extend(finish.make(&acting).await?);
        phases.push(phase("refresh", begun));
    }
    let Later { warnings, left_out } = later;
    Ok(Restored { phases, warnings, left_out, ..Restored::default() })
}

/// A run of pg_restore.
struct Run<'a> {
    /// The entries that it restores; nothing for all.
    list: Option<&'a str>,
    /// Whether it chooses tables, schemas and sections itself.
    chooses: bool,
    on_error: OnError,
    triggers: Triggers,
}

/// What pg_restore does after an entry that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnError {
    Stop,
    Continue,
}

/// Whether triggers and foreign keys of tables that exist act on the rows that are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Triggers {
    Act,
    Disabled,
}

/// What a run made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    All,
    NotAll,
}

/// An archive on its way into a database.
struct Work<'a> {
    restorer: &'a Restorer,
    /// Connected to the database.
    client: Client,
    manifest: &'a Manifest,
    pg_restore: Tool,
}

impl Work<'_> {
    fn format(&self) -> &'static str {
        match self.manifest.artifact.format {
            Format::Directory => "--format=directory",
            Format::Tar => "--format=tar",
            Format::Custom | Format::Plain => "--format=custom",
        }
    }

    /// The ids of what is restored, in its order, as pg_restore chooses.
    async fn selected(&self, as_archived: bool, dump: Option<&Path>, outline: &Outline) -> Result<Vec<i32>> {
        let target = &self.restorer.target;
        let list = ListFile::write(target, target.selection.list.as_deref())?;
        let mut command = plain_command(&self.pg_restore);
        command.args(["--list", self.format()]);
        if as_archived {
            command.arg("--create");
        }
        list.name(&mut command);
        selection::choose(&mut command, target);
        let lines = match dump {
            Some(dump) => {
                command.arg(dump);
                let running = Running::start(command, "pg_restore", Pipes::Output)?;
                contents::lines(running, stream::from_bytes(""), &self.label()).await?
            }
            None => {
                let running = Running::start(command, "pg_restore", Pipes::Both)?;
                contents::lines(running, stream::from_bytes(outline.head.clone()), &self.label()).await?
            }
        };
        Ok(lines.iter().filter_map(|line| selection::id(line)?.parse().ok()).collect())
    }

    /// The roles that the archive names and the target does not have.
    async fn missing_roles(&self, outline: &Outline) -> Result<BTreeSet<String>> {
        let named: BTreeSet<&String> = outline.items.iter().flat_map(|item| &item.roles).collect();
        if named.is_empty() {
            return Ok(BTreeSet::new());
        }
        let roles = "select coalesce(json_agg(rolname), '[]') from pg_catalog.pg_roles";
        let there: BTreeSet<String> = self.client.ask(roles).await?;
        Ok(named.into_iter().filter(|role| !there.contains(*role)).cloned().collect())
    }

    /// Triggers of tables that were there before are disabled where the role may do so: rows come in no order that foreign keys demand.
    async fn triggers(&self, plan: &Plan<'_>) -> Result<Triggers> {
        if !plan.is_data_only() {
            return Ok(Triggers::Act);
        }
        let is_superuser = "select to_json(pg_catalog.current_setting('is_superuser') = 'on')";
        Ok(if self.client.ask(is_superuser).await? { Triggers::Disabled } else { Triggers::Act })
    }

    /// Runs pg_restore, and fails where it fails. Returns the files, if it read files.
    async fn run(&self, plaintext: Plaintext, run: &Run<'_>) -> Result<Option<Plaintext>> {
        let (ended, files) = self.execute(plaintext, run).await?;
        if ended.status.success() {
            return Ok(files);
        }
        let error = self.client.failure(Stage::Restore, &self.label(), &ended).await;
        Err(match error.remedy() {
            Some(_) => error,
            None => error.hint(
                "see which entry failed; to restore the rest, leave it out: restore NAME --list > FILE, delete its line, \
                 and give --list-file FILE; where a function did not find what it names without a schema, give \
                 --own-search-path",
            ),
        })
    }

    /// Runs pg_restore, and returns whether it made everything.
    async fn made_all(&self, plaintext: Plaintext, run: &Run<'_>) -> Result<Made> {
        let (ended, _) = self.execute(plaintext, run).await?;
        Ok(if ended.status.success() { Made::All } else { Made::NotAll })
    }

    async fn execute(&self, plaintext: Plaintext, run: &Run<'_>) -> Result<(Ended, Option<Plaintext>)> {
        let target = &self.restorer.target;
        let list = ListFile::write(target, run.list)?;
        let mut command = self.client.command(&self.pg_restore);
        command.arg(self.format());
        if run.on_error == OnError::Stop {
            command.arg("--exit-on-error");
        }
        if run.triggers == Triggers::Disabled {
            command.args(["--data-only", "--disable-triggers"]);
        }
        list.name(&mut command);
        if run.chooses {
            selection::choose(&mut command, target);
        } else {
            selection::choose_roles(&mut command, target);
        }
        let (limit, taken) = (target.stall_timeout, Taken::default());
        match plaintext {
            Plaintext::Stream(plaintext) => {
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
                let ended = patience::wait(&self.client, &self.label(), limit, &taken, work).await?;
                Ok((ended, None))
            }
            Plaintext::Folder(folder) => {
                command.arg(format!("--jobs={}", target.jobs)).arg(folder.path().join("dump"));
                let work = async { Running::start(command, "pg_restore", Pipes::Neither)?.wait().await };
                let ended = patience::wait(&self.client, &self.label(), limit, &taken, work).await?;
                Ok((ended, Some(Plaintext::Folder(folder))))
            }
        }
    }

    fn label(&self) -> String {
        self.manifest.subject.to_string()
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
