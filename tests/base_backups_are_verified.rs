//! A base backup that is not whole is no backup, and leaves nothing at the server.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::thread;

use longshore_testkit::cluster::{Cluster, Installation};

use crate::base_backups_restore_clusters::BASE;
use crate::support::{Job, TestEnv, files, wait_for};

/// Returns the manifests and artifacts at the destination.
pub(crate) fn stored(test_env: &TestEnv) -> Vec<String> {
    files(&test_env.local()).into_iter().filter(|name| name.contains("base-")).collect()
}

/// Waits until the server has no slot, no walsender and no backup in progress.
pub(crate) fn expect_idle(test_env: &TestEnv) {
    let query =
        "select (select count(*) from pg_replication_slots) + (select count(*) from pg_stat_progress_basebackup)
         + (select count(*) from pg_stat_activity where backend_type = 'walsender')";
    wait_for("the server to end the backup", || (test_env.cluster.psql("postgres", query) == "0").then_some(()));
}

/// Starts a cluster with page checksums, whose table `t` has one broken page, and configures a job.
fn with_broken_page(stage: &str) -> TestEnv {
    let test_env = TestEnv::new();
    test_env.configure(&Job { dump: stage, ..Job::default() });
    assert_eq!(test_env.cluster.psql("postgres", "show data_checksums"), "on");
    test_env.cluster.create_database("app");
    test_env
        .cluster
        .psql("app", "create table t as select i, md5(i::text) from generate_series(1, 9000) i; checkpoint;");
    let path = test_env.cluster.psql("app", "select pg_relation_filepath('t')");
    let mut file = fs::OpenOptions::new().write(true).open(test_env.cluster.data_dir().join(path)).unwrap();
    file.seek(SeekFrom::Start(3 * 8192 + 5000)).unwrap();
    file.write_all(b"broken").unwrap();
    file.sync_all().unwrap();
    test_env
}

#[test]
fn broken_page_fails_the_run_after_the_last_byte() {
    let test_env = with_broken_page(BASE);
    test_env.longshore(&["run"]).expect(2).shows("wrong checksums");
    assert_eq!(stored(&test_env), Vec::<String>::new());
    expect_idle(&test_env);
}

#[test]
fn recorded_damage_is_shipped_and_reported() {
    let test_env = with_broken_page("[{ type = 'pg_base', checkpoint = 'fast', damaged_pages = 'record' }]");
    test_env.longshore(&["run"]).expect(0);
    let manifest = stored(&test_env).into_iter().find(|name| name.ends_with(".json")).unwrap();
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(test_env.local().join(manifest)).unwrap()).unwrap();
    assert_eq!(manifest["base"]["damaged_pages"], 1, "{manifest}");
    test_env.run_with_identity(&["verify", "--all"]).expect(0);
    test_env.longshore(&["status", "--max-age", "1d"]).expect(3).shows("1 page of the cluster is damaged");
}

#[test]
fn killed_server_leaves_no_backup() {
    let test_env = TestEnv::new();
    test_env
        .configure(&Job { dump: "[{ type = 'pg_base', checkpoint = 'fast', max_rate = '1MiB' }]", ..Job::default() });
    let run = test_env.start(&["run"]);
    let query = "select count(*) from pg_stat_progress_basebackup where phase like 'streaming%'";
    wait_for("the backup", || (test_env.cluster.psql("postgres", query) == "1").then_some(()));
    test_env.cluster.psql("postgres", "select pg_terminate_backend(pid) from pg_stat_progress_basebackup");
    let ended = run.wait_with_output().unwrap();
    assert!(!ended.status.success());
    assert_eq!(stored(&test_env), Vec::<String>::new());
    expect_idle(&test_env);
}

#[test]
fn interrupted_run_ends_the_backup_at_the_server() {
    let test_env = TestEnv::new();
    test_env
        .configure(&Job { dump: "[{ type = 'pg_base', checkpoint = 'fast', max_rate = '1MiB' }]", ..Job::default() });
    let mut run = test_env.start(&["run"]);
    let query = "select count(*) from pg_stat_progress_basebackup where phase like 'streaming%'";
    wait_for("the backup", || (test_env.cluster.psql("postgres", query) == "1").then_some(()));
    let signalled = std::process::Command::new("kill").args(["-s", "TERM", &run.id().to_string()]).status();
    assert!(signalled.unwrap().success());
    assert!(!run.wait().unwrap().success());
    assert_eq!(stored(&test_env), Vec::<String>::new());
    expect_idle(&test_env);
}

#[test]
fn wal_survives_recycling_during_the_backup() {
    let settings = ["max_wal_size=32MB", "min_wal_size=32MB", "wal_keep_size=0", "checkpoint_timeout=30s"];
    let test_env = TestEnv::with_cluster(Cluster::start(&Installation::system(), &settings));
    test_env
        .configure(&Job { dump: "[{ type = 'pg_base', checkpoint = 'fast', max_rate = '6MiB' }]", ..Job::default() });
    test_env.cluster.create_database("app");
    test_env.cluster.psql("app", "create table t (i int, noise text)");
    let run = test_env.start(&["run"]);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..8 {
                let script =
                    "insert into t select i, md5(i::text) from generate_series(1, 120000) i; checkpoint; truncate t;";
                test_env.cluster.psql("app", script);
            }
        });
        let ended = run.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    });
    test_env.run_with_identity(&["verify", "--all"]).expect(0);
    expect_idle(&test_env);
}

#[test]
fn role_without_replication_is_named() {
    let test_env = TestEnv::new();
    test_env.cluster.psql("postgres", "create role plain login");
    let connection = test_env.cluster.connection().replace("user=postgres", "user=plain");
    test_env.configure_with_connection(&Job { dump: BASE, ..Job::default() }, &connection);
    let checked = test_env.longshore(&["check"]);
    assert_ne!(checked.code, Some(0));
    checked.shows("REPLICATION");
    let failed = test_env.longshore(&["run"]);
    assert_ne!(failed.code, Some(0));
    failed.shows("REPLICATION");
}
