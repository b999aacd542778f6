//! The comparison of a database and its restored copy.

use std::process::Command;

use super::{Cluster, process};

/// Returns a text that is equal for a database and its faithful copy, regardless of their names.
/// Between major versions, only [`contents`] can be compared, because each pg_dump writes a schema
/// differently.
///
/// # Panics
/// If the database cannot be read.
pub fn fingerprint(cluster: &Cluster, database: &str) -> String {
    format!("{}\n{}", schema(cluster, database), contents(cluster, database))
}

/// Returns a database's schema, as written by pg_dump.
///
/// # Panics
/// If the database cannot be dumped.
pub fn schema(cluster: &Cluster, database: &str) -> String {
    let mut pg_dump = cluster.client("pg_dump", database);
    pg_dump.arg("--schema-only");
    stable_lines(pg_dump)
}

/// Returns a database's own properties, a count and a digest of each table's rows in any order, the
/// state of each sequence, and each large object.
///
/// # Panics
/// If the database cannot be read.
pub fn contents(cluster: &Cluster, database: &str) -> String {
    cluster.psql(database, include_str!("fingerprint.sql"))
}

/// Returns a cluster's roles, memberships and tablespaces, as written by pg_dumpall.
///
/// # Panics
/// If the cluster cannot be dumped.
pub fn globals(cluster: &Cluster) -> String {
    let mut pg_dumpall = process::clean(&cluster.installation.program("pg_dumpall"));
    pg_dumpall.arg("-d").arg(cluster.connection()).arg("--globals-only");
    stable_lines(pg_dumpall)
}

/// Returns the output of a dump program, without the lines that differ between two dumps of the
/// same database.
fn stable_lines(mut dump: Command) -> String {
    let output = dump.output().expect("the dump program can be started");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{dump:?}: {messages}");
    let script = String::from_utf8(output.stdout).expect("the dump program writes UTF-8");
    let changing = [r"\restrict ", r"\unrestrict ", "-- Dumped from ", "-- Dumped by "];
    let stable = script.lines().filter(|line| !changing.iter().any(|start| line.starts_with(start)));
    stable.collect::<Vec<_>>().join("\n")
}
