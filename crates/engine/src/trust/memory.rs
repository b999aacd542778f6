//! The records that this host saw at a destination: `state_dir/trust/DESTINATION-DIGEST.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use longshore_config::Config;
use longshore_core::key::{BackupName, Key};
use longshore_core::meter::Digest;
use longshore_core::{Error, Result, Stage, regular_file};
use serde::{Deserialize, Serialize};

use super::known_reports::{JobKey, KnownReports};

use crate::destination_state::state_dir;
use crate::state_file;

/// The signed records that were seen at a destination.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    #[serde(skip)]
    path: PathBuf,
    /// The run reports.
    pub(crate) reports: KnownReports,
    /// The backups that were seen, or that a run report states, each with its job.
    pub(crate) backups: BTreeMap<BackupName, JobKey>,
    /// The digests of the manifests of these backups.
    #[serde(default)]
    pub(crate) manifests: BTreeMap<BackupName, Digest>,
    /// The backups that a statement permits to be missing.
    pub(crate) removed: BTreeSet<BackupName>,
    /// The system identifiers of each cluster.
    pub(crate) systems: BTreeMap<String, BTreeSet<String>>,
    /// The first reports of chains that began although an earlier one existed.
    pub(crate) restarted: BTreeSet<Key>,
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

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self { path: std::mem::take(&mut self.path), ..Self::default() };
    }

    /// Writes what this host saw.
    pub(crate) fn save(&mut self) -> Result<()> {
        self.manifests.retain(|name, _| self.backups.contains_key(name));
        state_file::write(&self.path, self).map_err(|error| {
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
