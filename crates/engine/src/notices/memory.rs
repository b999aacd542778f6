//! The notices that were sent: a small file in `state_dir`. If it is lost, problems are reported
//! again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use longshore_config::Config;
use longshore_core::{Error, Result, Stage, regular_file};
use longshore_notify::State;
use serde::{Deserialize, Serialize};

use super::matter::Matter;
use crate::destination_state::state_dir;
use crate::state_file;

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
    path: PathBuf,
}

impl MemoryFile {
    /// Returns the file of a configuration, and creates its folder if it is missing.
    pub(super) fn of(config: &Config) -> Result<Self> {
        Ok(Self { path: state_dir(config)?.join(format!("notices-{}.json", config.digest())) })
    }

    /// Reads the memory. A missing or damaged file is an empty memory.
    pub(super) fn read(&self) -> Memory {
        let bytes = regular_file::read(&self.path).ok();
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Changes the memory.
    pub(super) fn update(&self, change: impl FnOnce(&mut Memory)) -> Result<()> {
        let updated = || -> std::io::Result<()> {
            let _lock = state_file::lock(&self.path)?;
            let mut memory = self.read();
            change(&mut memory);
            state_file::write(&self.path, &memory)
        };
        updated().map_err(|error| {
            Error::io(Stage::Notify, self.path.display().to_string(), "cannot write the memory of sent notices", error)
                .hint("set state_dir in the configuration to a folder that this user can write to")
        })
    }
}
