//! The check of a folder to restore into: new, or empty.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use longshore_core::plugin::ExistingFiles;
use longshore_core::{Error, Kind, Result, Stage};
use rustix::fs::{Access, AtFlags, CWD, Uid, accessat};

use crate::root::failure;

/// The use of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The data directory, whose mode and owner a server checks.
    DataDirectory,
    /// The folder of a tablespace.
    Tablespace,
}

/// A folder that can be restored into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder {
    /// The absolute path as the operator wrote it, without blanks such as a slash at its end.
    pub(crate) path: PathBuf,
    /// The path without symbolic links.
    pub(crate) resolved: PathBuf,
    /// The existing folder: this one, or the one to make it in.
    pub(crate) existing: PathBuf,
    /// True if the folder contains files that the restore replaces.
    pub(crate) has_files: bool,
}

impl Folder {
    /// Returns true if the folder does not exist yet.
    pub(crate) fn is_new(&self) -> bool {
        self.existing != self.resolved
    }
}

/// Checks a folder for a restore by the user `process`.
pub(crate) fn check(path: &Path, purpose: Purpose, files: ExistingFiles, process: Uid) -> Result<Folder> {
    let path = normal(path)?;
    let refused = |message: String| Error::new(Stage::Restore, Kind::Refused, path.display().to_string(), message);
    let unreadable = |error| failure(&path, "cannot be read", error);
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if fs::symlink_metadata(&path).is_ok() {
                return Err(
                    refused("a link to a missing folder".to_owned()).hint("remove the link, or name a new directory")
                );
            }
            return check_parent(path);
        }
        Err(error) => return Err(unreadable(error)),
    };
    if !metadata.is_dir() {
        return Err(refused("not a directory".to_owned()).hint("name a new or empty directory"));
    }
    let access = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    accessat(CWD, &path, access, AtFlags::EACCESS).map_err(|errno| {
        failure(&path, "not readable and writable", errno.into())
            .hint("restore as the owner of the directory, or as root")
    })?;
    let occupied = occupied(&path).map_err(unreadable)?;
    let has_files = occupied.is_some();
    match (occupied, files) {
        (None, _) => {}
        (Some(error), ExistingFiles::Refused) => return Err(error),
        (Some(_), ExistingFiles::Replaced) => {
            expect_stopped(&path, purpose).map_err(unreadable)?.map_or(Ok(()), Err)?
        }
    }
    if purpose == Purpose::DataDirectory {
        let mode = metadata.mode() & 0o7777;
        // As `checkDataDir` in PostgreSQL's src/backend/utils/init/miscinit.c.
        if mode & 0o727 != 0o700 {
            return Err(refused(format!("the directory has mode {mode:04o}, and a server accepts only 0700 and 0750"))
                .hint(format!("run `chmod 700 {}`", path.display())));
        }
        if !process.is_root() && metadata.uid() != process.as_raw() {
            return Err(refused(format!(
                "user {} owns the directory, and a server accepts only its own",
                metadata.uid()
            ))
            .hint("restore as that user, or name a new directory"));
        }
    }
    let resolved = fs::canonicalize(&path).map_err(unreadable)?;
    Ok(Folder { existing: resolved.clone(), resolved, path, has_files })
}

/// Checks the folder in which a new folder is to be made.
fn check_parent(path: PathBuf) -> Result<Folder> {
    // An absolute path that does not exist is not the root of the file system.
    let (parent, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
    let existing = fs::canonicalize(parent).map_err(|error| {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        let error = failure(&path, &format!("cannot be made in {}", parent.display()), error);
        if is_missing { error.hint(format!("create the parent: mkdir -p {}", parent.display())) } else { error }
    })?;
    accessat(CWD, &existing, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).map_err(|errno| {
        failure(&path, &format!("cannot be made in {}", parent.display()), errno.into())
            .hint("create the directory as root and make this user its owner, or restore as root")
    })?;
    Ok(Folder { resolved: existing.join(name), existing, path, has_files: false })
}

/// Returns an absolute path in its shortest form.
fn normal(path: &Path) -> Result<PathBuf> {
    let refused = |message: &str, hint: &str| {
        Err(Error::new(Stage::Restore, Kind::Refused, path.display().to_string(), message).hint(hint))
    };
    if !path.is_absolute() {
        return refused("not an absolute path", "write the path from the root, such as /var/lib/postgresql/restored");
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return refused("the path contains \"..\"", "write the path without \"..\"");
    }
    if path.file_name().is_none() {
        return refused("the root of the file system", "name a new or empty directory");
    }
    Ok(path.components().collect())
}

/// Returns the reason why the files of a folder are not replaced, if they are not those of a
/// stopped server.
fn expect_stopped(path: &Path, purpose: Purpose) -> io::Result<Option<Error>> {
    let refused = |message: &str, hint: &str| {
        Some(Error::new(Stage::Restore, Kind::Refused, path.display().to_string(), message).hint(hint.to_owned()))
    };
    let names: Vec<_> = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    let has = |name: &str| names.iter().any(|found| found == name);
    Ok(match purpose {
        Purpose::DataDirectory if has("postmaster.pid") => refused(
            "contains postmaster.pid: a server uses this directory, or did until it crashed",
            "stop the server with pg_ctl; after a crash, make sure that no server runs, and remove the file",
        ),
        Purpose::DataDirectory if !has("PG_VERSION") => {
            refused("not the data directory of a cluster: it lacks PG_VERSION", "name a new or empty directory")
        }
        Purpose::Tablespace if !names.iter().all(|name| name.to_string_lossy().starts_with("PG_")) => {
            refused("contains other files than those of a tablespace", "name a new or empty directory")
        }
        Purpose::DataDirectory | Purpose::Tablespace => None,
    })
}

/// Returns the reason why an existing folder cannot be restored into, if it is not empty.
fn occupied(path: &Path) -> io::Result<Option<Error>> {
    /// The number of names in a message.
    const NAMED: usize = 3;
    let mut names: Vec<String> = Vec::new();
    let (mut has_server, mut has_cluster) = (false, false);
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        has_server |= name == "postmaster.pid";
        has_cluster |= name == "PG_VERSION";
        if names.len() <= NAMED {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    if names.is_empty() {
        return Ok(None);
    }
    names.sort();
    let subject = path.display().to_string();
    let (message, hint) = if has_server {
        let message = "contains postmaster.pid: a server uses this directory, or did until it crashed";
        (message.to_owned(), "name a new directory".to_owned())
    } else if has_cluster {
        let message = "contains PG_VERSION: the directory of a cluster or tablespace";
        let hint = "name a new directory; --delta replaces the files of the same cluster while its server is stopped";
        (message.to_owned(), hint.to_owned())
    } else if names == ["lost+found"] {
        let message = "contains lost+found: the root of a file system, where PostgreSQL advises against a cluster";
        (message.to_owned(), format!("name a directory in it, such as {}", path.join("data").display()))
    } else {
        let more = if names.len() > NAMED { ", …" } else { "" };
        names.truncate(NAMED);
        (format!("not empty: contains {}{more}", names.join(", ")), "name a new or empty directory".to_owned())
    };
    Ok(Some(Error::new(Stage::Restore, Kind::Refused, subject, message).hint(hint)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn check_data(path: &Path) -> Result<Folder> {
        check(path, Purpose::DataDirectory, ExistingFiles::Refused, rustix::process::geteuid())
    }

    fn private() -> tempfile::TempDir {
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir().unwrap()
    }

    #[track_caller]
    fn expect_refused(path: &Path, message: &str) {
        let error = check_data(path).unwrap_err();
        assert!(error.chain().contains(message), "{error:?}");
        assert!(error.remedy().is_some(), "{error:?}");
    }

    #[test]
    fn new_and_empty_folders_are_accepted() {
        let parent = private();
        let new = check_data(&parent.path().join("new/")).unwrap();
        assert!(new.is_new());
        assert_eq!(new.path, parent.path().join("new"));
        let empty = check_data(parent.path()).unwrap();
        assert!(!empty.is_new());
        assert_eq!(empty.existing, new.existing);
    }

    #[test]
    fn paths_must_be_absolute_and_plain() {
        expect_refused(Path::new("restored"), "not an absolute path");
        expect_refused(Path::new("/tmp/../restored"), "\"..\"");
        expect_refused(Path::new("/"), "the root of the file system");
    }

    #[test]
    fn parent_must_exist() {
        let parent = private();
        expect_refused(&parent.path().join("missing/data"), "cannot be made in");
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        expect_refused(&file, "not a directory");
        symlink("/nowhere/data", parent.path().join("link")).unwrap();
        expect_refused(&parent.path().join("link"), "a link to a missing folder");
    }

    #[test]
    fn occupied_folders_are_refused_by_content() {
        for (name, message) in [
            ("postmaster.pid", "a server uses this directory"),
            ("PG_VERSION", "the directory of a cluster"),
            ("lost+found", "the root of a file system"),
            (".hidden", "not empty: contains .hidden"),
        ] {
            let folder = private();
            fs::write(folder.path().join(name), "").unwrap();
            expect_refused(folder.path(), message);
        }
    }

    #[test]
    fn mode_is_checked_as_a_server_does() {
        let folder = private();
        for (mode, accepted) in [(0o700, true), (0o750, true), (0o755, false), (0o770, false)] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(check_data(folder.path()).is_ok(), accepted, "{mode:o}");
            check(folder.path(), Purpose::Tablespace, ExistingFiles::Refused, rustix::process::geteuid()).unwrap();
        }
        let error = check_data(folder.path()).unwrap_err();
        assert!(error.to_string().contains("mode 0770") && error.remedy().unwrap().contains("chmod 700"), "{error:?}");
    }

    #[test]
    fn other_users_folders_are_refused() {
        let folder = private();
        let other = Uid::from_raw(rustix::process::geteuid().as_raw() + 1);
        let error = check(folder.path(), Purpose::DataDirectory, ExistingFiles::Refused, other).unwrap_err();
        assert!(error.to_string().contains("owns the directory"), "{error}");
        check(folder.path(), Purpose::Tablespace, ExistingFiles::Refused, other).unwrap();
    }
}
