//! A folder that receives the files of a backup, and its removal.
//!
//! The owner of the folder may not be trusted: root writes into folders of user postgres. All paths
//! are therefore resolved from the open folder, and links are never followed.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use longshore_core::{Error, Kind, Result, Stage};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, fchown, fstat, mkdirat, openat, statat, symlinkat,
    syncfs, unlinkat,
};
use rustix::io::Errno;

use crate::owner::{self, Owner};

const FOLDER_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const NEW_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const REPLACED_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::TRUNC).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const PATCHED_FILE: OFlags = OFlags::RDWR.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
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
    /// The folder that was used last, open: a tar contains the files of a folder in sequence.
    open: Option<(PathBuf, OwnedFd)>,
    state: State,
}

/// The state of the root before the restore.
#[derive(Debug, Clone, Copy)]
enum Before {
    Missing,
    Empty(Uid, Gid),
}

/// The progress of the restore into the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unfinished,
    /// Finished, or removed.
    Settled,
}

impl Root {
    /// Creates the folder, or opens it if it is empty.
    pub(crate) fn new(path: &Path, owner: Option<Owner>) -> Result<Self> {
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
                if !names(&folder).map_err(|error| failure(path, "cannot be read", error))?.is_empty() {
                    let error = Error::new(Stage::Restore, Kind::Refused, path.display().to_string(), "is not empty");
                    return Err(error.hint("name a new directory"));
                }
                let stat = fstat(&folder).map_err(failed)?;
                owner::expect(owner.as_ref(), path, stat.st_uid)?;
                Before::Empty(Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))
            }
        };
        let root = Self {
            path: path.to_owned(),
            folder,
            owner,
            before,
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
        let parent_folder = self.open_folder(parent)?;
        mkdirat(parent_folder, name, FOLDER_MODE)?;
        let made = openat(parent_folder, name, FOLDER, Mode::empty())?;
        self.record(parent, name);
        self.set_owner(made.as_fd())?;
        Ok(())
    }

    /// Creates a file, and the folders above it. Fails if the file exists.
    pub(crate) fn create_file(&mut self, path: &Path) -> Result<File> {
        self.open_file(path, NEW_FILE)
    }

    /// Creates a file, or empties the one that an earlier backup made.
    pub(crate) fn replace_file(&mut self, path: &Path) -> Result<File> {
        self.open_file(path, REPLACED_FILE)
    }

    /// Opens a file that an earlier backup made, to change parts of it. Returns `None` if there is
    /// no such file.
    pub(crate) fn open_existing(&mut self, path: &Path) -> Result<Option<File>> {
        let (parent, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
        let opened =
            (|| io::Result::Ok(File::from(openat(self.open_folder(parent)?, name, PATCHED_FILE, FILE_MODE)?)))();
        match opened {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failure(&self.path.join(path), "cannot be opened", error)),
        }
    }

    /// Removes all files and folders but these, which include the folders above them. Links stay.
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
            self.set_owner(file.as_fd())?;
            io::Result::Ok(File::from(file))
        })();
        opened.map_err(|error| failure(&self.path.join(path), "cannot be made", error))
    }

    /// Makes a symbolic link, and the folders above it.
    pub(crate) fn link(&mut self, path: &Path, target: &Path) -> Result<()> {
        let (parent, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
        self.make_folder(parent)?;
        let linked = (|| {
            symlinkat(target, self.open_folder(parent)?, name)?;
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
            Before::Empty(..) => Ok(()),
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

/// Returns the names of a folder's entries.
fn names(folder: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

/// Removes all entries of a folder but these, and those in its folders. `path` is the folder's own
/// path, by which the paths begin.
fn retain_in(folder: BorrowedFd<'_>, path: &Path, paths: &HashSet<PathBuf>) -> io::Result<()> {
    for name in names(&folder.try_clone_to_owned()?)? {
        let entry = path.join(&name);
        let kind = FileType::from_raw_mode(statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
        match kind {
            FileType::Symlink => {}
            _ if !paths.contains(&entry) => remove_entry(folder, &name)?,
            FileType::Directory => {
                let inner = openat(folder, &name, FOLDER, Mode::empty())?;
                retain_in(inner.as_fd(), &entry, paths)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes a file, or a folder with its content. Succeeds if the entry does not exist.
fn remove_entry(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => {
            let folder = openat(parent, name, FOLDER, Mode::empty())?;
            for entry in names(&folder)? {
                remove_entry(folder.as_fd(), &entry)?;
            }
            Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Returns the error of a file or folder.
pub(crate) fn failure(path: &Path, message: &str, error: io::Error) -> Error {
    let is_full = error.kind() == io::ErrorKind::StorageFull || error.kind() == io::ErrorKind::QuotaExceeded;
    let error = Error::io(Stage::Restore, path.display().to_string(), message, error);
    if is_full { error.hint("free disk space, or restore into another file system") } else { error }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn filled(path: &Path) -> Root {
        let mut root = Root::new(path, None).unwrap();
        root.create_file(Path::new("base/1/1259")).unwrap().write_all(b"x").unwrap();
        root.create_file(Path::new("PG_VERSION")).unwrap();
        root.link(Path::new("pg_tblspc/5"), Path::new("/nowhere")).unwrap();
        root
    }

    #[test]
    fn files_are_private() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        filled(&path).finish();
        let mode = |name: &str| fs::metadata(path.join(name)).unwrap().mode() & 0o7777;
        assert_eq!(["", "base", "base/1", "base/1/1259"].map(mode), [0o700, 0o700, 0o700, 0o600]);
        assert_eq!(fs::read_link(path.join("pg_tblspc/5")).unwrap(), Path::new("/nowhere"));
    }

    #[test]
    fn remove_leaves_nothing_of_a_new_folder() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        assert!(filled(&path).remove().is_empty());
        drop(filled(&path));
        assert!(!path.exists());
    }

    #[test]
    fn remove_keeps_an_empty_folder_and_foreign_files() {
        let existing = tempfile::tempdir().unwrap();
        assert!(filled(existing.path()).remove().is_empty());
        assert_eq!(fs::read_dir(existing.path()).unwrap().count(), 0);
        let root = filled(existing.path());
        fs::write(existing.path().join("foreign"), "").unwrap();
        assert!(root.remove().is_empty());
        assert_eq!(fs::read_dir(existing.path()).unwrap().count(), 1);
    }

    #[test]
    fn existing_files_are_never_overwritten() {
        let existing = tempfile::tempdir().unwrap();
        let mut root = Root::new(existing.path(), None).unwrap();
        fs::write(existing.path().join("PG_VERSION"), "15").unwrap();
        fs::create_dir(existing.path().join("base")).unwrap();
        let error = root.create_file(Path::new("PG_VERSION")).unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists);
        assert!(error.subject().ends_with("/PG_VERSION"), "{error}");
        assert_eq!(root.make_folder(Path::new("base")).unwrap_err().kind(), Kind::AlreadyExists);
        drop(root);
        assert_eq!(fs::read_to_string(existing.path().join("PG_VERSION")).unwrap(), "15");
        assert_eq!(Root::new(existing.path(), None).unwrap_err().kind(), Kind::Refused);
    }

    #[test]
    fn retain_removes_everything_else() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let mut root = filled(&path);
        root.create_file(Path::new("base/2/1259")).unwrap();
        root.create_file(Path::new("base/1/7")).unwrap();
        root.retain(&["base", "base/1", "base/1/1259", "pg_tblspc"].map(PathBuf::from).into()).unwrap();
        assert!(path.join("base/1/1259").exists() && path.join("pg_tblspc/5").symlink_metadata().is_ok());
        for gone in ["base/2", "base/1/7", "PG_VERSION"] {
            assert!(!path.join(gone).exists(), "{gone}");
        }
        root.replace_file(Path::new("base/2/1260")).unwrap();
        root.replace_file(Path::new("base/1/1259")).unwrap();
        assert_eq!(fs::metadata(path.join("base/1/1259")).unwrap().len(), 0);
        assert!(root.open_existing(Path::new("base/1/1259")).unwrap().is_some());
        assert!(root.open_existing(Path::new("base/1/7")).unwrap().is_none());
        assert!(root.open_existing(Path::new("base/3/7")).unwrap().is_none());
    }

    #[test]
    fn links_in_the_folder_are_not_followed() {
        let (parent, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = parent.path().join("data");
        let mut root = filled(&path);
        root.create_file(Path::new("global/1")).unwrap();
        fs::rename(path.join("base"), path.join("moved")).unwrap();
        symlink(elsewhere.path(), path.join("base")).unwrap();
        assert!(root.create_file(Path::new("base/1/1260")).is_err());
        assert!(root.create_file(Path::new("base/1260")).is_err());
        drop(root);
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }
}
