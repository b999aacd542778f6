//! What the server itself counts.

use std::collections::BTreeMap;

use longshore_testkit::cluster::Cluster;

/// The rows of each table, by schema and name.
pub(crate) type Rows = BTreeMap<(String, String), u64>;

/// Counts the rows of every table that has any of its own.
pub(crate) fn rows_by_table(cluster: &Cluster, database: &str) -> Rows {
    let answer = cluster.psql(
        database,
        "SELECT format('SELECT json_build_array(%L, %L, count(*)) FROM ONLY %I.%I', nspname, relname, nspname, relname)
         FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE relkind = 'r' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
           AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND deptype = 'e')
         \\gexec",
    );
    let rows = answer.lines().filter(|line| line.starts_with('['));
    rows.map(|line| {
        let (schema, name, count) = serde_json::from_str(line).unwrap();
        ((schema, name), count)
    })
    .collect()
}

/// How many large objects there are, and how many bytes are in them.
pub(crate) fn large_objects(cluster: &Cluster, database: &str) -> (u64, u64) {
    let answer = cluster.psql(
        database,
        "SELECT json_build_array(count(*), coalesce(sum(length(lo_get(oid))), 0)) FROM pg_largeobject_metadata",
    );
    serde_json::from_str(answer.trim()).unwrap()
}
