//! Snapshots that stay on the host, each with the files that complete it to a base backup.
//!
//! A snapshot is kept if its folder contains a record. Its other files, in a folder of their own,
//! are those that the server composes at the end of a backup, and the WAL of the backup.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use longshore_core::cleanup::ReservedCleanup;
use longshore_core::manifest::Manifest;
use longshore_core::stage::{KeptSnapshot, SnapshotContent, SnapshotFiles, SnapshotMember};
use longshore_core::{Error, Kind, Result, Stage, regular_file};
use longshore_pg_base::control;
use longshore_pg_base::label;
use longshore_pg_base::tablespace_map;
use longshore_pg_wal::segment::SegmentSize;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::maker::{Made, Maker, is_snapshot_name};
use super::program::Programs;
use crate::listing::{Entry, Listing, UnloggedContent};
use crate::location::unreadable;
use crate::session::BackupEnd;
use crate::wal;

/// The file that makes a snapshot a kept one, written last and removed first.
const RECORD: &str = "record.json";

/// The folder of the files that complete a snapshot.
const FILES: &str = "files";

/// The record of a kept snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(flatten)]
    pub(super) made: Made,
    pub(super) manifest: Manifest,
    /// The details of the source that a restore needs.
    pub(super) details: Map<String, Value>,
}

/// Returns true if the snapshot with this folder is kept.
pub(super) fn is_kept(own: &Path) -> bool {
    own.join(RECORD).exists()
}

/// Removes the record, if it exists: from then on, the snapshot is one that an interrupted run has
/// left.
pub(super) fn remove_record(own: &Path) -> Result<()> {
    let path = own.join(RECORD);
    fs::remove_file(&path).or_else(allow_missing).map_err(|error| unwritable(&path, error))
}

/// Removes the files that complete a snapshot, if they exist.
pub(super) fn remove_files(own: &Path) -> Result<()> {
    let path = own.join(FILES);
    fs::remove_dir_all(&path).or_else(allow_missing).map_err(|error| unwritable(&path, error))
}

/// Writes the files that complete a snapshot, with the WAL of the live data directory.
pub(super) fn write_files(own: &Path, end: &BackupEnd, data: &Path, size: SegmentSize) -> Result<()> {
    let folder = own.join(FILES);
    let status = folder.join(wal::STATUS_FOLDER);
    fs::create_dir_all(&status).map_err(|error| unwritable(&status, error))?;
    let map = Some(&end.tablespace_map).filter(|map| !map.is_empty());
    for (name, content) in [(label::NAME, end.label.as_ref()), (tablespace_map::NAME, map)] {
        let Some(content) = content else { continue };
        let path = folder.join(name);
        fs::write(&path, content).map_err(|error| unwritable(&path, error))?;
    }
    for name in wal::files(data, end.range, size)? {
        let from = wal::path(data, &name);
        let to = wal::path(&folder, &name);
        let copied = regular_file::open(&from, fs::OpenOptions::new().read(true));
        let mut source = copied.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => wal::missing(&wal::member(&name)),
            _ => unreadable(&from, error),
        })?;
        let copied = File::create_new(&to).and_then(|mut target| io::copy(&mut source, &mut target));
        copied.map_err(|error| unwritable(&to, error))?;
        // As a server does it, so that a restored cluster archives no segment again.
        let done = status.join(format!("{name}.done"));
        File::create_new(&done).map_err(|error| unwritable(&done, error))?;
    }
    Ok(())
}

/// Writes the record of a snapshot, after which it is kept.
pub(super) fn write_record(own: &Path, record: &Record) -> Result<()> {
    let path = own.join(RECORD);
    let invalid = |error: serde_json::Error| unwritable(&path, error.into());
    let content = serde_json::to_vec_pretty(record).map_err(invalid)?;
    let draft = own.join(FILES).join(RECORD);
    let written = File::create(&draft).and_then(|mut file| {
        file.write_all(&content)?;
        // The files before the record, and the record before its name.
        rustix::fs::syncfs(&file)?;
        fs::rename(&draft, &path)?;
        File::open(own)?.sync_all()
    });
    written.map_err(|error| unwritable(&path, error))
}

/// Returns the kept snapshots in a folder whose names begin so, oldest first.
pub(super) fn read(folder: &Path, prefix: &str) -> Result<Vec<(String, Record)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(folder, error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| unreadable(folder, error))?.file_name().into_string().unwrap_or_default();
        if is_snapshot_name(prefix, &name) && is_kept(&folder.join(&name)) {
            let record = read_record(&folder.join(&name))?;
            found.push((name, record));
        }
    }
    found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    Ok(found)
}

fn read_record(own: &Path) -> Result<Record> {
    let path = own.join(RECORD);
    let content = regular_file::read(&path).map_err(|error| unreadable(&path, error))?;
    serde_json::from_slice(&content).map_err(|error| {
        Error::new(Stage::Dump, Kind::Corrupt, path.display().to_string(), "not the record of a snapshot")
            .because(error)
            .hint("remove the file: the next run then removes the snapshot")
    })
}

impl Record {
    /// Returns the snapshot with its name.
    pub(super) fn snapshot(self, name: String) -> KeptSnapshot {
        KeptSnapshot { name, manifest: self.manifest, details: self.details }
    }
}

/// Removes a kept snapshot, unless it is in use.
pub(super) async fn remove(folder: &Path, name: &str, record: Record, programs: Programs) -> Result<()> {
    let own = folder.join(name);
    let lock = File::open(&own).map_err(|error| unreadable(&own, error))?;
    match lock.try_lock() {
        Ok(()) => Maker::of_existing(record.made, folder, programs).remove(name).await,
        Err(TryLockError::WouldBlock) => {
            let message = "in use by a restore, so the next run removes it";
            Err(Error::new(Stage::Dump, Kind::Locked, name, message))
        }
        Err(TryLockError::Error(error)) => Err(unreadable(&own, error)),
    }
}

/// Makes the files of a kept snapshot readable.
pub(super) async fn open(folder: &Path, name: &str, programs: Programs) -> Result<SnapshotFiles> {
    let own = folder.join(name);
    let lock = File::open(&own).map_err(|error| unreadable(&own, error))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let message = "another restore uses the snapshot, or a run removes it";
            return Err(Error::new(Stage::Dump, Kind::Locked, name, message).hint("wait for its end"));
        }
        Err(TryLockError::Error(error)) => return Err(unreadable(&own, error)),
    }
    let record = read_record(&own)?;
    let major = record.manifest.cluster.server.server_version.split('.').next().and_then(|major| major.parse().ok());
    let maker = Maker::of_existing(record.made, folder, programs);
    let in_use = Use(Some((maker.clone(), name.to_owned(), lock, ReservedCleanup::new())));
    // A restore that was killed may have left it mounted.
    maker.unmount(name).await?;
    maker.mount(name).await?;
    let location = maker.location_in(name)?;
    let listed = tokio::task::spawn_blocking(move || {
        let listing = Listing::of(&location, major.unwrap_or_default(), UnloggedContent::Omitted)?;
        let mut members: Vec<_> = listing.entries.into_iter().map(|entry| member(entry, &location)).collect();
        add_files(&own.join(FILES), Path::new(""), &mut members)?;
        // The restore writes it last.
        let control = SnapshotContent::File(location.data.join(control::PATH));
        members.push(SnapshotMember { path: control::PATH.into(), content: control });
        Ok(members)
    });
    let members = listed.await.map_err(|error| {
        Error::new(Stage::Dump, Kind::Failed, name, "cannot list the files of the snapshot").because(error)
    })??;
    Ok(SnapshotFiles { members, in_use: Box::new(in_use) })
}

fn member(entry: Entry, location: &crate::location::Location) -> SnapshotMember {
    let path = |bytes: Box<[u8]>| PathBuf::from(std::ffi::OsString::from_vec(bytes.into_vec()));
    match entry {
        Entry::Directory(member, _) => SnapshotMember { path: path(member), content: SnapshotContent::Folder },
        Entry::File(member) => {
            let content = SnapshotContent::File(location.resolve(&member));
            SnapshotMember { path: path(member), content }
        }
    }
}

/// Adds the files below a folder as members.
fn add_files(folder: &Path, below: &Path, members: &mut Vec<SnapshotMember>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, error))? {
        let entry = entry.map_err(|error| unreadable(folder, error))?;
        let path = below.join(entry.file_name());
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => add_files(&entry.path(), &path, members)?,
            false => members.push(SnapshotMember { path, content: SnapshotContent::File(entry.path()) }),
        }
    }
    Ok(())
}

/// The use of a kept snapshot. Dropping it unmounts the snapshot.
struct Use(Option<(Maker, String, File, ReservedCleanup)>);

impl Drop for Use {
    fn drop(&mut self) {
        if let Some((maker, name, lock, cleanup)) = self.0.take() {
            cleanup.spawn(async move {
                let unmounted = maker.unmount(&name).await;
                drop(lock);
                unmounted
            });
        }
    }
}

fn allow_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn unwritable(path: &Path, error: io::Error) -> Error {
    let is_full = error.kind() == io::ErrorKind::StorageFull;
    let error = Error::io(Stage::Dump, path.display().to_string(), "cannot be written", error);
    if is_full { error.hint("free space, or keep fewer snapshots: keep_on_host") } else { error }
}
