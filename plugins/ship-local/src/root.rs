//! The directory that a destination is: refused where it could be the wrong one, and what of its file system matters.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use longshore_core::key::Key;
use longshore_core::root::Unfit;
use longshore_core::{Error, Kind, Result, Stage};

use crate::settings::Permissions;
use crate::settle::Settling;

/// A directory that backups lie in.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub(crate) path: PathBuf,
    pub(crate) permissions: Permissions,
    /// How many bytes of its file system stay free.
    pub(crate) reserve: u64,
    pub(crate) settling: Arc<Settling>,
}

/// Where a key lies, and the folder that it lies in.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) folder: PathBuf,
}

impl Root {
    /// Refuses a directory that is not there, or that anybody may write to. Each operation asks: a disk can go at any time.
    pub(crate) fn stand(&self) -> Result<()> {
        let refused = |unfit: Unfit| Err(unfit.error(&self.path.display().to_string(), self.path.display()));
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => refused(Unfit::Missing),
            Err(error) => Err(failure(&self.path, "cannot look at the directory", error)),
            Ok(found) if !found.is_dir() => refused(Unfit::NoDirectory),
            Ok(found) if found.mode() & 0o002 != 0 => refused(Unfit::Exposed),
            Ok(_) => Ok(()),
        }
    }

    pub(crate) fn place(&self, key: &Key) -> Place {
        Place { path: self.path.join(key.as_str()), folder: self.path.join(key.folder()) }
    }

    /// Makes the folders that lead to `folder`. None of them may be a link: what is behind it is not listed.
    pub(crate) fn make(&self, folder: &Path) -> Result<()> {
        for folder in self.path_to(folder) {
            match DirBuilder::new().mode(0o700).create(folder) {
                Ok(()) => self.dress(folder).map_err(|error| {
                    // Without its mode and owner it would stay so for good; it is empty, and if it is not, it has been dressed.
                    fs::remove_dir(folder).ok();
                    failure(folder, "cannot set the directory's mode and owner", error)
                })?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let found = fs::symlink_metadata(folder)
                        .map_err(|error| failure(folder, "cannot look at the directory", error))?;
                    if !found.is_dir() {
                        let subject = folder.display().to_string();
                        let error = Error::new(Stage::Ship, Kind::Refused, subject, "in the way: not a directory");
                        return Err(
                            error.hint("move it away; links are not followed below the destination's directory")
                        );
                    }
                    if found.mode() & 0o002 != 0 {
                        return Err(Unfit::Exposed.error(&folder.display().to_string(), folder.display()));
                    }
                }
                Err(error) => return Err(failure(folder, "cannot make the directory", error)),
            }
        }
        Ok(())
    }

    /// The folders in it that everybody may write to.
    pub(crate) fn exposed_folders(&self) -> Result<Vec<String>> {
        let mut exposed = Vec::new();
        let mut folders = vec![self.path.clone()];
        while let Some(folder) = folders.pop() {
            let unread = |error| failure(&folder, "cannot read the directory", error);
            for entry in fs::read_dir(&folder).map_err(unread)? {
                let entry = entry.map_err(unread)?;
                // Links are not followed; a folder that was removed meanwhile is skipped.
                let Some(found) = entry.metadata().ok().filter(fs::Metadata::is_dir) else { continue };
                let path = entry.path();
                let name = path.strip_prefix(&self.path).unwrap_or(&path).display().to_string();
                if Key::parse(&name).is_err() {
                    continue;
                }
                if found.mode() & 0o002 != 0 {
                    exposed.push(name);
                }
                folders.push(path);
            }
        }
        Ok(exposed)
    }

    fn dress(&self, folder: &Path) -> io::Result<()> {
        let Permissions { dir, owner, group, .. } = self.permissions;
        if owner.is_some() || group.is_some() {
            chown(folder, owner, group)?;
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(dir))
    }

    /// Makes what happened in `folder` survive a power cut, and that the folder is there at all, whoever has made it.
    pub(crate) fn settle(&self, folder: &Path) -> Result<()> {
        let above = std::iter::once(self.path.as_path()).chain(self.path_to(folder));
        above.collect::<Vec<_>>().into_iter().rev().try_for_each(|folder| self.settle_within(folder))
    }

    /// Makes what happened in `folder` survive a power cut, where the folder itself may as well be gone.
    pub(crate) fn settle_within(&self, folder: &Path) -> Result<()> {
        match self.settling.settle(folder) {
            // What has no such call, such as some network file systems, keeps directories without being asked.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
            settled => settled.map_err(|error| failure(folder, "cannot make the directory durable", error)),
        }
    }

    /// The folders below the root down to `folder`, the uppermost first.
    fn path_to<'a>(&self, folder: &'a Path) -> impl Iterator<Item = &'a Path> + use<'a> {
        let mut folders: Vec<_> = folder.ancestors().take_while(|above| *above != self.path).collect();
        folders.reverse();
        folders.into_iter()
    }

    /// The bytes that an ordinary user can still write before the reserve begins.
    pub(crate) fn room(&self) -> Result<u64> {
        let found = rustix::fs::statvfs(&self.path)
            .map_err(|error| failure(&self.path, "cannot tell the free space", error.into()))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize).saturating_sub(self.reserve))
    }

    /// Refuses to write `bytes` more where that would use the reserve up.
    pub(crate) fn expect_room(&self, bytes: u64) -> Result<()> {
        if self.reserve == 0 || self.room()? >= bytes {
            return Ok(());
        }
        let message = format!("no space left on the file system but the {} bytes that min_free keeps", self.reserve);
        Err(self.error(Kind::Failed, &message).hint(MORE_SPACE))
    }

    fn error(&self, kind: Kind, message: &str) -> Error {
        Error::new(Stage::Ship, kind, self.path.display().to_string(), message)
    }
}

const MORE_SPACE: &str =
    "free some space there (see `df -h` and `df -i`), keep fewer backups, or ship to a larger disk";

/// What an I/O error at `path` means, and the way out.
pub(crate) fn failure(path: &Path, message: &str, error: io::Error) -> Error {
    use io::ErrorKind as Io;
    let subject = path.display().to_string();
    let failed = |message: &str, hint: &str| Error::new(Stage::Ship, Kind::Failed, &subject, message).hint(hint);
    match error.kind() {
        Io::StorageFull => failed("no space left on the file system", MORE_SPACE).because(error),
        Io::QuotaExceeded => {
            failed("no space left on the file system for this user: the quota is used up", MORE_SPACE).because(error)
        }
        Io::ReadOnlyFilesystem => {
            failed(message, "the file system is mounted read-only, often after an error: see `dmesg`").because(error)
        }
        Io::FileTooLarge => {
            failed(message, "the file system or a limit (`ulimit -f`) forbids files this large").because(error)
        }
        // Not what was asked for, but something on the way to it; nobody may take it for proven absence.
        Io::NotFound => failed(message, "somebody has removed it meanwhile, or its disk has gone").because(error),
        Io::PermissionDenied => Error::io(Stage::Ship, subject, message, error)
            .hint("give the user that runs longshore its rights there (to back up takes reading and writing), or run it as the directory's owner"),
        _ => Error::io(Stage::Ship, subject, message, error).hint("see `dmesg` for what the kernel says of the disk"),
    }
}
