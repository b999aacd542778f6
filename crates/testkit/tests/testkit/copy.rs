//! Copies of databases in another cluster, and their comparison.

use std::collections::HashSet;
use std::process::Command;

use longshore_testkit::cluster::{Cluster, globals};

/// Copies the roles of a cluster.
pub(crate) fn copy_globals(source: &Cluster, copy: &Cluster) {
    copy.psql("postgres", &globals(source).replace("CREATE ROLE postgres;", ""));
}

/// Copies a database with pg_dump and pg_restore of the copy's version.
pub(crate) fn copy_database(source: &Cluster, copy: &Cluster, database: &str) {
    let dump = copy.data_dir().with_file_name("dump");
    let program = |name| Command::new(copy.bin_dir().join(name));
    // Compression would take more time than the rest of the dump.
    run(program("pg_dump").args(["-Fc", "-Z0", "-d", &with_database(source, database), "-f"]).arg(&dump));
    let postgres = with_database(copy, "postgres");
    run(program("pg_restore").args(["--create", "--exit-on-error", "-d", &postgres]).arg(&dump));
}

/// Compares two dumps or fingerprints, and reports only the lines that differ.
pub(crate) fn assert_same(copy: &str, source: &str, subject: &str) {
    let lines = |one: &str, other: &str| {
        let other: HashSet<&str> = other.lines().collect();
        one.lines().filter(|line| !other.contains(line)).collect::<Vec<_>>().join("\n")
    };
    let (lost, gained) = (lines(source, copy), lines(copy, source));
    assert!(copy == source, "{subject}, lost:\n{lost}\n\ngained:\n{gained}");
}

fn with_database(cluster: &Cluster, database: &str) -> String {
    let escaped = database.replace('\\', r"\\").replace('\'', r"\'");
    format!("{} dbname='{escaped}'", cluster.connection())
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
