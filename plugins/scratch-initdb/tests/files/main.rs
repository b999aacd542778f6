//! A cluster started on the files of a base backup, with real servers.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use longshore_core::compress::Compression;
use longshore_core::manifest::Manifest;
use longshore_core::plugin::{Cluster as Connection, CompressBy, JobContext, Plugin};
use longshore_core::stage::{RestoreRequest, Scratch, ScratchFolder};
use longshore_core::{Kind, Result};
use longshore_pg_client::client::Client;
use longshore_scratch_initdb::Initdb;
use longshore_testkit::cluster::{Cluster, Installation};
use serde_json::json;
use tempfile::TempDir;

/// Creates a folder that the server's user can enter.
fn scratch_dir() -> TempDir {
    let folder = tempfile::Builder::new().prefix("longshore-scratch-").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

/// Returns the stage that creates clusters below `parent`.
fn scratch(installation: &Installation, parent: &Path) -> Box<dyn Scratch> {
    let settings: Initdb = serde_json::from_value(json!({ "bin_dir": installation.bin_dir })).unwrap();
    let cluster =
        Connection { name: "main".to_owned(), connection: String::new().into(), password: None, bin_dir: None };
    let context = JobContext {
        cluster,
        compress_by: CompressBy::Pipeline(Compression::None),
        scratch_dir: Some(parent.to_owned()),
    };
    settings.build(&context).unwrap()
}

/// Returns the manifest of a base backup with these tablespaces, by OID.
fn manifest(version: &str, tablespaces: &[u32]) -> Manifest {
    let text = include_str!("../../../../crates/model/testdata/manifest-2.json");
    let mut manifest: Manifest = serde_json::from_str(text).unwrap();
    manifest.cluster.server.server_version = version.to_owned();
    let tablespaces: Vec<_> = tablespaces.iter().map(|oid| json!({ "oid": oid, "bytes": 1 })).collect();
    let facts = json!({
        "timeline": 1, "start_lsn": "0/2000028", "stop_lsn": "0/2000130", "wal": "included",
        "wal_segment_bytes": 16 << 20, "from_standby": false, "page_checksums": false,
        "settings": { "max_connections": 150, "max_prepared_transactions": 5, "max_worker_processes": 8 },
        "files": 1, "file_bytes": 3, "tablespaces": tablespaces
    });
    manifest.base = Some(serde_json::from_value(facts).unwrap());
    manifest
}

async fn folder(scratch: &dyn Scratch, manifest: &Manifest) -> Result<Box<dyn ScratchFolder>> {
    scratch.make_folder(&RestoreRequest::new(manifest, None)).await
}

/// Copies the cluster into the folder, as a restore does.
fn unpack(source: &Cluster, tablespace: Option<&Path>, folder: &dyn ScratchFolder) {
    let data = folder.data_directory();
    let owner = fs::metadata(&data).unwrap();
    let mut copy = Command::new(source.bin_dir().join("pg_basebackup"));
    copy.arg("-D").arg(&data).args(["-d", &source.connection().replace("user=postgres", "user=boss")]);
    copy.args(["--wal-method=fetch", "--checkpoint=fast", "--no-sync"]);
    if let (Some(from), Some(to)) = (tablespace, folder.tablespaces().values().next()) {
        copy.arg(format!("--tablespace-mapping={}={}", from.display(), to.display()));
    }
    let copied = copy.output().unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    for path in std::iter::once(data).chain(folder.tablespaces().into_values()) {
        let owner = format!("{}:{}", owner.uid(), owner.gid());
        let status = Command::new("chown").args(["-R", "--no-dereference", &owner]).arg(path).status().unwrap();
        assert!(status.success());
    }
}

/// Creates a folder for a tablespace, owned by the server's user.
fn tablespace_folder(cluster: &Cluster) -> PathBuf {
    let folder = cluster.data_dir().with_file_name("annex");
    fs::create_dir(&folder).unwrap();
    let owner = fs::metadata(cluster.data_dir()).unwrap();
    chown(&folder, Some(owner.uid()), Some(owner.gid())).unwrap();
    folder
}

/// Restores a cluster whose settings, roles and prepared transactions make a start difficult.
async fn difficult_cluster_starts(installation: &Installation) {
    let settings = ["max_prepared_transactions=5", "max_connections=150"];
    let source = Cluster::start(installation, &settings);
    let annex = tablespace_folder(&source);
    source.psql("postgres", &format!("create tablespace annex location '{}'", annex.display()));
    let oid = source.psql("postgres", "select oid from pg_tablespace where spcname = 'annex'").parse().unwrap();
    source.psql("postgres", "create table t tablespace annex as select generate_series(1, 1000) n");
    source.psql("postgres", "begin; create table undecided (n int); prepare transaction 'one'");
    source.psql(
        "postgres",
        "create role boss superuser login replication; alter system set shared_preload_libraries = 'absent';
         alter database template1 set default_transaction_read_only = on;
         alter database postgres set session_preload_libraries = 'absent';",
    );
    source.psql("template1", "set default_transaction_read_only = off; alter role postgres nologin");
    let parent = scratch_dir();
    let manifest = manifest(&installation.version, &[oid]);
    let folder = folder(&*scratch(installation, parent.path()), &manifest).await.unwrap();
    unpack(&source, Some(&annex), &*folder);
    let cluster = folder.start().await.unwrap();
    assert!(cluster.description().contains("started on the files of the backup"), "{}", cluster.description());
    let client = Client::new(&cluster.cluster()).unwrap().to_database("postgres");
    let query = "select json_build_array((select count(*) from public.t), (select count(*) from pg_prepared_xacts),
        current_setting('archive_mode'), current_setting('shared_preload_libraries'), current_setting('listen_addresses'))";
    let found: serde_json::Value = client.query(query).await.unwrap();
    assert_eq!(found, json!([1000, 1, "off", "", ""]));
    cluster.remove().await.unwrap();
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn difficult_cluster_starts_on_system_release() {
    difficult_cluster_starts(&Installation::system()).await;
}

#[tokio::test]
async fn difficult_cluster_starts_on_newest_release() {
    difficult_cluster_starts(Installation::all().last().unwrap()).await;
}

#[tokio::test]
async fn cluster_without_its_wal_does_not_start() {
    let installation = Installation::system();
    let source = Cluster::start(&installation, &[]);
    source.psql("postgres", "create role boss superuser login replication");
    let parent = scratch_dir();
    let folder = folder(&*scratch(&installation, parent.path()), &manifest(&installation.version, &[])).await.unwrap();
    unpack(&source, None, &*folder);
    for entry in fs::read_dir(folder.data_directory().join("pg_wal")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::remove_file(path).unwrap();
        }
    }
    let error = folder.start().await.err().unwrap();
    assert!(error.sqlstate().is_some() && error.remedy().is_some(), "{error:?}");
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "a failed start leaves nothing");
}

#[tokio::test]
async fn another_release_is_refused() {
    let installation = Installation::system();
    let parent = scratch_dir();
    let older = format!("{}.1", installation.major - 1);
    for version in [older.as_str(), "99.1"] {
        let error = folder(&*scratch(&installation, parent.path()), &manifest(version, &[])).await.err().unwrap();
        let major = version.split('.').next().unwrap();
        assert_eq!(error.kind(), Kind::Failed);
        assert!(error.remedy().unwrap().contains(&format!("postgresql-{major}")), "{error:?}");
    }
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn dropped_folder_is_removed() {
    let installation = Installation::system();
    let parent = scratch_dir();
    let folder = folder(&*scratch(&installation, parent.path()), &manifest(&installation.version, &[7])).await.unwrap();
    fs::write(folder.data_directory().join("file"), "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder.data_directory()), mode(&folder.tablespaces()["7"])), (0o700, 0o700));
    drop(folder);
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}
