//! Restores of real base backups, started by real servers.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod server;
mod source;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use longshore_core::check::Outcome;
use longshore_core::manifest::Manifest;
use longshore_core::plugin::{DataDirectory, Plugin, Target};
use longshore_core::stage::{Restore, RestoreRequest, Restored};
use longshore_core::stream::from_bytes;
use longshore_restore_pg_base::PgBase;
use longshore_testkit::cluster::Installation;
use serde_json::{Map, Value, json};

use server::{Server, server_folder};
use source::Source;

fn manifest() -> Manifest {
    serde_json::from_str(include_str!("../../../../crates/model/testdata/manifest-2.json")).unwrap()
}

/// Restores a backup of `source` to `parent`/data and `parent`/stars, after a check without
/// failures.
async fn restore(source: &Source, backup: Vec<u8>, parent: &Path) -> Restored {
    let tablespaces = BTreeMap::from([("stars".to_owned(), parent.join("stars"))]);
    let target = DataDirectory { path: parent.join("data"), tablespaces, ..DataDirectory::default() };
    let restorer: Box<dyn Restore> = PgBase {}.build(&Target::DataDirectory(target)).unwrap();
    let location = source.tablespace.path().to_str().unwrap();
    let details = json!([{"oid": source.tablespace_oid, "name": "stars", "path": location}]);
    let details: Map<String, Value> = Map::from_iter([("tablespaces".to_owned(), details)]);
    let manifest = manifest();
    let request = RestoreRequest::new(&manifest, Some(&details));
    let findings = restorer.prepare(&[request]).await.unwrap();
    assert!(findings.iter().all(|finding| finding.outcome != Outcome::Failed), "{findings:?}");
    restorer.restore(request, from_bytes(backup)).await.unwrap()
}

/// Returns the paths below a folder, each with its size and the time of its last change.
fn tree(folder: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let mut tree = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            tree.insert(path, (metadata.len(), metadata.mtime(), metadata.mtime_nsec()));
        }
    }
    tree
}

const CONTENT: &str = "SELECT (SELECT count(*) || md5(string_agg(s::text, ',' ORDER BY n)) FROM stars s),
    (SELECT count(*) || md5(string_agg(t::text, ',' ORDER BY n)) FROM things t)";

#[tokio::test]
async fn restored_cluster_starts_beside_its_source() {
    for installation in Installation::all() {
        let source = Source::start(&installation);
        let content = source.cluster.psql("postgres", CONTENT);
        let backup = source.back_up();
        let live = tree(source.tablespace.path());
        let parent = server_folder();
        let restored = restore(&source, backup, parent.path()).await;
        let (data, stars) = (parent.path().join("data"), parent.path().join("stars"));
        assert!(restored.notes.iter().any(|note| note.contains("pg_ctl -D")), "{restored:?}");
        assert!(restored.notes.iter().any(|note| note.contains("archive_mode is off")), "{restored:?}");

        // The map was rewritten; all other files are those of the backup.
        let mut verifier = Command::new(installation.program("pg_verifybackup"));
        let verified = verifier.args(["-n", "-q", "-i", "tablespace_map"]).arg(&data).output().unwrap();
        assert!(verified.status.success(), "{}: {verified:?}", installation.version);

        let server = Server::start(&installation, &data);
        assert_eq!(server.psql(CONTENT), content, "{}", installation.version);
        assert_eq!(server.psql("SHOW archive_mode"), "off");
        let location = server.psql(&format!("SELECT pg_tablespace_location({})", source.tablespace_oid));
        assert_eq!(Path::new(&location), stars);
        server.psql("INSERT INTO stars SELECT n, 'new' FROM generate_series(9000, 9999) n; CHECKPOINT");
        server.stop();
        assert_eq!(tree(source.tablespace.path()), live, "the live tablespace of {} was changed", installation.version);
        assert_eq!(source.cluster.psql("postgres", CONTENT), content);
    }
}

#[tokio::test]
async fn restored_slots_and_standby_signals_are_absent() {
    let installation = Installation::system();
    let source = Source::start(&installation);
    source.cluster.psql("postgres", "SELECT pg_create_physical_replication_slot('kept', true)");
    fs::write(source.cluster.data_dir().join("standby.signal"), "").unwrap();
    let parent = server_folder();
    let restored = restore(&source, source.back_up(), parent.path()).await;
    assert!(restored.notes.iter().any(|note| note.contains("start as a primary")), "{restored:?}");
    let server = Server::start(&installation, &parent.path().join("data"));
    assert_eq!(server.psql("SELECT pg_is_in_recovery(), (SELECT count(*) FROM pg_replication_slots)"), "f|0");
    server.stop();
}

#[tokio::test]
async fn incomplete_copy_does_not_start() {
    let installation = Installation::system();
    let source = Source::start(&installation);
    let parent = server_folder();
    let backup = source.back_up();
    restore(&source, backup, parent.path()).await;
    let data = parent.path().join("data");
    // The state while the stream has not ended.
    fs::remove_file(data.join("global/pg_control")).unwrap();
    let log = Server::start_fails(&installation, &data);
    assert!(log.contains("global/pg_control"), "{log}");
}
