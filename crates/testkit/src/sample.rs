//! Databases that look like real ones: what they hold depends on the number of rows alone, never on chance or the clock.
//!
//! They load on a stock server of PostgreSQL 15 and later, without contrib. Those of [`load`] look like what people have;
//! [`load_zoo`] and [`load_many_tables`] make what people rarely have and a backup must take all the same.

use crate::cluster::Cluster;

/// A web shop: schemas, domains, enums, partitions, inheritance, generated columns, views, triggers, row security, grants.
pub const SHOP: &str = "shop";
/// Measurements: many narrow rows, nested partitions, numbers and times at their limits.
pub const TELEMETRY: &str = "telemetry";
/// Documents: large objects, long values, text search; in a database whose name needs quotes.
pub const ARCHIVE: &str = r#"Archiv "Köln" 1/2"#;
/// Every kind of object, value and name that a dump can meet, at least once: for [`load_zoo`].
pub const ZOO: &str = "zoo";
/// Very many small tables: for [`load_many_tables`].
pub const MANY_TABLES: &str = "many_tables";
/// Nothing at all.
pub const EMPTY: &str = "empty";

/// A name with all that trips a path, a shell, a connection string or a pattern; none of the databases above has it.
pub const ODD_NAME: &str = "../-Å \"q\" l'été\\%2F*$HOME\n=..";

/// The script that makes the roles that the databases need; for any database.
pub fn roles() -> &'static str {
    include_str!("sample/roles.sql")
}

/// The databases by name, each with the psql script that fills it, where `rows` is how many its main table gets.
pub fn databases(rows: u32) -> [(&'static str, String); 4] {
    let script = |sql: &str| format!("\\set rows {rows}\n{sql}");
    [
        (SHOP, script(include_str!("sample/shop.sql"))),
        (TELEMETRY, script(include_str!("sample/telemetry.sql"))),
        (ARCHIVE, script(include_str!("sample/archive.sql"))),
        (EMPTY, String::new()),
    ]
}

/// Makes the roles and all the databases.
///
/// # Panics
/// If something of it is there already.
pub fn load(cluster: &Cluster, rows: u32) {
    cluster.psql("postgres", roles());
    for (name, script) in databases(rows) {
        cluster.create_database(name);
        cluster.psql(name, &script);
    }
}

/// Makes the zoo's roles and the zoo, some 350 tables with few rows, 24 MB and, compressed, 5 MB. Needs no other sample.
///
/// # Panics
/// If something of it is there already.
pub fn load_zoo(cluster: &Cluster) {
    cluster.create_database(ZOO);
    let parts = [
        include_str!("sample/zoo/cage.sql"),
        include_str!("sample/zoo/type.sql"),
        include_str!("sample/zoo/value.sql"),
        include_str!("sample/zoo/table.sql"),
        include_str!("sample/zoo/code.sql"),
        include_str!("sample/zoo/world.sql"),
        include_str!("sample/zoo/wide.sql"),
        include_str!("sample/zoo/name.sql"),
    ];
    cluster.psql(ZOO, &parts.concat());
}

/// Makes a database of `count` tables, of which every tenth has one row.
///
/// pg_dump locks all of them at once: from some 6000 on, start the cluster with a greater `max_locks_per_transaction`
/// than its 64.
///
/// # Panics
/// If the database is there already.
pub fn load_many_tables(cluster: &Cluster, count: u32) {
    cluster.create_database(MANY_TABLES);
    cluster.psql(MANY_TABLES, &format!("\\set count {count}\n{}", include_str!("sample/many_tables.sql")));
}
