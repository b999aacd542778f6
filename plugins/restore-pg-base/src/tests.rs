//! Tests of the plugin as a whole, and the samples of all tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use longshore_core::base::{BaseFacts, BaseTablespace, WalLocation};
use longshore_core::check::Outcome;
use longshore_core::cleanup::CleanupScope;
use longshore_core::plugin::{Cluster, DatabaseTarget};
use longshore_core::stream::{channel, from_bytes};
use longshore_pg_base::incremental;
use longshore_pg_base::page::PAGE_BYTES;
use serde_json::json;
use tar::{Builder, EntryType, Header};

use super::*;

/// A tar in the format of servers.
pub(crate) struct Tar(Builder<Vec<u8>>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    pub(crate) fn file(self, path: &str, content: &[u8]) -> Self {
        self.member(path, EntryType::Regular, content)
    }

    pub(crate) fn folder(self, path: &str) -> Self {
        self.member(path, EntryType::Directory, b"")
    }

    pub(crate) fn member(mut self, path: &str, kind: EntryType, content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o777);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// Returns an incremental file with these blocks, each full of one letter, for a file of so many
/// blocks.
pub(crate) fn changed_blocks(length: u32, blocks: &[(u32, u8)]) -> Vec<u8> {
    let words = [incremental::MAGIC, blocks.len() as u32, length];
    let mut content: Vec<u8> =
        words.into_iter().chain(blocks.iter().map(|(block, _)| *block)).flat_map(u32::to_le_bytes).collect();
    if !blocks.is_empty() {
        content.resize(content.len().next_multiple_of(PAGE_BYTES), 0);
    }
    blocks.iter().for_each(|(_, letter)| content.extend([*letter; PAGE_BYTES]));
    content
}

/// Returns a tar of two files of 600 and 700 bytes.
pub(crate) fn two_files() -> Vec<u8> {
    Tar::new().file("PG_VERSION", &[1; 600]).file("base/1", &[2; 700]).finish()
}

/// The label of [`backup`].
pub(crate) const LABEL: &str = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n\
    CHECKPOINT LOCATION: 0/2000080\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n\
    START TIME: 2026-11-29 03:00:00 UTC\nLABEL: nightly\nSTART TIMELINE: 1\n";

/// Returns a small base backup with a tablespace, without its manifest and the end of the tar.
pub(crate) fn backup() -> Tar {
    Tar::new()
        .folder("pg_tblspc/16398/")
        .folder("pg_tblspc/16398/PG_15_202209061/")
        .file("pg_tblspc/16398/PG_15_202209061/5", b"stars")
        .file("backup_label", LABEL.as_bytes())
        .file("tablespace_map", b"16398 /srv/of the source\n")
        .folder("pg_tblspc/")
        .folder("pg_replslot/")
        .folder("pg_replslot/s/")
        .file("pg_replslot/s/state", b"slot")
        .folder("base/")
        .folder("base/1/")
        .file("base/1/1259", &[7; 100_000])
        .file("PG_VERSION", b"15\n")
        .file("postgresql.auto.conf", b"archive_mode = 'on'")
        .file("postmaster.pid", b"1")
        .file("postmaster.opts", b"postgres")
        .file("standby.signal", b"")
        .file("recovery.signal", b"")
        .folder("global/")
        .file("global/pg_control", &[3; 8192])
}

/// Returns the facts of a backup with tablespace 16398, of 1 MiB.
pub(crate) fn facts() -> BaseFacts {
    BaseFacts {
        timeline: 1,
        start_lsn: "0/2000028".parse().unwrap(),
        stop_lsn: "0/2000100".parse().unwrap(),
        wal: WalLocation::Included,
        finished: None,
        wal_segment_bytes: 16 << 20,
        crash_consistent: false,
        from_standby: false,
        page_checksums: true,
        damaged_pages: 0,
        incremental_from: None,
        settings: BTreeMap::from([("max_connections".to_owned(), 100)]),
        files: 900,
        file_bytes: 3 << 20,
        tablespaces: vec![BaseTablespace { oid: 16398, bytes: 1 << 20 }],
    }
}

/// Returns the manifest of a base backup with [`facts`].
pub(crate) fn manifest() -> Manifest {
    let mut manifest: Manifest =
        serde_json::from_str(include_str!("../../../crates/model/testdata/manifest-2.json")).unwrap();
    manifest.base = Some(facts());
    manifest
}

/// Returns the details of a backup with tablespace 16398.
pub(crate) fn details() -> Map<String, Value> {
    let tablespaces = json!([{"oid": 16398, "path": "/srv/of the source", "name": "stars"}]);
    Map::from_iter([("tablespaces".to_owned(), tablespaces)])
}

/// Returns a target with new folders in `parent`.
pub(crate) fn target(parent: &Path) -> DataDirectory {
    let tablespaces = BTreeMap::from([("stars".to_owned(), parent.join("stars"))]);
    DataDirectory { path: parent.join("data"), tablespaces, ..DataDirectory::default() }
}

fn restorer(parent: &Path) -> Box<dyn Restore> {
    PgBase {}.build(&Target::DataDirectory(target(parent))).unwrap()
}

#[test]
fn database_is_refused() {
    let cluster = Cluster { name: "main".into(), connection: String::new().into(), password: None, bin_dir: None };
    let error = PgBase {}.build(&Target::Database(DatabaseTarget::new(cluster))).err().unwrap();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.to_string().contains("pg_base restores into a data directory"), "{error}");
}

#[tokio::test]
async fn only_single_base_backups_are_restored() {
    let parent = tempfile::tempdir().unwrap();
    let restorer = restorer(parent.path());
    let (base, details) = (manifest(), details());
    let request = RestoreRequest::new(&base, Some(&details));
    for requests in [&[][..], &[request, request]] {
        assert_eq!(restorer.prepare(requests).await.unwrap_err().kind(), Kind::Usage);
    }
    let dump: Manifest = serde_json::from_str(include_str!("../../../crates/model/testdata/manifest-1.json")).unwrap();
    let mut script = base.clone();
    script.artifact.format = Format::Plain;
    for manifest in [dump, script] {
        let request = RestoreRequest::new(&manifest, None);
        for error in [
            restorer.prepare(&[request]).await.unwrap_err(),
            restorer.restore(request, from_bytes("")).await.err().unwrap(),
            restorer.contents(&manifest, from_bytes("")).await.unwrap_err(),
        ] {
            assert_eq!((error.stage(), error.kind()), (Stage::Restore, Kind::Usage));
        }
    }
    assert_eq!(restorer.comparable_details(&details, &[]), None);
}

#[tokio::test]
async fn prepared_backup_is_restored_with_notes() {
    let parent = tempfile::tempdir().unwrap();
    let restorer = restorer(parent.path());
    let (manifest, details) = (manifest(), details());
    let request = RestoreRequest::new(&manifest, Some(&details));
    let findings = restorer.prepare(&[request]).await.unwrap();
    assert!(findings.iter().all(|finding| finding.outcome != Outcome::Failed), "{findings:?}");
    let tar = backup().file("backup_manifest", b"{}").finish();
    let restored = restorer.restore(request, from_bytes(tar.clone())).await.unwrap();
    assert_eq!(restored.phases.iter().map(|phase| phase.name.as_str()).collect::<Vec<_>>(), ["unpack", "sync"]);
    let notes = restored.notes.join("\n");
    for part in ["archive_mode is off", "pg_ctl -D", "no postgresql.conf", "start as a primary"] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    assert_eq!(fs::read(parent.path().join("stars/PG_15_202209061/5")).unwrap(), b"stars");
    // The directory is no longer empty.
    let error = restorer.restore(request, from_bytes(tar)).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(parent.path().join("data/global/pg_control").exists());
}

#[tokio::test]
async fn failed_input_leaves_nothing_and_keeps_its_error() {
    let parent = tempfile::tempdir().unwrap();
    let (manifest, details) = (manifest(), details());
    let request = RestoreRequest::new(&manifest, Some(&details));
    let tar = backup().file("backup_manifest", b"{}").finish();
    for length in [0, 3000, tar.len()] {
        let (sender, input) = channel();
        sender.send(tar[..length].to_vec().into()).await.unwrap();
        let lost = Error::new(Stage::Decrypt, Kind::Unavailable, "x", "connection lost");
        sender.fail(lost).await.unwrap();
        let error = restorer(parent.path()).restore(request, input).await.err().unwrap();
        assert_eq!((error.stage(), error.kind()), (Stage::Decrypt, Kind::Unavailable), "{length}: {error}");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "{length}");
    }
}

#[tokio::test]
async fn interrupted_restore_leaves_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let (manifest, details, scope) = (manifest(), details(), CleanupScope::default());
    let request = RestoreRequest::new(&manifest, Some(&details));
    let (sender, input) = channel();
    let tar = backup().finish();
    sender.send(tar[..tar.len() - 1024].to_vec().into()).await.unwrap();
    let restorer = restorer(parent.path());
    let restoring = scope.run(restorer.restore(request, input));
    let version = parent.path().join("data/global");
    let written = async {
        while !version.exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        restored = restoring => panic!("ended before its input: {restored:?}"),
        () = written => {}
    }
    scope.wait().await;
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}
