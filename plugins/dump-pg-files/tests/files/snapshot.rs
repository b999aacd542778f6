//! Snapshots of real file systems, which are removed in all cases.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use longshore_core::check::Outcome;
use longshore_core::subject::Subject;
use longshore_core::{Kind, cleanup::CleanupScope};
use longshore_pg_base::facts::Wal;
use longshore_testkit::cluster::{Cluster, Installation, Load};
use longshore_testkit::loop_mount::LoopMount;
use serde_json::{Value, json};

use crate::support::{create_tablespace, expect_idle, read, snapshot_stage, take, take_fails};

/// The settings of a server that survives a crash, which test clusters else do without.
pub(crate) const DURABLE: [&str; 1] = ["full_page_writes=on"];

/// Returns the names of snapshots in a folder.
pub(crate) fn snapshots(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.filter(|name| name.starts_with("longshore-main-")).collect()
}

/// Waits until a folder has no snapshot.
async fn expect_none(folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !snapshots(folder).is_empty() {
        assert!(Instant::now() < deadline, "{:?} in {}", snapshots(folder), folder.display());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Moves rows to another table and back.
const MOVE_ROWS: Load<'_> = Load {
    database: "postgres",
    script: "with moved as (delete from one where n % 5 = 0 returning *) insert into other select * from moved;
             with moved as (delete from other returning *) insert into one select * from moved; checkpoint",
    pause: Duration::from_millis(10),
};

/// Backs up a cluster that moves rows between tables all the time, and checks the copy.
async fn busy_cluster_is_copied(mount: &Path, settings: Value) {
    for major in [15, 18] {
        let cluster = Cluster::start_within(mount, &Installation::of_major(major), &DURABLE);
        cluster.psql(
            "postgres",
            "create table one as select n, repeat('x', 300) t from generate_series(1, 9000) n;
             create table other (like one); create unlogged table u as select 1",
        );
        let stage = snapshot_stage(&cluster, settings.clone());
        let runtime = tokio::runtime::Handle::current();
        let (taken, _) = tokio::task::block_in_place(|| {
            cluster.under_load(&[MOVE_ROWS], || runtime.block_on(take(&*stage)).unwrap())
        });
        let facts = taken.facts();
        assert_eq!((facts.version, facts.wal), (major, Wal::Included));
        taken.pg_verifybackup(&cluster);
        assert_eq!(taken.notes.warnings, [""; 0]);
        assert_eq!(snapshots(mount), [""; 0]);
        expect_idle(&cluster).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn btrfs_snapshot_of_a_busy_cluster_is_a_base_backup() {
    let mount = LoopMount::btrfs();
    busy_cluster_is_copied(&mount.path(), json!({ "with": "btrfs", "checkpoint": "fast", "threads": 2 })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reflinks_of_a_busy_cluster_are_a_base_backup() {
    let mount = LoopMount::xfs();
    busy_cluster_is_copied(&mount.path(), json!({ "with": "xfs-reflink", "checkpoint": "fast" })).await;
}

/// Creates a subvolume for the server's user, and a tablespace in it.
pub(crate) fn make_subvolume_tablespace(cluster: &Cluster, mount: &Path) {
    let path = mount.join("annex");
    assert!(Command::new("btrfs").args(["subvolume", "create"]).arg(&path).output().unwrap().status.success());
    let owner = fs::metadata(cluster.data_dir()).unwrap();
    chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    cluster.psql("postgres", &format!("create tablespace annex location '{}'", path.display()));
    cluster.psql("postgres", "create table annexed tablespace annex as select generate_series(1, 9000) n");
}

#[tokio::test]
async fn every_volume_is_covered_or_refused() {
    let mount = LoopMount::btrfs();
    let cluster = Cluster::start_within(&mount.path(), &Installation::of_major(17), &DURABLE);
    make_subvolume_tablespace(&cluster, &mount.path());
    let settings = json!({ "with": "btrfs", "checkpoint": "fast" });
    let taken = take(&*snapshot_stage(&cluster, settings.clone())).await.unwrap();
    assert_eq!(taken.facts().tablespaces.len(), 1);
    assert!(taken.facts().tablespaces[0].bytes > 300_000);
    taken.pg_verifybackup(&cluster);

    let other = LoopMount::xfs();
    let elsewhere = other.path().join("far");
    fs::create_dir(&elsewhere).unwrap();
    let owner = fs::metadata(cluster.data_dir()).unwrap();
    chown(&elsewhere, Some(owner.uid()), Some(owner.gid())).unwrap();
    cluster.psql("postgres", &format!("create tablespace far location '{}'", elsewhere.display()));
    let stage = snapshot_stage(&cluster, settings);
    let error = take_fails(&*stage).await;
    assert_eq!((error.kind(), error.subject()), (Kind::Refused, elsewhere.to_str().unwrap()), "{}", error.chain());
    assert!(error.chain().contains("would lack it"), "{}", error.chain());
    let findings = stage.check().await;
    assert!(findings.iter().any(|finding| finding.outcome == Outcome::Failed), "{findings:?}");
    assert_eq!(snapshots(&mount.path()), [""; 0]);
    drop(cluster);
}

#[tokio::test]
async fn nested_subvolume_in_the_data_directory_is_refused() {
    let mount = LoopMount::btrfs();
    let cluster = Cluster::start_within(&mount.path(), &Installation::of_major(15), &DURABLE);
    let nested = cluster.data_dir().join("nested");
    assert!(Command::new("btrfs").args(["subvolume", "create"]).arg(&nested).output().unwrap().status.success());
    let error = take_fails(&*snapshot_stage(&cluster, json!({ "with": "btrfs", "checkpoint": "fast" }))).await;
    assert_eq!((error.kind(), error.subject()), (Kind::Refused, nested.to_str().unwrap()), "{}", error.chain());
}

#[tokio::test]
async fn snapshot_is_removed_whatever_ends_the_backup() {
    for (mount, with) in [(LoopMount::btrfs(), "btrfs"), (LoopMount::xfs(), "xfs-reflink")] {
        let cluster = Cluster::start_within(&mount.path(), &Installation::of_major(17), &DURABLE);
        let settings = json!({ "with": with, "checkpoint": "fast", "max_rate": "1MiB" });
        let scope = CleanupScope::default();
        scope
            .run(async {
                let mut dumped = snapshot_stage(&cluster, settings.clone()).dump(&Subject::Base).await.unwrap();
                dumped.stream.next().await.unwrap().unwrap();
                assert_eq!(snapshots(&mount.path()).len(), 1, "{with}");
                // Another run that starts meanwhile leaves the snapshot alone.
                let error = take_fails(&*snapshot_stage(&cluster, settings.clone())).await;
                assert_eq!(error.kind(), Kind::Locked, "{}", error.chain());
                assert_eq!(snapshots(&mount.path()).len(), 1, "{with}");
            })
            .await;
        scope.wait().await;
        assert_eq!(scope.failures().len(), 0);
        expect_none(&mount.path()).await;
        expect_idle(&cluster).await;
    }
}

#[tokio::test]
async fn forgotten_snapshot_is_removed_by_the_next_run() {
    for (mount, with) in [(LoopMount::btrfs(), "btrfs"), (LoopMount::xfs(), "xfs-reflink")] {
        let cluster = Cluster::start_within(&mount.path(), &Installation::of_major(17), &DURABLE);
        let forgotten = mount.path().join("longshore-main-20260102T030405Z");
        fs::create_dir(&forgotten).unwrap();
        if with == "btrfs" {
            let mut snapshot = Command::new("btrfs");
            snapshot.args(["subvolume", "snapshot", "-r"]).arg(mount.path()).arg(forgotten.join("0"));
            assert!(snapshot.output().unwrap().status.success());
        }
        // Names of others.
        for name in ["longshore-main-2026", "longshore-other-20260102T030405Z", "longshore-main-old"] {
            fs::create_dir(mount.path().join(name)).unwrap();
        }
        let stage = snapshot_stage(&cluster, json!({ "with": with, "checkpoint": "fast" }));
        let findings = stage.check().await;
        let names = |findings: &[longshore_core::check::Finding]| {
            findings.iter().filter(|finding| finding.message.contains("20260102T030405Z")).count()
        };
        assert_eq!(names(&findings), 1, "{findings:?}");
        let taken = take(&*stage).await.unwrap();
        assert!(taken.notes.warnings[0].contains("20260102T030405Z"), "{:?}", taken.notes.warnings);
        assert!(!forgotten.exists());
        assert_eq!(snapshots(&mount.path()).len(), 2, "the folders of others stay");
        assert!(mount.path().join("longshore-other-20260102T030405Z").exists());
    }
}

#[tokio::test]
async fn file_system_without_snapshots_is_refused() {
    let cluster = Cluster::start(&Installation::of_major(17), &[]);
    create_tablespace(&cluster, "fast");
    let error = take_fails(&*snapshot_stage(&cluster, json!({ "with": "btrfs", "checkpoint": "fast" }))).await;
    assert_eq!(error.kind(), Kind::Refused, "{}", error.chain());
    assert!(error.chain().contains("not on btrfs"), "{}", error.chain());
    expect_idle(&cluster).await;
}

/// Starts a cluster whose WAL is on another file system.
pub(crate) fn move_wal(mount: &Path, other: &Path) -> Cluster {
    let installation = Installation::of_major(17);
    let folder = longshore_testkit::cluster::NewFolder::new_in(mount);
    {
        // Moves pg_wal of a stopped cluster.
        let cluster = Cluster::start(&installation, &[]);
        cluster.psql("postgres", "checkpoint");
        let data = cluster.data_dir();
        assert!(Command::new("cp").arg("-a").arg(&data).arg(folder.data_dir()).output().unwrap().status.success());
    }
    let moved = other.join("wal");
    let wal = folder.data_dir().join("pg_wal");
    assert!(Command::new("cp").arg("-a").arg(&wal).arg(&moved).output().unwrap().status.success());
    fs::remove_dir_all(&wal).unwrap();
    fs::remove_file(folder.data_dir().join("postmaster.pid")).unwrap();
    std::os::unix::fs::symlink(&moved, &wal).unwrap();
    Cluster::start_on(folder, &installation, &DURABLE)
}

#[tokio::test]
async fn wal_may_be_on_another_file_system() {
    let (mount, other) = (LoopMount::btrfs(), LoopMount::xfs());
    let cluster = move_wal(&mount.path(), &other.path());
    let taken = take(&*snapshot_stage(&cluster, json!({ "with": "btrfs", "checkpoint": "fast" }))).await.unwrap();
    assert_eq!(taken.facts().wal, Wal::Included);
    taken.pg_verifybackup(&cluster);
    drop(cluster);
}

#[tokio::test]
async fn last_byte_follows_the_removal() {
    let mount = LoopMount::btrfs();
    let cluster = Cluster::start_within(&mount.path(), &Installation::of_major(16), &DURABLE);
    let stage = snapshot_stage(&cluster, json!({ "with": "btrfs", "checkpoint": "fast", "wal": "archive" }));
    assert!(stage.needs_wal_archive());
    let taken = read(stage.dump(&Subject::Base).await.unwrap()).await.unwrap();
    assert_eq!(taken.facts().wal, Wal::NotIncluded);
    assert_eq!(snapshots(&mount.path()), [""; 0]);
}
