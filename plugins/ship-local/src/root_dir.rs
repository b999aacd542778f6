//! The directory of a destination: refused if it may be the wrong one, with the properties of its
//! file system.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use longshore_core::key::Key;
use longshore_core::root_dir::RootError;
use longshore_core::{Error, Kind, Result, Stage};

use crate::settings::Permissions;

/// The directory of a destination.
#[derive(Debug, Clone)]
pub(crate) struct RootDir {
    pub(crate) path: PathBuf,
    pub(crate) permissions: Permissions,
    /// The number of bytes that stay free on the file system.
    pub(crate) reserve: u64,
}

/// The path of a key, and the folder that contains it.
#[derive(Debug)]
pub(crate) struct Location {
    pub(crate) path: PathBuf,
    pub(crate) folder: PathBuf,
}

impl RootDir {
    /// Fails if the directory does not exist, or is world-writable. Every operation checks this: a
    /// disk can be unmounted at any time.
    pub(crate) fn check(&self) -> Result<()> {
        let refused = |unfit: RootError| Err(unfit.error(&self.path.display().to_string(), self.path.display()));
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => refused(RootError::Missing),
            Err(error) => Err(failure(&self.path, "cannot inspect the directory", error)),
            Ok(metadata) if !metadata.is_dir() => refused(RootError::NotADirectory),
            Ok(metadata) if metadata.mode() & 0o002 != 0 => refused(RootError::WorldWritable),
            Ok(_) => Ok(()),
        }
    }

    pub(crate) fn location(&self, key: &Key) -> Location {
        Location { path: self.path.join(key.as_str()), folder: self.path.join(key.folder()) }
    }

    /// Creates the folders of the path to `folder`. None of them may be a symbolic link, since
    /// links are not listed.
    pub(crate) fn create_folders(&self, folder: &Path) -> Result<()> {
        for folder in self.path_to(folder) {
            match DirBuilder::new().mode(0o700).create(folder) {
                Ok(()) => self.set_mode_and_owner(folder).map_err(|error| {
                    // A folder without its mode and owner would stay so forever. The removal fails
                    // for a non-empty folder, whose mode and owner are set.
                    fs::remove_dir(folder).ok();
                    failure(folder, "cannot set the directory's mode and owner", error)
                })?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let metadata = fs::symlink_metadata(folder)
                        .map_err(|error| failure(folder, "cannot inspect the directory", error))?;
                    if !metadata.is_dir() {
                        let subject = folder.display().to_string();
                        let error =
                            Error::new(Stage::Ship, Kind::Refused, subject, "a parent of the path is not a directory");
                        return Err(error
                            .hint("move it away; symbolic links below the destination's directory are not followed"));
                    }
                    if metadata.mode() & 0o002 != 0 {
                        return Err(RootError::WorldWritable.error(&folder.display().to_string(), folder.display()));
                    }
                }
                Err(error) => return Err(failure(folder, "cannot create the directory", error)),
            }
        }
        Ok(())
    }

    /// Returns the world-writable folders in the directory.
    pub(crate) fn world_writable_folders(&self) -> Result<Vec<String>> {
        let mut exposed = Vec::new();
        let mut folders = vec![self.path.clone()];
        while let Some(folder) = folders.pop() {
            let read_error = |error| failure(&folder, "cannot read the directory", error);
            for entry in fs::read_dir(&folder).map_err(read_error)? {
                let entry = entry.map_err(read_error)?;
                // Symbolic links are not followed; a folder removed in the meantime is skipped.
                let Some(metadata) = entry.metadata().ok().filter(fs::Metadata::is_dir) else { continue };
                let path = entry.path();
                let name = path.strip_prefix(&self.path).unwrap_or(&path).display().to_string();
                if Key::parse(&name).is_err() {
                    continue;
                }
                if metadata.mode() & 0o002 != 0 {
                    exposed.push(name);
                }
                folders.push(path);
            }
        }
        Ok(exposed)
    }

    fn set_mode_and_owner(&self, folder: &Path) -> io::Result<()> {
        let Permissions { dir, owner, group, .. } = self.permissions;
        if owner.is_some() || group.is_some() {
            chown(folder, owner, group)?;
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(dir))
    }

    /// Flushes changes in `folder` to disk, and the folder's own entry in its parents.
    pub(crate) fn fsync_with_parents(&self, folder: &Path) -> Result<()> {
        let above = std::iter::once(self.path.as_path()).chain(self.path_to(folder));
        above.collect::<Vec<_>>().into_iter().rev().try_for_each(|folder| self.fsync(folder))
    }

    /// Flushes changes in `folder` to disk.
    pub(crate) fn fsync(&self, folder: &Path) -> Result<()> {
        match File::open(folder).and_then(|folder| folder.sync_all()) {
            // File systems without this call, such as some network file systems, persist
            // directories themselves.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
            result => result.map_err(|error| failure(folder, "cannot flush the directory to disk", error)),
        }
    }

    /// Returns the folders below the root down to `folder`, the uppermost first.
    fn path_to<'a>(&self, folder: &'a Path) -> impl Iterator<Item = &'a Path> + use<'a> {
        let mut folders: Vec<_> = folder.ancestors().take_while(|above| *above != self.path).collect();
        folders.reverse();
        folders.into_iter()
    }

    /// Returns the number of bytes that an ordinary user can write before the reserve is reached.
    pub(crate) fn free_bytes(&self) -> Result<u64> {
        let stats = rustix::fs::statvfs(&self.path)
            .map_err(|error| failure(&self.path, "cannot read the free space", error.into()))?;
        Ok(stats.f_bavail.saturating_mul(stats.f_frsize).saturating_sub(self.reserve))
    }

    /// Fails if writing `bytes` more would use the reserve.
    pub(crate) fn require_free_bytes(&self, bytes: u64) -> Result<()> {
        if self.reserve == 0 || self.free_bytes()? >= bytes {
            return Ok(());
        }
        let message =
            format!("no space left on the file system except the {} bytes reserved by min_free", self.reserve);
        Err(self.error(Kind::Failed, &message).hint(NO_SPACE_HINT))
    }

    fn error(&self, kind: Kind, message: &str) -> Error {
        Error::new(Stage::Ship, kind, self.path.display().to_string(), message)
    }
}

const NO_SPACE_HINT: &str =
    "free some space there (see `df -h` and `df -i`), keep fewer backups, or ship to a larger disk";

/// Returns the error for an I/O error at `path`, with a hint.
pub(crate) fn failure(path: &Path, message: &str, error: io::Error) -> Error {
    use io::ErrorKind as Io;
    let subject = path.display().to_string();
    let failed = |message: &str, hint: &str| Error::new(Stage::Ship, Kind::Failed, &subject, message).hint(hint);
    match error.kind() {
        Io::StorageFull => failed("no space left on the file system", NO_SPACE_HINT).because(error),
        Io::QuotaExceeded => {
            failed("no space left on the file system for this user: the quota is used up", NO_SPACE_HINT).because(error)
        }
        Io::ReadOnlyFilesystem => {
            failed(message, "the file system is mounted read-only, often after a disk error: check `dmesg`")
                .because(error)
        }
        Io::FileTooLarge => {
            failed(message, "check the maximum file size of the file system and of the process (`ulimit -f`)")
                .because(error)
        }
        // A part of the path is missing, which does not prove that the file is absent.
        Io::NotFound => {
            failed(message, "it was removed in the meantime, or its disk was unmounted: check the mount").because(error)
        }
        Io::PermissionDenied => Error::io(Stage::Ship, subject, message, error)
            .hint("grant the user that runs longshore read and write permission, or run it as the directory's owner"),
        _ => Error::io(Stage::Ship, subject, message, error).hint("check `dmesg` for disk errors"),
    }
}
