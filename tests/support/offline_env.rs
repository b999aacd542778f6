//! An environment for read-only commands: destinations with forged backups of any age, but no
//! cluster.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use longshore_core::key::{BackupName, Timestamp};
use longshore_core::manifest::{Manifest, Shipment};
use longshore_core::meter::Digest;
use longshore_core::subject::Subject;
use tempfile::TempDir;

use super::{CommandOutput, finish};

/// Destinations `disk` and `nas`, and a configuration.
pub(crate) struct OfflineEnv {
    folder: TempDir,
    now: DateTime<Utc>,
}

/// A backup of a database.
pub(crate) struct ForgedBackup<'a> {
    pub(crate) database: &'a str,
    /// The age of the run, in hours.
    pub(crate) hours: i64,
    /// The destinations of the backup.
    pub(crate) at: &'a [&'a str],
    /// The number of backups planned by the run.
    pub(crate) run_backups: u32,
    pub(crate) plaintext_bytes: u64,
    pub(crate) tables: u64,
}

impl Default for ForgedBackup<'_> {
    fn default() -> Self {
        Self { database: "shop", hours: 1, at: &["disk", "nas"], run_backups: 1, plaintext_bytes: 1 << 20, tables: 14 }
    }
}

/// The table of a job that ships to both destinations.
pub(crate) const NIGHTLY: &str = "[cluster.main]\n[job.nightly]\ncluster = 'main'\ndump = [{ type = 'pg_dump' }]\n\
                                  encrypt = { type = 'none' }\nship = ['disk', 'nas']\n";

impl OfflineEnv {
    /// Creates an environment with these lines after the destinations' tables.
    pub(crate) fn new(lines: &str) -> Self {
        let offline_env = Self { folder: TempDir::new().unwrap(), now: Utc::now().trunc_subsecs(0) };
        for name in ["disk", "nas"] {
            fs::create_dir(offline_env.path(name)).unwrap();
        }
        offline_env.configure(lines);
        offline_env
    }

    pub(crate) fn configure(&self, lines: &str) {
        let destinations = ["disk", "nas"]
            .map(|name| format!("[destination.{name}]\ntype = 'local'\npath = '{}'\n", self.path(name).display()));
        fs::write(self.path("config.toml"), format!("{}{lines}\n", destinations.concat())).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Creates a backup, and returns its name.
    pub(crate) fn add_backup(&self, backup: &ForgedBackup<'_>) -> BackupName {
        let text = include_str!("../../crates/model/testdata/manifest-1.json");
        let mut manifest: Manifest = serde_json::from_str(text).unwrap();
        let time = self.now - TimeDelta::hours(backup.hours);
        manifest.time = Timestamp::new(time);
        (manifest.started, manifest.finished) = (time, time + TimeDelta::minutes(1));
        manifest.run = format!("{}-0", manifest.time);
        manifest.run_backups = backup.run_backups;
        manifest.subject = Subject::database(backup.database);
        (manifest.details, manifest.needs) = (None, Vec::new());
        let name = manifest.name().unwrap();
        manifest.artifact.key = name.artifact(".dump").unwrap();
        manifest.artifact.encryption = None;
        manifest.artifact.sealed = Digest::of(b"abc");
        manifest.artifact.plaintext.bytes = backup.plaintext_bytes;
        manifest.verified[0].totals.insert("tables".to_owned(), backup.tables);
        let shipment = |name: &str| Shipment { destination: name.to_owned(), arrived: true, bytes: 3, seconds: 1.0 };
        manifest.shipments = ["disk", "nas"].map(shipment).into();
        for destination in backup.at {
            self.put(destination, manifest.artifact.key.as_str(), b"abc");
            self.put(destination, name.manifest().as_str(), &manifest.to_bytes().unwrap());
        }
        name
    }

    /// Writes a file to a destination.
    pub(crate) fn put(&self, destination: &str, key: &str, bytes: &[u8]) {
        let path = self.path(destination).join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Returns the command of the binary with these arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
        command.env("HOME", self.folder.path()).env_remove("LONGSHORE_CONFIG").stdin(Stdio::null());
        command.env("STATE_DIRECTORY", self.path("state"));
        command.arg("--config").arg(self.path("config.toml")).args(arguments);
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn longshore(&self, arguments: &[&str]) -> CommandOutput {
        finish(&mut self.command(arguments))
    }

    /// Returns the output of `status --json`, and its exit code.
    pub(crate) fn status(&self, arguments: &[&str]) -> (serde_json::Value, Option<i32>) {
        let result = self.longshore(&[&["status", "--json"], arguments].concat());
        (serde_json::from_str(&result.stdout).unwrap_or_else(|error| panic!("{error}: {result:?}")), result.code)
    }
}
