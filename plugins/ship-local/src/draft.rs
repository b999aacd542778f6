//! Temporary files: private and hidden while they are written, and published once, complete,
//! without overwriting.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use longshore_core::draft::{PREFIX, SUFFIX};
use longshore_core::{Error, Kind, Result, Stage};
use rustix::fs::{Advice, OFlags, fadvise};
use tempfile::NamedTempFile;

use crate::absent;
use crate::root::{Place, Root, failure};

/// The number of bytes after which written data is flushed to disk, while further data is received.
/// A dump must not displace other data from memory.
const DIRTY_BYTES: u64 = 32 << 20;

/// A file that is being written. Dropping it removes the file; if its process dies, the next draft
/// in its folder does.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The file, locked while it is open: the lock shows that its writer is alive.
    file: NamedTempFile,
    root: Root,
    target: Place,
    dirty_bytes: u64,
    /// The running flush of bytes written before.
    cleaning: Option<JoinHandle<io::Result<()>>>,
}

impl Draft {
    /// Creates a draft of the file at `target`, unless the file exists, and removes the drafts of
    /// dead writers beside it.
    pub(crate) fn begin(root: &Root, target: Place) -> Result<Self> {
        root.stand()?;
        // Fails before a byte is read; publishing checks again, for concurrent writers.
        match target.path.symlink_metadata() {
            Ok(_) => return Err(taken(&target.path)),
            Err(error) if absent(&error) => {}
            Err(error) => return Err(failure(&target.path, "cannot inspect the file", error)),
        }
        root.expect_room(1)?;
        root.make(&target.folder)?;
        sweep(&target.folder)?;
        let file = create(&target.folder)?;
        Ok(Self { file, root: root.clone(), target, dirty_bytes: 0, cleaning: None })
    }

    /// Performs all operations of a draft in the directory itself, and removes the draft.
    pub(crate) fn try_out(root: &Root) -> Result<()> {
        let draft = Self {
            file: create(&root.path)?,
            root: root.clone(),
            target: Place { path: root.path.clone(), folder: root.path.clone() },
            dirty_bytes: 0,
            cleaning: None,
        };
        draft.dress()
    }

    /// Writes further chunks.
    pub(crate) fn write(&mut self, chunks: &[Bytes]) -> Result<()> {
        let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        self.root.expect_room(bytes)?;
        for chunk in chunks {
            self.file.as_file_mut().write_all(chunk).map_err(|error| self.failure("cannot write", error))?;
        }
        self.dirty_bytes += bytes;
        if self.dirty_bytes >= DIRTY_BYTES {
            self.dirty_bytes = 0;
            self.clean().map_err(|error| self.failure("cannot write", error))?;
        }
        Ok(())
    }

    /// Flushes the bytes written so far to disk and out of memory, while further ones are received:
    /// this process does not read them again.
    fn clean(&mut self) -> io::Result<()> {
        self.cleaned()?;
        let file = self.file.as_file().try_clone()?;
        let cleaning = thread::Builder::new().spawn(move || {
            file.sync_data()?;
            Ok(fadvise(file, 0, None, Advice::DontNeed)?)
        })?;
        self.cleaning = Some(cleaning);
        Ok(())
    }

    /// Waits for the flush. An error must be returned here: the kernel does not report it again.
    fn cleaned(&mut self) -> io::Result<()> {
        match self.cleaning.take() {
            Some(cleaning) => {
                cleaning.join().unwrap_or_else(|_| Err(io::Error::other("the thread that flushes the file panicked")))
            }
            None => Ok(()),
        }
    }

    /// Flushes the file to disk, then gives it its own name, unless the name is taken by now.
    pub(crate) fn publish(mut self) -> Result<Published> {
        self.dress()?;
        self.cleaned()
            .and_then(|()| self.file.as_file().sync_all())
            .map_err(|error| self.failure("cannot flush the file to disk", error))?;
        let Self { file, root, target, .. } = self;
        file.persist_noclobber(&target.path).map_err(|refused| match refused.error.kind() {
            io::ErrorKind::AlreadyExists => taken(&target.path),
            _ => failure(&target.path, "cannot publish the file under its name", refused.error),
        })?;
        let published = Published { root, target, kept: false };
        published.root.settle(&published.target.folder)?;
        Ok(published)
    }

    /// Sets the mode and the owner of the file; until now they were the writer's own.
    fn dress(&self) -> Result<()> {
        let (file, permissions) = (self.file.as_file(), self.root.permissions);
        // A sandbox may forbid chown, so it is called only if an owner or a group is set.
        let owned = match (permissions.owner, permissions.group) {
            (None, None) => Ok(()),
            (owner, group) => fchown(file, owner, group),
        };
        owned
            .and_then(|()| file.set_permissions(fs::Permissions::from_mode(permissions.file)))
            .map_err(|error| self.failure("cannot set the file's mode and owner", error))
    }

    fn failure(&self, message: &str, error: io::Error) -> Error {
        failure(&self.target.path, message, error)
    }
}

/// A visible file whose shipper may have been dropped: unless it is kept, dropping this removes the
/// file.
#[derive(Debug)]
pub(crate) struct Published {
    root: Root,
    target: Place,
    kept: bool,
}

impl Published {
    /// Keeps the file: the shipper still exists to receive the result.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        if !self.kept && fs::remove_file(&self.target.path).is_ok() {
            self.root.settle_within(&self.target.folder).ok();
        }
    }
}

fn taken(path: &Path) -> Error {
    let subject = path.display().to_string();
    Error::new(Stage::Ship, Kind::AlreadyExists, subject, "already exists, and nothing is ever overwritten").hint(
        "another run used the same time, or another host writes to the same directory: give each host its own path",
    )
}

/// Creates a file with a random name, private to its owner, and locks it.
fn create(folder: &Path) -> Result<NamedTempFile> {
    let named = |message, error| failure(folder, message, error);
    loop {
        let file = tempfile::Builder::new()
            .prefix(PREFIX)
            .suffix(SUFFIX)
            .rand_bytes(12)
            .tempfile_in(folder)
            .map_err(|error| named("cannot create a file in the directory", error))?;
        match file.as_file().try_lock() {
            Ok(()) => {}
            // A sweep has locked the file in between.
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(named("cannot lock a file in the directory", error)),
        }
        if links(file.as_file()).map_err(|error| named("cannot inspect a file in the directory", error))? > 0 {
            return Ok(file);
        }
    }
}

fn links(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.nlink())
}

/// Removes the drafts in `folder` whose writers have died. Drafts that cannot be checked or removed
/// are ignored.
fn sweep(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|error| failure(folder, "cannot read the directory", error))?;
    for entry in entries {
        let entry = entry.map_err(|error| failure(folder, "cannot read the directory", error))?;
        let is_draft =
            entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
        if is_draft {
            sweep_one(&entry.path()).ok();
        }
    }
    Ok(())
}

fn sweep_one(draft: &Path) -> io::Result<()> {
    // Symbolic links are not followed and pipes do not block: a foreign file of such a name is
    // harmless.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags.bits().cast_signed()).open(draft)?;
    file.try_lock()?;
    // The lock is held until the file is removed: a writer that locks it afterwards sees that its
    // file has no name.
    fs::remove_file(draft)
}
