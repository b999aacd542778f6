//! Queries in individual databases, each over its own connection.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt};
use longshore_core::Result;
use longshore_core::discovery::Requirements;
use longshore_pg_client::client::Client;
use longshore_pg_client::server::{Server, has_own_objects};
use serde::Deserialize;

use crate::select::TemplateContent;

/// The number of databases queried at once.
const MAX_CONCURRENT_QUERIES: usize = 4;

/// Checks whether a template contains objects of its own. A failed connection is a result as well.
pub(crate) async fn template_content(client: &Client, name: &str) -> TemplateContent {
    match has_own_objects(&client.to_database(name)).await {
        Ok(true) => TemplateContent::OwnObjects,
        Ok(false) => TemplateContent::Empty,
        Err(error) => TemplateContent::Failed(format!("is a template that cannot be inspected: {error}")),
    }
}

/// The number of relations whose content exists only on the primary: pg_dump omits it on a standby.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Unlogged {
    tables: u64,
    sequences: u64,
}

const UNLOGGED: &str = "select json_build_object(
    'tables', count(*) filter (where relkind = 'r'), 'sequences', count(*) filter (where relkind = 'S'))
    from pg_catalog.pg_class where relpersistence = 'u'";

/// Counts the unlogged relations of the database that `client` connects to.
pub(crate) async fn unlogged(client: &Client) -> Result<Unlogged> {
    client.query(UNLOGGED).await
}

impl Unlogged {
    /// Returns the parts that a dump of a standby lacks. Names are confidential, so they are
    /// counted only.
    pub(crate) fn not_captured(&self) -> Vec<String> {
        let part = |count: u64, content: &str, one: &str, several: &str| {
            let noun = if count == 1 { one } else { several };
            (count > 0).then(|| format!("{content} of {count} unlogged {noun}, which a standby does not have"))
        };
        let tables = part(self.tables, "rows", "table", "tables");
        tables.into_iter().chain(part(self.sequences, "values", "sequence", "sequences")).collect()
    }
}

const PROPERTIES: &str = "select json_build_array(
    exists (select from pg_catalog.pg_db_role_setting s where s.setdatabase = d.oid),
    d.datacl is not null,
    pg_catalog.shobj_description(d.oid, 'pg_database') is not null)
    from pg_catalog.pg_database d where d.datname = current_database()";

/// Returns the properties of a database that a plain script lacks: only an archive contains them.
pub(crate) async fn properties(client: &Client) -> Result<Vec<String>> {
    let (settings, privileges, comment): (bool, bool, bool) = client.query(PROPERTIES).await?;
    let found = [(settings, "settings"), (privileges, "privileges"), (comment, "the comment")];
    let found: Vec<_> = found.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect();
    if found.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![format!("{} of the database itself, which format = \"plain\" omits", found.join(" and "))])
}

const EXTENSIONS: &str =
    "select coalesce(json_agg(extname), '[]') from pg_catalog.pg_extension where extname <> 'plpgsql'";

// PostgreSQL before 10 has no such role and lets only a superuser read the setting.
const PRELOAD_LIBRARIES: &str = "select coalesce(to_json(case when current_setting('is_superuser') = 'on'
    or exists (select from pg_catalog.pg_roles r where r.rolname = 'pg_read_all_settings' and pg_has_role(r.oid, 'usage'))
    then regexp_split_to_array(replace(current_setting('shared_preload_libraries'), '\"', ''), ' *, *') end), 'null')";

/// Returns the features that a server must have to restore these databases.
pub(crate) async fn requirements(
    client: &Client,
    server: &Server,
    names: Vec<String>,
    connections: usize,
) -> Result<Requirements> {
    let preload_libraries: Option<Vec<String>> = client.query(PRELOAD_LIBRARIES).await?;
    let queries = names.into_iter().map(|name| {
        let client = client.to_database(&name);
        async move {
            let extensions: Result<Vec<String>> = client.query(EXTENSIONS).await;
            extensions.map(|extensions| (name.clone(), extensions)).map_err(|error| error.about(name))
        }
    });
    let results: Vec<_> = futures_util::stream::iter(queries)
        .buffer_unordered(connections.clamp(1, MAX_CONCURRENT_QUERIES))
        .try_collect()
        .await?;
    let mut extensions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, found) in results {
        for extension in found {
            extensions.entry(extension).or_default().insert(name.clone());
        }
    }
    Ok(Requirements { server_version: server.version()?.to_string(), extensions, preload_libraries })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlogged_relations_are_counted() {
        assert!(Unlogged::default().not_captured().is_empty());
        let both = Unlogged { tables: 1, sequences: 2 }.not_captured();
        assert_eq!(both[0], "rows of 1 unlogged table, which a standby does not have");
        assert_eq!(both[1], "values of 2 unlogged sequences, which a standby does not have");
    }
}
