//! Copies of files that share their blocks with the originals, on XFS.
//!
//! Each file is copied at its own moment, so the copy is consistent only as a backup between
//! `pg_backup_start` and `pg_backup_stop`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use longshore_core::{Error, Kind, Result, Stage, regular_file};
use longshore_pg_base::control;
use rustix::fs::ioctl_ficlone;
use rustix::io::Errno;

use super::program::is_root;
use crate::listing::{Entry, Listing, UnloggedContent};
use crate::location::{Location, TABLESPACES, unreadable};

/// The folder of the copy of the data directory.
const DATA: &str = "data";

/// Copies the files of a backup into a new folder. Returns the folders of the copy.
pub(super) fn copy(live: &Location, folder: &Path, major: u32) -> Result<Location> {
    let listing = Listing::of(live, major, UnloggedContent::Omitted)?;
    let copy = location(live, folder);
    let mut made = fs::DirBuilder::new();
    made.mode(0o700);
    for path in [folder.to_owned(), copy.data.clone(), folder.join(TABLESPACES)] {
        made.create(&path).map_err(|error| unwritable(&path, error))?;
    }
    for entry in listing.entries {
        match entry {
            Entry::Directory(member, _) => {
                let path = copy.resolve(&member);
                made.create(&path).map_err(|error| unwritable(&path, error))?;
            }
            Entry::File(member) => copy_file(live, &copy, &member)?,
        }
    }
    // A standby is consistent at a position in pg_control, so all other files precede it.
    copy_file(live, &copy, control::PATH.as_bytes())?;
    Ok(copy)
}

/// Returns the folders of the copy in a folder.
pub(super) fn location(live: &Location, folder: &Path) -> Location {
    let tablespaces = live.tablespaces.keys().map(|oid| (*oid, folder.join(TABLESPACES).join(oid.to_string())));
    Location { data: folder.join(DATA), tablespaces: tablespaces.collect() }
}

fn copy_file(live: &Location, copy: &Location, member: &[u8]) -> Result<()> {
    let (from, to) = (live.resolve(member), copy.resolve(member));
    let source = match regular_file::open(&from, OpenOptions::new().read(true)) {
        Ok(source) => source,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(&from, error)),
    };
    let metadata = source.metadata().map_err(|error| unreadable(&from, error))?;
    let target = OpenOptions::new().write(true).create_new(true).mode(metadata.mode() & 0o777).open(&to);
    let target = target.map_err(|error| unwritable(&to, error))?;
    share(&source, &target, &from)?;
    match is_root() {
        true => fchown(&target, Some(metadata.uid()), Some(metadata.gid())).map_err(|error| unwritable(&to, error)),
        false => Ok(()),
    }
}

/// Lets a file share the blocks of another one.
fn share(source: &File, target: &File, from: &Path) -> Result<()> {
    ioctl_ficlone(target, source).map_err(|error| {
        let refused = |message: &str, hint: &str| {
            Error::new(Stage::Dump, Kind::Refused, from.display().to_string(), message).hint(hint)
        };
        match error {
            Errno::XDEV => refused(
                "on another file system than the folder of snapshots: the snapshot would lack it",
                "move it to the file system of the data directory, or use type = \"pg_files\"",
            ),
            Errno::OPNOTSUPP | Errno::INVAL | Errno::NOTTY => refused(
                "the file system does not share blocks between files",
                "use XFS that was made with reflink=1, or type = \"pg_files\"",
            ),
            error => unreadable(from, error.into()),
        }
    })
}

fn unwritable(path: &Path, error: io::Error) -> Error {
    Error::io(Stage::Dump, path.display().to_string(), "cannot be written", error)
}
