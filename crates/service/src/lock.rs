//! One run of a job at a time.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use longshore_core::key::Stamp;
use longshore_core::lock::{self, Holder, Lock};
use longshore_core::{Error, Kind, Result, Stage};

use crate::config::Config;
use crate::place;

/// The lock of a job, and the time that its run carries.
pub(crate) struct JobLock {
    /// Held as long as the run is.
    pub(crate) _lock: Lock,
    /// The run's one time.
    pub(crate) time: Stamp,
    /// Who holds what the run claims elsewhere.
    pub(crate) holder: Holder,
}

impl JobLock {
    /// Takes the lock of a job on this host.
    pub(crate) async fn take(config: &Config, job: &str) -> Result<Self> {
        let folder = lock_dir(config)?;
        let mut holder = Holder { work: format!("run of job \"{job}\""), since: Utc::now() };
        let mut lock = lock::acquire(&folder.join(format!("{job}-{}.lock", config.digest())), &holder)?;

        // Names carry the second. The run before may have had this one.
        let second = |holder: &Holder| holder.since.to_rfc3339_opts(SecondsFormat::Secs, true);
        while lock.previous.as_deref().is_some_and(|previous| previous.contains(&second(&holder))) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            holder.since = Utc::now();
        }
        lock.hold_as(&holder)?;
        Ok(Self { _lock: lock, time: Stamp::new(holder.since), holder })
    }
}

/// Makes the folder for locks, where no other user may write.
fn lock_dir(config: &Config) -> Result<PathBuf> {
    let user = rustix::process::geteuid();
    let folder = place::lock_dir(config);
    let name = folder.display().to_string();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.map_err(|error| {
        Error::io(Stage::Lock, &name, "cannot make the folder for locks", error)
            .hint("set lock_dir in the configuration, or RuntimeDirectory=longshore in the unit")
    })?;
    let metadata = fs::metadata(&folder).map_err(|error| Error::io(Stage::Lock, &name, "cannot look at it", error))?;
    if metadata.uid() != user.as_raw() || metadata.mode() & 0o022 != 0 {
        return Err(Error::new(Stage::Lock, Kind::Denied, name, "the folder for locks is not this user's alone")
            .hint("remove it, or set lock_dir in the configuration to a folder of this user's"));
    }
    Ok(folder)
}
