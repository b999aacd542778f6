//! Counts of events on this host, for metrics: a small file in `state_dir`. If it is lost, the
//! counts start again at 0.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use longshore_config::Config;
use longshore_core::run_report::Outcome;
use longshore_core::{Error, Result, Stage, regular_file};
use serde::{Deserialize, Serialize};

use crate::destination_state::state_dir;
use crate::{dirs, state_file};

/// Counts of events on this host, since the file was created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// The runs that have ended.
    pub runs: BTreeMap<RunKey, u64>,
    /// The due times that passed during another run of the job.
    pub skipped: BTreeMap<DueKey, u64>,
    /// The missed runs that were caught up.
    pub caught_up: BTreeMap<DueKey, u64>,
    /// The notifications.
    pub notifications: BTreeMap<NotificationKey, u64>,
}

/// The runs of a verb of a job with one outcome.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunKey {
    /// The job; empty for a verb without a job.
    pub job: String,
    /// The verb.
    pub verb: String,
    /// The outcome.
    pub outcome: Outcome,
}

/// The schedule of a verb of a job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DueKey {
    /// The job.
    pub job: String,
    /// The verb.
    pub verb: String,
}

/// The notifications of a channel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NotificationKey {
    /// The name of the channel.
    pub channel: String,
    /// True for notifications that were sent, false for those that failed.
    pub sent: bool,
}

/// The file. The keys of JSON's objects are text, so counts are lists.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct CountersFile {
    runs: Vec<(RunKey, u64)>,
    skipped: Vec<(DueKey, u64)>,
    caught_up: Vec<(DueKey, u64)>,
    notifications: Vec<(NotificationKey, u64)>,
}

impl Counters {
    /// Reads the counts. A missing or damaged file counts nothing.
    pub fn read(config: &Config) -> Self {
        dirs::state_dir(config).map(|folder| read(&path(config, &folder))).unwrap_or_default()
    }
}

/// The file with the counts of one configuration.
#[derive(Debug, Clone)]
pub struct CounterFile {
    path: PathBuf,
}

impl CounterFile {
    /// Returns the file of a configuration, and creates its folder if it is missing.
    ///
    /// # Errors
    ///
    /// Fails if there is no folder for state, and none can be created.
    pub fn of(config: &Config) -> Result<Self> {
        Ok(Self { path: path(config, &state_dir(config)?) })
    }

    /// Changes the counts.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written.
    pub fn update(&self, change: impl FnOnce(&mut Counters)) -> Result<()> {
        let updated = || -> std::io::Result<()> {
            let _lock = state_file::lock(&self.path)?;
            let mut counters = read(&self.path);
            change(&mut counters);
            state_file::write(&self.path, &CountersFile::from(counters))
        };
        updated().map_err(|error| {
            Error::io(Stage::Config, self.path.display().to_string(), "cannot write the counters", error)
                .hint("set state_dir in the configuration to a folder that this user can write to")
        })
    }
}

fn path(config: &Config, folder: &Path) -> PathBuf {
    folder.join(format!("counters-{}.json", config.digest()))
}

fn read(path: &Path) -> Counters {
    let file = regular_file::read(path).ok().and_then(|bytes| serde_json::from_slice::<CountersFile>(&bytes).ok());
    let CountersFile { runs, skipped, caught_up, notifications } = file.unwrap_or_default();
    Counters {
        runs: BTreeMap::from_iter(runs),
        skipped: BTreeMap::from_iter(skipped),
        caught_up: BTreeMap::from_iter(caught_up),
        notifications: BTreeMap::from_iter(notifications),
    }
}

impl From<Counters> for CountersFile {
    fn from(counters: Counters) -> Self {
        let Counters { runs, skipped, caught_up, notifications } = counters;
        Self {
            runs: runs.into_iter().collect(),
            skipped: skipped.into_iter().collect(),
            caught_up: caught_up.into_iter().collect(),
            notifications: notifications.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_survive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { state_dir: Some(folder.path().join("state")), ..Config::default() };
        assert_eq!(Counters::read(&config), Counters::default());
        let key = || RunKey { job: "nightly".to_owned(), verb: "run".to_owned(), outcome: Outcome::Done };
        let add = |counter_file: CounterFile| {
            for _ in 0..5 {
                counter_file.update(|counters| *counters.runs.entry(key()).or_default() += 1).unwrap();
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let counter_file = CounterFile::of(&config).unwrap();
                scope.spawn(move || add(counter_file));
            }
        });
        assert_eq!(Counters::read(&config).runs[&key()], 20);
        std::fs::write(path(&config, &folder.path().join("state")), "damaged").unwrap();
        assert_eq!(Counters::read(&config), Counters::default());
    }
}
