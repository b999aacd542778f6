//! The target of a restore.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::error::{Error, Kind, Result, Stage};
use crate::program_target::ProgramTarget;
use crate::recovery::Recovery;

/// The target of a restore. Each restore plugin serves only some kinds of targets; building it for
/// another kind fails with [`Usage`](Kind::Usage).
#[allow(clippy::large_enum_variant, reason = "a restore has one target")]
#[derive(Debug, Clone)]
pub enum Target {
    /// A database of a running server, or all databases of the server.
    Database(DatabaseTarget),
    /// A data directory that no server uses yet.
    DataDirectory(DataDirectory),
    /// A program of the operator.
    Program(ProgramTarget),
}

impl Target {
    /// Returns the database, for a plugin that restores only into databases.
    ///
    /// # Errors
    ///
    /// Fails with [`Usage`](Kind::Usage) for another kind of target.
    pub fn expect_database(&self, plugin: &str) -> Result<&DatabaseTarget> {
        match self {
            Self::Database(target) => Ok(target),
            Self::Program(target) => Err(target.unexpected(plugin)),
            Self::DataDirectory(target) => {
                let message = format!("{plugin} restores into a database, not into a data directory");
                Err(Error::new(Stage::Restore, Kind::Usage, target.path.display().to_string(), message)
                    .hint("pass the connection of a running server: --to CONNECTION"))
            }
        }
    }

    /// Returns the data directory, for a plugin that restores only into data directories.
    ///
    /// # Errors
    ///
    /// Fails with [`Usage`](Kind::Usage) for another kind of target.
    pub fn expect_data_directory(&self, plugin: &str) -> Result<&DataDirectory> {
        match self {
            Self::DataDirectory(target) => Ok(target),
            Self::Program(target) => Err(target.unexpected(plugin)),
            Self::Database(target) => {
                let message = format!("{plugin} restores into a data directory, not into a database");
                Err(Error::new(Stage::Restore, Kind::Usage, &target.cluster.name, message)
                    .hint("name a new or empty directory instead of the connection of a server"))
            }
        }
    }

    /// Returns the program, for the plugin that passes the plaintext to a program.
    ///
    /// # Errors
    ///
    /// Fails with [`Usage`](Kind::Usage) for another kind of target.
    pub fn expect_program(&self) -> Result<&ProgramTarget> {
        let subject = match self {
            Self::Program(target) => return Ok(target),
            Self::Database(target) => target.cluster.name.clone(),
            Self::DataDirectory(target) => target.path.display().to_string(),
        };
        let message = "a backup in another program's format is restored by a program, not into this target";
        Err(Error::new(Stage::Restore, Kind::Usage, subject, message).hint(
            "pass --program to use the setting restore of the job, or write the backup to a file with --output FILE",
        ))
    }

    /// Returns true if the restore adds rows to existing ones.
    pub fn appends(&self) -> bool {
        match self {
            Self::Database(target) => target.content == TargetContent::Append,
            Self::DataDirectory(_) | Self::Program(_) => false,
        }
    }
}

/// A data directory to restore into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataDirectory {
    /// The directory.
    pub path: PathBuf,
    /// The folders of tablespaces. A key is a tablespace's name, its OID, or its
    /// folder on the source host. A restored cluster never uses the folders of the source.
    pub tablespaces: BTreeMap<String, PathBuf>,
    /// The user to own all files, if this process may change owners. By default, the owner of the
    /// directory.
    pub owner: Option<String>,
    /// The handling of existing files.
    pub existing: ExistingFiles,
    /// The recovery from archived WAL that the restored cluster begins with, if any.
    pub recovery: Option<Recovery>,
    /// The start of a server on the restored files, if it is requested.
    pub start: Option<Start>,
}

/// The start of a server on restored files, which ends when the server accepts writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// The directory of the server's programs, if they are not to be searched for.
    pub bin_dir: Option<PathBuf>,
}

/// The handling of existing files in a data directory to restore into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExistingFiles {
    /// All directories must be new or empty.
    #[default]
    Refused,
    /// The files may be those of a stopped server of the same cluster. Files that equal those of
    /// the backup stay, and all others are replaced or removed.
    Replaced,
}

/// A database, or all databases of a cluster, to restore into.
#[derive(Debug, Clone)]
pub struct DatabaseTarget {
    /// The cluster, with a connection that names the database.
    pub cluster: Cluster,
    /// The handling of a missing database.
    pub database: TargetDatabase,
    /// The handling of existing contents of the database.
    pub content: TargetContent,
    /// The number of parallel restore processes. More than one requires `scratch_dir`.
    pub jobs: u32,
    /// A folder for data that cannot be streamed. It contains plaintext while the restore runs.
    pub scratch_dir: Option<PathBuf>,
    /// The part of the archive to restore.
    pub selection: Selection,
    /// The owners of restored objects.
    pub owners: Owners,
    /// The privileges on restored objects.
    pub privileges: Privileges,
    /// Roles of the backup, each with the role of the target that replaces it.
    pub role_map: BTreeMap<String, String>,
    /// The handling of the planner's statistics, which no dump contains.
    pub statistics: Statistics,
    /// The scripts that may run.
    pub scripts: Scripts,
    /// The search path of functions during the restore.
    pub search_path: SearchPath,
    /// The longest time during which a program may accept no data while the server shows no
    /// activity.
    pub stall_timeout: Duration,
    /// The cleanup of a database that a failed restore has created.
    pub cleanup: Cleanup,
}

/// The cleanup of a database that a failed restore has created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// The restore marks the database until it is complete, and drops it on failure or
    /// interruption.
    ByRestore,
    /// The database is removed with its cluster, as in a drill.
    WithCluster,
}

/// The search path of functions during a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchPath {
    /// Only PostgreSQL's own schemas, so that functions do not call users' objects by accident.
    Empty,
    /// The search path of the database or the role.
    Own,
}

/// The default stall timeout of a restore. Building an index counts as progress, however long it
/// takes.
pub const RESTORE_STALL_TIMEOUT: Duration = Duration::from_secs(30 * 60);

impl DatabaseTarget {
    /// Returns a target with default settings: an existing, empty database, restored by one
    /// connection.
    pub fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            database: TargetDatabase::Existing,
            content: TargetContent::MustBeEmpty,
            jobs: 1,
            scratch_dir: None,
            selection: Selection::default(),
            owners: Owners::AsDumped,
            privileges: Privileges::AsDumped,
            role_map: BTreeMap::new(),
            statistics: Statistics::Analyze,
            scripts: Scripts::Harmless,
            search_path: SearchPath::Empty,
            stall_timeout: RESTORE_STALL_TIMEOUT,
            cleanup: Cleanup::ByRestore,
        }
    }
}

/// The part of an archive to restore: everything, or the entries that match all given conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Tables, views and sequences of these names.
    pub tables: Vec<String>,
    /// The contents of these schemas.
    pub schemas: Vec<String>,
    /// Entries of these sections.
    pub sections: Vec<Section>,
    /// The entries of this list, in the format of `pg_restore --list` and possibly edited.
    pub list: Option<String>,
}

impl Selection {
    /// Returns true if the selection includes everything.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

/// A section of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Objects that the data needs: tables, types, functions.
    PreData,
    /// The data.
    Data,
    /// Objects that need the data: indexes, constraints, triggers.
    PostData,
}

impl Section {
    /// Returns PostgreSQL's name of the section.
    pub fn name(self) -> &'static str {
        match self {
            Self::PreData => "pre-data",
            Self::Data => "data",
            Self::PostData => "post-data",
        }
    }
}

/// The owners of restored objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// The original owners.
    AsDumped,
    /// The restoring role.
    Restorer,
}

/// The privileges on restored objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privileges {
    /// The original privileges.
    AsDumped,
    /// Those of the owner only.
    OwnerOnly,
}

/// The handling of the planner's statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistics {
    /// ANALYZE gathers them after the restore.
    Analyze,
    /// Autovacuum gathers them later.
    Autovacuum,
}

/// The scripts that psql may run. psql executes its own commands in scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scripts {
    /// Scripts that cannot run programs on this host.
    Harmless,
    /// All scripts; their authors are trusted with this host.
    Trusted,
}

/// The handling of a missing target database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetDatabase {
    /// The database must exist.
    Existing,
    /// The restore creates the database.
    Create,
}

/// The handling of existing contents of the target database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetContent {
    /// Fail if the database contains anything.
    MustBeEmpty,
    /// Keep the contents and add those of the backup, as for a backup of data only.
    Append,
    /// Drop a database that contains anything, and create it again.
    Replace,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> DatabaseTarget {
        DatabaseTarget::new(Cluster {
            name: "target".to_owned(),
            connection: String::new().into(),
            password: None,
            bin_dir: None,
        })
    }

    #[test]
    fn data_directory_is_refused_for_database_restores() {
        let path = PathBuf::from("/var/lib/postgresql/17/restored");
        let target = Target::DataDirectory(DataDirectory { path, ..DataDirectory::default() });
        let error = target.expect_database("pg_restore").unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(
            error.to_string(),
            "restore \"/var/lib/postgresql/17/restored\": pg_restore restores into a database, not into a data directory"
        );
        assert!(error.remedy().unwrap().contains("--to"), "{error:?}");
        assert!(Target::Database(database()).expect_database("pg_restore").is_ok());
    }

    #[test]
    fn database_is_refused_for_data_directory_restores() {
        let error = Target::Database(database()).expect_data_directory("pg_base").unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        let message = "pg_base restores into a data directory, not into a database";
        assert_eq!(error.to_string(), format!("restore \"target\": {message}"));
        assert!(error.remedy().is_some_and(|hint| hint.contains("directory")), "{error:?}");
        let directory = DataDirectory { path: PathBuf::from("/restored"), ..DataDirectory::default() };
        assert_eq!(Target::DataDirectory(directory.clone()).expect_data_directory("pg_base").unwrap(), &directory);
    }

    #[test]
    fn only_append_adds_rows_to_existing_ones() {
        for (content, appends) in
            [(TargetContent::MustBeEmpty, false), (TargetContent::Replace, false), (TargetContent::Append, true)]
        {
            assert_eq!(Target::Database(DatabaseTarget { content, ..database() }).appends(), appends, "{content:?}");
        }
        let directory = DataDirectory { path: PathBuf::from("/restored"), ..DataDirectory::default() };
        assert!(!Target::DataDirectory(directory).appends());
    }
}
