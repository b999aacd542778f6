//! WAL of a busy server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use longshore_core::subject::Subject;
use longshore_pg_base::facts::Wal;
use longshore_testkit::cluster::{Cluster, Installation};
use serde_json::json;

use crate::support::{read, superuser_stage, versions};

/// The settings with which a server recycles WAL as soon as possible.
const RECYCLE: [&str; 4] = ["wal_keep_size=0", "max_wal_size=32MB", "min_wal_size=32MB", "checkpoint_timeout=30s"];

/// Writes and recycles WAL until `stop` is set. Returns the number of rounds.
fn write_wal(cluster: &Cluster, stop: &AtomicBool) -> u32 {
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        let script = "insert into load select repeat(n::text, 100) from generate_series(1, 20000) n;
                      select pg_switch_wal(); checkpoint; truncate load;";
        cluster.psql("postgres", script);
        rounds += 1;
    }
    rounds
}

async fn included_wal_survives_recycling(version: &Installation) {
    let cluster = Arc::new(Cluster::start(version, &RECYCLE));
    cluster.psql("postgres", "create table load (t text)");
    let stage = superuser_stage(&cluster, json!({ "checkpoint": "fast", "max_rate": "8MiB" }));
    let dumped = stage.dump(&Subject::Base).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let load = std::thread::spawn({
        let (cluster, stop) = (Arc::clone(&cluster), Arc::clone(&stop));
        move || write_wal(&cluster, &stop)
    });
    let taken = read(dumped).await;
    stop.store(true, Ordering::Relaxed);
    let rounds = load.join().unwrap();
    let taken = taken.unwrap();
    let facts = taken.facts();
    let segments = (facts.stop_lsn.0 - facts.start_lsn.0) >> 24;
    assert!(rounds >= 2 && segments >= 2, "{rounds} rounds, {segments} segments: the server wrote too little");
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
