//! The settings of a scratch cluster.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// `{ type = "initdb" }`: a temporary cluster for one drill.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Initdb {
    /// The user to run the server as if the drill runs as root, which PostgreSQL refuses; the
    /// default is `postgres`.
    pub(crate) user: Option<String>,
    /// The directory of `initdb` and `postgres`, if they are not to be searched for.
    pub(crate) bin_dir: Option<PathBuf>,
    /// Settings of the server, such as `shared_preload_libraries` for an extension that needs it.
    #[serde(default)]
    pub(crate) settings: BTreeMap<String, String>,
    /// The isolation of the server from the host.
    #[serde(default)]
    pub(crate) isolation: Isolation,
}

/// The isolation required for a drill's server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Isolation {
    /// Namespaces. If the host permits none, a backup that may connect to another server is
    /// refused.
    #[default]
    Namespaces,
    /// None: the backups are trusted with everything that they can reach.
    None,
}
