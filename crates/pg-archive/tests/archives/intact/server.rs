//! Facts from the server itself.

use std::collections::{BTreeMap, BTreeSet};

use longshore_testkit::cluster::Cluster;

/// The numbers of rows, by schema and table.
pub(crate) type Rows = BTreeMap<(String, String), u64>;

/// Counts the rows of every table that has rows of its own.
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

/// Returns the number and the total size of large objects.
pub(crate) fn large_objects(cluster: &Cluster, database: &str) -> (u64, u64) {
    let answer = cluster.psql(
        database,
        "SELECT json_build_array(count(*), coalesce(sum(length(lo_get(oid))), 0)) FROM pg_largeobject_metadata",
    );
    serde_json::from_str(answer.trim()).unwrap()
}

/// The values of sequences, by schema and name: `last_value` and `is_called`.
pub(crate) type Sequences = BTreeMap<(String, String), (i64, bool)>;

/// Queries every sequence.
pub(crate) fn sequences(cluster: &Cluster, database: &str) -> Sequences {
    let answer = cluster.psql(
        database,
        "SELECT format('SELECT json_build_array(%L, %L, last_value, is_called) FROM %I.%I', nspname, relname, nspname, relname)
         FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'S'
         \\gexec",
    );
    let sequences = answer.lines().filter(|line| line.starts_with('['));
    sequences
        .map(|line| {
            let (schema, name, value, called) = serde_json::from_str(line).unwrap();
            ((schema, name), (value, called))
        })
        .collect()
}

/// Returns the roles that a database or its objects depend on.
pub(crate) fn roles(cluster: &Cluster, database: &str) -> BTreeSet<String> {
    names(
        cluster,
        database,
        "SELECT to_json(rolname) FROM pg_roles r, pg_database d
         WHERE datname = current_database() AND rolname <> 'postgres' AND rolname !~ '^pg_' AND (
             EXISTS (SELECT FROM pg_shdepend s WHERE refclassid = 'pg_authid'::regclass AND refobjid = r.oid
                     AND (dbid = d.oid OR classid = 'pg_database'::regclass AND objid = d.oid))
             OR EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase = d.oid AND setrole = r.oid))",
    )
}

/// Returns the extensions that a dump creates.
pub(crate) fn extensions(cluster: &Cluster, database: &str) -> BTreeSet<String> {
    names(cluster, database, "SELECT to_json(extname) FROM pg_extension WHERE extname <> 'plpgsql'")
}

fn names(cluster: &Cluster, database: &str, query: &str) -> BTreeSet<String> {
    let answer = cluster.psql(database, query);
    answer.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
