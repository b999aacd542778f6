//! The settings of a scratch cluster.

use std::collections::BTreeMap;
use std::path::PathBuf;

use longshore_pg_client::isolation_policy::RequiredIsolation;
use serde::Deserialize;

/// `{ type = "initdb" }`: a temporary cluster for one drill.
#[derive(Debug, Clone, Default, Deserialize, schemars::JsonSchema)]
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
    pub(crate) isolation: RequiredIsolation,
}
