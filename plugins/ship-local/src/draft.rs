//! A file on its way: private and hidden while it is written, and published whole, once, over nothing.

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

/// How many bytes are written to the disk at a time, while as many again come in. A dump must not push everything else out of memory.
const DIRTY_BYTES: u64 = 32 << 20;

/// A file that is being written. Dropping it removes it; so does the next draft in its folder if its process dies.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Locked while it is open, which is how others know that its writer lives.
    file: NamedTempFile,
    root: Root,
    target: Place,
    dirty_bytes: u64,
    /// What was written before, on its way to the disk.
    cleaning: Option<JoinHandle<io::Result<()>>>,
}

impl Draft {
    /// Begins a draft of what is to be at `target`, if nothing is there, and sweeps what dead writers left beside it.
    pub(crate) fn begin(root: &Root, target: Place) -> Result<Self> {
        root.stand()?;
        // Told before a byte is read; publishing tells it again, for those who race.
        match target.path.symlink_metadata() {
            Ok(_) => return Err(taken(&target.path)),
            Err(error) if absent(&error) => {}
            Err(error) => return Err(failure(&target.path, "cannot look at it", error)),
        }
        root.expect_room(1)?;
        root.make(&target.folder)?;
        sweep(&target.folder)?;
        let file = create(&target.folder)?;
        Ok(Self { file, root: root.clone(), target, dirty_bytes: 0, cleaning: None })
    }

    /// Does all that a draft needs of the directory itself, and takes it away again.
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

    /// Writes more of it.
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

    /// Has what was written so far written to the disk, and out of memory, while more comes in: nobody here reads it again.
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

    /// Waits for the disk. What failed there is told here and nowhere else: the kernel does not repeat it.
    fn cleaned(&mut self) -> io::Result<()> {
        match self.cleaning.take() {
            Some(cleaning) => {
                cleaning.join().unwrap_or_else(|_| Err(io::Error::other("the thread that writes it died")))
            }
            None => Ok(()),
        }
    }

    /// Makes it durable, then visible under its own name, unless that was taken meanwhile.
    pub(crate) fn publish(mut self) -> Result<Published> {
        self.dress()?;
        self.cleaned()
            .and_then(|()| self.file.as_file().sync_all())
            .map_err(|error| self.failure("cannot make the file durable", error))?;
        let Self { file, root, target, .. } = self;
        file.persist_noclobber(&target.path).map_err(|refused| match refused.error.kind() {
            io::ErrorKind::AlreadyExists => taken(&target.path),
            _ => failure(&target.path, "cannot publish the file under its name", refused.error),
        })?;
        let published = Published { root, target, kept: false };
        published.root.settle(&published.target.folder)?;
        Ok(published)
    }

    /// Gives the file the mode and the owner that it is to have; until now they were the writer's own.
    fn dress(&self) -> Result<()> {
        let (file, permissions) = (self.file.as_file(), self.root.permissions);
        // A sandbox may forbid chown altogether, so it is called only where an owner or a group is set.
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

/// A file that is visible, whose shipper may still be gone: unless it is kept, dropping it removes it again.
#[derive(Debug)]
pub(crate) struct Published {
    root: Root,
    target: Place,
    kept: bool,
}

impl Published {
    /// The shipper is there to hear it: the file stays.
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
        "another run used the same time, or another host ships to the same directory: give each a path of its own",
    )
}

/// Makes a file of a name that nobody knows, for its maker's eyes alone, and locks it.
fn create(folder: &Path) -> Result<NamedTempFile> {
    let named = |message, error| failure(folder, message, error);
    loop {
        let file = tempfile::Builder::new()
            .prefix(PREFIX)
            .suffix(SUFFIX)
            .rand_bytes(12)
            .tempfile_in(folder)
            .map_err(|error| named("cannot make a file in the directory", error))?;
        match file.as_file().try_lock() {
            Ok(()) => {}
            // Somebody sweeps, and came between.
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(named("cannot lock a file in the directory", error)),
        }
        if links(file.as_file()).map_err(|error| named("cannot look at a file in the directory", error))? > 0 {
            return Ok(file);
        }
    }
}

fn links(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.nlink())
}

/// Removes the drafts in `folder` whose writers have died. One that cannot be judged or removed stays, and hinders nobody.
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
    // Not through a link, and without waiting for a pipe's other end: whatever bears such a name, it does no harm.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags.bits().cast_signed()).open(draft)?;
    file.try_lock()?;
    // The lock is held until the name is gone: a writer that comes between sees that its file has no name.
    fs::remove_file(draft)
}
