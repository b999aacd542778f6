//! A database to measure on, the same in every run, and shell commands that work on it.

use std::process::Command;

use longshore_testkit::cluster::{Cluster, Installation};

use super::contest::bytes_of;
use crate::{Result, setup};

/// What it is called.
pub(super) const NAME: &str = "bench";

/// A cluster with a database in it.
pub(super) struct Database {
    installation: Installation,
    cluster: Cluster,
    /// Its size in COPY's text.
    pub(super) bytes: u64,
}

impl Database {
    /// A cluster without one.
    pub(super) fn none() -> Result<Self> {
        let installation = setup::for_bench()?;
        let cluster = Cluster::start(&installation, &["shared_buffers=1GB", "fsync=off"]);
        Ok(Self { installation, cluster, bytes: 0 })
    }

    /// Makes one: pgbench's tables, and text, jsonb, bytea and large objects in proportion.
    pub(super) fn make(scale: u32) -> Result<Self> {
        let mut database = Self::none()?;
        database.cluster.create_database(NAME);
        let (pgbench, connection) = (database.program("pgbench"), database.connection());
        shell(&format!("{pgbench} -i -q -s {scale} '{connection} dbname={NAME}' 2> /dev/null"))?;
        database.cluster.psql(NAME, &format!("\\set scale {scale}\n{}", include_str!("verify.sql")));
        database.bytes = bytes_of(&format!("{} --compress=none | wc -c", database.dump()))?;
        println!(
            "    PostgreSQL {}, a database of {} MB in COPY's text",
            database.installation.version,
            database.bytes / 1_000_000
        );
        Ok(database)
    }

    /// How to reach its cluster, in libpq's keywords.
    pub(super) fn connection(&self) -> String {
        self.cluster.connection()
    }

    /// Where its cluster's programs are.
    pub(super) fn bin_dir(&self) -> String {
        self.cluster.bin_dir().display().to_string()
    }

    /// A program of its version.
    pub(super) fn program(&self, name: &str) -> String {
        self.installation.program(name).display().to_string()
    }

    /// The command that dumps it in the custom format.
    pub(super) fn dump(&self) -> String {
        format!("{} -d '{} dbname={NAME}' --format=custom", self.program("pg_dump"), self.connection())
    }
}

/// Runs a command that is not measured.
pub(super) fn shell(command: &str) -> Result<()> {
    match Command::new("bash").args(["-c", command]).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command}: {status}")),
        Err(error) => Err(format!("cannot run bash: {error}")),
    }
}
