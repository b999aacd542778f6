//! Snapshots can stay on the host after their backups, and be restored in place of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use longshore_testkit::cluster::{Cluster, Installation, NewFolder};
use longshore_testkit::loop_mount::LoopMount;
use serde_json::Value;

use crate::snapshots_become_base_backups::{Programs, snapshots};
use crate::support::{Job, TestEnv};

/// Returns the names of the kept snapshots, oldest first.
fn kept(test_env: &TestEnv) -> Vec<String> {
    let listed = test_env.longshore(&["list", "--snapshots", "--json"]).expect(0);
    let listed: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
    listed
        .iter()
        .map(|found| {
            assert_eq!((&found["cluster"], &found["job"]), (&"main".into(), &"nightly".into()));
            found["name"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// Adds a row to the ledger, and backs up.
fn backed_up_row(test_env: &TestEnv) {
    test_env.cluster.psql("postgres", "insert into ledger default values");
    test_env.longshore(&["run"]).expect(0).shows("base");
    // The names of snapshots are seconds.
    std::thread::sleep(std::time::Duration::from_secs(1));
}

/// Restores a snapshot into a new folder on the file system, and returns the running copy.
fn restored(test_env: &TestEnv, mount: &Path, name: &str, installation: &Installation) -> Cluster {
    let folder = NewFolder::new_in(mount);
    let data = folder.data_dir().display().to_string();
    let restore = ["restore", "main", "--base", "--from-snapshot", name, "--to-dir", &data];
    test_env.longshore(&restore).expect(0).shows("restored snapshot longshore-main-");
    Cluster::start_on(folder, installation, &[])
}

fn rows(cluster: &Cluster) -> String {
    cluster.psql("postgres", "select count(*) from ledger")
}

/// Returns the path of the ledger's file.
fn ledger_file(cluster: &Cluster) -> PathBuf {
    cluster.data_dir().join(cluster.psql("postgres", "select pg_relation_filepath('ledger')"))
}

fn newest_snapshots_stay(mount: &LoopMount, with: &str) {
    let installation = Installation::newer();
    let cluster = Cluster::start_within(&mount.path(), &installation, &["full_page_writes=on"]);
    let test_env = TestEnv::with_cluster(cluster);
    let folder = mount.path().join("snapshots");
    fs::create_dir(&folder).unwrap();
    let configure = |keep: usize| {
        let dump = format!(
            "[{{ type = 'snapshot', with = '{with}', checkpoint = 'fast', snapshot_dir = '{}', keep_on_host = {keep} }}]",
            folder.display()
        );
        test_env.configure(&Job { dump: &dump, ..Job::default() });
    };
    configure(2);
    test_env
        .cluster
        .psql("postgres", "create table ledger (i int generated always as identity, t text default repeat('x', 900))");
    test_env.cluster.psql("postgres", "insert into ledger (t) select repeat('y', 900) from generate_series(1, 500)");
    test_env.longshore(&["list", "--snapshots"]).expect(0).shows("no snapshots are kept");
    for _ in 0..3 {
        backed_up_row(&test_env);
    }
    let names = kept(&test_env);
    assert_eq!((names.len(), snapshots(&folder).len()), (2, 2));
    test_env.longshore(&["check"]).expect(0);
    test_env.longshore(&["list"]).expect(0).shows("2 snapshots are kept on this host");
    // Backups at a destination count, and nothing else.
    let listed = test_env.longshore(&["list", "--all", "--json"]).expect(0);
    assert_eq!(serde_json::from_str::<Vec<Value>>(&listed.stdout).unwrap().len(), 3);

    let newest = restored(&test_env, &mount.path(), "latest", &installation);
    assert_eq!(rows(&newest), "503");
    let blocks = Command::new("filefrag").arg("-v").arg(ledger_file(&newest)).output().unwrap();
    let blocks = String::from_utf8(blocks.stdout).unwrap();
    // The restored server may have written some of them since.
    assert!(blocks.contains("shared"), "{blocks}");
    drop(newest);
    assert_eq!(rows(&restored(&test_env, &mount.path(), &names[0], &installation)), "502");
    let elsewhere = tempfile::tempdir().unwrap();
    fs::set_permissions(elsewhere.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(rows(&restored(&test_env, elsewhere.path(), "latest", &installation)), "503", "on another file system");

    // A run without a backup keeps no snapshot.
    let main = test_env.local().join("main");
    fs::rename(&main, test_env.local().join("aside")).unwrap();
    fs::write(&main, "a file").unwrap();
    test_env.longshore(&["run"]).expect(2);
    fs::remove_file(&main).unwrap();
    assert_eq!((kept(&test_env), snapshots(&folder).len()), (names, 2));

    configure(0);
    backed_up_row(&test_env);
    assert_eq!((kept(&test_env), snapshots(&folder)), (Vec::new(), Vec::new()));
}

#[test]
fn btrfs_snapshots_stay_and_are_restored() {
    newest_snapshots_stay(&LoopMount::btrfs(), "btrfs");
}

#[test]
fn reflinks_stay_and_are_restored() {
    newest_snapshots_stay(&LoopMount::xfs(), "xfs-reflink");
}

#[test]
fn snapshots_of_programs_are_mounted_while_used() {
    let test_env = TestEnv::new();
    let programs = Programs::new(&test_env);
    let dump = programs.dump("1GiB").replace("max_rate", "keep_on_host = 1, max_rate");
    test_env.configure(&Job { dump: &dump, ..Job::default() });
    test_env.cluster.psql("postgres", "create table ledger (i int generated always as identity)");
    for _ in 0..2 {
        backed_up_row(&test_env);
    }
    let expect_unmounted = || {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(test_env.path("").to_str().unwrap()), "{mounts}");
    };
    expect_unmounted();
    assert_eq!((kept(&test_env).len(), snapshots(&programs.copies()).len()), (1, 1));
    let data = programs.mounts().with_file_name("restored");
    let copy = restored(&test_env, test_env.path("").as_path(), "latest", &Installation::system());
    assert_eq!(rows(&copy), "2");
    drop(copy);
    expect_unmounted();
    let data = data.display().to_string();
    let unknown = ["restore", "main", "--from-snapshot", "longshore-main-20200101T000000Z", "--to-dir", &data];
    test_env.longshore(&unknown).expect(2).shows("no such snapshot").shows("longshore list --snapshots");
    test_env.longshore(&["restore", "other", "--from-snapshot", "latest", "--to-dir", &data]).expect(1);
    // A folder with files is refused, and the snapshot is not mounted any more.
    let occupied = test_env.cluster.data_dir().display().to_string();
    let refused = ["restore", "main", "--from-snapshot", "latest", "--to-dir", &occupied];
    test_env.longshore(&refused).expect(6).shows("postmaster.pid");
    expect_unmounted();
}
