//! The settings of the stages.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use longshore_core::store::MaxRate;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::settings::{Checkpoint, DamagedPages, Wal};
use serde::Deserialize;

/// The most threads that read files.
const MOST_THREADS: usize = 64;

/// Settings of `{ type = "pg_files", … }`.
#[derive(Debug, Clone, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PgFiles {
    /// The location of the WAL that makes the backup consistent.
    pub wal: Wal,
    /// The speed of the checkpoint at the beginning.
    pub checkpoint: Checkpoint,
    /// The maximum rate. Without a limit by default.
    pub max_rate: Option<MaxRate>,
    /// The handling of pages whose checksum is wrong.
    pub damaged_pages: DamagedPages,
    /// The number of threads that read files; by default that of the processors, 4 at most.
    pub threads: Option<NonZeroUsize>,
    /// The data directory, if this host has it at another path than the server. A stopped cluster
    /// can be backed up only if the path is set.
    pub data_directory: Option<PathBuf>,
}

impl PgFiles {
    /// Checks the settings.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(threads) = self.threads.filter(|threads| threads.get() > MOST_THREADS) {
            let message = format!("{threads} threads are more than {MOST_THREADS}");
            return Err(Error::new(Stage::Config, Kind::Usage, "threads", message)
                .hint("set the number of threads that the disks can serve, such as threads = 4"));
        }
        match &self.data_directory {
            Some(path) if !path.is_absolute() => {
                let message = format!("\"{}\" is not an absolute path", path.display());
                Err(Error::new(Stage::Config, Kind::Usage, "data_directory", message)
                    .hint("set the whole path, such as data_directory = \"/var/lib/postgresql/17/main\""))
            }
            _ => Ok(()),
        }
    }

    /// Returns the number of threads that read files.
    pub(crate) fn threads(&self) -> NonZeroUsize {
        let default = || {
            let processors = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
            NonZeroUsize::new(processors.get().min(4)).unwrap_or(NonZeroUsize::MIN)
        };
        self.threads.unwrap_or_else(default)
    }
}

/// Returns the label of a backup, which the server writes into `backup_label`.
pub(crate) fn label(now: DateTime<Utc>) -> String {
    format!("longshore {}", now.format("%Y-%m-%dT%H:%M:%SZ"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(value: Value) -> PgFiles {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn defaults_include_wal_and_fail_on_damage() {
        let settings = settings(json!({}));
        settings.check().unwrap();
        assert_eq!(
            (settings.wal, settings.checkpoint, settings.damaged_pages),
            (Wal::Include, Checkpoint::Spread, DamagedPages::Fail)
        );
        assert!((1..=4).contains(&settings.threads().get()));
    }

    #[test]
    fn invalid_settings_are_named() {
        for (value, subject) in
            [(json!({ "threads": 65 }), "threads"), (json!({ "data_directory": "main" }), "data_directory")]
        {
            let error = settings(value).check().unwrap_err();
            assert_eq!((error.kind(), error.subject(), error.remedy().is_some()), (Kind::Usage, subject, true));
        }
        for value in [json!({ "threads": 0 }), json!({ "max_rate": "0" }), json!({ "wal": "none" }), json!({ "x": 1 })]
        {
            assert!(serde_json::from_value::<PgFiles>(value.clone()).is_err(), "{value}");
        }
    }
}
