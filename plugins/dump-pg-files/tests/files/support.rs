//! Stages, streams and unpacked backups.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use longshore_core::compress::Compression;
use longshore_core::plugin::{Cluster as Connection, CompressBy, JobContext, Plugin};
use longshore_core::stage::{Dump, DumpNotes, Dumped};
use longshore_core::subject::Subject;
use longshore_core::{Error, Result};
use longshore_dump_pg_files::{PgFiles, Snapshot};
use longshore_pg_base::{Facts, verify};
use longshore_testkit::cluster::{Cluster, Installation};
use serde_json::Value;

/// Returns the oldest and the newest version.
pub(crate) fn versions() -> [Installation; 2] {
    [Installation::of_major(15), Installation::of_major(18)]
}

/// Returns a stage with settings in JSON, for a connection string.
pub(crate) fn stage(cluster: &Cluster, connection: String, settings: Value) -> Box<dyn Dump> {
    serde_json::from_value::<PgFiles>(settings).unwrap().build(&site(cluster, connection)).unwrap()
}

/// Returns a stage that makes snapshots, for the superuser.
pub(crate) fn snapshot_stage(cluster: &Cluster, settings: Value) -> Box<dyn Dump> {
    serde_json::from_value::<Snapshot>(settings).unwrap().build(&site(cluster, cluster.connection())).unwrap()
}

fn site(cluster: &Cluster, connection: String) -> JobContext {
    JobContext {
        cluster: Connection {
            name: "main".to_owned(),
            connection: connection.into(),
            password: None,
            bin_dir: Some(cluster.bin_dir().to_owned()),
        },
        compress_by: CompressBy::Pipeline(Compression::None),
        scratch_dir: None,
    }
}

/// Returns a stage for the superuser.
pub(crate) fn superuser_stage(cluster: &Cluster, settings: Value) -> Box<dyn Dump> {
    stage(cluster, cluster.connection(), settings)
}

/// Creates a tablespace in a folder beside the data directory. Returns the folder.
pub(crate) fn create_tablespace(cluster: &Cluster, name: &str) -> PathBuf {
    let path = cluster.data_dir().with_file_name(name);
    fs::create_dir(&path).unwrap();
    let owner = fs::metadata(cluster.data_dir()).unwrap();
    chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
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

    /// Runs pg_verifybackup on the unpacked tar, which reads the WAL with pg_waldump.
    pub(crate) fn pg_verifybackup(&self, cluster: &Cluster) {
        let folder = self.unpack();
        let output = run(Command::new(cluster.bin_dir().join("pg_verifybackup")).arg(folder.path()));
        assert!(output.contains("successfully verified"), "{output}");
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
    take(stage).await.map(|_| ()).expect_err("the backup succeeded")
}

/// Runs a program, which must succeed.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.env("LC_ALL", "C").output().unwrap();
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {messages}");
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until the server has neither a session of a backup nor a slot.
pub(crate) async fn expect_idle(cluster: &Cluster) {
    let query = "select (select count(*) from pg_stat_activity where application_name = 'longshore')
        + (select count(*) from pg_replication_slots)";
    let deadline = Instant::now() + Duration::from_secs(30);
    while cluster.psql("postgres", query) != "0" {
        assert!(Instant::now() < deadline, "the session of the backup is still open");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
