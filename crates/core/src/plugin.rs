//! Plugins: settings from the configuration, from which stages are built.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde::de::DeserializeOwned;

pub use crate::cluster::Cluster;
use crate::compress::Compression;
use crate::error::{Error, Kind, Result, Stage};
use crate::format::Format;
use crate::stage::{Decrypt, Dump, Encrypt, Examine, Restore, Scratch, Store, Verify};
use crate::store::STALL_TIMEOUT;
use crate::unit::TimeSpan;

/// A stage trait of [`crate::stage`] with the context for building its plugins.
pub trait PluginKind {
    /// The context that a plugin of this kind receives besides its own settings.
    type Context: Send + Sync;
}

impl PluginKind for dyn Dump {
    type Context = JobContext;
}

impl PluginKind for dyn Verify {
    type Context = JobContext;
}

impl PluginKind for dyn Encrypt {
    type Context = ();
}

impl PluginKind for dyn Decrypt {
    type Context = Identities;
}

impl PluginKind for dyn Store {
    type Context = StoreContext;
}

impl PluginKind for dyn Restore {
    type Context = Target;
}

impl PluginKind for dyn Scratch {
    type Context = JobContext;
}

impl PluginKind for dyn Examine {
    type Context = Cluster;
}

/// A plugin's settings, as written in the configuration beside `type`, with unknown settings
/// rejected.
///
/// Parsing the settings accesses neither network nor disk. Building the stage may, and it validates
/// recipients and files.
pub trait Plugin<S: PluginKind + ?Sized>: DeserializeOwned + Clone + Send + Sync + 'static {
    /// The plugin's name in the configuration.
    const TYPE: &'static str;

    /// Builds the stage.
    fn build(self, context: &S::Context) -> Result<Box<S>>;
}

/// A restore plugin that is part of this program. The format of a backup selects the plugin.
pub trait RestorePlugin: Plugin<dyn Restore> {
    /// The formats that the plugin restores. No other plugin restores them.
    const FORMATS: &'static [Format];
}

/// The context of a job.
#[derive(Debug, Clone)]
pub struct JobContext {
    /// The cluster to read.
    pub cluster: Cluster,
    /// The side that compresses.
    pub compress_by: CompressBy,
    /// A folder for data that cannot be streamed, such as pg_dump's directory format. It contains
    /// plaintext while the job runs.
    pub scratch_dir: Option<PathBuf>,
}

/// The settings with which a destination is opened, besides those of its type.
#[derive(Debug, Clone)]
pub struct StoreContext {
    /// The longest time without an answer of the network, also for cleanup that outlives its
    /// caller.
    pub stall_timeout: Duration,
    /// The time for which the retention policy keeps new backups.
    pub retention: MinimumRetention,
}

impl Default for StoreContext {
    fn default() -> Self {
        Self { stall_timeout: STALL_TIMEOUT, retention: MinimumRetention::Unasked }
    }
}

/// The time for which a retention policy keeps every new backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinimumRetention {
    /// The destination is not opened for new backups.
    Unasked,
    /// The policy guarantees no time, or there is no policy.
    None,
    /// The policy keeps every new backup for this time.
    For(TimeSpan),
}

/// The compression of a job's dumps, and the side that compresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompressBy {
    /// Compression by the pipeline, after verification.
    Pipeline(Compression),
    /// Compression by the dump program. The fields are those of its `--compress`, such as `gzip`
    /// and 9.
    Tool {
        /// The method.
        method: String,
        /// The level; the program's default if absent.
        level: Option<i32>,
    },
}

/// The keys that decrypt a backup.
#[derive(Clone)]
pub struct Identities {
    /// Identity files.
    pub files: Vec<PathBuf>,
    /// Identities in memory, such as the output of a secret manager.
    pub texts: Vec<IdentityText>,
    /// The use of a passphrase.
    pub passphrase: Passphrase,
    /// The prompt for a passphrase.
    pub ask: Arc<dyn Ask>,
}

/// The hint of errors about a missing identity.
pub const IDENTITY_HINT: &str =
    "pass an identity that decrypts it: --identity FILE, or [identity] in the configuration";

impl Identities {
    /// Returns true if no identity and no passphrase are available.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.texts.is_empty() && self.passphrase == Passphrase::Unused
    }
}

/// The text of an identity file that exists only in memory.
#[derive(Debug, Clone)]
pub struct IdentityText {
    /// The origin of the text, for errors.
    pub name: String,
    /// The text.
    pub text: SecretString,
}

/// The use of the passphrase with which a backup was encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passphrase {
    /// Backups are decrypted with identities only.
    Unused,
    /// Ask for the passphrase.
    AskFor,
}

/// A prompt for secrets.
pub trait Ask: Send + Sync {
    /// Returns the answer to `question`, or `None` if no prompt is possible.
    fn secret(&self, question: &str) -> Option<SecretString>;
}

/// The target of a restore. Each restore plugin serves only some kinds of targets; building it for
/// another kind fails with [`Usage`](Kind::Usage).
#[allow(clippy::large_enum_variant, reason = "a restore has one target")]
#[derive(Debug, Clone)]
pub enum Target {
    /// A database of a running server, or all databases of the server.
    Database(DatabaseTarget),
    /// A data directory that no server uses yet.
    DataDirectory(DataDirectory),
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
            Self::Database(target) => {
                let message = format!("{plugin} restores into a data directory, not into a database");
                Err(Error::new(Stage::Restore, Kind::Usage, &target.cluster.name, message)
                    .hint("name a new or empty directory instead of the connection of a server"))
            }
        }
    }

    /// Returns true if the restore adds rows to existing ones.
    pub fn appends(&self) -> bool {
        match self {
            Self::Database(target) => target.content == TargetContent::Append,
            Self::DataDirectory(_) => false,
        }
    }
}

/// A data directory to restore into.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        let target = Target::DataDirectory(DataDirectory {
            path,
            tablespaces: BTreeMap::new(),
            owner: None,
            existing: ExistingFiles::Refused,
        });
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
        let directory = DataDirectory {
            path: PathBuf::from("/restored"),
            tablespaces: BTreeMap::new(),
            owner: None,
            existing: ExistingFiles::Refused,
        };
        assert_eq!(Target::DataDirectory(directory.clone()).expect_data_directory("pg_base").unwrap(), &directory);
    }

    #[test]
    fn only_append_adds_rows_to_existing_ones() {
        for (content, appends) in
            [(TargetContent::MustBeEmpty, false), (TargetContent::Replace, false), (TargetContent::Append, true)]
        {
            assert_eq!(Target::Database(DatabaseTarget { content, ..database() }).appends(), appends, "{content:?}");
        }
        let directory = DataDirectory {
            path: PathBuf::from("/restored"),
            tablespaces: BTreeMap::new(),
            owner: None,
            existing: ExistingFiles::Refused,
        };
        assert!(!Target::DataDirectory(directory).appends());
    }
}
