//! The unpacking of base backups into the folders of a new cluster. An incremental backup changes
//! the files of the backups that it continues, which precede it in the stream.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use longshore_core::plugin::ExistingFiles;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::control::{Control, FILE_BYTES, State};
use longshore_pg_base::label::{self, BackupLabel};
use longshore_pg_base::{manifest, tablespace_map};

use crate::abandoned::Abandoned;
use crate::archive::{Content, Members};
use crate::cluster_files::{AUTO_CONF, rewrite_map, signal, without_folder, write_settings};
use crate::existing_cluster::REPLACED_CONTROL;
use crate::file_writer::FileWriter;
use crate::member::{CONTROL, Member, MemberKind, Place, TABLESPACES};
use crate::patch;
use crate::prepare::Plan;
use crate::root::{Root, failure};
use crate::tablespace::TablespaceFolder;

/// The folder of WAL in the data directory.
const WAL: &str = "pg_wal";

/// The maximum size of `tablespace_map`: enough for 1,000 tablespaces.
const MOST_MAP_BYTES: u64 = 1 << 20;

/// The maximum size of `backup_label`, as the verifier has it.
const MOST_LABEL_BYTES: u64 = 64 << 10;

/// A complete copy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// The names of files at the top of the backup, also of skipped ones.
    pub(crate) top_files: BTreeSet<String>,
    /// The time for reading and writing.
    pub(crate) unpacking: Duration,
    /// The time until everything was on the disk.
    pub(crate) syncing: Duration,
}

/// Unpacks the backups of a plan. After an error, or if the caller was dropped, everything that was
/// made is removed again.
pub(crate) fn unpack<M: Members>(members: M, plan: &Plan, abandoned: &Abandoned) -> Result<Unpacked> {
    let data = Root::new(&plan.data, plan.owner.clone(), plan.existing)?;
    let mut cluster =
        NewCluster { plan, data, tablespaces: BTreeMap::new(), index: 0, earlier_label: None, seen: Seen::default() };
    let result = cluster.fill(members, abandoned);
    let roots = [cluster.data].into_iter().chain(cluster.tablespaces.into_values());
    let error = match result {
        Ok(times) => {
            roots.for_each(Root::finish);
            let (unpacking, syncing) = times;
            return Ok(Unpacked { top_files: cluster.seen.top_files, unpacking, syncing });
        }
        Err(error) => error,
    };
    if plan.existing == ExistingFiles::Replaced {
        roots.for_each(|root| drop(root.remove()));
        return Err(error.hint("no server can start the directory: repeat the restore with --delta"));
    }
    let failures: Vec<String> = roots.flat_map(Root::remove).map(|error| error.chain()).collect();
    if failures.is_empty() {
        return Err(error);
    }
    Err(error.hint(format!("remove the incomplete copy by hand; the cleanup failed: {}", failures.join("; "))))
}

/// A cluster in the making.
struct NewCluster<'a> {
    plan: &'a Plan,
    data: Root,
    /// The folders of tablespaces so far, by OID.
    tablespaces: BTreeMap<u32, Root>,
    /// The number of backups before the one that is being unpacked.
    index: usize,
    /// The label of the backup before.
    earlier_label: Option<BackupLabel>,
    /// The content of the backup that is being unpacked.
    seen: Seen,
}

/// The content of one backup.
#[derive(Default)]
struct Seen {
    label: Option<BackupLabel>,
    /// The content of `pg_control`, kept until everything else is on the disk.
    control: Option<Vec<u8>>,
    top_files: BTreeSet<String>,
    /// The paths in the data directory.
    data: HashSet<PathBuf>,
    /// The paths in the folders of tablespaces, by OID.
    tablespaces: HashMap<u32, HashSet<PathBuf>>,
}

impl NewCluster<'_> {
    /// Unpacks everything. Returns the time for the files, and the time until all were on the disk.
    fn fill<M: Members>(&mut self, mut members: M, abandoned: &Abandoned) -> Result<(Duration, Duration)> {
        let started = Instant::now();
        if self.data.is_filled() {
            self.data.rename(Path::new(CONTROL), Path::new(REPLACED_CONTROL))?;
        }
        for index in 0..=self.plan.earlier {
            self.earlier_label = mem::take(&mut self.seen).label;
            self.index = index;
            if index > 0 {
                self.data.replace_entries();
                self.tablespaces.values_mut().for_each(Root::replace_entries);
            }
            members.read_next(&mut |member: &Member, content: Content<'_>| match abandoned.is_set() {
                false => self.add(member, content),
                true => Err(self.interrupted()),
            })?;
            self.expect_complete(M::REQUIRED)?;
            if self.plan.changes_files() {
                self.remove_other_files()?;
            }
        }
        members.finish()?;
        let auto_conf = Path::new(AUTO_CONF);
        write_settings(self.data.append_to_file(auto_conf)?, self.plan.recovery.as_ref())
            .map_err(|error| self.write_failure(auto_conf, error))?;
        self.add_recovery()?;
        let unpacking = started.elapsed();

        let started = Instant::now();
        self.data.sync()?;
        self.tablespaces.values().try_for_each(Root::sync)?;
        if abandoned.is_set() {
            return Err(self.interrupted());
        }
        self.write_control()?;
        Ok((unpacking, started.elapsed()))
    }

    fn interrupted(&self) -> Error {
        let subject = self.data.path().display().to_string();
        Error::new(Stage::Restore, Kind::Failed, subject, "the restore was interrupted")
    }

    /// Returns true if the backup is the one to restore, and not one that it continues.
    fn is_last(&self) -> bool {
        self.index == self.plan.earlier
    }

    /// Adds one member.
    fn add(&mut self, member: &Member, content: Content<'_>) -> Result<()> {
        if member.kind == MemberKind::File && member.path.components().count() == 1 {
            self.seen.top_files.insert(member.path.display().to_string());
        }
        match member.place()? {
            Place::Skipped => Ok(()),
            Place::Control => {
                if self.seen.control.is_some() {
                    return Err(incomplete(CONTROL, "a second file of this name"));
                }
                self.seen.control = Some(content.collect(FILE_BYTES as u64)?);
                Ok(())
            }
            // The maps of earlier backups may have tablespaces that were dropped since.
            Place::TablespaceMap if !self.is_last() => Ok(()),
            Place::TablespaceMap => self.add_map(&content.collect(MOST_MAP_BYTES)?),
            Place::DataDirectory(path) if path == Path::new(label::NAME) => {
                self.add_label(&content.collect(MOST_LABEL_BYTES)?)
            }
            // No manifest of a chain describes the combined files.
            Place::DataDirectory(path) if path == Path::new(manifest::NAME) && self.plan.earlier > 0 => Ok(()),
            Place::DataDirectory(path) => self.add_to_data(path, member, content),
            Place::Tablespace(oid, path) => match self.plan.tablespaces.get(&oid) {
                Some(TablespaceFolder::InPlace) => self.add_to_data(&member.path, member, content),
                Some(TablespaceFolder::Outside(folder)) => {
                    let (index, folder) = (self.index, folder.clone());
                    let path = patch::whole_path(path, member);
                    keep(self.seen.tablespaces.entry(oid).or_default(), &path, self.plan);
                    let plan = self.plan;
                    add_to(self.tablespace(oid, &folder)?, &path, member, content, (index, plan))
                }
                None if !self.is_last() => Ok(()),
                None => Err(without_folder(oid)),
            },
        }
    }

    fn add_to_data(&mut self, path: &Path, member: &Member, content: Content<'_>) -> Result<()> {
        let path = patch::whole_path(path, member);
        keep(&mut self.seen.data, &path, self.plan);
        add_to(&mut self.data, &path, member, content, (self.index, self.plan))
    }

    /// Writes `backup_label` without what only a label of an incremental backup contains. Fails if
    /// the backup continues another one than the backup before.
    fn add_label(&mut self, content: &[u8]) -> Result<()> {
        let damaged = |error| incomplete(label::NAME, "not a label of a base backup").because(error);
        let label = BackupLabel::parse(content).map_err(damaged)?;
        let earlier = self.earlier_label.as_ref().map(|label| (label.start_timeline, label.start_lsn));
        if label.incremental_from.map(|from| (from.timeline, from.lsn)) != earlier {
            let found = label.incremental_from.map_or("none".to_owned(), |from| from.lsn.to_string());
            let expected = earlier.map_or("none".to_owned(), |(_, lsn)| lsn.to_string());
            let message = format!("continues the backup that started at {found}, not at {expected}");
            return Err(incomplete(label::NAME, message));
        }
        let path = Path::new(label::NAME);
        keep(&mut self.seen.data, path, self.plan);
        let combined = BackupLabel::combined(content).map_err(damaged)?;
        self.seen.label = Some(label);
        self.write_file(path, &combined)
    }

    /// Removes the files that this backup lacks: those of an earlier one, and replaced ones.
    fn remove_other_files(&mut self) -> Result<()> {
        for path in [Path::new(TABLESPACES), Path::new(REPLACED_CONTROL)] {
            keep(&mut self.seen.data, path, self.plan);
        }
        let links = self.tablespaces.keys().map(|oid| Path::new(TABLESPACES).join(oid.to_string()));
        self.seen.data.extend(links);
        self.data.retain(&self.seen.data)?;
        for (oid, root) in &mut self.tablespaces {
            root.retain(self.seen.tablespaces.get(oid).unwrap_or(&HashSet::new()))?;
        }
        Ok(())
    }

    /// Writes `tablespace_map` with the new folders, and makes folders that no member has named.
    fn add_map(&mut self, content: &[u8]) -> Result<()> {
        let path = Path::new(tablespace_map::NAME);
        let (content, oids) = rewrite_map(content, &self.plan.tablespaces)?;
        keep(&mut self.seen.data, path, self.plan);
        self.write_file(path, &content)?;
        for oid in oids {
            if let Some(TablespaceFolder::Outside(folder)) = self.plan.tablespaces.get(&oid) {
                self.tablespace(oid, folder)?;
            }
        }
        Ok(())
    }

    /// Returns the folder of a tablespace. Makes the folder and the link to it at the first call.
    fn tablespace(&mut self, oid: u32, folder: &Path) -> Result<&mut Root> {
        if !self.tablespaces.contains_key(&oid) {
            let root = Root::new(folder, self.plan.owner.clone(), self.plan.existing)?;
            self.tablespaces.insert(oid, root);
            self.data.link(&Path::new(TABLESPACES).join(oid.to_string()), folder)?;
        }
        self.tablespaces.get_mut(&oid).ok_or_else(|| without_folder(oid))
    }

    /// Fails if the backup lacks a file that every complete backup has.
    fn expect_complete(&self, required: &'static [&'static str]) -> Result<()> {
        let control = self.seen.control.as_deref().and_then(|control| Control::parse(control).ok());
        let is_shut_down = control.is_some_and(|control| control.state == State::ShutDown);
        // A server starts the files of a cluster that was shut down, or a snapshot of everything,
        // without a label.
        let needs = |name: &str| name != label::NAME || !(is_shut_down || self.plan.crash_consistent);
        let is_missing = |name: &&&str| needs(name) && !self.seen.top_files.contains(**name);
        let missing = required.iter().find(is_missing).copied();
        match missing.or_else(|| self.seen.control.is_none().then_some(CONTROL)) {
            Some(name) => Err(incomplete(name, "missing: the base backup is incomplete")),
            None => Ok(()),
        }
    }

    /// Copies the WAL of the recovery, and writes the file that starts the recovery.
    fn add_recovery(&mut self) -> Result<()> {
        let Some(recovery) = &self.plan.recovery else { return Ok(()) };
        for name in &recovery.files {
            let (from, path) = (recovery.folder.join(name), Path::new(WAL).join(name));
            // The backup may contain the beginning of the same segment.
            let mut to = self.data.replace_file(&path)?;
            let copied = File::open(&from).and_then(|mut from| io::copy(&mut from, &mut to));
            copied.map_err(|error| self.write_failure(&path, error))?;
        }
        self.data.replace_file(Path::new(signal(recovery.end))).map(drop)
    }

    /// Writes `pg_control`. From then on, a server can start the copy.
    fn write_control(&mut self) -> Result<()> {
        let path = Path::new(CONTROL);
        let content = self.seen.control.take().unwrap_or_default();
        let file = self.data.create_file(path)?;
        write_durably(file, &content).map_err(|error| self.write_failure(path, error))?;
        self.data.remove_file(Path::new(REPLACED_CONTROL))?;
        self.data.sync_folder(path.parent().unwrap_or(Path::new("")))
    }

    /// Writes a whole file of the data directory.
    fn write_file(&mut self, path: &Path, content: &[u8]) -> Result<()> {
        let mut file = open(&mut self.data, path, self.index, self.plan)?;
        let written = file.write(content).and_then(|()| file.finish());
        written.map_err(|error| self.write_failure(path, error))
    }

    fn write_failure(&self, path: &Path, error: std::io::Error) -> Error {
        write_failure(&self.data.path().join(path), error)
    }
}

/// Adds the path of a member, and the folders above it, to those that exist after the backup.
fn keep(paths: &mut HashSet<PathBuf>, path: &Path, plan: &Plan) {
    let ancestors = path.ancestors().filter(|path| plan.changes_files() && !path.as_os_str().is_empty());
    for path in ancestors {
        if paths.contains(path) {
            break;
        }
        paths.insert(path.to_owned());
    }
}

/// Opens a file to write. Only a backup after the first one of a chain replaces files, unless
/// existing files are to be replaced.
fn open(root: &mut Root, path: &Path, index: usize, plan: &Plan) -> Result<FileWriter> {
    let file = match (plan.existing, index) {
        (ExistingFiles::Replaced, _) => root.open_or_create(path)?,
        (ExistingFiles::Refused, 0) => root.create_file(path)?,
        (ExistingFiles::Refused, _) => root.replace_file(path)?,
    };
    Ok(FileWriter::new(file, plan.existing))
}

/// Adds a member to a root. `index` is the number of backups before the member's.
fn add_to(
    root: &mut Root,
    path: &Path,
    member: &Member,
    content: Content<'_>,
    (index, plan): (usize, &Plan),
) -> Result<()> {
    if member.kind == MemberKind::Folder {
        return root.make_folder(path);
    }
    if patch::is_incremental(member) {
        let full = root.path().join(path);
        let file = root.open_existing(path)?.filter(|_| index > 0).ok_or_else(|| patch::without_file(member))?;
        return patch::apply(&file, &full, member, content);
    }
    let mut file = open(root, path, index, plan)?;
    if content.share_blocks(file.file()) {
        return Ok(());
    }
    let full: PathBuf = root.path().join(path);
    content.copy(|piece| file.write(piece).map_err(|error| write_failure(&full, error)))?;
    file.finish().map_err(|error| write_failure(&full, error))
}

fn write_durably(mut file: File, content: &[u8]) -> std::io::Result<()> {
    file.write_all(content)?;
    file.sync_all()
}

fn write_failure(path: &Path, error: std::io::Error) -> Error {
    failure(path, "cannot be written", error)
}

fn incomplete(name: &str, message: impl Into<String>) -> Error {
    Error::new(Stage::Restore, Kind::Corrupt, name, message)
}

#[cfg(test)]
mod tests;
