//! A base backup from the files of the live data directory is as good as one by the server.

use std::time::Duration;

use longshore_testkit::cluster::{Cluster, Installation, Load, NewFolder};
use longshore_testkit::sample;
use serde_json::Value;

use crate::base_backups_are_verified::{expect_idle, stored};
use crate::base_backups_drill::drill;
use crate::base_backups_restore_clusters::{expect_equal, restore_from, source};
use crate::recovery_reaches_its_target::{restore, start};
use crate::support::{ArchiveEnv, Job, TestEnv, wait_for};

/// The stages of a job of base backups from files.
const FILES: &str = "[{ type = 'pg_files', checkpoint = 'fast', threads = 3 }]";

/// Backs up, lists, verifies, drills and restores a cluster of this release.
fn restored_cluster_equals_source(installation: &Installation) {
    let test_env = source(installation);
    test_env.configure(&Job { dump: FILES, ..Job::default() });
    test_env.longshore(&["check"]).expect(0).shows("can be listed");
    test_env.longshore(&["run"]).expect(0).shows("base");
    test_env.longshore(&["list"]).expect(0).stdout_shows("main/base");
    test_env.run_with_identity(&["verify", "--all"]).expect(0);
    drill(&test_env, installation, &[]).expect(0);
    let folder = NewFolder::new();
    restore_from(&test_env, "local", &folder).expect(0).shows("archive_mode is off");
    let restored = Cluster::start_on(folder, installation, &[]);
    expect_equal(&test_env.cluster, &restored);
    expect_idle(&test_env);
}

#[test]
fn restored_files_equal_the_source() {
    restored_cluster_equals_source(&Installation::newer());
}

/// The slower half of the releases.
mod slow {
    use super::*;

    #[test]
    fn restored_files_equal_the_source_in_every_release() {
        for installation in Installation::all() {
            restored_cluster_equals_source(&installation);
        }
    }
}

#[test]
fn stopped_cluster_is_restored() {
    let installation = Installation::newer();
    let test_env = source(&installation);
    let data_directory = test_env.cluster.data_dir().display().to_string();
    let dump = format!("[{{ type = 'pg_files', data_directory = '{data_directory}' }}]");
    test_env.configure(&Job { dump: &dump, ..Job::default() });
    let rows = test_env.cluster.psql(sample::SHOP, "select count(*), sum(i) from annexed");
    let test_env = test_env.with_stopped_cluster();
    test_env.longshore(&["check"]).expect(0).shows("shut down, and backed up as it is");
    test_env.longshore(&["run"]).expect(0).shows("base");
    test_env.run_with_identity(&["verify", "--all"]).expect(0);
    test_env.longshore(&["inspect", "main/base", "-i", &test_env.identity().display().to_string()]).expect(0);
    drill(&test_env, &installation, &[]).expect(0);
    let folder = NewFolder::new();
    let to_dir = folder.data_dir().display().to_string();
    // A cluster that was shut down discloses no names of tablespaces.
    let tablespace = format!("{}={}", tablespace_oid(&test_env), folder.path().join("annex").display());
    let restore = ["restore", "main", "--base", "--to-dir", &to_dir, "--tablespace", &tablespace];
    test_env.run_with_identity(&restore).expect(0);
    let restored = Cluster::start_on(folder, &installation, &[]);
    assert_eq!(restored.psql(sample::SHOP, "select count(*), sum(i) from annexed"), rows);
}

/// Returns the OID of the only tablespace, from its link.
fn tablespace_oid(test_env: &TestEnv) -> String {
    let mut links = std::fs::read_dir(test_env.cluster.data_dir().join("pg_tblspc")).unwrap();
    links.next().unwrap().unwrap().file_name().into_string().unwrap()
}

/// Moves money between accounts, and records each transfer in a ledger.
const TRANSFER: &str = "do $$ declare amount int; begin for n in 1..200 loop
    amount := n % 97; update account set balance = balance - amount where id = n;
    update account set balance = balance + amount where id = 201 - n;
    insert into ledger (amount) values (amount); commit; end loop; end $$";

/// Runs `work` while another session moves money.
pub(crate) fn while_money_moves(cluster: &Cluster, work: impl FnOnce()) {
    cluster.create_database("bank");
    cluster.psql(
        "bank",
        "create table account (id int primary key, balance int, filler text);
         insert into account select n, 1000, repeat('x', 400) from generate_series(1, 20000) n;
         create table ledger (id bigserial primary key, amount int)",
    );
    let transfers = Load { database: "bank", script: TRANSFER, pause: Duration::from_millis(10) };
    cluster.under_load(&[transfers], work);
}

/// Expects that no transfer is half done, and that no row of the ledger is missing.
pub(crate) fn expect_balanced(cluster: &Cluster) {
    let sums = "select sum(balance) = 1000 * count(*) from account";
    assert_eq!(cluster.psql("bank", sums), "t");
    let ledger = "select count(*) > 0 and sum(amount) > 0 from ledger";
    assert_eq!(cluster.psql("bank", ledger), "t");
}

#[test]
fn copy_of_a_busy_cluster_is_consistent() {
    let installation = Installation::newer();
    let test_env = TestEnv::with_cluster(Cluster::start(&installation, &["full_page_writes=on"]));
    let slow = "[{ type = 'pg_files', checkpoint = 'fast', max_rate = '16MiB' }]";
    test_env.configure(&Job { dump: slow, ..Job::default() });
    while_money_moves(&test_env.cluster, || {
        test_env.longshore(&["run"]).expect(0);
    });
    let report = drill(&test_env, &installation, &["--json"]).expect(0);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(report["drills"][0]["verdict"], "good", "{report:#}");
    let folder = NewFolder::new();
    restore_from(&test_env, "local", &folder).expect(0);
    expect_balanced(&Cluster::start_on(folder, &installation, &[]));
}

#[test]
fn copy_of_files_is_recovered_to_a_moment() {
    let installation = Installation::newer();
    let archive = ArchiveEnv::start(&installation, &[]);
    let more = "[cluster.main.wal]\nship = ['local']\nencrypt = { type = 'none' }\n";
    let dump = "[{ type = 'pg_files', checkpoint = 'fast', wal = 'archive' }]";
    archive.configure_job(&Job { dump, more, ..Job::default() });
    archive.env.cluster.psql("postgres", "create table ledger (i int)");
    archive.longshore(&["check"]).expect(0);
    archive.longshore(&["run"]).expect(0);
    archive.env.cluster.psql("postgres", "insert into ledger values (1)");
    archive.env.cluster.psql("postgres", "select pg_create_restore_point('before the mistake')");
    archive.env.cluster.psql("postgres", "insert into ledger values (2)");
    archive.archive();
    for (target, expected) in [(&["--name", "before the mistake"][..], "1"), (&["--at", "latest"], "2")] {
        let (folder, restored) = restore(&archive, target);
        restored.expect(0).shows("the server will recover to");
        let recovered = start(folder, &installation, &[]);
        assert_eq!(recovered.psql("postgres", "select count(*) from ledger"), expected, "{target:?}");
    }
}

#[test]
fn killed_run_leaves_neither_backup_nor_session() {
    let test_env = TestEnv::new();
    let slow = "[{ type = 'pg_files', checkpoint = 'fast', max_rate = '1MiB' }]";
    test_env.configure(&Job { dump: slow, ..Job::default() });
    for signal in ["KILL", "TERM"] {
        let mut run = test_env.start(&["run"]);
        let query = "select count(*) from pg_replication_slots where temporary";
        wait_for("the backup", || (test_env.cluster.psql("postgres", query) == "1").then_some(()));
        let signalled = std::process::Command::new("kill").args(["-s", signal, &run.id().to_string()]).status();
        assert!(signalled.unwrap().success());
        assert!(!run.wait().unwrap().success());
        assert_eq!(stored(&test_env), Vec::<String>::new());
        expect_idle(&test_env);
        test_env.wait_for_disconnect();
    }
}
