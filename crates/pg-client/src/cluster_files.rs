//! Facts about the files of a cluster that only SQL supplies. The role of a base backup may be
//! unable to run SQL, so a fact may be missing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use longshore_core::Result;
use serde_json::{Map, Value, json};

use crate::client::Client;

/// The key of the tablespaces in the details.
pub const TABLESPACES: &str = "tablespaces";

const NAMES: &str = "select coalesce(json_object_agg(oid::text, spcname), '{}') from pg_catalog.pg_tablespace";

/// The data directory of a server on this host. Fails for a role that may not read the setting.
const DATA_DIRECTORY: &str = "select coalesce(to_json(case when inet_server_addr() is null
    or inet_server_addr() <<= '127.0.0.0/8' or inet_server_addr() = '::1'
    then current_setting('data_directory') end), 'null')";

/// The size of all databases that the role may connect to, in bytes.
const SIZE: &str = "select to_json(coalesce(sum(pg_database_size(oid)), 0)) from pg_catalog.pg_database
    where has_database_privilege(oid, 'connect')";

/// The time of the server's clock.
const TIME: &str = "select to_json(clock_timestamp())";

/// Returns the names of tablespaces by their OIDs, as far as the role may query them.
pub async fn tablespace_names(client: &Client) -> BTreeMap<String, String> {
    optional(client.query(NAMES).await).unwrap_or_default()
}

/// Returns the data directory of a server on this host, if the role may query it.
pub async fn data_directory(client: &Client) -> Option<PathBuf> {
    optional(client.query::<Option<PathBuf>>(DATA_DIRECTORY).await).flatten()
}

/// Returns the approximate size of the cluster in bytes, if the role may query it.
pub async fn size(client: &Client) -> Option<u64> {
    optional(client.query(SIZE).await)
}

/// Returns the time of the server's clock, if the role may query it.
pub async fn time(client: &Client) -> Option<DateTime<Utc>> {
    optional(client.query(TIME).await)
}

/// Returns the answer of a query that the role may be unable to run.
pub fn optional<T>(answer: Result<T>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(error) => {
            tracing::debug!(target: "longshore::base", error = error.chain(), "no answer to an optional query");
            None
        }
    }
}

/// Returns the details about tablespaces: OIDs, folders on the server, and names.
pub fn details<'a>(
    tablespaces: impl Iterator<Item = (u32, &'a Path)>,
    names: &BTreeMap<String, String>,
) -> Map<String, Value> {
    let entry = |(oid, path): &(u32, &Path)| {
        let mut entry = json!({ "oid": oid, "path": path.to_string_lossy() });
        if let Some(name) = names.get(&oid.to_string()) {
            entry["name"] = name.as_str().into();
        }
        entry
    };
    // The server lists them in any order.
    let mut tablespaces: Vec<_> = tablespaces.collect();
    tablespaces.sort_by_key(|(oid, _)| *oid);
    let list: Vec<Value> = tablespaces.iter().map(entry).collect();
    [(TABLESPACES.to_owned(), list.into())].into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_name_known_tablespaces() {
        let tablespaces = [(16385, Path::new("/srv/b")), (16384, Path::new("/srv/a"))];
        let names = [("16384".to_owned(), "fast".to_owned())].into();
        assert_eq!(
            Value::from(details(tablespaces.into_iter(), &names)),
            json!({ "tablespaces": [
                { "oid": 16384, "path": "/srv/a", "name": "fast" },
                { "oid": 16385, "path": "/srv/b" },
            ] })
        );
        assert_eq!(Value::from(details([].into_iter(), &names)), json!({ "tablespaces": [] }));
    }
}
