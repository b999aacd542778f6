//! Realistic databases. Their content depends only on the number of rows, not on chance or the
//! clock.
//!
//! They load on a standard server of PostgreSQL 15 and later, without contrib. The databases of
//! [`load`] are typical; [`load_zoo`] and [`load_many_tables`] create rare objects that a backup
//! must support as well.

use crate::cluster::Cluster;

/// A web shop: schemas, domains, enums, partitions, inheritance, generated columns, views,
/// triggers, row security, grants.
pub const SHOP: &str = "shop";
/// Measurements: many narrow rows, nested partitions, numbers and times at their limits.
pub const TELEMETRY: &str = "telemetry";
/// Documents: large objects, long values, text search. The name of the database needs quotes.
pub const ARCHIVE: &str = r#"Archiv "Köln" 1/2"#;
/// Every kind of object, value and name that a dump can contain, for [`load_zoo`].
pub const ZOO: &str = "zoo";
/// A very large number of small tables, for [`load_many_tables`].
pub const MANY_TABLES: &str = "many_tables";
/// An empty database.
pub const EMPTY: &str = "empty";

/// A name that breaks naive handling of paths, shells, connection strings and patterns. None of the
/// databases above has it.
pub const ODD_NAME: &str = "../-Å \"q\" l'été\\%2F*$HOME\n=..";

/// Returns the script that creates the roles of the databases. It runs in any database.
pub fn roles() -> &'static str {
    include_str!("sample/roles.sql")
}

/// Returns the names of the databases and the psql scripts that fill them. `rows` is the size of
/// each main table.
pub fn databases(rows: u32) -> [(&'static str, String); 4] {
    let script = |sql: &str| format!("\\set rows {rows}\n{sql}");
    [
        (SHOP, script(include_str!("sample/shop.sql"))),
        (TELEMETRY, script(include_str!("sample/telemetry.sql"))),
        (ARCHIVE, script(include_str!("sample/archive.sql"))),
        (EMPTY, String::new()),
    ]
}

/// Creates the roles and all databases.
///
/// # Panics
/// If one of them exists already.
pub fn load(cluster: &Cluster, rows: u32) {
    cluster.psql("postgres", roles());
    for (name, script) in databases(rows) {
        cluster.create_database(name);
        cluster.psql(name, &script);
    }
}

/// Creates the roles and the database of the zoo: some 350 tables with few rows, 24 MB or 5 MB
/// compressed. Needs no other sample.
///
/// # Panics
/// If one of them exists already.
pub fn load_zoo(cluster: &Cluster) {
    cluster.create_database(ZOO);
    let parts = [
        include_str!("sample/zoo/roles_and_schemas.sql"),
        include_str!("sample/zoo/type.sql"),
        include_str!("sample/zoo/value.sql"),
        include_str!("sample/zoo/table.sql"),
        include_str!("sample/zoo/code.sql"),
        include_str!("sample/zoo/external.sql"),
        include_str!("sample/zoo/wide.sql"),
        include_str!("sample/zoo/name.sql"),
    ];
    cluster.psql(ZOO, &parts.concat());
}

/// Creates a database of `count` tables. Every tenth table has one row.
///
/// pg_dump locks all of them at once: for more than about 6000, start the cluster with a greater
/// `max_locks_per_transaction` than the default of 64.
///
/// # Panics
/// If the database exists already.
pub fn load_many_tables(cluster: &Cluster, count: u32) {
    cluster.create_database(MANY_TABLES);
    cluster.psql(MANY_TABLES, &format!("\\set count {count}\n{}", include_str!("sample/many_tables.sql")));
}
