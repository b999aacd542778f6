//! The lock of a job: one run at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use longshore_config::{Config, Job};
use longshore_core::key::{Timestamp, encode_name};
use longshore_core::lock::{self, Holder, Lock};
use longshore_core::{Error, Kind, Result, Stage, regular_file};

use crate::dirs;

/// The file that contains the time of the newest run of a cluster, as a hint.
const NEWEST_RUN: &str = "newest";
/// The furthest that the recorded time may be ahead: a larger difference means that the clock
/// was set back.
const MAX_CLOCK_LEAD: TimeDelta = TimeDelta::seconds(2);
/// The interval between two readings of the clock.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The lock of a job, and the time of its run.
pub(crate) struct JobLock {
    /// The lock, held for the duration of the run.
    pub(crate) _lock: Lock,
    /// The time that all backups of the run carry.
    pub(crate) time: Timestamp,
    /// The holder that claims at destinations name.
    pub(crate) holder: Holder,
}

impl JobLock {
    /// Takes the lock of a job on this host.
    pub(crate) async fn take(config: &Config, job: &Job) -> Result<Self> {
        let folder = lock_dir(config)?;
        let mut holder = Holder { work: format!("run of job \"{}\"", job.name), since: Utc::now() };
        let mut lock = lock::acquire(&folder.join(format!("{}-{}.lock", job.name, config.digest())), &holder)?;
        holder.since = reserve_second(&folder, &job.site.cluster.name).await?;
        lock.set_holder(&holder)?;
        Ok(Self { _lock: lock, time: Timestamp::new(holder.since), holder })
    }
}

/// Waits for a second that no other run of the cluster on this host has taken, and takes the
/// second. Backup names contain the second, and the runs of two jobs may copy the same subject to
/// one destination.
async fn reserve_second(folder: &Path, cluster: &str) -> Result<DateTime<Utc>> {
    let path = folder.join(format!("{}.{NEWEST_RUN}", encode_name(cluster)));
    let failed = |error| Error::io(Stage::Lock, path.display().to_string(), "cannot record the time of the run", error);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = regular_file::open(&path, &mut options).map_err(failed)?;
    loop {
        // Held only while the time is read and written, never while this function waits.
        let locked = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        };
        if locked {
            let now = Utc::now();
            let newest = newest(&mut file).filter(|newest| *newest <= now + MAX_CLOCK_LEAD);
            if newest.is_none_or(|newest| Timestamp::new(newest) < Timestamp::new(now)) {
                let text = now.to_rfc3339_opts(SecondsFormat::Secs, true);
                let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{text}"));
                written.and_then(|()| file.unlock()).map_err(failed)?;
                return Ok(now);
            }
            file.unlock().map_err(failed)?;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Returns the time in the file, if the file contains one.
fn newest(file: &mut File) -> Option<DateTime<Utc>> {
    let mut text = String::new();
    file.rewind().ok()?;
    Read::by_ref(file).take(64).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Returns the folder for locks, and creates a missing one. Fails if another user may write there.
pub(crate) fn lock_dir(config: &Config) -> Result<PathBuf> {
    let user = rustix::process::geteuid();
    let folder = dirs::lock_dir(config);
    let name = folder.display().to_string();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.map_err(|error| {
        Error::io(Stage::Lock, &name, "cannot create the folder for locks", error)
            .hint("set lock_dir in the configuration, or RuntimeDirectory=longshore in the unit")
    })?;
    let unreadable = |error| Error::io(Stage::Lock, &name, "cannot read its metadata", error);
    let link = fs::symlink_metadata(&folder).map_err(unreadable)?;
    // A link of another user could lead to any folder of this user.
    if ![0, user.as_raw()].contains(&link.uid()) {
        return Err(Error::new(Stage::Lock, Kind::Denied, name, "the folder for locks belongs to another user")
            .hint("remove it, or set lock_dir in the configuration to a folder of this user"));
    }
    let metadata = fs::metadata(&folder).map_err(unreadable)?;
    if metadata.uid() != user.as_raw() || metadata.mode() & 0o022 != 0 {
        return Err(Error::new(Stage::Lock, Kind::Denied, name, "other users may write to the folder for locks")
            .hint("remove it, or set lock_dir in the configuration to a folder of this user"));
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[tokio::test]
    async fn concurrent_runs_reserve_different_seconds() {
        let folder = tempfile::tempdir().unwrap();
        let begun = Utc::now();
        let runs = (0..3).map(|_| reserve_second(folder.path(), "main"));
        let times: BTreeSet<_> =
            futures_util::future::try_join_all(runs).await.unwrap().into_iter().map(Timestamp::new).collect();
        assert_eq!(times.len(), 3, "{times:?}");
        assert!(Utc::now() - begun < TimeDelta::seconds(10));
    }

    #[tokio::test]
    async fn invalid_recorded_time_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("main.newest");
        for bytes in [&b"\xff\xfe"[..], b"9999-01-01T00:00:00Z", b"", b"yesterday"] {
            fs::write(&path, bytes).unwrap();
            tokio::time::timeout(Duration::from_secs(5), reserve_second(folder.path(), "main")).await.unwrap().unwrap();
        }
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
        reserve_second(folder.path(), "main").await.unwrap_err();
        assert!(!folder.path().join("elsewhere").exists());
    }
}
