//! The settings of a scratch cluster.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// `{ type = "initdb" }`: a cluster for one drill.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Initdb {
    /// Whom the server runs as where we are root, whom PostgreSQL refuses; `postgres` without it.
    pub(crate) user: Option<String>,
    /// Where `initdb` and `postgres` are, if they are not to be looked for.
    pub(crate) bin_dir: Option<PathBuf>,
    /// Settings of the server, such as `shared_preload_libraries` of an extension that needs it.
    #[serde(default)]
    pub(crate) settings: BTreeMap<String, String>,
    /// How the server is kept from the host.
    #[serde(default)]
    pub(crate) isolation: Isolation,
}

/// The isolation that is wanted of a drill's server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Isolation {
    /// Namespaces. Where the host permits none, a backup that may connect to another server is refused.
    #[default]
    Namespaces,
    /// None: the backups are trusted with whatever they reach.
    None,
}
