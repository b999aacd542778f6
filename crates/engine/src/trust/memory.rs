//! The records that this host saw at a destination: `state_dir/trust/DESTINATION-DIGEST.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirBuilder;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use longshore_config::Config;
use longshore_core::key::{BackupName, Key};
use longshore_core::{Error, Result, Stage, regular_file};
use serde::{Deserialize, Serialize};

use crate::destination_state::state_dir;

/// The signed records that were seen at a destination.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    #[serde(skip)]
    path: PathBuf,
    /// The run reports.
    pub(crate) reports: BTreeMap<Key, KnownReport>,
    /// The backups that were seen, or that a run report states, each with its job.
    pub(crate) backups: BTreeMap<BackupName, JobKey>,
    /// The backups that a statement permits to be missing.
    pub(crate) removed: BTreeSet<BackupName>,
    /// The system identifiers of each cluster.
    pub(crate) systems: BTreeMap<String, BTreeSet<String>>,
    /// The first reports of chains that began although an earlier one existed.
    pub(crate) restarted: BTreeSet<Key>,
}

/// The cluster and the job, as used in names.
pub(crate) type JobKey = (String, String);

/// A run report that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownReport {
    /// The host.
    pub(crate) host: String,
    /// The digest of the host's previous report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<String>,
}

impl Memory {
    /// Reads what this host saw; empty for a new destination.
    pub(crate) fn open(config: &Config, destination: &str) -> Result<Self> {
        let folder = state_dir(config)?.join("trust");
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|error| {
            Error::io(Stage::Trust, folder.display().to_string(), "cannot create the folder", error)
        })?;
        let path = folder.join(format!("{destination}-{}.json", config.digest()));
        let failed = |error| {
            Error::io(
                Stage::Trust,
                path.display().to_string(),
                "cannot read what this host saw of a destination",
                error,
            )
            .hint("remove the file if it is damaged: the next look begins anew")
        };
        let memory = match regular_file::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { path, ..memory })
    }

    /// Returns true if this host saw nothing there yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.reports.is_empty() && self.backups.is_empty()
    }

    /// Writes what this host saw.
    pub(crate) fn save(&self) -> Result<()> {
        let written = || -> std::io::Result<()> {
            let folder = self.path.parent().unwrap_or(&self.path);
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer(&mut file, self)?;
            file.write_all(b"\n")?;
            file.persist(&self.path)?;
            Ok(())
        };
        written().map_err(|error| {
            Error::io(
                Stage::Trust,
                self.path.display().to_string(),
                "cannot write what this host saw of a destination",
                error,
            )
            .hint("set state_dir in the configuration to a folder that this user can write to")
        })
    }
}
