//! Databases that look like real ones: what they hold depends on the number of rows alone, never on chance or the clock.
//!
//! They load on a stock server of PostgreSQL 15 and later, without contrib.

use crate::cluster::Cluster;

/// A web shop: schemas, domains, enums, partitions, inheritance, generated columns, views, triggers, row security, grants.
pub const SHOP: &str = "shop";
/// Measurements: many narrow rows, nested partitions, numbers and times at their limits.
pub const TELEMETRY: &str = "telemetry";
/// Documents: large objects, long values, text search; in a database whose name needs quotes.
pub const ARCHIVE: &str = r#"Archiv "Köln" 1/2"#;
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
