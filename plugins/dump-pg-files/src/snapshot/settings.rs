//! The settings of the stage `snapshot`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use longshore_core::unit::TimeSpan;
use longshore_core::{Error, Kind, Result, Stage};
use serde::{Deserialize, Serialize};

use super::program::Programs;
use crate::settings::PgFiles;

/// The time limit of each program, if the user has set no other.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The folder in which snapshots are mounted, if the user has set no other.
const MOUNT_DIR: &str = "/var/lib/longshore/snapshots";

/// Settings of `{ type = "snapshot", … }`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The maker of snapshots.
    pub with: With,
    /// The consistency of the backup.
    #[serde(default)]
    pub consistency: Consistency,
    /// The time limit of each program.
    pub timeout: Option<TimeSpan>,
    /// The folder of snapshots that are made within a file system: of btrfs and XFS.
    pub snapshot_dir: Option<PathBuf>,
    /// The folder in which other snapshots are mounted.
    pub mount_dir: Option<PathBuf>,
    /// The size of a snapshot by LVM, such as `"10G"`; not for thin volumes.
    pub size: Option<String>,
    /// The number of snapshots of the job that stay on this host after their backup. With 0, a run
    /// also removes those that stayed before.
    pub keep_on_host: Option<usize>,
    /// The folder of the programs; by default those of the system.
    pub program_dir: Option<PathBuf>,
    /// The location of the WAL that makes the backup consistent.
    #[serde(default)]
    pub wal: longshore_pg_base::settings::Wal,
    /// The speed of the checkpoint at the beginning.
    #[serde(default)]
    pub checkpoint: longshore_pg_base::settings::Checkpoint,
    /// The maximum rate. Without a limit by default.
    pub max_rate: Option<longshore_core::store::MaxRate>,
    /// The handling of pages whose checksum is wrong.
    #[serde(default)]
    pub damaged_pages: longshore_pg_base::settings::DamagedPages,
    /// The number of threads that read files.
    pub threads: Option<std::num::NonZeroUsize>,
    /// The data directory, if this host has it at another path than the server.
    pub data_directory: Option<PathBuf>,
}

/// The consistency of a backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// The server starts a backup before the snapshot, and stops it afterwards.
    #[default]
    Backup,
    /// The server takes no part, and the snapshot contains its WAL. A server that starts on the
    /// copy recovers as after a crash.
    Crash,
}

/// The maker of snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(
    untagged,
    expecting = "expected \"btrfs\", \"zfs\", \"lvm\", \"xfs-reflink\", or { create = […], mount = […], unmount = […], \
                 remove = […] }"
)]
pub enum With {
    /// A file system or volume manager whose programs are known.
    Known(Known),
    /// Programs of the user.
    Commands(Commands),
}

/// A file system or volume manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Known {
    /// Snapshots of subvolumes.
    Btrfs,
    /// Snapshots of datasets.
    Zfs,
    /// Snapshots of logical volumes.
    Lvm,
    /// Copies of files that share their blocks, on XFS. Each file is copied at its own moment.
    XfsReflink,
}

/// Programs of the user, each with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Commands {
    /// Makes a snapshot. Arguments: the name, and the mount points of the volumes.
    pub create: Vec<String>,
    /// Mounts the snapshot of a volume. Arguments: the name, the mount point of the volume, and an
    /// empty folder.
    pub mount: Vec<String>,
    /// Unmounts the snapshot of a volume, if it is mounted. Arguments: as of `mount`.
    pub unmount: Vec<String>,
    /// Removes the snapshot, if it exists. Arguments: as of `create`.
    pub remove: Vec<String>,
}

impl With {
    /// Returns true if the snapshots are folders in the file system of the cluster.
    pub(crate) fn is_within_file_system(&self) -> bool {
        matches!(self, Self::Known(Known::Btrfs | Known::XfsReflink))
    }
}

impl Snapshot {
    /// Returns the settings of the backup itself.
    pub(crate) fn files(&self) -> PgFiles {
        PgFiles {
            wal: self.wal,
            checkpoint: self.checkpoint,
            max_rate: self.max_rate.clone(),
            damaged_pages: self.damaged_pages,
            threads: self.threads,
            data_directory: self.data_directory.clone(),
        }
    }

    /// Checks the settings.
    pub(crate) fn check(&self) -> Result<()> {
        self.files().check()?;
        let usage = |subject: &str, message: String, hint: &str| {
            Err(Error::new(Stage::Config, Kind::Usage, subject, message).hint(hint))
        };
        for (name, path) in
            [("snapshot_dir", &self.snapshot_dir), ("mount_dir", &self.mount_dir), ("program_dir", &self.program_dir)]
        {
            if let Some(path) = path.as_ref().filter(|path| !path.is_absolute()) {
                let message = format!("\"{}\" is not an absolute path", path.display());
                return usage(name, message, "set the whole path");
            }
        }
        let is_within = self.with.is_within_file_system();
        for (name, path, is_used, other) in [
            ("snapshot_dir", &self.snapshot_dir, is_within, "mount_dir"),
            ("mount_dir", &self.mount_dir, !is_within, "snapshot_dir"),
        ] {
            if path.is_some() && !is_used {
                let message = "snapshots of this kind are not made there".to_owned();
                return usage(name, message, &format!("remove it, or set {other}"));
            }
        }
        if self.timeout().is_zero() {
            return usage("timeout", "no program ends in no time".to_owned(), "set a time such as \"60s\"");
        }
        if self.size.is_some() && self.with != With::Known(Known::Lvm) {
            return usage("size", "only snapshots by LVM have a size".to_owned(), "remove size");
        }
        if self.consistency == Consistency::Crash && self.with == With::Known(Known::XfsReflink) {
            let message = "\"crash\" needs a snapshot of one moment, and each file is copied at its own".to_owned();
            return usage("consistency", message, "set consistency = \"backup\"");
        }
        if self.consistency == Consistency::Crash && self.wal == longshore_pg_base::settings::Wal::Archive {
            let message = "\"crash\" needs the WAL in the snapshot, not in an archive".to_owned();
            return usage("consistency", message, "set wal = \"include\", or consistency = \"backup\"");
        }
        if self.keep_on_host.is_some() && self.with.is_within_file_system() && self.snapshot_dir.is_none() {
            let message = "kept snapshots must be found without the data directory".to_owned();
            return usage(
                "keep_on_host",
                message,
                "set snapshot_dir to a folder on the same file system, outside of the data directory",
            );
        }
        let With::Commands(Commands { create, mount, unmount, remove }) = &self.with else { return Ok(()) };
        for (name, command) in [("create", create), ("mount", mount), ("unmount", unmount), ("remove", remove)] {
            if !command.first().is_some_and(|program| Path::new(program).is_absolute()) {
                let message = "the first element is not the absolute path of a program".to_owned();
                return usage(
                    name,
                    message,
                    "set the whole path, such as create = [\"/usr/local/sbin/snap\", \"create\"]",
                );
            }
        }
        Ok(())
    }

    /// Returns the time limit of each program.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout.map_or(TIMEOUT, TimeSpan::duration)
    }

    /// Returns the programs that make snapshots.
    pub(crate) fn programs(&self) -> Programs {
        Programs { folder: self.program_dir.clone(), timeout: self.timeout() }
    }

    /// Returns the folder of kept snapshots, which is known without a server.
    pub(crate) fn kept_dir(&self) -> &Path {
        match &self.snapshot_dir {
            Some(folder) if self.with.is_within_file_system() => folder,
            _ => self.mount_dir(),
        }
    }

    /// Returns the folder in which snapshots are mounted.
    pub(crate) fn mount_dir(&self) -> &Path {
        self.mount_dir.as_deref().unwrap_or(Path::new(MOUNT_DIR))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(value: Value) -> Snapshot {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn makers_are_known_by_name_or_by_commands() {
        for (name, known) in
            [("btrfs", Known::Btrfs), ("zfs", Known::Zfs), ("lvm", Known::Lvm), ("xfs-reflink", Known::XfsReflink)]
        {
            let settings = settings(json!({ "with": name }));
            settings.check().unwrap();
            assert_eq!((settings.with, settings.timeout), (With::Known(known), None));
        }
        let command = ["/usr/local/sbin/snap"];
        let commands = json!({ "create": command, "mount": command, "unmount": command, "remove": command });
        settings(json!({ "with": commands })).check().unwrap();
        for with in [json!("ext4"), json!({ "create": command }), json!(5)] {
            let error = serde_json::from_value::<Snapshot>(json!({ "with": with })).unwrap_err().to_string();
            assert!(error.contains("xfs-reflink"), "{error}");
        }
    }

    #[test]
    fn invalid_settings_are_named() {
        let with_create = |create: Value| {
            let command = ["/usr/local/sbin/snap"];
            json!({ "with": { "create": create, "mount": command, "unmount": command, "remove": command } })
        };
        for (value, subject) in [
            (json!({ "with": "btrfs", "snapshot_dir": "snapshots" }), "snapshot_dir"),
            (json!({ "with": "btrfs", "mount_dir": "/mnt" }), "mount_dir"),
            (json!({ "with": "zfs", "snapshot_dir": "/mnt" }), "snapshot_dir"),
            (json!({ "with": "btrfs", "size": "5G" }), "size"),
            (json!({ "with": "btrfs", "threads": 65 }), "threads"),
            (json!({ "with": "xfs-reflink", "keep_on_host": 2 }), "keep_on_host"),
            (json!({ "with": "xfs-reflink", "consistency": "crash" }), "consistency"),
            (json!({ "with": "zfs", "consistency": "crash", "wal": "archive" }), "consistency"),
            (with_create(json!(["snap"])), "create"),
            (with_create(json!([])), "create"),
        ] {
            let error = settings(value).check().unwrap_err();
            assert_eq!((error.kind(), error.subject(), error.remedy().is_some()), (Kind::Usage, subject, true));
        }
    }
}
