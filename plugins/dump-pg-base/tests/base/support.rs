//! Stages, streams and unpacked backups.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use longshore_core::compress::Compression;
use longshore_core::plugin::{Cluster as Connection, CompressBy, JobContext, Plugin};
use longshore_core::stage::{Dump, DumpNotes, Dumped};
use longshore_core::subject::Subject;
use longshore_core::{Error, Result};
use longshore_dump_pg_base::PgBase;
use longshore_pg_base::{Facts, verify};
use longshore_testkit::cluster::{Cluster, Installation};
use serde_json::Value;

/// Returns the oldest and the newest version.
pub(crate) fn versions() -> [Installation; 2] {
    [Installation::of_major(15), Installation::of_major(18)]
}

/// Returns a stage with settings in JSON, for a connection string.
pub(crate) fn stage(cluster: &Cluster, connection: String, settings: Value) -> Box<dyn Dump> {
    let site = JobContext {
        cluster: Connection {
            name: "main".to_owned(),
            connection: connection.into(),
            password: None,
            bin_dir: Some(cluster.bin_dir().to_owned()),
        },
        compress_by: CompressBy::Pipeline(Compression::None),
        scratch_dir: None,
    };
    serde_json::from_value::<PgBase>(settings).unwrap().build(&site).unwrap()
}

/// Returns a stage for the superuser.
pub(crate) fn superuser_stage(cluster: &Cluster, settings: Value) -> Box<dyn Dump> {
    stage(cluster, cluster.connection(), settings)
}

/// Creates a tablespace in a folder beside the data directory, which is removed with the cluster.
/// Returns the folder.
pub(crate) fn create_tablespace(cluster: &Cluster, name: &str) -> PathBuf {
    let path = cluster.data_dir().with_file_name(name);
    cluster.psql("postgres", &format!("copy (select 1) to program 'cat > /dev/null; mkdir -m 700 {}'", path.display()));
    cluster.psql("postgres", &format!("create tablespace {name} location '{}'", path.display()));
    path
}

/// A backup that was read to its clean end.
pub(crate) struct Taken {
    /// The tar.
    pub(crate) tar: Vec<u8>,
    /// The notes of the stage.
    pub(crate) notes: DumpNotes,
}

impl Taken {
    /// Verifies the tar.
    pub(crate) fn facts(&self) -> Facts {
        verify::read(&self.tar[..], &verify::Options::default(), &mut |_| {}).unwrap()
    }

    /// Unpacks the tar with `tar x`.
    pub(crate) fn unpack(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("base.tar");
        fs::File::create(&file).unwrap().write_all(&self.tar).unwrap();
        run(Command::new("tar").arg("xf").arg(&file).arg("-C").arg(folder.path()));
        fs::remove_file(file).unwrap();
        folder
    }

    /// Runs pg_verifybackup on the unpacked tar. Returns its messages.
    pub(crate) fn pg_verifybackup(&self, cluster: &Cluster) -> String {
        let folder = self.unpack();
        // WAL is read by pg_waldump, which is in the same folder.
        run(Command::new(cluster.bin_dir().join("pg_verifybackup")).arg(folder.path()))
    }
}

/// Reads a dump to its end.
pub(crate) async fn read(mut dumped: Dumped) -> Result<Taken> {
    let mut tar = Vec::new();
    while let Some(chunk) = dumped.stream.next().await {
        tar.extend_from_slice(&chunk?);
    }
    Ok(Taken { tar, notes: dumped.notes.get().expect("the stream ended cleanly").clone() })
}

/// Takes a backup.
pub(crate) async fn take(stage: &dyn Dump) -> Result<Taken> {
    read(stage.dump(&Subject::Base).await?).await
}

/// Returns the error of a backup, which must fail.
pub(crate) async fn take_fails(stage: &dyn Dump) -> Error {
    match take(stage).await {
        Ok(_) => panic!("the backup succeeded"),
        Err(error) => error,
    }
}

/// Runs a program, which must succeed.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.env("LC_ALL", "C").output().unwrap();
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {messages}");
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until a query returns a value.
pub(crate) async fn wait_for(cluster: &Cluster, query: &str, value: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let found = cluster.psql("postgres", query);
        if found == value {
            return;
        }
        assert!(Instant::now() < deadline, "{query}: {found} instead of {value}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Returns true if a path exists in an unpacked backup.
pub(crate) fn exists(folder: &tempfile::TempDir, path: impl AsRef<Path>) -> bool {
    folder.path().join(path).exists()
}
