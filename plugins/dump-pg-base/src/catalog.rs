//! Facts that only SQL supplies. The role of a base backup may be unable to run SQL, so the own
//! client does without them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use longshore_core::Result;
use longshore_pg_client::client::Client;
use longshore_pg_replication::base_backup::Tablespace;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The key of the tablespaces in the details.
pub const TABLESPACES: &str = "tablespaces";

const NAMES: &str = "select coalesce(json_object_agg(oid::text, spcname), '{}') from pg_catalog.pg_tablespace";

/// The data directory of a server on this host. Fails for a role that may not read the setting.
const DATA_DIRECTORY: &str = "select coalesce(to_json(case when inet_server_addr() is null
    or inet_server_addr() <<= '127.0.0.0/8' or inet_server_addr() = '::1'
    then current_setting('data_directory') end), 'null')";

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

/// The size of all databases that the role may connect to, in bytes.
const SIZE: &str = "select to_json(coalesce(sum(pg_database_size(oid)), 0)) from pg_catalog.pg_database
    where has_database_privilege(oid, 'connect')";

/// The time of the server's clock.
const TIME: &str = "select to_json(clock_timestamp())";

/// The number of replication slots in use.
const SLOTS: &str = "select to_json(count(*)) from pg_catalog.pg_replication_slots";

impl ProgramFacts {
    /// Queries the server.
    pub(crate) async fn query(client: &Client) -> Result<Self> {
        client.query(PROGRAM_FACTS).await
    }
}

/// Returns the names of tablespaces by their OIDs, as far as the role may query them.
pub(crate) async fn tablespace_names(client: &Client) -> BTreeMap<String, String> {
    optional(client.query(NAMES).await).unwrap_or_default()
}

/// Returns the data directory of a server on this host, if the role may query it.
pub(crate) async fn data_directory(client: &Client) -> Option<PathBuf> {
    optional(client.query::<Option<PathBuf>>(DATA_DIRECTORY).await).flatten()
}

/// Returns the approximate size of the cluster in bytes, if the role may query it.
pub(crate) async fn size(client: &Client) -> Option<u64> {
    optional(client.query(SIZE).await)
}

/// Returns the time of the server's clock, if the role may query it.
pub(crate) async fn time(client: &Client) -> Option<DateTime<Utc>> {
    optional(client.query(TIME).await)
}

/// Returns the number of replication slots in use, if the role may query it.
pub(crate) async fn slots_in_use(client: &Client) -> Option<u64> {
    optional(client.query(SLOTS).await)
}

/// Returns the answer of a query that may fail.
fn optional<T>(answer: Result<T>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(error) => {
            tracing::debug!(target: "longshore::base", error = error.chain(), "no answer to an optional query");
            None
        }
    }
}

/// Returns the details about the tablespaces of a backup: OIDs, folders on the server, and names.
pub(crate) fn details(tablespaces: &[Tablespace], names: &BTreeMap<String, String>) -> Map<String, Value> {
    let entry = |tablespace: &Tablespace| {
        let mut entry = json!({ "oid": tablespace.oid, "path": tablespace.path.to_string_lossy() });
        if let Some(name) = names.get(&tablespace.oid.to_string()) {
            entry["name"] = name.as_str().into();
        }
        entry
    };
    // The server lists them in any order.
    let mut tablespaces: Vec<_> = tablespaces.iter().collect();
    tablespaces.sort_by_key(|tablespace| tablespace.oid);
    let list: Vec<Value> = tablespaces.into_iter().map(entry).collect();
    [(TABLESPACES.to_owned(), list.into())].into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_name_known_tablespaces() {
        let tablespace = |oid, path: &str| Tablespace { oid, path: path.into(), size_kib: None };
        let names = [("16384".to_owned(), "fast".to_owned())].into();
        assert_eq!(
            Value::from(details(&[tablespace(16385, "/srv/b"), tablespace(16384, "/srv/a")], &names)),
            json!({ "tablespaces": [
                { "oid": 16384, "path": "/srv/a", "name": "fast" },
                { "oid": 16385, "path": "/srv/b" },
            ] })
        );
        assert_eq!(Value::from(details(&[], &names)), json!({ "tablespaces": [] }));
    }
}
