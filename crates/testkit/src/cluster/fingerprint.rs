//! What tests compare between a database and its restored copy.

use std::process::Command;

use super::{Cluster, process};

/// All of a database as text: equal for a database and its faithful copy, whatever either is called. Between major versions
/// only [`contents`] compares, since each pg_dump words a schema in its own way.
///
/// # Panics
/// If the database cannot be read.
pub fn fingerprint(cluster: &Cluster, database: &str) -> String {
    format!("{}\n{}", schema(cluster, database), contents(cluster, database))
}

/// What pg_dump tells of a database's schema.
///
/// # Panics
/// If the database cannot be dumped.
pub fn schema(cluster: &Cluster, database: &str) -> String {
    let mut pg_dump = cluster.client("pg_dump", database);
    pg_dump.arg("--schema-only");
    steady_lines(pg_dump)
}

/// A database's own properties, a count and a digest of each table's rows in any order, the state of each sequence, and each
/// large object.
///
/// # Panics
/// If the database cannot be read.
pub fn contents(cluster: &Cluster, database: &str) -> String {
    cluster.psql(database, include_str!("fingerprint.sql"))
}

/// What pg_dumpall tells of a cluster's roles, memberships and tablespaces.
///
/// # Panics
/// If the cluster cannot be dumped.
pub fn globals(cluster: &Cluster) -> String {
    let mut pg_dumpall = process::clean(&cluster.installation.program("pg_dumpall"));
    pg_dumpall.arg("-d").arg(cluster.connection()).arg("--globals-only");
    steady_lines(pg_dumpall)
}

/// What a dump program writes, without the lines that differ between two dumps of the same.
fn steady_lines(mut dump: Command) -> String {
    let output = dump.output().expect("the dump program can be started");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{dump:?}: {told}");
    let script = String::from_utf8(output.stdout).expect("the dump program writes UTF-8");
    let changing = [r"\restrict ", r"\unrestrict ", "-- Dumped from ", "-- Dumped by "];
    let steady = script.lines().filter(|line| !changing.iter().any(|start| line.starts_with(start)));
    steady.collect::<Vec<_>>().join("\n")
}
