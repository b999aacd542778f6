//! Snapshots of everything, without a backup at the server.

use std::time::Duration;

use longshore_core::Kind;
use longshore_pg_base::facts::Wal;
use longshore_testkit::cluster::{Cluster, Installation, Load};
use longshore_testkit::loop_mount::LoopMount;
use serde_json::json;

use crate::snapshot::{DURABLE, make_subvolume_tablespace, move_wal, snapshots};
use crate::support::{expect_idle, snapshot_stage, take, take_fails, versions};

/// The settings of a server that survives a crash with all commits.
const CRASH_SAFE: [&str; 3] = ["full_page_writes=on", "fsync=on", "synchronous_commit=on"];

/// Inserts 10 MB of rows.
const INSERT: Load<'_> = Load {
    database: "postgres",
    script: "insert into t select n, repeat('x', 500) from generate_series(1, 20000) n",
    pause: Duration::from_millis(10),
};

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_with_its_wal_is_a_base_backup() {
    let mount = LoopMount::btrfs();
    for installation in versions() {
        let cluster = Cluster::start_within(&mount.path(), &installation, &CRASH_SAFE);
        cluster.psql("postgres", "create table t (n int, filler text); create table u (like t); checkpoint");
        let stage = snapshot_stage(&cluster, json!({ "with": "btrfs", "consistency": "crash" }));
        let runtime = tokio::runtime::Handle::current();
        let (taken, _) =
            tokio::task::block_in_place(|| cluster.under_load(&[INSERT], || runtime.block_on(take(&*stage)).unwrap()));
        let facts = taken.facts();
        assert!(facts.crash_consistent && facts.wal == Wal::Included);
        assert!(facts.start_lsn < facts.stop_lsn, "{facts:?}");
        assert_eq!(facts.label, "");
        // pg_waldump reads every record of the range.
        taken.pg_verifybackup(&cluster);
        assert_eq!(snapshots(&mount.path()), [""; 0]);
        expect_idle(&cluster).await;
    }
}

#[tokio::test]
async fn server_that_does_not_survive_crashes_is_refused() {
    let mount = LoopMount::btrfs();
    let cluster = Cluster::start_within(&mount.path(), &Installation::of_major(17), &DURABLE);
    let stage = snapshot_stage(&cluster, json!({ "with": "btrfs", "consistency": "crash" }));
    let error = take_fails(&*stage).await;
    assert!(error.kind() == Kind::Refused && error.chain().contains("fsync is off"), "{}", error.chain());
    assert!(stage.check().await.iter().any(|finding| finding.message.contains("fsync is off")));
    assert_eq!(snapshots(&mount.path()), [""; 0]);
}

#[tokio::test]
async fn snapshots_of_several_moments_are_refused() {
    let mount = LoopMount::btrfs();
    let cluster = Cluster::start_within(&mount.path(), &Installation::of_major(17), &DURABLE);
    make_subvolume_tablespace(&cluster, &mount.path());
    let stage = snapshot_stage(&cluster, json!({ "with": "btrfs", "consistency": "crash" }));
    let error = take_fails(&*stage).await;
    assert_eq!(error.kind(), Kind::Refused, "{}", error.chain());
    assert!(error.chain().contains("not of one moment"), "{}", error.chain());
    let findings = stage.check().await;
    assert!(findings.iter().any(|finding| finding.message.contains("not of one moment")), "{findings:?}");
}

#[tokio::test]
async fn snapshot_without_the_wal_is_refused() {
    let (mount, other) = (LoopMount::btrfs(), LoopMount::xfs());
    let cluster = move_wal(&mount.path(), &other.path());
    let stage = snapshot_stage(&cluster, json!({ "with": "btrfs", "consistency": "crash" }));
    let error = take_fails(&*stage).await;
    assert_eq!(error.kind(), Kind::Refused, "{}", error.chain());
    assert!(error.subject().ends_with("pg_wal") && error.chain().contains("would lack the WAL"), "{}", error.chain());
    assert_eq!(snapshots(&mount.path()), [""; 0]);
}
