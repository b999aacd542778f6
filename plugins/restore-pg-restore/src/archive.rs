//! Restores archives with pg_restore, from a pipe or, for parallel and random access, from files.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

use futures_util::StreamExt;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::plugin::{DatabaseTarget, TargetContent};
use longshore_core::stage::Restored;
use longshore_core::stream::{self, ByteStream, CHUNK_BYTES, StreamReader};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::offsets;
use longshore_pg_archive::outline::Outline;
use longshore_pg_client::child::{Exit, Pipes, Process, feed};
use longshore_pg_client::client::{Client, plain_command};
use longshore_pg_client::directory::{self, TempDir};
use longshore_pg_client::money;
use longshore_pg_client::tool::Tool;

use crate::plan::{self, Plan, Structure};
use crate::post_data::{EntryRestorer, EntryResults};
use crate::selection::{self, ListFile};
use crate::stall::{self, ReadCounter};
use crate::target_database::maintenance;
use crate::{Restorer, database, foreign_keys, list, phase, role_map, toc};

/// Plaintext whose start was decoded.
pub(crate) struct Input {
    plaintext: Plaintext,
    /// The archive's table of contents; nothing for a script, and for an archive in an unknown
    /// version.
    outline: Option<Outline>,
}

enum Plaintext {
    /// The first bytes were read; the rest is streamed.
    Stream(ByteStream),
    /// The plaintext is complete, in a private directory, as `dump`.
    Folder(TempDir),
}

impl Input {
    /// Returns true if the plaintext was written to files.
    pub(crate) fn is_in_files(&self) -> bool {
        matches!(self.plaintext, Plaintext::Folder(_))
    }

    pub(crate) fn outline(&self) -> Option<&Outline> {
        self.outline.as_ref()
    }

    /// Returns the plaintext as a stream; empty for a directory.
    pub(crate) fn into_stream(self) -> ByteStream {
        match self.plaintext {
            Plaintext::Stream(stream) => stream,
            Plaintext::Folder(_) => stream::from_bytes(""),
        }
    }
}

/// Returns true if the plaintext is written to files: if pg_restore requires files, or if a scratch
/// directory is available, so that decryption and restore are timed separately.
pub(crate) fn needs_files(target: &DatabaseTarget, manifest: &Manifest) -> bool {
    match manifest.artifact.format {
        Format::Directory => true,
        Format::Custom => target.jobs > 1 || target.scratch_dir.is_some(),
        Format::Tar | Format::Plain | Format::Base | Format::Other(_) => false,
    }
}

/// Fails if the restore needs a scratch directory and none is set.
pub(crate) fn expect_scratch(target: &DatabaseTarget, manifest: &Manifest) -> Result<()> {
    if manifest.artifact.format == Format::Tar && target.jobs > 1 {
        let subject = manifest.subject.to_string();
        let message = "pg_restore restores the tar format over one connection only";
        return Err(Error::new(Stage::Restore, Kind::Usage, subject, message).hint("remove --jobs"));
    }
    match needs_files(target, manifest) {
        true => directory::private_folder(target.scratch_dir.as_deref(), Stage::Restore).map(drop),
        false => Ok(()),
    }
}

/// Waits until the start of the plaintext is decoded: its table of contents, or all of it if
/// pg_restore needs files.
pub(crate) async fn open_input(target: &DatabaseTarget, manifest: &Manifest, plaintext: ByteStream) -> Result<Input> {
    let label = manifest.subject.to_string();
    let mut plaintext = role_map::rename_roles(target, manifest, plaintext);
    if needs_files(target, manifest) {
        let folder = directory::private_folder(target.scratch_dir.as_deref(), Stage::Restore)?;
        let dump = folder.path().join("dump");
        if manifest.artifact.format == Format::Directory {
            directory::unpack(plaintext, folder.path(), Stage::Restore, &label).await?;
            role_map::rename_in_directory(target, manifest, &dump)?;
        } else {
            save(plaintext, &dump, &label).await?;
        }
        let outline = toc::of_files(&dump, target, manifest)?;
        return Ok(Input { plaintext: Plaintext::Folder(folder), outline });
    }
    if manifest.artifact.format == Format::Plain {
        let first = plaintext.next().await.transpose()?;
        let first = stream::from_bytes(first.unwrap_or_default());
        let plaintext = Plaintext::Stream(first.chain(plaintext).fuse().boxed());
        return Ok(Input { plaintext, outline: None });
    }
    let (outline, plaintext) = toc::of_stream(plaintext, target, manifest).await?;
    Ok(Input { plaintext: Plaintext::Stream(plaintext), outline })
}

/// Restores an archive into `database`, data first.
pub(crate) async fn restore(
    restorer: &Restorer,
    database: &str,
    as_archived: bool,
    manifest: &Manifest,
    input: Input,
) -> Result<Restored> {
    let pg_restore = restorer.tool("pg_restore", manifest).await?;
    let client = money::as_dumped(&maintenance(&restorer.client, database), manifest.database.as_ref()).await?;
    let client = client.to_database(database);
    let restore = ArchiveRestore { restorer, client: client.clone(), manifest, pg_restore };
    let Input { plaintext, outline } = input;
    let Some(outline) = outline else {
        // An unknown version cannot be planned.
        let started = Instant::now();
        let list = restorer.target.selection.list.as_deref();
        restore
            .run(plaintext, &Invocation { list, selects: true, on_error: OnError::Stop, triggers: Triggers::Enabled })
            .await?;
        return Ok(Restored { phases: vec![phase("restore", started)], ..Restored::default() });
    };
    let dump = match &plaintext {
        Plaintext::Folder(folder) => Some(folder.path().join("dump")),
        Plaintext::Stream(_) => None,
    };
    let ids = restore.selected(as_archived, dump.as_deref(), &outline).await?;
    let missing = restore.missing_roles(&outline).await?;
    let structure = match restorer.target.content {
        TargetContent::MustBeEmpty => Structure::Apart,
        // A database without its indexes and constraints must not replace another.
        TargetContent::Append | TargetContent::Replace => Structure::WithData,
    };
    let missing = missing.iter().map(String::as_str).collect();
    let plan = Plan::new(&outline, &ids, structure, &missing);
    let entry_restorer = EntryRestorer { restorer, client, manifest, outline: &outline };
    let mut results = EntryResults::default();
    let mut phases = Vec::new();

    let started = Instant::now();
    if as_archived {
        results.extend(entry_restorer.set_properties(&database::property_entries(&outline)).await?);
    }
    let triggers = restore.triggers(&plan).await?;
    let main = plan::list(&plan.main);
    let invocation = Invocation { list: Some(&main), selects: false, on_error: OnError::Stop, triggers };
    let head = Plaintext::Stream(stream::from_bytes(outline.head.clone()));
    let second_input = match plaintext {
        Plaintext::Stream(plaintext) if plan.main.is_empty() => {
            stream::drain(plaintext).await?;
            head
        }
        Plaintext::Stream(plaintext) => {
            restore.run(Plaintext::Stream(plaintext), &invocation).await?;
            head
        }
        folder if plan.main.is_empty() => folder,
        folder => restore.run(folder, &invocation).await?.unwrap_or(head),
    };
    if triggers == Triggers::Disabled {
        match foreign_keys::violated(&entry_restorer.client, &plan.main).await {
            Ok(violated) => results.left_out.extend(violated),
            // The rows are restored in any case.
            Err(error) => results.warnings.push(format!("foreign keys could not be checked: {}", error.chain())),
        }
    }
    phases.push(phase("restore", started));

    if !plan.after.is_empty() {
        let started = Instant::now();
        let after = plan::list(&plan.after);
        let invocation =
            Invocation { list: Some(&after), selects: false, on_error: OnError::Continue, triggers: Triggers::Enabled };
        if restore.run_to_completion(second_input, &invocation).await? == Completion::Incomplete {
            results.extend(entry_restorer.retry(&plan.after).await?);
        }
        phases.push(phase("index", started));
    }
    if !plan.last.is_empty() {
        let started = Instant::now();
        let (event_triggers, others): (Vec<_>, Vec<_>) =
            plan.last.iter().copied().partition(|item| plan::is_event_trigger(item));
        results.extend(entry_restorer.create(&others).await?);
        results.extend(entry_restorer.create(&event_triggers).await?);
        phases.push(phase("refresh", started));
    }
    let EntryResults { warnings, left_out } = results;
    Ok(Restored { phases, warnings, left_out, ..Restored::default() })
}

/// A run of pg_restore.
struct Invocation<'a> {
    /// The entries to restore; nothing for all.
    list: Option<&'a str>,
    /// True if pg_restore selects tables, schemas and sections itself.
    selects: bool,
    on_error: OnError,
    triggers: Triggers,
}

/// The behaviour of pg_restore after a failed entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnError {
    Stop,
    Continue,
}

/// The state of triggers and foreign keys of existing tables while rows are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Triggers {
    Enabled,
    Disabled,
}

/// The result of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Completion {
    Complete,
    Incomplete,
}

/// An archive that is being restored into a database.
struct ArchiveRestore<'a> {
    restorer: &'a Restorer,
    /// Connected to the database.
    client: Client,
    manifest: &'a Manifest,
    pg_restore: Tool,
}

impl ArchiveRestore<'_> {
    fn format(&self) -> &'static str {
        match self.manifest.artifact.format {
            Format::Directory => "--format=directory",
            Format::Tar => "--format=tar",
            Format::Custom | Format::Plain | Format::Base | Format::Other(_) => "--format=custom",
        }
    }

    /// Returns the ids of the entries to restore, in pg_restore's order.
    async fn selected(&self, as_archived: bool, dump: Option<&Path>, outline: &Outline) -> Result<Vec<i32>> {
        let target = &self.restorer.target;
        let list = ListFile::write(target, target.selection.list.as_deref())?;
        let mut command = plain_command(&self.pg_restore);
        command.args(["--list", self.format()]);
        if as_archived {
            command.arg("--create");
        }
        list.add_to(&mut command);
        selection::add_arguments(&mut command, target);
        let lines = match dump {
            Some(dump) => {
                command.arg(dump);
                let process = Process::start(command, "pg_restore", Pipes::Output)?;
                list::lines(process, stream::from_bytes(""), &self.label()).await?
            }
            None => {
                let process = Process::start(command, "pg_restore", Pipes::Both)?;
                list::lines(process, stream::from_bytes(outline.head.clone()), &self.label()).await?
            }
        };
        Ok(lines.iter().filter_map(|line| selection::id(line)?.parse().ok()).collect())
    }

    /// Returns the roles that the archive names and the target lacks.
    async fn missing_roles(&self, outline: &Outline) -> Result<BTreeSet<String>> {
        let named: BTreeSet<&String> = outline.items.iter().flat_map(|item| &item.roles).collect();
        if named.is_empty() {
            return Ok(BTreeSet::new());
        }
        let roles = "select coalesce(json_agg(rolname), '[]') from pg_catalog.pg_roles";
        let existing: BTreeSet<String> = self.client.query(roles).await?;
        Ok(named.into_iter().filter(|role| !existing.contains(*role)).cloned().collect())
    }

    /// Disables triggers of existing tables if the role may do so: the order of the rows does not
    /// satisfy foreign keys.
    async fn triggers(&self, plan: &Plan<'_>) -> Result<Triggers> {
        if !plan.is_data_only() {
            return Ok(Triggers::Enabled);
        }
        let is_superuser = "select to_json(pg_catalog.current_setting('is_superuser') = 'on')";
        Ok(if self.client.query(is_superuser).await? { Triggers::Disabled } else { Triggers::Enabled })
    }

    /// Runs pg_restore, and fails if it fails. Returns the files, if there are any.
    async fn run(&self, plaintext: Plaintext, invocation: &Invocation<'_>) -> Result<Option<Plaintext>> {
        let (exit, files) = self.execute(plaintext, invocation).await?;
        if exit.status.success() {
            return Ok(files);
        }
        let error = self.client.program_error(Stage::Restore, &self.label(), &exit).await;
        Err(match error.remedy() {
            Some(_) => error,
            None => error.hint(
                "check which entry failed; to restore the rest, exclude it: restore NAME --list > FILE, delete its line, \
                 and add --list-file FILE; if a function did not find an object named without its schema, add \
                 --own-search-path",
            ),
        })
    }

    /// Runs pg_restore, and returns whether all entries were restored.
    async fn run_to_completion(&self, plaintext: Plaintext, invocation: &Invocation<'_>) -> Result<Completion> {
        let (exit, _) = self.execute(plaintext, invocation).await?;
        Ok(if exit.status.success() { Completion::Complete } else { Completion::Incomplete })
    }

    async fn execute(&self, plaintext: Plaintext, invocation: &Invocation<'_>) -> Result<(Exit, Option<Plaintext>)> {
        let target = &self.restorer.target;
        let list = ListFile::write(target, invocation.list)?;
        let mut command = self.client.command(&self.pg_restore);
        command.arg(self.format());
        if invocation.on_error == OnError::Stop {
            command.arg("--exit-on-error");
        }
        if invocation.triggers == Triggers::Disabled {
            command.args(["--data-only", "--disable-triggers"]);
        }
        list.add_to(&mut command);
        if invocation.selects {
            selection::add_arguments(&mut command, target);
        } else {
            selection::add_role_arguments(&mut command, target);
        }
        let (limit, read_counter) = (target.stall_timeout, ReadCounter::default());
        match plaintext {
            Plaintext::Stream(plaintext) => {
                let mut plaintext = read_counter.count(plaintext);
                let work = async {
                    let mut process = Process::start(command, "pg_restore", Pipes::Input)?;
                    feed(&mut process.stdin, &mut plaintext, None).await?;
                    let exit = process.wait().await?;
                    if exit.status.success() {
                        // pg_restore stops at the last block; the digest is checked at the end of
                        // the stream.
                        stream::drain(plaintext).await?;
                    }
                    Ok(exit)
                };
                let exit = stall::wait(&self.client, &self.label(), limit, &read_counter, work).await?;
                Ok((exit, None))
            }
            Plaintext::Folder(folder) => {
                command.arg(format!("--jobs={}", target.jobs)).arg(folder.path().join("dump"));
                let work = async { Process::start(command, "pg_restore", Pipes::Neither)?.wait().await };
                let exit = stall::wait(&self.client, &self.label(), limit, &read_counter, work).await?;
                Ok((exit, Some(Plaintext::Folder(folder))))
            }
        }
    }

    fn label(&self) -> String {
        self.manifest.subject.to_string()
    }
}

/// Writes a stream to a private file, and the offsets of the data into its TOC: otherwise each
/// parallel connection would read from the start to find its data.
async fn save(plaintext: ByteStream, path: &Path, label: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| Error::io(Stage::Restore, path.display().to_string(), "cannot create it", error))?;
    let label = label.to_owned();
    let wrap =
        move |error| Error::io(Stage::Restore, label, "cannot write the archive to the scratch directory", error);
    let saved = stream::transform(plaintext, wrap, move |reader, _| {
        let mut tee = TeeReader { reader, file: &mut file };
        let missing = offsets::missing(BufReader::with_capacity(CHUNK_BYTES, &mut tee));
        let patches = match missing {
            Ok(patches) => patches,
            Err(error) if error.io().is_some() => return Err(role_map::into_io_error(error)),
            // An archive in an unknown form is left to pg_restore.
            Err(_) => Vec::new(),
        };
        io::copy(&mut tee, &mut io::sink())?;
        for patch in patches {
            file.write_all_at(&patch.bytes, patch.at)?;
        }
        Ok(())
    });
    stream::drain(saved).await
}

/// Copies the bytes read from a stream to a file.
struct TeeReader<'a> {
    reader: &'a mut StreamReader,
    file: &'a mut File,
}

impl Read for TeeReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.file.write_all(&buffer[..length])?;
        Ok(length)
    }
}
