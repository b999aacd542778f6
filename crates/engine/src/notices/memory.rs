//! The notices that were sent: a small file in `state_dir`. If it is lost, problems are reported
//! again.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use longshore_config::Config;
use longshore_core::{Error, Result, Stage, regular_file};
use longshore_notify::State;
use serde::{Deserialize, Serialize};

use super::matter::Matter;
use crate::destination_state::state_dir;

/// The problems that were reported, by channel.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Memory {
    channels: BTreeMap<String, BTreeMap<String, Sent>>,
}

/// A problem that was reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    /// The problem.
    pub(super) matter: Matter,
    /// The time of the last notice.
    pub(super) time: DateTime<Utc>,
}

impl Sent {
    /// Applies notices that were sent.
    pub(super) fn apply(sent: &mut BTreeMap<String, Self>, notices: Vec<(State, Matter)>, now: DateTime<Utc>) {
        for (state, matter) in notices {
            match state {
                State::Recovered => drop(sent.remove(&matter.key())),
                _ => drop(sent.insert(matter.key(), Self { matter, time: now })),
            }
        }
    }
}

impl Memory {
    /// Returns the problems that were reported to a channel.
    pub(super) fn of(&self, channel: &str) -> Option<&BTreeMap<String, Sent>> {
        self.channels.get(channel)
    }

    /// Applies notices that were sent to a channel.
    pub(super) fn apply(&mut self, channel: &str, notices: Vec<(State, Matter)>) {
        Sent::apply(self.channels.entry(channel.to_owned()).or_default(), notices, Utc::now());
    }
}

/// The file with the memory of one configuration.
pub(super) struct MemoryFile {
    folder: PathBuf,
    path: PathBuf,
}

impl MemoryFile {
    /// Returns the file of a configuration, and creates its folder if it is missing.
    pub(super) fn of(config: &Config) -> Result<Self> {
        let folder = state_dir(config)?;
        Ok(Self { path: folder.join(format!("notices-{}.json", config.digest())), folder })
    }

    /// Reads the memory. A missing or damaged file is an empty memory.
    pub(super) fn read(&self) -> Memory {
        let bytes = regular_file::read(&self.path).ok();
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Changes the memory.
    pub(super) fn update(&self, change: impl FnOnce(&mut Memory)) -> Result<()> {
        let updated = || -> std::io::Result<()> {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600);
            let lock = regular_file::open(&self.path.with_extension("lock"), &mut options)?;
            lock.lock()?;
            let mut memory = self.read();
            change(&mut memory);
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            serde_json::to_writer(&mut file, &memory)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(&self.path)?;
            Ok(())
        };
        updated().map_err(|error| {
            Error::io(Stage::Notify, self.path.display().to_string(), "cannot write the memory of sent notices", error)
                .hint("set state_dir in the configuration to a folder that this user can write to")
        })
    }
}
