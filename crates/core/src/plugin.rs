//! Plugins: settings from the configuration, from which stages are built.

mod decryption;
mod target;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::de::DeserializeOwned;

pub use crate::cluster::Cluster;
use crate::compress::Compression;
use crate::error::Result;
use crate::format::Format;
pub use crate::program_target::ProgramTarget;
pub use crate::recovery::{Recovery, RecoveryEnd};
use crate::stage::{Decrypt, Dump, Encrypt, Examine, Restore, Scratch, Store, Verify};
use crate::store::STALL_TIMEOUT;
use crate::unit::TimeSpan;

pub use self::decryption::{DecryptProgram, IDENTITY_HINT, decryption_hint};
pub use self::target::{
    Cleanup, DataDirectory, DatabaseTarget, ExistingFiles, Owners, Privileges, RESTORE_STALL_TIMEOUT, Scripts,
    SearchPath, Section, Selection, Start, Statistics, Target, TargetContent, TargetDatabase,
};

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
/// rejected. The JSON Schema of the settings becomes part of that of the configuration, and the
/// comments of the fields are its descriptions.
///
/// Parsing the settings accesses neither network nor disk. Building the stage may, and it validates
/// recipients and files.
pub trait Plugin<S: PluginKind + ?Sized>: DeserializeOwned + JsonSchema + Clone + Send + Sync + 'static {
    /// The plugin's name in the configuration.
    const TYPE: &'static str;

    /// Finds the programs that the settings name without a slash in this folder. Settings without
    /// programs remain as they are.
    #[must_use]
    fn in_plugin_dir(self, _plugin_dir: &Path) -> Self {
        self
    }

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
    /// The decryption of files that programs of the operator encrypted, by the name of the
    /// encryption.
    pub programs: BTreeMap<String, DecryptProgram>,
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
