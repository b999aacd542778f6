//! The unpacking of a tar into the folders of a new cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::control::FILE_BYTES;
use longshore_pg_base::tablespace_map;

use crate::abandoned::Abandoned;
use crate::archive::{self, Content};
use crate::cluster_files::{AUTO_CONF, rewrite_map, without_folder, write_settings};
use crate::member::{CONTROL, Member, MemberKind, Place, TABLESPACES};
use crate::prepare::Plan;
use crate::root::{Root, failure};
use crate::tablespace::TablespaceFolder;

/// The maximum size of `tablespace_map`: enough for 1,000 tablespaces.
const MOST_MAP_BYTES: u64 = 1 << 20;

/// The files that complete a backup: without one of them, no server could start the copy correctly,
/// or no program could check it.
const REQUIRED: [&str; 2] = ["backup_label", "backup_manifest"];

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

/// Unpacks a tar. After an error, or if the caller was dropped, everything that was made is removed
/// again.
pub(crate) fn unpack(reader: &mut impl Read, plan: &Plan, abandoned: &Abandoned) -> Result<Unpacked> {
    let data = Root::new(&plan.data, plan.owner.clone())?;
    let mut cluster =
        NewCluster { plan, data, tablespaces: BTreeMap::new(), control: None, top_files: BTreeSet::new() };
    let result = cluster.fill(reader, abandoned);
    let roots = [cluster.data].into_iter().chain(cluster.tablespaces.into_values());
    let error = match result {
        Ok(times) => {
            roots.for_each(Root::finish);
            let (unpacking, syncing) = times;
            return Ok(Unpacked { top_files: cluster.top_files, unpacking, syncing });
        }
        Err(error) => error,
    };
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
    /// The content of `pg_control`, kept until everything else is on the disk.
    control: Option<Vec<u8>>,
    top_files: BTreeSet<String>,
}

impl NewCluster<'_> {
    /// Unpacks everything. Returns the time for the files, and the time until all were on the disk.
    fn fill(&mut self, reader: &mut impl Read, abandoned: &Abandoned) -> Result<(Duration, Duration)> {
        let started = Instant::now();
        archive::read(reader, |member, content| self.add(member, content))?;
        self.expect_complete()?;
        let auto_conf = Path::new(AUTO_CONF);
        write_settings(self.data.append_to_file(auto_conf)?).map_err(|error| self.write_failure(auto_conf, error))?;
        let unpacking = started.elapsed();

        let started = Instant::now();
        self.data.sync()?;
        self.tablespaces.values().try_for_each(Root::sync)?;
        if abandoned.is_set() {
            let subject = self.data.path().display().to_string();
            return Err(Error::new(Stage::Restore, Kind::Failed, subject, "the restore was interrupted"));
        }
        self.write_control()?;
        Ok((unpacking, started.elapsed()))
    }

    /// Adds one member.
    fn add(&mut self, member: &Member, content: Content<'_>) -> Result<()> {
        if member.kind == MemberKind::File && member.path.components().count() == 1 {
            self.top_files.insert(member.path.display().to_string());
        }
        match member.place()? {
            Place::Skipped => Ok(()),
            Place::Control => {
                if self.control.is_some() {
                    return Err(incomplete(CONTROL, "a second file of this name"));
                }
                self.control = Some(content.collect(FILE_BYTES as u64)?);
                Ok(())
            }
            Place::TablespaceMap => self.add_map(&content.collect(MOST_MAP_BYTES)?),
            Place::DataDirectory(path) => add_to(&mut self.data, path, member.kind, content),
            Place::Tablespace(oid, path) => match self.plan.tablespaces.get(&oid) {
                Some(TablespaceFolder::InPlace) => add_to(&mut self.data, &member.path, member.kind, content),
                Some(TablespaceFolder::Outside(folder)) => {
                    add_to(self.tablespace(oid, folder)?, path, member.kind, content)
                }
                None => Err(without_folder(oid)),
            },
        }
    }

    /// Writes `tablespace_map` with the new folders, and makes folders that no member has named.
    fn add_map(&mut self, content: &[u8]) -> Result<()> {
        let path = Path::new(tablespace_map::NAME);
        let (content, oids) = rewrite_map(content, &self.plan.tablespaces)?;
        let mut file = self.data.create_file(path)?;
        file.write_all(&content).map_err(|error| self.write_failure(path, error))?;
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
            let root = Root::new(folder, self.plan.owner.clone())?;
            self.tablespaces.insert(oid, root);
            self.data.link(&Path::new(TABLESPACES).join(oid.to_string()), folder)?;
        }
        self.tablespaces.get_mut(&oid).ok_or_else(|| without_folder(oid))
    }

    /// Fails if the backup lacks a file that every complete backup has.
    fn expect_complete(&self) -> Result<()> {
        let is_missing = |name: &&&str| !self.top_files.contains(**name);
        let missing = REQUIRED.iter().find(is_missing).copied();
        match missing.or_else(|| self.control.is_none().then_some(CONTROL)) {
            Some(name) => Err(incomplete(name, "missing: the base backup is incomplete")),
            None => Ok(()),
        }
    }

    /// Writes `pg_control`. From then on, a server can start the copy.
    fn write_control(&mut self) -> Result<()> {
        let path = Path::new(CONTROL);
        let content = self.control.take().unwrap_or_default();
        let file = self.data.create_file(path)?;
        write_durably(file, &content).map_err(|error| self.write_failure(path, error))?;
        self.data.sync_folder(path.parent().unwrap_or(Path::new("")))
    }

    fn write_failure(&self, path: &Path, error: std::io::Error) -> Error {
        write_failure(&self.data.path().join(path), error)
    }
}

fn add_to(root: &mut Root, path: &Path, kind: MemberKind, content: Content<'_>) -> Result<()> {
    match kind {
        MemberKind::Folder => root.make_folder(path),
        MemberKind::File => {
            let mut file = root.create_file(path)?;
            let full: PathBuf = root.path().join(path);
            content.copy(|piece| file.write_all(piece).map_err(|error| write_failure(&full, error)))
        }
    }
}

fn write_durably(mut file: File, content: &[u8]) -> std::io::Result<()> {
    file.write_all(content)?;
    file.sync_all()
}

fn write_failure(path: &Path, error: std::io::Error) -> Error {
    failure(path, "cannot be written", error)
}

fn incomplete(name: &str, message: &str) -> Error {
    Error::new(Stage::Restore, Kind::Corrupt, name, message)
}

#[cfg(test)]
mod tests;
