//! A base backup is recovered to exactly the requested moment, or refused.

use std::fs;
use std::thread;
use std::time::Duration;

use chrono::{DateTime, Utc};
use longshore_testkit::cluster::{Cluster, Installation, NewFolder};

use crate::base_backups_drill::drill;
use crate::base_backups_restore_clusters::give_to_owner_of;
use crate::stock_tools_can_decode_every_file::unpack_with_the_page;
use crate::support::{ArchiveEnv, CommandOutput, Job, file_with, files, finish, wait_for};

/// Starts a cluster with a table, and makes a base backup.
fn source(installation: &Installation) -> ArchiveEnv {
    let archive = ArchiveEnv::start(installation, &[]);
    archive.env.cluster.psql("postgres", "create table ledger (i int)");
    archive.longshore(&["run"]).expect(0);
    archive
}

/// Inserts a row. Returns the time after its commit.
fn insert(cluster: &Cluster, row: u32) -> String {
    cluster.psql("postgres", &format!("insert into ledger values ({row})"));
    let time = cluster.psql("postgres", "select clock_timestamp()");
    thread::sleep(Duration::from_millis(20));
    time
}

fn rows(cluster: &Cluster) -> String {
    cluster.psql("postgres", "select coalesce(string_agg(i::text, ' ' order by i), '') from ledger")
}

/// Restores the newest base backup to a target. Returns the folder.
pub(crate) fn restore(archive: &ArchiveEnv, target: &[&str]) -> (NewFolder, CommandOutput) {
    let folder = NewFolder::new();
    let data_dir = folder.data_dir().display().to_string();
    let identity = archive.env.identity().display().to_string();
    let arguments = [&["restore", "main", "--base", "--to-dir", &data_dir, "-i", &identity], target].concat();
    let restored = archive.longshore(&arguments);
    (folder, restored)
}

/// Starts a restored cluster, and waits for the end of its recovery.
pub(crate) fn start(folder: NewFolder, installation: &Installation, settings: &[&str]) -> Cluster {
    let cluster = Cluster::start_on(folder, installation, settings);
    wait_for("the end of recovery", || (cluster.psql("postgres", "select pg_is_in_recovery()") == "f").then_some(()));
    cluster
}

/// Starts the restored cluster with the program itself, which waits for the end of recovery.
#[test]
fn restored_cluster_is_started_and_compared_with_the_plan() {
    let installation = Installation::newer();
    let archive = ArchiveEnv::start(&installation, &[]);
    let cluster = &archive.env.cluster;
    let sockets = archive.env.make_folder("sockets");
    archive.give_files();
    let set = |setting: &str| cluster.psql("postgres", &format!("alter system set {setting}"));
    set(&format!("unix_socket_directories = '{}'", sockets.display()));
    set("listen_addresses = ''");
    cluster.psql("postgres", "create table ledger (i int)");
    archive.longshore(&["run"]).expect(0);
    insert(cluster, 1);
    archive.archive();
    let folder = NewFolder::new();
    let data_dir = folder.data_dir();
    let identity = archive.env.identity().display().to_string();
    let to_dir = data_dir.display().to_string();
    let restore = ["restore", "main", "--to-dir", &to_dir, "-i", &identity, "--at", "latest", "--start"];
    let bin_dir = cluster.bin_dir().display().to_string();
    let restored = archive.longshore(&restore).expect(0);
    restored.shows("the server has started: its recovery ended at").shows("timeline 2");
    let pg_ctl = |arguments: &[&str]| {
        let program = format!("{bin_dir}/pg_ctl");
        let mut command = archive.as_owner(program.as_ref());
        finish(command.args(arguments).args(["-D", &to_dir]))
    };
    let port = fs::read_to_string(data_dir.join("postmaster.pid")).unwrap().lines().nth(3).unwrap().to_owned();
    let mut psql = archive.as_owner(format!("{bin_dir}/psql").as_ref());
    psql.args(["-XAtc", "select pg_is_in_recovery(), i from ledger", "-U", "postgres", "-p", &port, "-h"]);
    let found = finish(psql.arg(&sockets).arg("postgres"));
    pg_ctl(&["stop", "-m", "immediate"]).expect(0);
    found.expect(0).stdout_shows("f|1");

    // A server that cannot start leaves the restored files, and its log.
    fs::remove_dir_all(&data_dir).unwrap();
    set("shared_preload_libraries = 'missing_library'");
    archive.longshore(&["run"]).expect(0);
    archive.archive();
    archive.longshore(&restore).expect(2).shows("is restored, but the server does not start").shows("missing_library");
    assert!(data_dir.join("PG_VERSION").exists());
}

/// Recovers to targets of each kind.
fn each_target_is_reached(installation: &Installation) {
    let archive = source(installation);
    let cluster = &archive.env.cluster;
    insert(cluster, 1);
    let second = insert(cluster, 2);
    let position = cluster.psql("postgres", "select pg_current_wal_insert_lsn()");
    archive.archive();
    let transaction =
        cluster.psql("postgres", "begin; insert into ledger values (3); select pg_current_xact_id(); commit");
    cluster.psql("postgres", "select pg_create_restore_point('before the mistake')");
    insert(cluster, 4);
    let idle = cluster.psql("postgres", "select clock_timestamp()");
    archive.archive();
    for (target, expected) in [
        (&["--at", second.as_str()][..], "1 2"),
        (&["--lsn", &position], "1 2"),
        (&["--xid", &transaction], "1 2 3"),
        (&["--name", "before the mistake"], "1 2 3"),
        (&["--at", "latest"], "1 2 3 4"),
        // After the last commit, but before the end of the archive.
        (&["--at", &idle], "1 2 3 4"),
        (&["--immediate"], ""),
    ] {
        let (folder, restored) = restore(&archive, target);
        restored.expect(0).shows("the server will recover to");
        let recovered = start(folder, installation, &[]);
        assert_eq!(rows(&recovered), expected, "{target:?}");
        assert_eq!(recovered.psql("postgres", "show archive_mode"), "off");
    }
    // With --pause, the server waits for a decision.
    let (folder, restored) = restore(&archive, &["--at", &second, "--pause"]);
    restored.expect(0);
    let paused = Cluster::start_on(folder, installation, &[]);
    wait_for("the pause", || {
        (paused.psql("postgres", "select pg_get_wal_replay_pause_state()") == "paused").then_some(())
    });
    assert_eq!(rows(&paused), "1 2");
    paused.psql("postgres", "select pg_wal_replay_resume()");
    wait_for("the end of recovery", || (paused.psql("postgres", "select pg_is_in_recovery()") == "f").then_some(()));
}

#[test]
fn each_kind_of_target_is_reached() {
    each_target_is_reached(&Installation::newer());
}

/// The slower half of the releases.
mod slow {
    use super::*;

    #[test]
    fn each_kind_of_target_is_reached_by_every_release() {
        for installation in Installation::all() {
            each_target_is_reached(&installation);
        }
    }
}

/// Expects a refusal that leaves no data directory.
#[track_caller]
fn refused(archive: &ArchiveEnv, target: &[&str], reason: &str) {
    let (folder, restored) = restore(archive, target);
    restored.expect(6).shows(reason);
    assert!(!folder.data_dir().exists());
    let mut left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.any(|name| name.to_string_lossy().contains("wal")), "no WAL is left behind");
}

#[test]
fn unreachable_targets_are_refused() {
    let archive = source(&Installation::newer());
    let cluster = &archive.env.cluster;
    let first = insert(cluster, 1);
    let gap = archive.archive();
    insert(cluster, 2);
    archive.archive();
    archive.longshore(&["status", "--max-age", "1h"]).expect(0).omits("WAL of main").shows("RECOVERABLE FROM");
    let status = archive.longshore(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    let (from, until) = (&status["wal"][0]["recoverable_from"], &status["wal"][0]["recoverable_until"]);
    let [from, until] = [from, until].map(|time| time.as_str().unwrap().parse::<DateTime<Utc>>().unwrap());
    assert!(from < until && until <= Utc::now(), "{status}");
    refused(&archive, &["--at", "2037-01-01"], "its latest time is");
    refused(&archive, &["--lsn", "FF/0"], "the WAL ends before");
    refused(&archive, &["--name", "nowhere"], "not reached");
    refused(&archive, &["--lsn", "0/28"], "");
    refused(&archive, &["--at", "latest", "--timeline", "7"], "00000007.history");
    let (_, before) = restore(&archive, &["--at", "2001-01-01"]);
    assert_ne!(before.code, Some(0), "{before:?}");

    // A segment in the middle is missing.
    let missing = file_with(&archive.env.local(), &gap);
    let content = fs::read(&missing).unwrap();
    fs::remove_file(&missing).unwrap();
    archive.longshore(&["wal", "status"]).expect(4).shows(&gap);
    let lost = archive.longshore(&["status", "--max-age", "1h"]).expect(3);
    lost.shows("critical").shows(&format!("WAL of main: {gap} is missing"));
    refused(&archive, &["--at", "latest"], &gap);
    refused(&archive, &["--at", &first], &gap);
    // It is damaged: found before anything is restored.
    let mut damaged = content.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&missing, damaged).unwrap();
    let identity = archive.env.identity().display().to_string();
    let verify = |scope: &str| archive.longshore(&["verify", scope, "-i", &identity]);
    verify("main/wal").expect(4).shows(&gap);
    verify("--all").expect(4).shows(&gap);
    let (folder, restored) = restore(&archive, &["--at", "latest"]);
    restored.expect(4).shows(&gap);
    assert!(!folder.data_dir().exists());
    fs::write(&missing, content).unwrap();
    verify("main/wal").expect(0).shows("read to the last record");
    archive.longshore(&["verify", "main/wal"]).expect(2).shows("there is no identity");
    restore(&archive, &["--at", "latest"]).1.expect(0);
}

#[test]
fn backup_without_wal_needs_the_archive() {
    let installation = Installation::newer();
    let archive = ArchiveEnv::start(&installation, &[]);
    let dump = "[{ type = 'pg_base', checkpoint = 'fast', wal = 'archive' }]";
    archive.configure_job(&Job { dump, ..Job::default() });
    archive.longshore(&["run"]).expect(1).shows("has no archive").shows("wal = \"include\"");
    archive.longshore(&["check"]).expect(2).shows("has no archive");
    let more = "[cluster.main.wal]\nship = ['local']\nencrypt = { type = 'none' }\n";
    archive.configure_job(&Job { dump, more, ..Job::default() });
    archive.env.cluster.psql("postgres", "create table ledger (i int)");
    insert(&archive.env.cluster, 1);
    archive.longshore(&["run"]).expect(0);
    let content = archive.longshore(&["inspect", "main/base", "-i", &archive.env.identity().display().to_string()]);
    content.expect(0).shows("in the archive of the cluster");

    refused(&archive, &[], "does not contain its WAL");
    let (folder, restored) = restore(&archive, &["--immediate"]);
    restored.expect(0);
    assert_eq!(rows(&start(folder, &installation, &[])), "1");
    drill(&archive.env, &installation, &[]).expect(0).shows("with 1 segment of WAL");
}

#[test]
fn history_is_chosen_by_a_person() {
    let installation = Installation::newer();
    let archive = source(&installation);
    let archive_command = format!("archive_command={}", archive.archive_command());
    let standby = archive.env.cluster.start_standby(&["archive_mode=on", &archive_command]);
    insert(&archive.env.cluster, 1);
    archive.archive();
    let replayed = format!(
        "select pg_last_wal_replay_lsn() >= '{}'",
        archive.env.cluster.psql("postgres", "select pg_current_wal_lsn()")
    );
    wait_for("the standby to replay", || (standby.psql("postgres", &replayed) == "t").then_some(()));
    standby.psql("postgres", "select pg_promote()");
    // Both servers continue: a failover without the end of the old primary.
    insert(&archive.env.cluster, 2);
    archive.archive();
    insert(&archive.env.cluster, 3);
    archive.archive();
    insert(&standby, 10);
    let name = standby.psql("postgres", "select pg_walfile_name(pg_current_wal_lsn())");
    standby.psql("postgres", "select pg_switch_wal()");
    wait_for("the segment of timeline 2", || {
        archive.archived("local").iter().any(|file| file.contains(&name)).then_some(())
    });
    refused(&archive, &["--at", "latest"], "timeline 1 has later WAL");
    for (timeline, expected) in [("1", "1 2 3"), ("2", "1 10")] {
        let (folder, restored) = restore(&archive, &["--at", "latest", "--timeline", timeline]);
        restored.expect(0);
        assert_eq!(rows(&start(folder, &installation, &[])), expected);
    }
    // A backup of the other history is passed over.
    thread::sleep(Duration::from_millis(1050));
    archive.longshore(&["run"]).expect(0);
    let (folder, restored) = restore(&archive, &["--at", "latest", "--timeline", "2"]);
    restored.expect(0);
    assert_eq!(rows(&start(folder, &installation, &[])), "1 10");
    refused(&archive, &["--at", "latest"], "before the newest backup ended");
}

#[test]
fn settings_of_the_source_do_not_change_the_recovery() {
    let installation = Installation::newer();
    let archive = ArchiveEnv::start(&installation, &["max_connections=250"]);
    let ran = archive.env.cluster.data_dir().with_file_name("ran");
    archive.set(&format!("alter system set recovery_end_command = 'touch {}'", ran.display()));
    archive.set("alter system set recovery_target_inclusive = off");
    archive.env.cluster.psql("postgres", "create table ledger (i int)");
    archive.longshore(&["run"]).expect(0);
    let transaction = archive
        .env
        .cluster
        .psql("postgres", "begin; insert into ledger values (1); select pg_current_xact_id(); commit");
    archive.archive();
    let (folder, restored) = restore(&archive, &["--xid", &transaction]);
    restored.expect(0);
    assert_eq!(rows(&start(folder, &installation, &[])), "1");
    assert!(!ran.exists(), "the command of the source did not run");
}

#[test]
fn recovery_never_uses_tablespaces_of_the_source() {
    let installation = Installation::newer();
    let archive = source(&installation);
    let annex = archive.env.cluster.data_dir().with_file_name("annex");
    fs::create_dir(&annex).unwrap();
    give_to_owner_of(&archive.env.cluster.data_dir(), &annex);
    insert(&archive.env.cluster, 1);
    let before = archive.env.cluster.psql("postgres", "select pg_current_wal_insert_lsn()");
    archive.archive();
    archive.env.cluster.psql("postgres", &format!("create tablespace annex location '{}'", annex.display()));
    archive.env.cluster.psql("postgres", "create table annexed tablespace annex as select 1 i");
    archive.archive();
    let files_of_source = files(&annex);
    refused(&archive, &["--at", "latest"], "creates a tablespace in");
    restore(&archive, &["--lsn", &before]).1.expect(0);
    assert_eq!(files(&annex), files_of_source);
}

#[test]
fn recovery_follows_timelines() {
    let installation = Installation::newer();
    let archive = source(&installation);
    insert(&archive.env.cluster, 1);
    archive.archive();
    let archive_command = format!("archive_command={}", archive.archive_command());
    for timeline in 2..=3 {
        let (folder, restored) = restore(&archive, &["--at", "latest"]);
        restored.expect(0).shows(&format!("on timeline {}", timeline - 1));
        // The recovered cluster replaces the source, and archives in its place.
        let next = start(folder, &installation, &["archive_mode=on", &archive_command]);
        insert(&next, timeline);
        let name = next.psql("postgres", "select pg_walfile_name(pg_current_wal_lsn())");
        next.psql("postgres", "select pg_switch_wal()");
        wait_for("the segment of the new timeline", || {
            archive.archived("local").iter().any(|file| file.contains(&name)).then_some(())
        });
    }
    let (folder, restored) = restore(&archive, &["--at", "latest"]);
    restored.expect(0).shows("on timeline 3");
    assert_eq!(rows(&start(folder, &installation, &[])), "1 2 3");
    let (folder, restored) = restore(&archive, &["--at", "latest", "--timeline", "2"]);
    restored.expect(0);
    assert_eq!(rows(&start(folder, &installation, &[])), "1 2");
}

#[test]
fn check_proves_the_archive() {
    let archive = ArchiveEnv::without_command(&Installation::newer(), &[]);
    archive.configure("");
    archive.longshore(&["check"]).expect(2).shows("archive_command is empty");
    let command = archive.archive_command().replace('\'', "''");
    archive.set(&format!("alter system set archive_command = '{command}'"));
    let identity = archive.env.identity().display().to_string();
    let checked = archive.longshore(&["check", "-i", &identity]).expect(0);
    checked.shows("is archived, and read back").shows("archive_timeout = 0");
}

#[test]
fn drill_proves_the_recovery() {
    let installation = Installation::newer();
    let archive = source(&installation);
    insert(&archive.env.cluster, 1);
    insert(&archive.env.cluster, 2);
    let name = archive.archive();
    let query = "database = 'postgres'\nsql = 'select count(*) from ledger'\nanswer = '2'";
    archive.configure(&format!("[[job.nightly.drill.query]]\n{query}"));
    let drilled = drill(&archive.env, &installation, &["--recover-to", "latest"]).expect(0);
    drilled.shows("recovered on timeline 1 to").shows("the last transaction ended at");

    archive.configure("");
    let drilled = drill(&archive.env, &installation, &["--recover-to", "random"]).expect(0);
    drilled.shows("recovered on timeline 1 to 20").omits("the last transaction ended at");

    // WAL that is missing or damaged is no fault of the base backup.
    let stored = file_with(&archive.env.local(), &format!("/{name}-"));
    let content = fs::read(&stored).unwrap();
    fs::write(&stored, &content[..content.len() / 2]).unwrap();
    drill(&archive.env, &installation, &["--recover-to", "latest"]).expect(4).shows(&name);
    archive.env.longshore(&["list", "--all"]).expect(0).omits("damaged");
}

#[test]
fn archive_recovers_by_hand() {
    let installation = Installation::newer();
    let archive = source(&installation);
    insert(&archive.env.cluster, 1);
    archive.archive();
    let (folder, _) = unpack_with_the_page(&archive.env, &installation);
    assert_eq!(rows(&start(folder, &installation, &[])), "1");
}
