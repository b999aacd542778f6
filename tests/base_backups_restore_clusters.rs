//! A base backup becomes a running cluster that equals its source, and touches nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use longshore_testkit::cluster::{Cluster, Installation, Load, NewFolder, contents, globals};
use longshore_testkit::sample;

use crate::support::{CommandOutput, Job, TestEnv, files};

/// The stages of a job of base backups.
pub(crate) const BASE: &str = "[{ type = 'pg_base', checkpoint = 'fast' }]";

/// Empties the unlogged tables, which no base backup contains.
const EMPTY_UNLOGGED: &str = "do $$ declare unlogged regclass; begin
    for unlogged in select oid::regclass from pg_class where relpersistence = 'u' and relkind = 'r' loop
        execute 'truncate ' || unlogged; end loop; end $$";

/// Starts a cluster with samples and a tablespace, and configures a job of base backups.
pub(crate) fn source(installation: &Installation) -> TestEnv {
    let test_env = TestEnv::with_cluster(Cluster::start(installation, &[]));
    test_env.configure(&Job { dump: BASE, ..Job::default() });
    sample::load(&test_env.cluster, 300);
    test_env.cluster.psql(sample::SHOP, EMPTY_UNLOGGED);
    let folder = tablespace_folder(&test_env.cluster);
    let location = folder.display();
    test_env.cluster.psql("postgres", &format!("create tablespace annex location '{location}'"));
    test_env.cluster.psql(
        sample::SHOP,
        "create table annexed tablespace annex as select i, md5(i::text) noise from generate_series(1, 9000) i;
         create index on annexed (noise) tablespace annex;",
    );
    test_env
}

/// Creates a folder beside the data directory, owned by the server's user.
fn tablespace_folder(cluster: &Cluster) -> PathBuf {
    let folder = cluster.data_dir().with_file_name("annex");
    fs::create_dir(&folder).unwrap();
    give_to_owner_of(&cluster.data_dir(), &folder);
    folder
}

/// Gives a folder to the owner of another file.
pub(crate) fn give_to_owner_of(file: &Path, folder: &Path) {
    use std::os::unix::fs::{MetadataExt, chown};
    let owner = fs::metadata(file).unwrap();
    chown(folder, Some(owner.uid()), Some(owner.gid())).unwrap();
}

/// Restores the newest base backup into a new folder, its tablespace beside the data directory.
fn restore(test_env: &TestEnv) -> NewFolder {
    let folder = NewFolder::new();
    restore_from(test_env, "local", &folder).expect(0).shows("archive_mode is off");
    folder
}

/// Restores the newest base backup of a destination, its tablespace, if there is one, beside the
/// data directory.
pub(crate) fn restore_from(test_env: &TestEnv, destination: &str, folder: &NewFolder) -> CommandOutput {
    let tablespace = format!("annex={}", folder.path().join("annex").display());
    let data_dir = folder.data_dir().display().to_string();
    let plain = ["restore", "main", "--base", "--from", destination, "--to-dir", &data_dir];
    let has_tablespace = test_env.cluster.psql("postgres", "select count(*) from pg_tablespace") == "3";
    let more = if has_tablespace { &["--tablespace", tablespace.as_str()][..] } else { &[] };
    test_env.run_with_identity(&[&plain[..], more].concat())
}

/// Compares all databases and the globals of two clusters.
pub(crate) fn expect_equal(source: &Cluster, restored: &Cluster) {
    // A tablespace has a new folder.
    let of = |cluster: &Cluster| {
        let all = globals(cluster);
        all.lines().filter(|line| !line.starts_with("CREATE TABLESPACE")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of(restored), of(source));
    for (database, _) in sample::databases(300) {
        assert!(contents(restored, database) == contents(source, database), "{database}");
    }
}

/// Backs up, restores and starts a cluster of this release.
fn restored_cluster_equals_source(installation: &Installation) {
    let test_env = source(installation);
    test_env.longshore(&["check"]).expect(0);
    test_env.longshore(&["run"]).expect(0).shows("base");
    test_env.longshore(&["list"]).expect(0).stdout_shows("main/base");
    let listed = test_env.json(&["list", "--json"]);
    let backup = &listed[0];
    assert_eq!(backup["subject"]["kind"], "base", "{listed}");
    test_env.run_with_identity(&["verify", "--all"]).expect(0);

    let before = files(&tablespace_of(&test_env));
    let restored = Cluster::start_on(restore(&test_env), installation, &[]);
    expect_equal(&test_env.cluster, &restored);
    let paths =
        restored.psql("postgres", "select pg_tablespace_location(oid) from pg_tablespace where spcname = 'annex'");
    assert_eq!(Path::new(&paths), restored.data_dir().with_file_name("annex"), "not the folder of the source");
    assert_eq!(restored.psql("postgres", "show archive_mode"), "off");
    restored.psql(sample::SHOP, "insert into annexed values (0, 'restored')");
    assert_eq!(files(&tablespace_of(&test_env)), before);
    let leftovers = "select (select count(*) from pg_replication_slots) + (select count(*) from pg_stat_replication)";
    assert_eq!(test_env.cluster.psql("postgres", leftovers), "0");
}

/// Returns the tablespace's folder of the source.
pub(crate) fn tablespace_of(test_env: &TestEnv) -> PathBuf {
    test_env.cluster.data_dir().with_file_name("annex")
}

#[test]
fn restored_cluster_equals_source_on_system_release() {
    restored_cluster_equals_source(&Installation::system());
}

#[test]
fn restored_cluster_equals_source_on_newest_release() {
    restored_cluster_equals_source(Installation::all().last().unwrap());
}

/// The releases between the oldest and the newest.
mod slow {
    use longshore_testkit::cluster::Installation;

    #[test]
    fn restored_cluster_equals_source_on_other_releases() {
        let all = Installation::all();
        for installation in &all[1..all.len() - 1] {
            super::restored_cluster_equals_source(installation);
        }
    }
}

#[test]
fn backup_under_load_is_consistent() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { dump: BASE, ..Job::default() });
    test_env.cluster.create_database("bank");
    test_env.cluster.psql(
        "bank",
        "create table account as select i id, 0::bigint balance from generate_series(1, 2000) i;
         create unique index on account (id);",
    );
    let transfer = "do $$ begin for i in 1..200 loop
         update account set balance = balance - 7 where id = 1 + floor(random() * 2000);
         update account set balance = balance + 7 where id = (select id from account limit 1);
         commit; end loop; end $$; drop table if exists fleeting; create table fleeting as select generate_series(1, 2000);
         vacuum full account;";
    let pause = Duration::from_millis(10);
    let transfers = Load { database: "bank", script: transfer, pause };
    let databases = Load { database: "postgres", script: "create database brief;\ndrop database brief", pause };
    test_env.cluster.under_load(&[transfers, databases], || {
        for _ in 0..2 {
            test_env.longshore(&["run"]).expect(0);
            thread::sleep(Duration::from_secs(1));
        }
    });
    let folder = NewFolder::new();
    let data_dir = folder.data_dir().display().to_string();
    test_env.run_with_identity(&["restore", "main", "--base", "--to-dir", &data_dir]).expect(0);
    let restored = Cluster::start_on(folder, &Installation::system(), &[]);
    assert_eq!(restored.psql("bank", "select count(*), count(distinct id) from account"), "2000|2000");
    restored.psql("bank", "create extension amcheck; select bt_index_check(indexrelid, true) from pg_index where indrelid = 'account'::regclass");
}

#[test]
fn target_in_use_is_refused_with_all_reasons() {
    let test_env = source(&Installation::system());
    test_env.longshore(&["run"]).expect(0);
    let folder = NewFolder::new();
    let data_dir = folder.data_dir();
    fs::create_dir(&data_dir).unwrap();
    fs::write(data_dir.join("precious"), "x").unwrap();
    let to = data_dir.display().to_string();
    let refused = test_env.run_with_identity(&["restore", "main", "--base", "--to-dir", &to]);
    assert_ne!(refused.code, Some(0));
    // The directory is not empty, and the tablespace has no new folder.
    refused.shows("precious").shows("--tablespace");
    assert_eq!(files(&data_dir), ["precious"]);
    let planned = test_env.run_with_identity(&["restore", "main", "--base", "--to-dir", &to, "--plan"]);
    planned.expect(6).shows("annex");
    let into_server = test_env.run_with_identity(&["restore", "main/base", "--to", &test_env.cluster.connection()]);
    into_server.expect(1).shows("--to-dir");
    let dump_into_dir = test_env.run_with_identity(&["restore", "main/shop", "--to-dir", &to]);
    assert_ne!(dump_into_dir.code, Some(0));
}

#[test]
fn failed_restore_leaves_nothing_to_start() {
    let test_env = source(&Installation::system());
    test_env.longshore(&["run"]).expect(0);
    let artifact = files(&test_env.local()).into_iter().find(|name| name.ends_with(".base.tar.zst.age")).unwrap();
    let path = test_env.local().join(artifact);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let folder = NewFolder::new();
    let tablespace = format!("annex={}", folder.path().join("annex").display());
    let data_dir = folder.data_dir().display().to_string();
    let arguments = ["restore", "main", "--base", "--to-dir", &data_dir, "--tablespace", &tablespace];
    let failed = test_env.run_with_identity(&arguments);
    assert_eq!(failed.code, Some(4), "{failed:?}");
    assert!(!folder.data_dir().join("global/pg_control").exists());
    assert!(!folder.path().join("annex").exists() || files(&folder.path().join("annex")).is_empty());
}

#[test]
fn delta_replaces_only_files_that_differ() {
    use std::os::unix::fs::MetadataExt;
    let test_env = source(&Installation::system());
    test_env.longshore(&["run"]).expect(0);
    let (expected, folder) = (restore(&test_env), restore(&test_env));
    let data_dir = folder.data_dir();
    let database = files(&data_dir.join("base")).pop().unwrap();
    let [changed, cut, removed, extra] = ["PG_VERSION", "global/1262", "global/pg_filenode.map", "base/99/1"];
    fs::write(data_dir.join(changed), "99\n").unwrap();
    fs::File::options().write(true).open(data_dir.join(cut)).unwrap().set_len(8192 + 1).unwrap();
    fs::remove_file(data_dir.join(removed)).unwrap();
    fs::create_dir(data_dir.join("base/99")).unwrap();
    fs::write(data_dir.join(extra), "extra").unwrap();
    std::os::unix::fs::symlink("/nowhere", data_dir.join("pg_tblspc/99")).unwrap();
    let annexed = files(&folder.path().join("annex")).pop().unwrap();
    fs::write(folder.path().join("annex").join(&annexed), "x").unwrap();
    let state = |name: &str| {
        let found = fs::metadata(data_dir.join("base").join(name)).unwrap();
        (found.ino(), found.mtime(), found.mtime_nsec())
    };
    let before = state(&database);

    let delta = |more: &[&str]| {
        let (to, annex) = (data_dir.display().to_string(), folder.path().join("annex").display().to_string());
        let tablespace = format!("annex={annex}");
        let arguments = ["restore", "main", "--base", "--to-dir", &to, "--tablespace", &tablespace];
        test_env.run_with_identity(&[&arguments[..], more].concat())
    };
    delta(&[]).expect(6).shows("--delta");
    delta(&["--delta", "--plan"]).expect(0).shows("files are replaced or removed");
    fs::write(data_dir.join("postmaster.pid"), "1").unwrap();
    delta(&["--delta"]).expect(6).shows("stop the server");
    fs::remove_file(data_dir.join("postmaster.pid")).unwrap();
    // An interrupted restore left the directory without pg_control.
    let control = data_dir.join("global/pg_control");
    fs::rename(&control, data_dir.join("global/pg_control.replaced")).unwrap();
    delta(&["--delta"]).expect(0);
    assert_eq!(state(&database), before, "an equal file stays");
    let all = |folder: &NewFolder| files(folder.path());
    assert_eq!(all(&folder), all(&expected));
    for name in all(&folder).iter().filter(|name| !name.ends_with("tablespace_map")) {
        assert!(fs::read(folder.path().join(name)).unwrap() == fs::read(expected.path().join(name)).unwrap(), "{name}");
    }
    let restored = Cluster::start_on(folder, &Installation::system(), &[]);
    expect_equal(&test_env.cluster, &restored);
}

#[test]
fn delta_never_replaces_another_cluster() {
    let (test_env, other) = (TestEnv::new(), TestEnv::new());
    for test_env in [&test_env, &other] {
        test_env.configure(&Job { dump: BASE, ..Job::default() });
        test_env.longshore(&["run"]).expect(0);
    }
    let folder = NewFolder::new();
    restore_from(&other, "local", &folder).expect(0);
    let before = files(folder.path());
    let to = folder.data_dir().display().to_string();
    let refused = test_env.run_with_identity(&["restore", "main", "--base", "--to-dir", &to, "--delta"]);
    refused.expect(6).shows("system identifier");
    assert_eq!(files(folder.path()), before);
    let no_cluster = test_env.make_folder("precious");
    fs::write(no_cluster.join("thesis.txt"), "x").unwrap();
    let to = no_cluster.display().to_string();
    test_env
        .run_with_identity(&["restore", "main", "--base", "--to-dir", &to, "--delta"])
        .expect(6)
        .shows("PG_VERSION");
    assert_eq!(files(&no_cluster), ["thesis.txt"]);
}

#[test]
fn standby_is_a_source() {
    // PostgreSQL refuses a backup of a standby that replays WAL without whole pages.
    let whole_pages = ["full_page_writes=on"];
    let primary = Cluster::start(&Installation::system(), &whole_pages);
    sample::load(&primary, 100);
    primary.psql(sample::SHOP, EMPTY_UNLOGGED);
    let test_env = TestEnv::with_cluster(primary.start_standby(&whole_pages));
    test_env.configure(&Job { dump: BASE, ..Job::default() });
    primary.psql("postgres", "checkpoint");
    test_env.longshore(&["run"]).expect(0);
    let folder = NewFolder::new();
    let data_dir = folder.data_dir().display().to_string();
    test_env.run_with_identity(&["restore", "main", "--base", "--to-dir", &data_dir]).expect(0);
    let restored = Cluster::start_on(folder, &Installation::system(), &[]);
    assert_eq!(restored.psql("postgres", "select pg_is_in_recovery()"), "f", "it follows no primary");
    for (database, _) in sample::databases(100) {
        assert!(contents(&restored, database) == contents(&primary, database), "{database}");
    }
}

#[test]
fn copy_of_another_destination_restores() {
    let test_env = TestEnv::new();
    let (one, other) = (test_env.make_folder("one"), test_env.make_folder("other"));
    test_env.configure(&Job { dump: BASE, ship: &[("one", &one)], ..Job::default() });
    test_env.cluster.create_database("app");
    test_env.cluster.psql("app", "create table t as select generate_series(1, 100) i");
    test_env.longshore(&["run"]).expect(0);
    test_env.configure(&Job { dump: BASE, ship: &[("one", &one), ("other", &other)], ..Job::default() });
    test_env.longshore(&["sync"]).expect(0);
    fs::remove_dir_all(&one).unwrap();
    let folder = NewFolder::new();
    let data_dir = folder.data_dir().display().to_string();
    let arguments = ["restore", "main", "--base", "--from", "other", "--to-dir", &data_dir];
    test_env.run_with_identity(&arguments).expect(0);
    let restored = Cluster::start_on(folder, &Installation::system(), &[]);
    assert_eq!(restored.psql("app", "select sum(i) from t"), "5050");
}

#[test]
fn target_selects_the_backups_of_a_run() {
    let test_env = TestEnv::new();
    let both = "[{ type = 'pg_dumpall' }, { type = 'pg_dump' }, { type = 'pg_base', checkpoint = 'fast' }]";
    test_env.configure(&Job { dump: both, ..Job::default() });
    test_env.cluster.create_database("app");
    test_env.cluster.psql("app", "create table t as select generate_series(1, 100) i");
    test_env.longshore(&["run"]).expect(0);
    let target = Cluster::start(&Installation::system(), &[]);
    let run = ["restore", "nightly", "--run", "latest"];
    let connection = target.connection();
    let into_server = [&run[..], &["--create", "--to", &connection]].concat();
    test_env.run_with_identity(&into_server).expect(0).shows("is not restored: it needs --to-dir");
    assert_eq!(target.psql("app", "select sum(i) from t"), "5050");
    let folder = NewFolder::new();
    let data_dir = folder.data_dir().display().to_string();
    let into_dir = [&run[..], &["--to-dir", &data_dir]].concat();
    test_env.run_with_identity(&into_dir).expect(0).shows("is not restored: it needs --to");
    let restored = Cluster::start_on(folder, &Installation::system(), &[]);
    assert_eq!(restored.psql("app", "select sum(i) from t"), "5050");
}
