//! Archives of real servers.
//!
//! | module | contents |
//! | --- | --- |
//! | `release` | the releases of PostgreSQL for each tier of tests |
//! | `mutation`, `random` | random changes of archives, reproducible random bytes |
//! | `patching` | archives with applied patches |
//! | `scope`, `table` | the part of a matrix of damages that a test covers, and its result |
//! | `pg_restore` | the results of pg_restore for an archive |

pub(crate) mod mutation;
pub(crate) mod patching;
pub(crate) mod pg_restore;
pub(crate) mod random;
pub(crate) mod release;
pub(crate) mod scope;
pub(crate) mod table;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use longshore_pg_archive::{Error, Facts};
use longshore_testkit::cluster::{Cluster, Installation};

/// The dumped database.
const DATABASE: &str = "bank";

/// The target of pg_dump's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A file: pg_dump seeks back at the end and writes the offsets of the data into the TOC.
    File,
    /// A pipe: pg_dump cannot seek back, so the TOC contains no offsets.
    Pipe,
}

/// An archive in the custom format.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    /// The release and the properties of the archive, such as `15 gzip file`.
    pub(crate) name: String,
    /// The compression of the data.
    pub(crate) compression: &'static str,
    /// The target of the output.
    pub(crate) target: Target,
    pub(crate) bytes: Vec<u8>,
}

/// A server with the database.
pub(crate) struct TestServer {
    cluster: Cluster,
    installation: Installation,
}

impl TestServer {
    /// Starts the server.
    pub(crate) fn start(installation: &Installation) -> Self {
        let cluster = Cluster::start(installation, &[]);
        cluster.create_database(DATABASE);
        cluster.psql(DATABASE, include_str!("support/database.sql"));
        Self { cluster, installation: installation.clone() }
    }

    /// Returns the server's installation.
    pub(crate) fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Returns the compressions that the installation's pg_dump supports.
    pub(crate) fn compressions(&self) -> &'static [&'static str] {
        if self.installation.major < 16 { &["none", "gzip"] } else { &["none", "gzip", "lz4", "zstd"] }
    }

    /// Dumps the database, and returns pg_dump's output to a pipe.
    pub(crate) fn dump(&self, format: &str, compression: &str, file: Option<&Path>) -> Vec<u8> {
        let mut pg_dump = Command::new(self.installation.program("pg_dump"));
        pg_dump.env_clear().arg("-d").arg(format!("{} dbname={DATABASE}", self.cluster.connection()));
        pg_dump.arg(format!("--format={format}"));
        pg_dump.arg(match (self.installation.major < 16, compression) {
            (true, "none") => "--compress=0".to_owned(),
            (true, _) => "--compress=6".to_owned(),
            (false, _) => format!("--compress={compression}"),
        });
        if let Some(file) = file {
            pg_dump.arg("-f").arg(file);
        }
        let output = pg_dump.stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "pg_dump: {}", output.status);
        output.stdout
    }
}

/// Returns the archives of the system's release and of a newer one.
pub(crate) fn archives_of_two_releases() -> Vec<Archive> {
    [Installation::system(), Installation::newer()].iter().flat_map(archives).collect()
}

/// Returns an archive in the custom format for each compression and each target of an installation.
pub(crate) fn archives(installation: &Installation) -> Vec<Archive> {
    archives_with(installation, &["none", "gzip", "lz4", "zstd"])
}

/// Returns the archives with some of the compressions, if the installation's pg_dump supports them.
pub(crate) fn archives_with(installation: &Installation, compressions: &[&str]) -> Vec<Archive> {
    let server = TestServer::start(installation);
    let mut archives = Vec::new();
    let supported = server.compressions().iter().filter(|compression| compressions.contains(compression));
    for compression in supported {
        let name = |target| format!("{} {compression} {target}", installation.major);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("archive");
        server.dump("custom", compression, Some(&file));
        let bytes = fs::read(file).unwrap();
        archives.push(Archive { name: name("file"), compression, target: Target::File, bytes });
        let bytes = server.dump("custom", compression, None);
        archives.push(Archive { name: name("pipe"), compression, target: Target::Pipe, bytes });
    }
    archives
}

/// Reads an archive from memory.
pub(crate) fn read(bytes: &[u8]) -> Result<Facts, Error> {
    longshore_pg_archive::read(bytes, &mut |_| {})
}
