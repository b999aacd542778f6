//! The entries of open folders. Links are never followed.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, statat, unlinkat};
use rustix::io::Errno;

/// The flags with which folders are opened.
pub(super) const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Returns the names of a folder's entries.
pub(super) fn names(folder: &OwnedFd) -> io::Result<Vec<OsString>> {
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

/// Returns the type of an entry, without following a link.
pub(super) fn file_type(folder: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<FileType> {
    Ok(FileType::from_raw_mode(statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode))
}

/// Returns an open file, unless it is also a file of another folder.
pub(super) fn own_file(file: OwnedFd) -> io::Result<File> {
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file with only one name"));
    }
    Ok(File::from(file))
}

/// Removes all entries of a folder but these, also from the folders in it. `path` is the folder's
/// own path, by which the paths begin.
pub(super) fn retain_in(folder: BorrowedFd<'_>, path: &Path, paths: &HashSet<PathBuf>) -> io::Result<()> {
    for name in names(&folder.try_clone_to_owned()?)? {
        let entry = path.join(&name);
        match file_type(folder, &name)? {
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
pub(super) fn remove_entry(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
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
