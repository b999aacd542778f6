//! Exclusive locks. A lock belongs to an open file and not to the file's existence, so it ends with
//! its process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::error::{Error, Kind, Result, Stage, printable};
use crate::regular_file;

/// The holder of a lock, for the error of other processes.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The holder's work, such as `run of job nightly`.
    pub work: String,
    /// The beginning of the work.
    pub since: DateTime<Utc>,
}

impl Holder {
    fn line(&self) -> String {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let since = self.since.to_rfc3339_opts(SecondsFormat::Secs, true);
        format!("{}, process {} on {}, since {since}\n", self.work, std::process::id(), host.trim())
    }
}

/// A lock, released when dropped.
#[derive(Debug)]
pub struct Lock {
    /// The locked, open file. Closing it releases the lock. The file is never deleted: with a
    /// second file of this name, the lock could have two holders.
    file: File,
    name: String,
    /// The text of the previous holder, if any.
    pub previous: Option<String>,
}

/// The maximum number of bytes read of a holder's text.
const MAX_HOLDER_BYTES: u64 = 4096;

/// Acquires the lock of the file at `path`, and creates a missing file. The error names the holder.
pub fn acquire(path: &Path, holder: &Holder) -> Result<Lock> {
    let name = path.display().to_string();
    let failed = |message, error| Error::io(Stage::Lock, &name, message, error);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let invalid_file = |message: &str| {
        Error::new(Stage::Lock, Kind::Refused, &name, message)
            .hint("find out who created it, and remove it; a lock file is a regular file with one name")
    };
    let file = regular_file::open(path, &mut options).map_err(|error| match error.kind() {
        ErrorKind::InvalidInput | ErrorKind::IsADirectory => invalid_file("is not a lock file").because(error),
        _ => failed("cannot open the lock file", error),
    })?;
    // A hard link could refer to any file of this user.
    if file.metadata().map_err(|error| failed("cannot examine the lock file", error))?.nlink() > 1 {
        return Err(invalid_file("is not a lock file: it has several names"));
    }
    let locked = file.try_lock();
    let mut written = Vec::new();
    // The text only describes the holder, so it may contain any bytes.
    if let Err(error) = (&file).take(MAX_HOLDER_BYTES).read_to_end(&mut written) {
        return Err(failed("cannot read the lock file", error));
    }
    let written = String::from_utf8_lossy(&written).into_owned();
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = written.trim().lines().next().unwrap_or("another process");
            let holder = printable(holder);
            return Err(Error::new(Stage::Lock, Kind::Locked, name, format!("held by {holder}"))
                .hint("wait for this process to end, which releases the lock; do not remove the file"));
        }
        Err(TryLockError::Error(error)) => return Err(failed("cannot lock", error)),
    }
    let mut lock = Lock { file, name, previous: (!written.is_empty()).then_some(written) };
    lock.set_holder(holder)?;
    tracing::info!(target: "longshore::lock", file = lock.name, "locked");
    Ok(lock)
}

impl Lock {
    /// Replaces the text that describes the holder.
    pub fn set_holder(&mut self, holder: &Holder) -> Result<()> {
        let written = self.file.set_len(0).and_then(|()| self.file.rewind());
        let written = written.and_then(|()| self.file.write_all(holder.line().as_bytes()));
        written.map_err(|error| Error::io(Stage::Lock, &self.name, "cannot write the lock file", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_error_names_the_holder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nightly.lock");
        let holder = Holder { work: "run of job nightly".into(), since: Utc::now() };
        let first = acquire(&path, &holder).unwrap();
        let refused = acquire(&path, &holder).unwrap_err();
        assert_eq!(refused.kind(), Kind::Locked);
        assert!(refused.to_string().contains("run of job nightly, process"), "{refused}");
        drop(first);
        assert!(acquire(&path, &holder).unwrap().previous.unwrap().contains("nightly"));
    }

    #[test]
    fn refuses_files_that_are_no_lock_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let holder = Holder { work: "run of job nightly".into(), since: Utc::now() };
        std::fs::write(path("secret"), "kept").unwrap();
        std::os::unix::fs::symlink(path("secret"), path("link.lock")).unwrap();
        std::os::unix::fs::symlink(path("gone"), path("dangling.lock")).unwrap();
        std::fs::hard_link(path("secret"), path("second.lock")).unwrap();
        std::fs::create_dir(path("folder.lock")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path("fifo.lock")).status().unwrap().success());
        for name in ["link.lock", "dangling.lock", "second.lock", "folder.lock", "fifo.lock"] {
            let refused = acquire(&path(name), &holder).unwrap_err();
            assert_eq!(refused.kind(), Kind::Refused, "{name}: {}", refused.chain());
        }
        assert_eq!(std::fs::read(path("secret")).unwrap(), b"kept");
        assert!(!path("gone").exists());
    }

    #[test]
    fn lock_file_may_contain_any_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nightly.lock");
        let holder = Holder { work: "run of job nightly".into(), since: Utc::now() };
        for bytes in [&b"\xff\xfe\0\x1b[31mred"[..], &[0; 100_000], b""] {
            std::fs::write(&path, bytes).unwrap();
            drop(acquire(&path, &holder).unwrap());
            let first = acquire(&path, &holder).unwrap();
            std::fs::write(&path, bytes).unwrap();
            let refused = acquire(&path, &holder).unwrap_err();
            assert!(refused.kind() == Kind::Locked && !refused.chain().contains('\x1b'), "{}", refused.chain());
            drop(first);
        }
    }
}
