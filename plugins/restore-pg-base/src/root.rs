//! A folder that receives the files of a backup, and its removal.
//!
//! The owner of the folder may not be trusted: root writes into folders of user postgres. All paths
//! are therefore resolved from the open folder, and links are never followed.

mod entry;

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use longshore_core::plugin::ExistingFiles;
use longshore_core::{Error, Kind, Result, Stage};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, chownat, fchown, fstat, mkdirat, openat, renameat, symlinkat,
    syncfs, unlinkat,
};
use rustix::io::Errno;

use self::entry::{FOLDER, file_type, names, own_file, remove_entry, retain_in};
use crate::owner::{self, Owner};

const FOLDER_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const NEW_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const PATCHED_FILE: OFlags = OFlags::RDWR.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const COMPARED_FILE: OFlags = OFlags::RDWR.union(OFlags::CREATE).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const APPENDED_FILE: OFlags =
    OFlags::RDWR.union(OFlags::APPEND).union(OFlags::CREATE).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder that receives files. Dropping it removes everything that was made in it, unless it was
/// [finished](Root::finish).
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    folder: OwnedFd,
    /// The owner of all files, if it is another user than that of this process.
    owner: Option<Owner>,
    before: Before,
    /// The paths of the folders made here. There are few: one for each database and tablespace.
    folders: BTreeSet<PathBuf>,
    /// The entries of the root itself that were made here.
    entries: BTreeSet<OsString>,
    /// The handling of entries that were there before.
    entries_before: EntriesBefore,
    /// The folder that was used last, open: a tar contains the files of a folder in sequence.
    open: Option<(PathBuf, OwnedFd)>,
    state: State,
}

/// The state of the root before the restore.
#[derive(Debug, Clone, Copy)]
enum Before {
    Missing,
    Empty(Uid, Gid),
    /// The root has files that the restore replaces. Nothing can be undone.
    Filled,
}

/// The handling of entries that were in the root before the backup that is being unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntriesBefore {
    /// They are errors: the restore never overwrites a file.
    Refused,
    /// They are those of earlier backups or of a replaced cluster: they are changed, and an entry
    /// of another type is replaced.
    Replaced,
}

/// The progress of the restore into the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unfinished,
    /// Finished, or removed.
    Settled,
}

impl Root {
    /// Creates the folder, or opens it if it is empty or its files are to be replaced.
    pub(crate) fn new(path: &Path, owner: Option<Owner>, existing: ExistingFiles) -> Result<Self> {
        let failed = |errno: Errno| failure(path, "cannot be made or opened", errno.into());
        let is_new = match mkdirat(CWD, path, FOLDER_MODE) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(failed(errno)),
        };
        // The operator may have named an existing folder by a link.
        let flags = if is_new { FOLDER } else { FOLDER.difference(OFlags::NOFOLLOW) };
        let folder = openat(CWD, path, flags, Mode::empty()).map_err(failed)?;
        let before = match is_new {
            true => Before::Missing,
            false => {
                let has_files = !names(&folder).map_err(|error| failure(path, "cannot be read", error))?.is_empty();
                if has_files && existing == ExistingFiles::Refused {
                    let error = Error::new(Stage::Restore, Kind::Refused, path.display().to_string(), "is not empty");
                    return Err(error.hint("name a new directory"));
                }
                let stat = fstat(&folder).map_err(failed)?;
                owner::expect(owner.as_ref(), path, stat.st_uid)?;
                match has_files {
                    true => Before::Filled,
                    false => Before::Empty(Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid)),
                }
            }
        };
        let entries_before = match before {
            Before::Filled => EntriesBefore::Replaced,
            Before::Missing | Before::Empty(..) => EntriesBefore::Refused,
        };
        let root = Self {
            path: path.to_owned(),
            folder,
            owner,
            before,
            entries_before,
            folders: BTreeSet::new(),
            entries: BTreeSet::new(),
            open: None,
            state: State::Unfinished,
        };
        root.set_owner(root.folder.as_fd()).map_err(failed)?;
        Ok(root)
    }

    /// Returns the path of the folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a folder, and those above it, unless they were made here before. An empty path is the
    /// root itself.
    pub(crate) fn make_folder(&mut self, path: &Path) -> Result<()> {
        let Some(name) = path.file_name().filter(|_| !self.folders.contains(path)) else {
            return Ok(());
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        self.make_folder(parent)?;
        let made = self.make_folder_in(parent, name);
        made.map_err(|error| failure(&self.path.join(path), "cannot be made", error))?;
        self.folders.insert(path.to_owned());
        Ok(())
    }

    fn make_folder_in(&mut self, parent: &Path, name: &OsStr) -> io::Result<()> {
        let replaces = self.entries_before == EntriesBefore::Replaced;
        let parent_folder = self.open_folder(parent)?;
        match mkdirat(parent_folder, name, FOLDER_MODE) {
            Err(Errno::EXIST) if replaces && file_type(parent_folder, name)? == FileType::Directory => {}
            Err(Errno::EXIST) if replaces => {
                remove_entry(parent_folder, name)?;
                mkdirat(parent_folder, name, FOLDER_MODE)?;
            }
            made => made?,
        }
        let made = openat(parent_folder, name, FOLDER, Mode::empty())?;
        self.record(parent, name);
        self.set_owner(made.as_fd())?;
        Ok(())
    }

    /// Creates a file, and the folders above it. Fails if the file exists.
    pub(crate) fn create_file(&mut self, path: &Path) -> Result<File> {
        self.open_file(path, NEW_FILE)
    }

    /// From now on, existing entries are those of an earlier backup.
    pub(crate) fn replace_entries(&mut self) {
        self.entries_before = EntriesBefore::Replaced;
        // Another type of entry may follow.
        self.folders.clear();
        self.open = None;
    }

    /// Creates a file, or empties the one that an earlier backup made.
    pub(crate) fn replace_file(&mut self, path: &Path) -> Result<File> {
        let file = self.open_or_create(path)?;
        file.set_len(0).map_err(|error| failure(&self.path.join(path), "cannot be emptied", error))?;
        Ok(file)
    }

    /// Opens a file that an earlier backup made, to change parts of it. Returns `None` if there is
    /// no such file.
    pub(crate) fn open_existing(&mut self, path: &Path) -> Result<Option<File>> {
        let (parent, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
        let opened = (|| own_file(openat(self.open_folder(parent)?, name, PATCHED_FILE, FILE_MODE)?))();
        match opened {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failure(&self.path.join(path), "cannot be opened", error)),
        }
    }

    /// Opens a file, with its existing content if there is any, to read and write it.
    pub(crate) fn open_or_create(&mut self, path: &Path) -> Result<File> {
        let (parent, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
        self.make_folder(parent)?;
        let cleared = (|| {
            let parent_folder = self.open_folder(parent)?;
            match file_type(parent_folder, name) {
                Ok(FileType::RegularFile) | Err(Errno::NOENT) => Ok(()),
                Ok(_) => remove_entry(parent_folder, name),
                Err(errno) => Err(errno.into()),
            }
        })();
        cleared.map_err(|error| failure(&self.path.join(path), "cannot be replaced", error))?;
        self.open_file(path, COMPARED_FILE)
    }

    /// Renames a file, if it exists.
    pub(crate) fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        let renamed = renameat(&self.folder, from, &self.folder, to);
        match renamed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(failure(&self.path.join(from), "cannot be renamed", errno.into())),
        }
    }

    /// Removes a file, if it exists.
    pub(crate) fn remove_file(&mut self, path: &Path) -> Result<()> {
        let removed = unlinkat(&self.folder, path, AtFlags::empty());
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(failure(&self.path.join(path), "cannot be removed", errno.into())),
        }
    }

    /// Returns true if the restore replaces files of the root.
    pub(crate) fn is_filled(&self) -> bool {
        matches!(self.before, Before::Filled)
    }

    /// Removes all files, folders and links but these, which include the folders above them.
    pub(crate) fn retain(&mut self, paths: &HashSet<PathBuf>) -> Result<()> {
        self.open = None;
        let retained = retain_in(self.folder.as_fd(), Path::new(""), paths);
        retained.map_err(|error| failure(&self.path, "cannot be cleared of removed files", error))?;
        self.folders.retain(|folder| paths.contains(folder));
        Ok(())
    }

    /// Opens a file to append to it and to read it. Creates the file if it is missing.
    pub(crate) fn append_to_file(&mut self, path: &Path) -> Result<File> {
        self.open_file(path, APPENDED_FILE)
    }

    fn open_file(&mut self, path: &Path, flags: OFlags) -> Result<File> {
        let (parent, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
        self.make_folder(parent)?;
        let opened = (|| {
            let file = openat(self.open_folder(parent)?, name, flags, FILE_MODE)?;
            self.record(parent, name);
            let file = own_file(file)?;
            self.set_owner(file.as_fd())?;
            io::Result::Ok(file)
        })();
        opened.map_err(|error| failure(&self.path.join(path), "cannot be made", error))
    }

    /// Makes a symbolic link, and the folders above it.
    pub(crate) fn link(&mut self, path: &Path, target: &Path) -> Result<()> {
        let (parent, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
        self.make_folder(parent)?;
        let linked = (|| {
            let replaces = self.entries_before == EntriesBefore::Replaced;
            let parent_folder = self.open_folder(parent)?;
            if replaces {
                remove_entry(parent_folder, name)?;
            }
            symlinkat(target, parent_folder, name)?;
            self.record(parent, name);
            if let Some(owner) = &self.owner {
                let folder = self.open_folder_of(parent)?;
                chownat(folder, name, Some(owner.uid), Some(owner.gid), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            io::Result::Ok(())
        })();
        linked.map_err(|error| failure(&self.path.join(path), "cannot be made", error))
    }

    /// Writes everything on this file system to the disk.
    pub(crate) fn sync(&self) -> Result<()> {
        syncfs(&self.folder).map_err(|errno| failure(&self.path, "cannot be written to the disk", errno.into()))
    }

    /// Writes the entries of a folder to the disk.
    pub(crate) fn sync_folder(&mut self, path: &Path) -> Result<()> {
        let synced = self.open_folder(path).and_then(|folder| Ok(rustix::fs::fsync(folder)?));
        synced.map_err(|error| failure(&self.path.join(path), "cannot be written to the disk", error))
    }

    /// Keeps everything that was made.
    pub(crate) fn finish(mut self) {
        self.state = State::Settled;
    }

    /// Removes everything that was made. Returns the failures.
    pub(crate) fn remove(mut self) -> Vec<Error> {
        self.remove_made()
    }

    fn remove_made(&mut self) -> Vec<Error> {
        if self.state == State::Settled {
            return Vec::new();
        }
        self.state = State::Settled;
        if self.is_filled() {
            return Vec::new();
        }
        self.open = None;
        let mut failures = Vec::new();
        for name in &self.entries {
            let removed = remove_entry(self.folder.as_fd(), name);
            failures.extend(removed.map_err(|error| failure(&self.path.join(name), "cannot be removed", error)).err());
        }
        let restored = match self.before {
            Before::Missing => std::fs::remove_dir(&self.path),
            Before::Empty(uid, gid) if self.owner.is_some() => {
                fchown(&self.folder, Some(uid), Some(gid)).map_err(io::Error::from)
            }
            Before::Empty(..) | Before::Filled => Ok(()),
        };
        failures.extend(restored.map_err(|error| failure(&self.path, "cannot be removed", error)).err());
        failures
    }

    /// Records that an entry was made here.
    fn record(&mut self, parent: &Path, name: &OsStr) {
        if parent.as_os_str().is_empty() {
            self.entries.insert(name.to_owned());
        }
    }

    /// Sets the owner of an open file or folder.
    fn set_owner(&self, made: BorrowedFd<'_>) -> rustix::io::Result<()> {
        match &self.owner {
            Some(owner) => fchown(made, Some(owner.uid), Some(owner.gid)),
            None => Ok(()),
        }
    }

    /// Opens a folder that was made here.
    fn open_folder(&mut self, path: &Path) -> io::Result<BorrowedFd<'_>> {
        if path.as_os_str().is_empty() {
            return Ok(self.folder.as_fd());
        }
        if self.open.as_ref().is_none_or(|(open, _)| open != path) {
            let mut folder: Option<OwnedFd> = None;
            for name in path.iter() {
                let parent = folder.as_ref().unwrap_or(&self.folder);
                folder = Some(openat(parent, name, FOLDER, Mode::empty())?);
            }
            self.open = folder.map(|folder| (path.to_owned(), folder));
        }
        self.open_folder_of(path)
    }

    /// Returns the folder that was opened last, which is the one of `path`, or the root.
    fn open_folder_of(&self, path: &Path) -> io::Result<BorrowedFd<'_>> {
        match &self.open {
            Some((open, folder)) if open == path => Ok(folder.as_fd()),
            _ if path.as_os_str().is_empty() => Ok(self.folder.as_fd()),
            _ => Err(Errno::BADF.into()),
        }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // Only after a panic: other failures are reported by `remove`.
        drop(self.remove_made());
    }
}

/// Returns the error of a file or folder.
pub(crate) fn failure(path: &Path, message: &str, error: io::Error) -> Error {
    let is_full = error.kind() == io::ErrorKind::StorageFull || error.kind() == io::ErrorKind::QuotaExceeded;
    let error = Error::io(Stage::Restore, path.display().to_string(), message, error);
    if is_full { error.hint("free disk space, or restore into another file system") } else { error }
}

#[cfg(test)]
mod tests;
