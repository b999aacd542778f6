//! A cluster that changes during its backup, or a destination that fails, costs nothing but that
//! backup or that destination.

use std::fs;
use std::process::Child;
use std::thread;

use longshore_testkit::cluster::{Cluster, Installation, NewFolder, contents};
use longshore_testkit::garage::{Garage, Permission};
use longshore_testkit::sshd::Sshd;

use crate::base_backups_are_verified::{expect_idle, stored};
use crate::base_backups_restore_clusters::{BASE, expect_equal, give_to_owner_of, restore_from, source};
use crate::incremental_backups_restore;
use crate::support::{CommandOutput, Job, TestEnv, Tmpfs, files, wait_for};

/// A dump of a few seconds.
const SLOW: &str = "[{ type = 'pg_base', checkpoint = 'fast', max_rate = '8MiB' }]";

/// Starts a run, and waits until the server sends files.
fn start_run(test_env: &TestEnv) -> Child {
    let run = test_env.start(&["run"]);
    let query = "select count(*) from pg_stat_progress_basebackup where backup_streamed > 0";
    wait_for("the backup", || (test_env.cluster.psql("postgres", query) == "1").then_some(()));
    run
}

/// Creates a tablespace in a folder beside the data directory.
fn create_tablespace(cluster: &Cluster, name: &str) {
    let folder = cluster.data_dir().with_file_name(name);
    fs::create_dir(&folder).unwrap();
    give_to_owner_of(&cluster.data_dir(), &folder);
    cluster.psql("postgres", &format!("create tablespace {name} location '{}'", folder.display()));
}

#[test]
fn lost_slot_fails_the_run_with_a_remedy() {
    let settings = [
        "max_wal_size=32MB",
        "min_wal_size=32MB",
        "wal_keep_size=0",
        "max_slot_wal_keep_size=16MB",
        "checkpoint_timeout=30s",
    ];
    let test_env = TestEnv::with_cluster(Cluster::start(&Installation::system(), &settings));
    test_env.configure(&Job { dump: SLOW, ..Job::default() });
    test_env.cluster.create_database("app");
    test_env.cluster.psql("app", "create table t (i int, noise text)");
    let run = start_run(&test_env);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..8 {
                let script =
                    "insert into t select i, md5(i::text) from generate_series(1, 200000) i; checkpoint; truncate t;";
                test_env.cluster.psql("app", script);
            }
        });
        let ended = CommandOutput::of(run.wait_with_output().unwrap());
        ended.expect(2).shows("already been removed").shows("max_slot_wal_keep_size");
    });
    assert_eq!(stored(&test_env), Vec::<String>::new());
    expect_idle(&test_env);
}

#[test]
fn full_destination_does_not_stop_the_other() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 24);
    let (good, small) = (test_env.make_folder("good"), test_env.make_folder("small"));
    let _disk = Tmpfs::mount(&small, "8m");
    test_env.configure(&Job { dump: BASE, ship: &[("good", &good), ("small", &small)], ..Job::default() });
    test_env.longshore(&["run"]).expect(3).stdout_shows("small failed");
    assert!(!files(&small).iter().any(|name| name.starts_with("main/base/")), "{:?}", files(&small));
    expect_idle(&test_env);
    let folder = NewFolder::new();
    restore_from(&test_env, "good", &folder).expect(0);
    let restored = Cluster::start_on(folder, &Installation::system(), &[]);
    assert_eq!(restored.psql("bulk", "select count(*) from bulk"), (24 * 1024).to_string());
}

#[test]
fn tablespace_made_during_the_backup_is_reported() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { dump: SLOW, ..Job::default() });
    let run = start_run(&test_env);
    create_tablespace(&test_env.cluster, "late");
    let ended = CommandOutput::of(run.wait_with_output().unwrap());
    ended.expect(2).shows("\"late\"").shows("run the backup again");
    assert_eq!(stored(&test_env), Vec::<String>::new());
    expect_idle(&test_env);
}

#[test]
fn tablespace_dropped_during_the_backup_is_dropped_by_replay() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { dump: SLOW, ..Job::default() });
    create_tablespace(&test_env.cluster, "early");
    test_env.cluster.create_database("app");
    test_env.cluster.psql("app", "create table t tablespace early as select generate_series(1, 10000) i");
    let run = start_run(&test_env);
    test_env.cluster.psql("app", "alter table t set tablespace pg_default");
    test_env.cluster.psql("app", "create table u as select sum(i) from t");
    test_env.cluster.psql("postgres", "checkpoint; drop tablespace early");
    CommandOutput::of(run.wait_with_output().unwrap()).expect(0);
    let folder = NewFolder::new();
    let (to, early) = (folder.data_dir().display().to_string(), folder.path().join("early").display().to_string());
    let tablespace = format!("early={early}");
    test_env.run_with_identity(&["restore", "main", "--base", "--to-dir", &to, "--tablespace", &tablespace]).expect(0);
    let restored = Cluster::start_on(folder, &Installation::system(), &[]);
    assert_eq!(restored.psql("app", "select sum(i) from t union all select * from u"), "50005000\n50005000");
    assert_eq!(restored.psql("postgres", "select count(*) from pg_tablespace where spcname = 'early'"), "0");
}

/// Backs up to a disk, by SFTP and to a bucket, sealed or not, and restores from each.
fn restores_from_everywhere(test_env: &TestEnv, installation: &Installation, encrypt: Option<&str>, more: &str) {
    let (garage, sshd) = (Garage::start(), Sshd::start());
    let remote = [
        ("sftp", test_env.on_host("sftp", &sshd, "")),
        ("offsite", test_env.in_bucket(&garage, "acme", Permission::Everything, "")),
    ];
    test_env.configure(&Job { dump: BASE, remote: &remote, encrypt, more, ..Job::default() });
    test_env.longshore(&["check"]).expect(0);
    for _ in 0..2 {
        incremental_backups_restore::run(test_env);
    }
    for destination in ["local", "sftp", "offsite"] {
        let folder = NewFolder::new();
        restore_from(test_env, destination, &folder).expect(0);
        let restored = Cluster::start_on(folder, installation, &[]);
        match more {
            "" => expect_equal(&test_env.cluster, &restored),
            _ => assert!(contents(&restored, "shop") == contents(&test_env.cluster, "shop"), "{destination}"),
        }
    }
}

#[test]
fn chain_restores_from_host_and_bucket() {
    let installation = Installation::newer();
    let test_env = incremental_backups_restore::source(&installation, "");
    restores_from_everywhere(&test_env, &installation, None, incremental_backups_restore::WEEKLY);
}

mod slow {
    use super::*;

    #[test]
    fn every_release_restores_from_host_and_bucket() {
        for installation in Installation::all() {
            for encrypt in [None, Some("{ type = 'none' }")] {
                restores_from_everywhere(&source(&installation), &installation, encrypt, "");
            }
        }
    }

    #[test]
    fn standby_of_every_release_is_a_source() {
        for installation in Installation::all() {
            let settings = ["full_page_writes=on"];
            let primary = Cluster::start(&installation, &settings);
            primary.create_database("shop");
            primary.psql("shop", "create table t as select generate_series(1, 5000) i; checkpoint");
            let test_env = TestEnv::with_cluster(primary.start_standby(&settings));
            restores_from_everywhere(&test_env, &installation, None, "# a standby");
        }
    }
}
