//! WAL of a busy server.

use std::time::Duration;

use longshore_core::subject::Subject;
use longshore_pg_base::facts::Wal;
use longshore_testkit::cluster::{Cluster, Installation, Load};
use serde_json::json;

use crate::support::{read, superuser_stage, versions};

/// The settings with which a server recycles WAL as soon as possible.
const RECYCLE: [&str; 4] = ["wal_keep_size=0", "max_wal_size=32MB", "min_wal_size=32MB", "checkpoint_timeout=30s"];

/// Fills and recycles a WAL segment. No round creates a file of a table: in a file system in
/// memory, the server's look at a folder includes what is created meanwhile, and would not end.
const FILL_SEGMENT: Load<'_> = Load {
    database: "postgres",
    script: "insert into load select repeat(n::text, 100) from generate_series(1, 100) n;
             select pg_switch_wal(); checkpoint; delete from load",
    pause: Duration::from_millis(500),
};

async fn included_wal_survives_recycling(version: &Installation) {
    let cluster = Cluster::start(version, &RECYCLE);
    cluster.psql("postgres", "create table load (t text)");
    let stage = superuser_stage(&cluster, json!({ "checkpoint": "fast", "max_rate": "8MiB" }));
    let dumped = stage.dump(&Subject::Base).await.unwrap();
    let runtime = tokio::runtime::Handle::current();
    let (taken, rounds) =
        tokio::task::block_in_place(|| cluster.under_load(&[FILL_SEGMENT], || runtime.block_on(read(dumped)).unwrap()));
    let facts = taken.facts();
    let segments = (facts.stop_lsn.0 - facts.start_lsn.0) >> 24;
    assert!(rounds[0] >= 2 && segments >= 2, "{rounds:?} rounds, {segments} segments: the server wrote too little");
    assert_eq!(facts.wal, Wal::Included);
    let first = format!("{:08X}{:08X}{:08X}", facts.timeline, facts.start_lsn.0 >> 32, facts.start_lsn.0 >> 24 & 0xFF);
    // The server drops the slot some time after the connection has ended.
    let path = cluster.data_dir().join("pg_wal").join(&first);
    let is_recycled = (0..40).any(|_| {
        cluster.psql("postgres", "insert into load values ('x'); select pg_switch_wal(); checkpoint");
        !path.exists()
    });
    assert!(is_recycled, "the server kept {first}");
    assert!(taken.pg_verifybackup(&cluster).contains("successfully verified"));
}

#[tokio::test(flavor = "multi_thread")]
async fn included_wal_survives_recycling_by_the_newest_release() {
    let [_, newest] = versions();
    included_wal_survives_recycling(&newest).await;
}

mod slow {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn included_wal_survives_recycling_by_an_old_release() {
        let [old, _] = versions();
        included_wal_survives_recycling(&old).await;
    }
}
