//! Being the only one at work. A lock is held by an open file, not by a file's existence, so it ends with its process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::error::{Error, Kind, Result, Stage};

/// Who holds a lock: what the next one is told.
#[derive(Debug, Clone)]
pub struct Holder {
    /// What it is doing, such as `run of job nightly`.
    pub work: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

impl Holder {
    fn line(&self) -> String {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let since = self.since.to_rfc3339_opts(SecondsFormat::Secs, true);
        format!("{}, process {} on {}, since {since}\n", self.work, std::process::id(), host.trim())
    }
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    /// The lock is the open file; closing it lets go. The file itself stays: one that is removed could have two holders.
    file: File,
    name: String,
    /// What the holder before had written, if anyone held it before.
    pub previous: Option<String>,
}

/// The most that is read of what a holder wrote.
const MAX_HOLDER_BYTES: u64 = 4096;

/// Takes the lock of the file at `path`, made if it is missing, or says who holds it.
pub fn acquire(path: &Path, holder: &Holder) -> Result<Lock> {
    let name = path.display().to_string();
    let failed = |message, error| Error::io(Stage::Lock, &name, message, error);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| failed("cannot open the lock file", error))?;
    let locked = file.try_lock();
    let mut written = String::new();
    if let Err(error) = (&file).take(MAX_HOLDER_BYTES).read_to_string(&mut written) {
        return Err(failed("cannot read the lock file", error));
    }
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = if written.is_empty() { "another process" } else { written.trim() };
            return Err(Error::new(Stage::Lock, Kind::Locked, name, format!("held by {holder}"))
                .hint("wait for it to end; the lock ends with its process, so there is nothing to remove"));
        }
        Err(TryLockError::Error(error)) => return Err(failed("cannot lock", error)),
    }
    let mut lock = Lock { file, name, previous: (!written.is_empty()).then_some(written) };
    lock.hold_as(holder)?;
    Ok(lock)
}

impl Lock {
    /// Says anew who holds it.
    pub fn hold_as(&mut self, holder: &Holder) -> Result<()> {
        let written = self.file.set_len(0).and_then(|()| self.file.rewind());
        let written = written.and_then(|()| self.file.write_all(holder.line().as_bytes()));
        written.map_err(|error| Error::io(Stage::Lock, &self.name, "cannot write the lock file", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_to_come_is_told_who_holds_it() {
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
}
