//! After failovers, recovery returns exactly the transactions that had been committed at any moment
//! of any timeline.

use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use longshore_testkit::cluster::{Cluster, Installation};

use crate::recovery_reaches_its_target::{restore, start};
use crate::support::{ArchiveEnv, wait_for};

/// The settings of all servers.
const SETTINGS: [&str; 2] = ["track_commit_timestamp=on", "max_wal_senders=10"];

/// Kills a server like a failure of its host.
fn kill(cluster: &Cluster) {
    let lock = fs::read_to_string(cluster.data_dir().join("postmaster.pid")).unwrap();
    let killed = Command::new("kill").arg("-9").arg(lock.lines().next().unwrap()).status().unwrap();
    assert!(killed.success());
    wait_for("the server to die", || (!cluster.answers()).then_some(()));
}

/// Writes rows, and ends a segment now and then.
fn write(cluster: &Cluster, rows: std::ops::Range<u32>) {
    for row in rows {
        cluster.psql("postgres", &format!("insert into ledger values ({row})"));
        if row % 7 == 0 {
            cluster.psql("postgres", "select pg_switch_wal()");
        }
    }
}

/// Fails over several times, then recovers to random moments, and compares the rows with those that
/// the last primary had committed by then.
fn every_moment_is_recovered(failovers: u32, moments: u64) {
    const ROWS: u32 = 20;
    let installation = Installation::newer();
    let archive = ArchiveEnv::start(&installation, &SETTINGS);
    archive.env.cluster.psql("postgres", "create table ledger (i int)");
    archive.longshore(&["run"]).expect(0);
    let archive_command = format!("archive_command={}", archive.archive_command());
    let mut replacements: Vec<Cluster> = Vec::new();
    for failover in 0..failovers {
        let primary = replacements.last().unwrap_or(&archive.env.cluster);
        let standby = primary.start_standby(&[&SETTINGS[..], &["archive_mode=on", &archive_command]].concat());
        write(primary, failover * ROWS..(failover + 1) * ROWS);
        let end = primary.psql("postgres", "select pg_current_wal_lsn()");
        let replayed = format!("select pg_last_wal_replay_lsn() >= '{end}'");
        wait_for("the standby to replay", || (standby.psql("postgres", &replayed) == "t").then_some(()));
        kill(primary);
        standby.psql("postgres", "select pg_promote()");
        replacements.push(standby);
    }
    let last = replacements.last().unwrap();
    write(last, failovers * ROWS..(failovers + 1) * ROWS);
    let name = last.psql("postgres", "select pg_walfile_name(pg_create_restore_point('end'))");
    last.psql("postgres", "select pg_switch_wal()");
    let archived = format!("select last_archived_wal >= '{name}' from pg_stat_archiver");
    wait_for("the last segment to be archived", || (last.psql("postgres", &archived) == "t").then_some(()));
    archive.longshore(&["wal", "status"]).expect(0);

    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    let mut number = seed;
    for _ in 0..moments {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        let share = (number % 1_000_000) as f64 / 1e6;
        let moment = last.psql(
            "postgres",
            &format!(
                "select min(t) + (max(t) - min(t)) * {share} from (select pg_xact_commit_timestamp(xmin) t from ledger) c"
            ),
        );
        let expected = last.psql(
            "postgres",
            &format!(
                "select string_agg(i::text, ' ' order by i) from ledger where pg_xact_commit_timestamp(xmin) <= '{moment}'"
            ),
        );
        let (folder, restored) = restore(&archive, &["--at", &moment]);
        assert_eq!(restored.code, Some(0), "seed {seed}, at {moment}: {restored:?}");
        let recovered = start(folder, &installation, &SETTINGS);
        let rows = recovered.psql("postgres", "select string_agg(i::text, ' ' order by i) from ledger");
        assert_eq!(rows, expected, "seed {seed}, at {moment}");
    }
}

#[test]
fn moments_before_and_after_a_failover_are_recovered() {
    every_moment_is_recovered(1, 3);
}

mod slow {
    use super::*;

    #[test]
    fn moments_of_five_timelines_are_recovered() {
        every_moment_is_recovered(4, 20);
    }
}
