//! The record of backups from other hosts that were decrypted and decoded on this host. Retention
//! counts these backups from then on.
//!
//! ```text
//! state_dir/opened/nightly-1f0c9a7e.<digits of the name>.json
//! ```
//! Each backup that no run report of this host names has one small file. A destination cannot write
//! to this folder, and another artifact under the same name counts as another backup.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use longshore_catalog::catalog::Backup;
use longshore_config::{Config, Job};
use longshore_core::key::{BackupName, Timestamp};
use longshore_core::meter::Digest;
use longshore_core::{Error, Result, Stage, regular_file};
use serde::{Deserialize, Serialize};

use crate::destination_state::state_dir;
use crate::{dirs, state_file};

/// The number of digits of a name's digest in a file's name.
const DIGITS: usize = 32;

/// A backup that was decrypted and decoded on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DecryptedBackup {
    /// The name of the backup.
    backup: BackupName,
    /// The time of the backup's run.
    time: Timestamp,
    /// The digest of the artifact that was decrypted.
    sealed: Digest,
}

impl DecryptedBackup {
    /// Returns true if this is the recorded backup, with the recorded artifact.
    pub(crate) fn matches(&self, backup: &Backup) -> bool {
        self.backup == backup.name && self.sealed == backup.manifest.artifact.sealed
    }
}

fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("opened")
}

fn prefix(config: &Config, job: &Job) -> String {
    format!("{}-{}.", job.name, config.digest())
}

/// Reads the records of a job's backups. Removes the record of a backup older than `since`, which
/// counts without one.
pub(crate) fn decrypted_backups(config: &Config, job: &Job, since: DateTime<Utc>) -> Result<Vec<DecryptedBackup>> {
    let Some(folder) = dirs::state_dir(config).map(|state| folder(&state)) else { return Ok(Vec::new()) };
    let failed = |error| failed(&folder, "cannot read the record of decrypted backups", error);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with(&prefix(config, job)) {
            continue;
        }
        let bytes = match regular_file::read(&entry.path()) {
            Ok(bytes) => bytes,
            // Another process removed the file since it was listed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        // A damaged record proves nothing: the backup must be decrypted again.
        let Ok(decrypted) = serde_json::from_slice::<DecryptedBackup>(&bytes) else { continue };
        if decrypted.time.time() < since {
            // On failure, the next call removes the file.
            fs::remove_file(entry.path()).ok();
        } else {
            all.push(decrypted);
        }
    }
    Ok(all)
}

/// Records that a backup was decrypted and decoded on this host.
pub(crate) fn record(config: &Config, job: &Job, backup: &Backup) -> Result<()> {
    let folder = folder(&state_dir(config)?);
    let decrypted = DecryptedBackup {
        backup: backup.name.clone(),
        time: backup.manifest.time,
        sealed: backup.manifest.artifact.sealed.clone(),
    };
    let digits = Digest::of(backup.name.as_str().as_bytes());
    let path = folder.join(format!("{}{}.json", prefix(config, job), &digits.hex()[..DIGITS]));
    let written = || -> std::io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        state_file::write(&path, &decrypted)
    };
    written().map_err(|error| failed(&path, "cannot record that a backup was decrypted here", error))
}

fn failed(path: &Path, message: &str, error: std::io::Error) -> Error {
    Error::io(Stage::Retention, path.display().to_string(), message, error)
        .hint("set state_dir in the configuration to a folder that this user can write to")
}
