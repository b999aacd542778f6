//! Atomic writes: temporary files, private and hidden while they are written, and published once,
//! complete, without overwriting.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use longshore_core::temp_name::{PREFIX, SUFFIX};
use longshore_core::{Error, Kind, Result, Stage};
use rustix::fs::{Advice, OFlags, fadvise};
use tempfile::NamedTempFile;

use crate::is_not_found;
use crate::root_dir::{Location, RootDir, failure};

/// The number of bytes after which written data is flushed to disk, while further data is received.
/// A dump must not displace other data from memory.
const DIRTY_BYTES: u64 = 32 << 20;

/// A file that is being written. Dropping it removes the file; if its process dies, the next
/// writer in its folder does.
#[derive(Debug)]
pub(crate) struct TempFile {
    /// The file, locked while it is open: the lock shows that its writer is alive.
    file: NamedTempFile,
    root: RootDir,
    target: Location,
    dirty_bytes: u64,
    /// The running flush of bytes written before.
    flush: Option<JoinHandle<io::Result<()>>>,
}

impl TempFile {
    /// Creates a temporary file for `target`, and removes the temporary files of dead writers
    /// beside it. Fails if `target` exists.
    pub(crate) fn create(root: &RootDir, target: Location) -> Result<Self> {
        root.check()?;
        // Fails before a byte is read; publishing checks again, for concurrent writers.
        match target.path.symlink_metadata() {
            Ok(_) => return Err(already_exists(&target.path)),
            Err(error) if is_not_found(&error) => {}
            Err(error) => return Err(failure(&target.path, "cannot inspect the file", error)),
        }
        root.require_free_bytes(1)?;
        root.create_folders(&target.folder)?;
        sweep(&target.folder)?;
        let file = create_locked(&target.folder)?;
        Ok(Self { file, root: root.clone(), target, dirty_bytes: 0, flush: None })
    }

    /// Performs all operations of a write in the directory itself, and removes the file.
    pub(crate) fn probe(root: &RootDir) -> Result<()> {
        let file = Self {
            file: create_locked(&root.path)?,
            root: root.clone(),
            target: Location { path: root.path.clone(), folder: root.path.clone() },
            dirty_bytes: 0,
            flush: None,
        };
        file.set_mode_and_owner()
    }

    /// Writes further chunks.
    pub(crate) fn write(&mut self, chunks: &[Bytes]) -> Result<()> {
        let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        self.root.require_free_bytes(bytes)?;
        for chunk in chunks {
            self.file.as_file_mut().write_all(chunk).map_err(|error| self.failure("cannot write", error))?;
        }
        self.dirty_bytes += bytes;
        if self.dirty_bytes >= DIRTY_BYTES {
            self.dirty_bytes = 0;
            self.start_flush().map_err(|error| self.failure("cannot write", error))?;
        }
        Ok(())
    }

    /// Flushes the bytes written so far to disk and out of memory, while further ones are received:
    /// this process does not read them again.
    fn start_flush(&mut self) -> io::Result<()> {
        self.finish_flush()?;
        let file = self.file.as_file().try_clone()?;
        let flush = thread::Builder::new().spawn(move || {
            file.sync_data()?;
            Ok(fadvise(file, 0, None, Advice::DontNeed)?)
        })?;
        self.flush = Some(flush);
        Ok(())
    }

    /// Waits for the flush. An error must be returned here: the kernel does not report it again.
    fn finish_flush(&mut self) -> io::Result<()> {
        match self.flush.take() {
            Some(flush) => {
                flush.join().unwrap_or_else(|_| Err(io::Error::other("the thread that flushes the file panicked")))
            }
            None => Ok(()),
        }
    }

    /// Flushes the file to disk, then gives it its own name, unless the name is taken by now.
    pub(crate) fn publish(mut self) -> Result<PublishedFile> {
        self.set_mode_and_owner()?;
        self.finish_flush()
            .and_then(|()| self.file.as_file().sync_all())
            .map_err(|error| self.failure("cannot flush the file to disk", error))?;
        let Self { file, root, target, .. } = self;
        file.persist_noclobber(&target.path).map_err(|refused| match refused.error.kind() {
            io::ErrorKind::AlreadyExists => already_exists(&target.path),
            _ => failure(&target.path, "cannot publish the file under its name", refused.error),
        })?;
        let published = PublishedFile { root, target, kept: false };
        published.root.fsync_with_parents(&published.target.folder)?;
        Ok(published)
    }

    /// Sets the mode and the owner of the file; until now they were the writer's own.
    fn set_mode_and_owner(&self) -> Result<()> {
        let (file, permissions) = (self.file.as_file(), self.root.permissions);
        // A sandbox may forbid chown, so it is called only if an owner or a group is set.
        let result = match (permissions.owner, permissions.group) {
            (None, None) => Ok(()),
            (owner, group) => fchown(file, owner, group),
        };
        result
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
pub(crate) struct PublishedFile {
    root: RootDir,
    target: Location,
    kept: bool,
}

impl PublishedFile {
    /// Keeps the file: the shipper still exists to receive the result.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for PublishedFile {
    fn drop(&mut self) {
        if !self.kept && fs::remove_file(&self.target.path).is_ok() {
            self.root.fsync(&self.target.folder).ok();
        }
    }
}

fn already_exists(path: &Path) -> Error {
    let subject = path.display().to_string();
    Error::new(Stage::Ship, Kind::AlreadyExists, subject, "already exists, and nothing is ever overwritten").hint(
        "another run used the same time, or another host writes to the same directory: give each host its own path",
    )
}

/// Creates a file with a random name, private to its owner, and locks it.
fn create_locked(folder: &Path) -> Result<NamedTempFile> {
    let failed = |message, error| failure(folder, message, error);
    loop {
        let file = tempfile::Builder::new()
            .prefix(PREFIX)
            .suffix(SUFFIX)
            .rand_bytes(12)
            .tempfile_in(folder)
            .map_err(|error| failed("cannot create a file in the directory", error))?;
        match file.as_file().try_lock() {
            Ok(()) => {}
            // A sweep has locked the file in between.
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(failed("cannot lock a file in the directory", error)),
        }
        if link_count(file.as_file()).map_err(|error| failed("cannot inspect a file in the directory", error))? > 0 {
            return Ok(file);
        }
    }
}

fn link_count(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.nlink())
}

/// Removes the temporary files in `folder` whose writers have died. Files that cannot be checked or
/// removed are ignored.
fn sweep(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|error| failure(folder, "cannot read the directory", error))?;
    for entry in entries {
        let entry = entry.map_err(|error| failure(folder, "cannot read the directory", error))?;
        let is_temp_file =
            entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
        if is_temp_file {
            sweep_file(&entry.path()).ok();
        }
    }
    Ok(())
}

fn sweep_file(path: &Path) -> io::Result<()> {
    // Symbolic links are not followed and pipes do not block: a foreign file of such a name is
    // harmless.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    file.try_lock()?;
    // The lock is held until the file is removed: a writer that locks it afterwards sees that its
    // file has no name.
    fs::remove_file(path)
}
