//! Facts that only SQL supplies. The role of a base backup may be unable to run SQL, so the own
//! client does without them.

use longshore_core::Result;
use longshore_pg_client::client::Client;
use longshore_pg_client::cluster_files::optional;
use serde::Deserialize;

/// The facts with which a base backup by a program can be checked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ProgramFacts {
    /// The number of tablespaces other than `pg_default` and `pg_global`.
    pub(crate) tablespaces: u64,
    /// True if the role may replicate.
    pub(crate) may_replicate: bool,
    /// The setting `wal_keep_size`.
    pub(crate) wal_keep_size: String,
}

const PROGRAM_FACTS: &str = "select json_build_object(
    'tablespaces', (select count(*) from pg_catalog.pg_tablespace where spcname not in ('pg_default', 'pg_global')),
    'may_replicate', (select rolreplication or rolsuper from pg_catalog.pg_roles where rolname = session_user),
    'wal_keep_size', current_setting('wal_keep_size'))";

/// The number of replication slots in use.
const SLOTS: &str = "select to_json(count(*)) from pg_catalog.pg_replication_slots";

impl ProgramFacts {
    /// Queries the server.
    pub(crate) async fn query(client: &Client) -> Result<Self> {
        client.query(PROGRAM_FACTS).await
    }
}

/// Returns the number of replication slots in use, if the role may query it.
pub(crate) async fn slots_in_use(client: &Client) -> Option<u64> {
    optional(client.query(SLOTS).await)
}
