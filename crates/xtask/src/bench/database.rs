//! A database for benchmarks, equal in every run, and shell commands for it.

use std::path::Path;
use std::process::Command;

use longshore_testkit::cluster::{Cluster, Installation};

use super::comparison::bytes_of;
use crate::{Result, setup};

/// The settings of the server.
const SETTINGS: [&str; 2] = ["shared_buffers=1GB", "fsync=off"];

/// The name of the database.
pub(super) const NAME: &str = "bench";

/// A cluster with a database.
pub(super) struct Database {
    installation: Installation,
    cluster: Cluster,
    /// The size of the database in COPY's text format.
    pub(super) bytes: u64,
}

impl Database {
    /// Starts a cluster without a database.
    pub(super) fn none() -> Result<Self> {
        Ok(Self::start(setup::for_bench()?))
    }

    fn start(installation: Installation) -> Self {
        let cluster = Cluster::start(&installation, &SETTINGS);
        Self { installation, cluster, bytes: 0 }
    }

    /// Creates a database with pgbench's tables, and text, jsonb, bytea and large objects in
    /// proportion.
    pub(super) fn make(scale: u32) -> Result<Self> {
        Self::none()?.fill(scale)
    }

    /// Creates the same database on the system's PostgreSQL, which other programs of the system
    /// support.
    pub(super) fn make_on_system(scale: u32) -> Result<Self> {
        Self::start(setup::for_demo()?).fill(scale)
    }

    /// Creates the database of [`Database::make`], or of [`Database::make_on_system`], in a folder.
    pub(super) fn make_within(folder: &Path, on_system: bool, scale: u32) -> Result<Self> {
        let installation = if on_system { setup::for_demo()? } else { setup::for_bench()? };
        let cluster = Cluster::start_within(folder, &installation, &SETTINGS);
        Self { installation, cluster, bytes: 0 }.fill(scale)
    }

    fn fill(self, scale: u32) -> Result<Self> {
        let mut database = self;
        database.cluster.create_database(NAME);
        let (pgbench, connection) = (database.program("pgbench"), database.connection());
        shell(&format!("{pgbench} -i -q -s {scale} '{connection} dbname={NAME}' 2> /dev/null"))?;
        database.cluster.psql(NAME, &format!("\\set scale {scale}\n{}", include_str!("verify.sql")));
        database.bytes = bytes_of(&format!("{} -Z0 | wc -c", database.dump()))?;
        println!(
            "    PostgreSQL {}, a database of {} MB in COPY's text format",
            database.installation.version,
            database.bytes / 1_000_000
        );
        Ok(database)
    }

    /// Returns the connection string of the cluster, in libpq's keyword format.
    pub(super) fn connection(&self) -> String {
        self.cluster.connection()
    }

    /// Returns the folder and the port of the Unix socket.
    pub(super) fn socket(&self) -> (String, u16) {
        let folder = self.cluster.data_dir().with_file_name("");
        (folder.display().to_string(), self.cluster.port())
    }

    /// Returns the data directory.
    pub(super) fn data_dir(&self) -> String {
        self.cluster.data_dir().display().to_string()
    }

    /// Returns the name of the first complete segment of WAL that still exists.
    pub(super) fn first_segment(&self) -> Result<String> {
        self.cluster.psql("postgres", "select pg_switch_wal()");
        let query =
            "select name from pg_ls_waldir() where name < pg_walfile_name(pg_current_wal_lsn()) order by 1 limit 1";
        let name = self.cluster.psql("postgres", query);
        if name.is_empty() { Err("the server has no complete segment of WAL".to_owned()) } else { Ok(name) }
    }

    /// Returns the folder of the cluster's programs.
    pub(super) fn bin_dir(&self) -> String {
        self.cluster.bin_dir().display().to_string()
    }

    /// Returns the path of a program of the cluster's version.
    pub(super) fn program(&self, name: &str) -> String {
        self.installation.program(name).display().to_string()
    }

    /// Returns the command that dumps the database in the custom format.
    pub(super) fn dump(&self) -> String {
        format!("{} -d '{} dbname={NAME}' --format=custom", self.program("pg_dump"), self.connection())
    }
}

/// Runs a command without measuring it.
pub(super) fn shell(command: &str) -> Result<()> {
    match Command::new("bash").args(["-c", command]).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command}: {status}")),
        Err(error) => Err(format!("cannot run bash: {error}")),
    }
}
