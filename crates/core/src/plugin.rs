//! How a plugin becomes a stage: its settings are read, then built with what the stage may know of its surroundings.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde::de::DeserializeOwned;

use crate::compress::Compression;
use crate::error::Result;
use crate::stage::{Decrypt, Dump, Encrypt, Examine, Restore, Scratch, Store, Verify};

/// One of the joints of [`crate::stage`]: what plugins of that kind are built with.
pub trait Joint {
    /// What a plugin of this kind may know of where it works, beyond its own settings.
    type Context: Send + Sync;
}

impl Joint for dyn Dump {
    type Context = Site;
}

impl Joint for dyn Verify {
    type Context = Site;
}

impl Joint for dyn Encrypt {
    type Context = ();
}

impl Joint for dyn Decrypt {
    type Context = Identities;
}

impl Joint for dyn Store {
    type Context = ();
}

impl Joint for dyn Restore {
    type Context = Target;
}

impl Joint for dyn Scratch {
    type Context = Site;
}

impl Joint for dyn Examine {
    type Context = Cluster;
}

/// A plugin's settings, as they stand in the configuration beside `type`, unknown ones denied.
///
/// Reading them touches neither network nor disk; building may, and it is then that recipients and files are proven.
pub trait Plugin<S: Joint + ?Sized>: DeserializeOwned + Clone + Send + Sync + 'static {
    /// The word for it in the configuration.
    const TYPE: &'static str;

    /// Builds the stage.
    fn build(self, context: &S::Context) -> Result<Box<S>>;
}

/// A cluster, and how to reach it.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Its name in the configuration.
    pub name: String,
    /// libpq's connection string: keywords, a URI or a service. It may hold a password.
    pub connection: SecretString,
    /// A password from elsewhere, such as a terminal.
    pub password: Option<SecretString>,
    /// Where PostgreSQL's client programs are, if they are not to be looked for.
    pub bin_dir: Option<PathBuf>,
}

/// Where a job works.
#[derive(Debug, Clone)]
pub struct Site {
    /// The cluster it reads.
    pub cluster: Cluster,
    /// Who compresses.
    pub packing: Packing,
    /// A folder for what cannot be a stream, such as pg_dump's directory format. Plaintext lies there while the job runs.
    pub scratch_dir: Option<PathBuf>,
}

/// Who compresses a job's dumps, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packing {
    /// The pipeline, after the dump was judged.
    Pipeline(Compression),
    /// The dump program itself; the words are those of its `--compress`, such as `gzip` and 9.
    Tool {
        /// The method.
        method: String,
        /// Its level; the program's default if it is not given.
        level: Option<i32>,
    },
}

/// What opens a backup.
#[derive(Clone)]
pub struct Identities {
    /// Identity files.
    pub files: Vec<PathBuf>,
    /// What stands in identity files that lie nowhere, such as the output of a program that keeps secrets.
    pub texts: Vec<IdentityText>,
    /// Whether a passphrase may open it.
    pub passphrase: Passphrase,
    /// Who answers for a passphrase.
    pub ask: Arc<dyn Ask>,
}

/// The hint of errors that nothing was given that opens a backup.
pub const GIVE_IDENTITY: &str = "give an identity that opens it: --identity FILE, or [identity] in the configuration";

impl Identities {
    /// Whether there is nothing that could open anything.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.texts.is_empty() && self.passphrase == Passphrase::Unused
    }
}

/// The text of an identity file that is in memory alone.
#[derive(Debug, Clone)]
pub struct IdentityText {
    /// What errors call it: where it comes from.
    pub name: String,
    /// The text.
    pub text: SecretString,
}

/// Whether to ask for the passphrase that a backup was sealed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passphrase {
    /// Backups are opened by identities alone.
    Unused,
    /// Somebody knows it.
    AskFor,
}

/// Somebody who may know a secret.
pub trait Ask: Send + Sync {
    /// The answer to `question`, or nothing where nobody can be asked.
    fn secret(&self, question: &str) -> Option<SecretString>;
}

/// Where a backup is restored to.
#[derive(Debug, Clone)]
pub struct Target {
    /// The cluster, its connection naming the database.
    pub cluster: Cluster,
    /// Whether the database is there or is to be made.
    pub database: TargetDatabase,
    /// What to do with what is in the database.
    pub content: TargetContent,
    /// How many processes restore at once; more than one needs `scratch_dir`.
    pub jobs: u32,
    /// A folder for what cannot be a stream. Plaintext lies there while the restore runs.
    pub scratch_dir: Option<PathBuf>,
    /// What of an archive is restored.
    pub selection: Selection,
    /// Who owns what is restored.
    pub owners: Owners,
    /// Who may use it.
    pub privileges: Privileges,
    /// Roles of the backup, each with the role of the target that takes its place.
    pub role_map: BTreeMap<String, String>,
    /// What is done about the planner's statistics, which no dump brings.
    pub statistics: Statistics,
    /// Which scripts are run.
    pub scripts: Scripts,
    /// The schemas in which functions look for what they name without one.
    pub search_path: SearchPath,
    /// How long a program may take no byte while the server shows no work, before it is given up.
    pub stall_timeout: Duration,
    /// The cleanup of a database that a restore makes and does not finish.
    pub cleanup: Cleanup,
}

/// The cleanup of a database that a restore makes and does not finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// The restore drops it, also when it is interrupted, and marks it until then.
    ByRestore,
    /// It goes with its place, as a drill's does.
    WithPlace,
}

/// The schemas in which functions look, during a restore, for what they name without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchPath {
    /// PostgreSQL's own alone: what others put into a database is not called by accident.
    Empty,
    /// Those of the database or the role.
    Own,
}

/// How long a restore may stall where nothing is set. An index that is built is work, however long it takes.
pub const RESTORE_STALL_TIMEOUT: Duration = Duration::from_secs(30 * 60);

impl Target {
    /// A cluster whose databases are there and empty, restored into by one connection: what everything else changes.
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
            statistics: Statistics::Gathered,
            scripts: Scripts::Harmless,
            search_path: SearchPath::Empty,
            stall_timeout: RESTORE_STALL_TIMEOUT,
            cleanup: Cleanup::ByRestore,
        }
    }
}

/// What of an archive is restored: all, or what every one of these that is given takes in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Tables, views and sequences of these names.
    pub tables: Vec<String>,
    /// What is in these schemas.
    pub schemas: Vec<String>,
    /// These sections.
    pub sections: Vec<Section>,
    /// The entries of this list, as `pg_restore --list` prints it and a person has edited it.
    pub list: Option<String>,
}

impl Selection {
    /// Whether nothing is left out.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

/// A section of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// What the data needs: tables, types, functions.
    PreData,
    /// The data.
    Data,
    /// What needs the data: indexes, constraints, triggers.
    PostData,
}

impl Section {
    /// PostgreSQL's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PreData => "pre-data",
            Self::Data => "data",
            Self::PostData => "post-data",
        }
    }
}

/// Who owns what is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Those who did.
    AsDumped,
    /// Whoever restores it.
    Restorer,
}

/// Who may use what is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privileges {
    /// Those who might.
    AsDumped,
    /// Its owner alone.
    Left,
}

/// What is done about the planner's statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistics {
    /// They are gathered by ANALYZE.
    Gathered,
    /// They are left to autovacuum.
    Left,
}

/// Which scripts are run by psql, which obeys commands of its own in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scripts {
    /// Those that cannot have it run programs.
    Harmless,
    /// All: whoever wrote them is trusted with this host.
    Trusted,
}

/// Whether the database to restore into is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetDatabase {
    /// It is.
    Existing,
    /// It is to be made.
    Create,
}

/// What to do with what is in the database already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetContent {
    /// Refuse to restore if there is anything.
    MustBeEmpty,
    /// Leave it, and add what the backup brings, as for a backup of data alone.
    Append,
    /// Drop a database that holds anything, and make it anew.
    Replace,
}
