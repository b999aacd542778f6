//! The state that this host keeps of a destination between two prunes, to detect
//! unexpected changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use longshore_catalog::catalog::Catalog;
use longshore_config::Config;
use longshore_core::key::{BackupName, Key};
use longshore_core::mark::RememberedHold;
use longshore_core::{Error, Kind, Result, Stage, regular_file};
use serde::{Deserialize, Serialize};

use crate::{dirs, state_file};

/// The state of one destination.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct DestinationState {
    #[serde(skip)]
    path: PathBuf,
    /// The number of backups after the last prune.
    pub(crate) backups: usize,
    /// The number of adopted files after the last prune, by the name of the adopt.
    #[serde(default)]
    pub(crate) adopted: BTreeMap<String, usize>,
    /// The files without a manifest, each with the time of its first sighting by this host's clock.
    pub(crate) orphans: BTreeMap<Key, DateTime<Utc>>,
    /// The number of backups when a run reported a loss, until the backups return or the operator
    /// accepts the loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reported_loss: Option<usize>,
    /// The jobs without known runs that a prune has reported.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) unknown_runs: BTreeSet<String>,
    /// The known holds, by backup, until they are released or end.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) holds: BTreeMap<BackupName, RememberedHold>,
    /// The mount point of the destination's folder, if it is a folder of this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mount_point: Option<PathBuf>,
}

impl DestinationState {
    /// Reads the state of a destination; empty for a new destination.
    pub(crate) fn open(config: &Config, destination: &str) -> Result<Self> {
        Self::read_file(state_dir(config)?.join(file_name(config, destination)))
    }

    /// Reads the state without creating its folder. Returns an empty state if no folder
    /// is available.
    pub(crate) fn read(config: &Config, destination: &str) -> Result<Self> {
        let folder = dirs::state_dir(config);
        folder
            .map_or_else(|| Ok(Self::default()), |folder| Self::read_file(folder.join(file_name(config, destination))))
    }

    fn read_file(path: PathBuf) -> Result<Self> {
        let failed = |error| {
            Error::io(Stage::Retention, path.display().to_string(), "cannot read the state of a destination", error)
                .hint("remove the file if it is damaged, or set state_dir in the configuration")
        };
        let state = match regular_file::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { path, ..state })
    }

    /// Fails with [`Kind::Refused`] if less than two thirds of the backups are listed: only prune
    /// deletes backups, so the listing may be incomplete.
    pub(crate) fn expect_backups(&self, destination: &str, backups: usize) -> Result<()> {
        expect_count(destination, "backups", backups, self.backups)
    }

    /// Returns the holds that were deleted or shortened at a destination since this host
    /// recorded them.
    pub(crate) fn lost_holds(&self, catalog: &Catalog, now: DateTime<Utc>) -> BTreeMap<&BackupName, &RememberedHold> {
        let unreadable: BTreeSet<_> = catalog.unreadable.iter().map(|(key, _)| key).collect();
        let there: BTreeMap<_, _> = catalog.marked().collect();
        let lost = self.holds.iter().filter(|(name, hold)| match there.get(name) {
            Some(marks) => hold.is_lost(marks, now),
            None => hold.is_active(now) && !unreadable.contains(&name.manifest()),
        });
        lost.collect()
    }

    /// Records the holds at a destination, and removes those that were released or have ended.
    pub(crate) fn remember_holds(&mut self, catalog: &Catalog, now: DateTime<Utc>) {
        let lost: BTreeSet<BackupName> = self.lost_holds(catalog, now).into_keys().cloned().collect();
        self.holds.retain(|name, _| lost.contains(name));
        for (name, marks) in catalog.marked().filter(|(name, _)| !lost.contains(name)) {
            let hold = RememberedHold::of(marks).filter(|hold| hold.is_active(now));
            self.holds.extend(hold.map(|hold| (name.clone(), hold)));
        }
    }

    /// Fails with [`Kind::Refused`] if less than two thirds of the adopted files are listed.
    pub(crate) fn expect_adopted(&self, destination: &str, adopt: &str, files: usize) -> Result<()> {
        let previous = self.adopted.get(adopt).copied().unwrap_or(0);
        expect_count(destination, &format!("files that adopt \"{adopt}\" claims"), files, previous)
    }

    /// Writes the state.
    pub(crate) fn save(&self) -> Result<()> {
        state_file::write(&self.path, self).map_err(|error| {
            Error::io(
                Stage::Retention,
                self.path.display().to_string(),
                "cannot write the state of a destination",
                error,
            )
            .hint("set state_dir in the configuration to a folder that this user can write to")
        })
    }
}

fn file_name(config: &Config, destination: &str) -> String {
    format!("{destination}-{}.json", config.digest())
}

/// Fails if less than two thirds of what the last prune left is listed.
fn expect_count(destination: &str, what: &str, listed: usize, previous: usize) -> Result<()> {
    if listed * 3 >= previous * 2 {
        return Ok(());
    }
    let message = format!("found {listed} {what}, but the last prune left {previous}");
    Err(Error::new(Stage::Retention, Kind::Refused, destination, message).hint(
        "find out why they are missing: `longshore sync` copies them back from another destination; if this destination \
         was recreated, or the loss is intended, accept it once with `longshore prune --despite listing`",
    ))
}

/// Creates the folder for state.
pub(crate) fn state_dir(config: &Config) -> Result<PathBuf> {
    let hint = "set state_dir in the configuration to a folder that this user can write to, or StateDirectory=longshore in \
                the unit";
    let folder = dirs::state_dir(config).ok_or_else(|| {
        Error::new(Stage::Retention, Kind::Failed, "", "no folder for state: HOME is not set").hint(hint)
    })?;
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|error| {
        Error::io(Stage::Retention, folder.display().to_string(), "cannot create the folder", error).hint(hint)
    })?;
    Ok(folder)
}
