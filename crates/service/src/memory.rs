//! What this host remembers of a destination from one prune to the next, so that it notices when things are not as they were.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use longshore_core::key::Key;
use longshore_core::{Error, Kind, Result, Stage};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::place;

/// What is remembered of one destination.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    #[serde(skip)]
    path: PathBuf,
    /// How many backups it was left with.
    pub(crate) backups: usize,
    /// With how many adopted files, by the name of the adopt.
    #[serde(default)]
    pub(crate) adopted: BTreeMap<String, usize>,
    /// The files without a manifest, and when each was seen first, by this host's clock.
    pub(crate) orphans: BTreeMap<Key, DateTime<Utc>>,
}

impl Memory {
    /// What is remembered of a destination; of one that was never seen, nothing.
    pub(crate) fn of(config: &Config, destination: &str) -> Result<Self> {
        let path = state_dir(config)?.join(format!("{destination}-{}.json", config.digest()));
        let wrong = |error| {
            Error::io(
                Stage::Retention,
                path.display().to_string(),
                "cannot read what was remembered of a destination",
                error,
            )
            .hint("remove the file if it is damaged, or set state_dir in the configuration")
        };
        let memory = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| wrong(error.into()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(wrong(error)),
        };
        Ok(Self { path, ..memory })
    }

    /// Refuses what is less than two thirds of what was there: nothing but prune lets backups go, so the listing may be short.
    pub(crate) fn compare(&self, destination: &str, backups: usize) -> Result<()> {
        enough(destination, "backups", backups, self.backups)
    }

    /// The same of files that were adopted.
    pub(crate) fn compare_adopted(&self, destination: &str, adopt: &str, files: usize) -> Result<()> {
        let left = self.adopted.get(adopt).copied().unwrap_or(0);
        enough(destination, &format!("files that adopt \"{adopt}\" claims"), files, left)
    }

    /// Keeps it for the next time.
    pub(crate) fn keep(&self) -> Result<()> {
        let written = || -> std::io::Result<()> {
            let folder = self.path.parent().unwrap_or(&self.path);
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer(&mut file, self)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(&self.path)?;
            Ok(())
        };
        written().map_err(|error| {
            Error::io(Stage::Retention, self.path.display().to_string(), "cannot write what is to be remembered", error)
                .hint("set state_dir in the configuration to a folder that this user can write to")
        })
    }
}

/// Refuses what is less than two thirds of what was there.
fn enough(destination: &str, what: &str, there: usize, left: usize) -> Result<()> {
    if there * 3 >= left * 2 {
        return Ok(());
    }
    let message = format!("there are {there} {what}, where the last prune left {left}");
    Err(Error::new(Stage::Retention, Kind::Refused, destination, message).hint(
        "find out where they went: `longshore sync` copies them back from another destination; if this one was made anew, \
         or they may be gone, say so once with `longshore prune --despite listing`",
    ))
}

/// Makes the folder for what outlasts a run.
pub(crate) fn state_dir(config: &Config) -> Result<PathBuf> {
    let hint = "set state_dir in the configuration to a folder that this user can write to, or StateDirectory=longshore in \
                the unit";
    let folder = place::state_dir(config).ok_or_else(|| {
        Error::new(Stage::Retention, Kind::Failed, "", "there is no place to remember anything: HOME is not set")
            .hint(hint)
    })?;
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|error| {
        Error::io(Stage::Retention, folder.display().to_string(), "cannot make the folder", error).hint(hint)
    })?;
    Ok(folder)
}
