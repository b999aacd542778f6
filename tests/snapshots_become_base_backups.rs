//! A snapshot becomes a base backup like any other, and nothing of it is left on the host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use longshore_testkit::cluster::{Cluster, Installation, NewFolder};
use longshore_testkit::loop_mount::LoopMount;
use serde_json::Value;

use crate::base_backups_are_verified::stored;
use crate::base_backups_come_from_files::{expect_balanced, while_money_moves};
use crate::base_backups_drill::drill;
use crate::base_backups_restore_clusters::restore_from;
use crate::recovery_reaches_its_target::{restore, start};
use crate::support::{ArchiveEnv, Job, TestEnv, wait_for};

/// Returns the names of snapshots in a folder.
pub(crate) fn snapshots(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("longshore-main-")).collect()
}

/// Backs up, lists, verifies, drills and restores a cluster that moves money.
fn busy_cluster_is_restored(mount: &LoopMount, with: &str) {
    let installation = Installation::newer();
    let cluster = Cluster::start_within(&mount.path(), &installation, &["full_page_writes=on"]);
    let test_env = TestEnv::with_cluster(cluster);
    let dump = format!("[{{ type = 'snapshot', with = '{with}', checkpoint = 'fast' }}]");
    test_env.configure(&Job { dump: &dump, ..Job::default() });
    test_env.longshore(&["check"]).expect(0).shows("snapshots of");
    while_money_moves(&test_env.cluster, || {
        test_env.longshore(&["run"]).expect(0).shows("base");
    });
    assert_eq!(snapshots(&mount.path()), [""; 0]);
    test_env.longshore(&["list"]).expect(0).stdout_shows("main/base");
    test_env.run_with_identity(&["verify", "--all"]).expect(0);
    let report = drill(&test_env, &installation, &["--json"]).expect(0);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(report["drills"][0]["verdict"], "good", "{report:#}");
    let folder = NewFolder::new();
    restore_from(&test_env, "local", &folder).expect(0);
    expect_balanced(&Cluster::start_on(folder, &installation, &[]));
}

#[test]
fn btrfs_snapshot_of_a_busy_cluster_is_restored() {
    busy_cluster_is_restored(&LoopMount::btrfs(), "btrfs");
}

#[test]
fn reflinks_of_a_busy_cluster_are_restored() {
    busy_cluster_is_restored(&LoopMount::xfs(), "xfs-reflink");
}

#[test]
fn shipped_snapshot_is_recovered_to_a_moment() {
    let installation = Installation::newer();
    let mount = LoopMount::btrfs();
    let settings = ["archive_mode=on", "wal_level=replica", "full_page_writes=on"];
    let archive = ArchiveEnv::of(Cluster::start_within(&mount.path(), &installation, &settings));
    let more = "[cluster.main.wal]\nship = ['local']\nencrypt = { type = 'none' }\n";
    let dump = "[{ type = 'snapshot', with = 'btrfs', checkpoint = 'fast', wal = 'archive' }]";
    archive.configure_job(&Job { dump, more, ..Job::default() });
    archive.set_command();
    archive.env.cluster.psql("postgres", "create table ledger (i int)");
    // The first segment creates the folders for the server's user, before root makes a backup.
    archive.archive();
    archive.env.longshore(&["run"]).expect(0);
    archive.give_files();
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
fn crash_consistent_snapshot_is_restored_but_not_recovered() {
    let installation = Installation::newer();
    let mount = LoopMount::btrfs();
    let settings = ["archive_mode=on", "wal_level=replica", "full_page_writes=on", "fsync=on", "synchronous_commit=on"];
    let archive = ArchiveEnv::of(Cluster::start_within(&mount.path(), &installation, &settings));
    let more = "[cluster.main.wal]\nship = ['local']\nencrypt = { type = 'none' }\n";
    let dump = "[{ type = 'snapshot', with = 'btrfs', consistency = 'crash' }]";
    archive.configure_job(&Job { dump, more, ..Job::default() });
    archive.set_command();
    archive.archive();
    archive.env.longshore(&["check"]).expect(0);
    while_money_moves(&archive.env.cluster, || {
        archive.env.longshore(&["run"]).expect(0);
    });
    archive.give_files();
    archive.env.longshore(&["list", "--all"]).expect(0).stdout_shows("crash-consistent");
    archive.env.run_with_identity(&["verify", "--all"]).expect(0);
    let report = drill(&archive.env, &installation, &["--json"]).expect(0);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(report["drills"][0]["verdict"], "good", "{report:#}");
    let folder = NewFolder::new();
    restore_from(&archive.env, "local", &folder).expect(0);
    expect_balanced(&Cluster::start_on(folder, &installation, &[]));
    let (folder, refused) = restore(&archive, &["--at", "latest"]);
    refused.expect(6).shows("crash-consistent");
    assert!(!folder.data_dir().exists());
}

/// Programs that copy the data directory, of which one waits.
pub(crate) struct Programs {
    folder: PathBuf,
}

impl Programs {
    pub(crate) fn new(test_env: &TestEnv) -> Self {
        let programs = Self { folder: test_env.make_folder("programs") };
        fs::create_dir(programs.folder.join("copies")).unwrap();
        let data = fs::canonicalize(test_env.cluster.data_dir()).unwrap();
        let copies = programs.folder.join("copies");
        let (data, copies) = (data.display(), copies.display());
        programs.write("create", &format!("cp -a '{data}' '{copies}/'$1"));
        let target = "\"$3/${DATA#$2}\"";
        programs.write("mount", &format!("mkdir -p {target}\n/bin/mount --bind '{copies}/'$1 {target}"));
        programs.write(
            "unmount",
            &format!("if mountpoint -q {target}; then /bin/umount {target}; fi\nfind \"$3\" -mindepth 1 -delete"),
        );
        programs.write("remove", &format!("rm -rf '{copies}/'$1"));
        fs::write(programs.folder.join("data"), data.to_string()).unwrap();
        programs
    }

    /// Writes a program that waits if a file demands it, but not longer than its caller lives.
    fn write(&self, name: &str, script: &str) {
        let folder = self.folder.display();
        let wait = format!(
            "if test -e '{folder}/wait-{name}'; then touch '{folder}/reached'; while test -d /proc/$PPID; do sleep 0.02; done; exit 1; fi"
        );
        let path = self.folder.join(name);
        fs::write(&path, format!("#!/bin/sh\nset -e\nDATA=$(cat '{folder}/data')\n{wait}\n{script}\n")).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }

    pub(crate) fn dump(&self, max_rate: &str) -> String {
        let command = |name: &str| format!("{name} = ['{}']", self.folder.join(name).display());
        let commands = ["create", "mount", "unmount", "remove"].map(command).join(", ");
        let mounts = self.mounts();
        format!(
            "[{{ type = 'snapshot', with = {{ {commands} }}, checkpoint = 'fast', mount_dir = '{}', max_rate = '{max_rate}' }}]",
            mounts.display()
        )
    }

    pub(crate) fn mounts(&self) -> PathBuf {
        self.folder.join("mounts")
    }

    pub(crate) fn copies(&self) -> PathBuf {
        self.folder.join("copies")
    }
}

/// Kills a run, and waits for its end.
fn kill(run: &mut Child) {
    let signalled = Command::new("kill").args(["-s", "KILL", &run.id().to_string()]).status();
    assert!(signalled.unwrap().success());
    assert!(!run.wait().unwrap().success());
}

#[test]
fn interrupted_run_removes_its_snapshot() {
    let mount = LoopMount::btrfs();
    let cluster = Cluster::start_within(&mount.path(), &Installation::newer(), &[]);
    let test_env = TestEnv::with_cluster(cluster);
    let dump = "[{ type = 'snapshot', with = 'btrfs', checkpoint = 'fast', max_rate = '2MiB' }]";
    test_env.configure(&Job { dump, ..Job::default() });
    for pause in [0, 100, 400, 1000] {
        let mut run = test_env.start(&["run"]);
        wait_for("the snapshot", || (!snapshots(&mount.path()).is_empty()).then_some(()));
        std::thread::sleep(std::time::Duration::from_millis(pause));
        let signalled = Command::new("kill").args(["-s", "TERM", &run.id().to_string()]).status();
        assert!(signalled.unwrap().success());
        assert_eq!(run.wait().unwrap().code(), Some(143));
        assert_eq!(snapshots(&mount.path()), [""; 0], "after {pause} ms");
    }
    // So does a run whose destination fails at once.
    fs::remove_dir_all(test_env.local().join("main")).unwrap();
    fs::create_dir(test_env.local().join("main")).unwrap();
    fs::write(test_env.local().join("main/base"), "a file").unwrap();
    for attempt in 0..3 {
        test_env.longshore(&["run"]).expect(2);
        assert_eq!(snapshots(&mount.path()), [""; 0], "attempt {attempt}");
    }
}

#[test]
fn killed_run_leaves_nothing_after_the_next_one() {
    let test_env = TestEnv::new();
    let programs = Programs::new(&test_env);
    let copies = programs.folder.join("copies");
    let reached = programs.folder.join("reached");
    for step in ["create", "mount", "reading", "unmount", "remove"] {
        let rate = if step == "reading" { "1MiB" } else { "1GiB" };
        test_env.configure(&Job { dump: &programs.dump(rate), ..Job::default() });
        let wait = programs.folder.join(format!("wait-{step}"));
        fs::write(&wait, "").unwrap();
        let mut run = test_env.start(&["run"]);
        if step == "reading" {
            let slot = "select count(*) from pg_replication_slots where temporary";
            wait_for("the copy", || (!snapshots(&copies).is_empty()).then_some(()));
            wait_for("the end of the session", || (test_env.cluster.psql("postgres", slot) == "0").then_some(()));
        } else {
            wait_for(step, || reached.exists().then_some(()));
        }
        kill(&mut run);
        fs::remove_file(wait).unwrap();
        if step != "reading" {
            fs::remove_file(&reached).unwrap();
        }
        assert_eq!(stored(&test_env), Vec::<String>::new(), "{step}");
        assert_eq!(snapshots(&programs.mounts()).len(), 1, "{step}");
        test_env.longshore(&["check"]).shows("exists");
        test_env.configure(&Job { dump: &programs.dump("1GiB"), ..Job::default() });
        test_env.longshore(&["run"]).expect(0).shows("which an interrupted run had left");
        assert_eq!((snapshots(&programs.mounts()).len(), snapshots(&copies).len()), (0, 0), "{step}");
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(test_env.path("").to_str().unwrap()), "{step}: {mounts}");
        test_env.wait_for_disconnect();
        fs::remove_dir_all(test_env.local().join("main")).unwrap();
    }
}

/// Changes the permissions of the machine for a moment.
mod slow {
    use super::*;

    /// A file with permissions for sudo, which is removed when it is dropped.
    struct Sudoers(PathBuf);

    impl Sudoers {
        fn new(text: &str) -> Self {
            let path = PathBuf::from(format!("/etc/sudoers.d/longshore-test-{}", std::process::id()));
            let draft = tempfile::NamedTempFile::new().unwrap();
            fs::write(draft.path(), text).unwrap();
            let checked = Command::new("visudo").arg("-cf").arg(draft.path()).output();
            let checked = checked.expect("visudo can be started: run `cargo xtask test`, which installs sudo");
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
            let sudoers = Self(path);
            fs::write(&sudoers.0, text).unwrap();
            sudoers
        }
    }

    impl Drop for Sudoers {
        fn drop(&mut self) {
            // A file that stays permits only snapshots in a folder that the test has removed.
            fs::remove_file(&self.0).ok();
        }
    }

    /// The example of the manual, with the folders of the test.
    #[test]
    fn user_of_the_server_makes_snapshots_with_sudo() {
        let mount = LoopMount::btrfs();
        let installation = Installation::newer();
        let archive = ArchiveEnv::of(Cluster::start_within(&mount.path(), &installation, &["full_page_writes=on"]));
        let folder = mount.path().join("snapshots");
        fs::create_dir(&folder).unwrap();
        let owner = fs::metadata(archive.env.cluster.data_dir()).unwrap();
        use std::os::unix::fs::{MetadataExt, chown};
        chown(&folder, Some(owner.uid()), Some(owner.gid())).unwrap();
        let dump = format!(
            "[{{ type = 'snapshot', with = 'btrfs', checkpoint = 'fast', snapshot_dir = '{}' }}]",
            folder.display()
        );
        archive.configure_job(&Job { dump: &dump, ..Job::default() });
        archive.longshore(&["run"]).expect(2).shows("longshore-snapshots(7) has an example");
        assert_eq!(snapshots(&folder), [""; 0]);

        let manual = include_str!("../crates/cli/doc/longshore-snapshots.7.md");
        let example = manual.split("For btrfs, with a `snapshot_dir`").nth(1).unwrap();
        let example = example.split("```").nth(1).unwrap().trim_start_matches("text\n");
        let example = example.replace("/srv/pg/snapshots", folder.to_str().unwrap());
        let sudoers = Sudoers::new(&example.replace("/srv/pg ", &format!("{} ", mount.path().display())));
        archive.longshore(&["check"]).expect(0);
        archive.longshore(&["run"]).expect(0).shows("base");
        assert_eq!(snapshots(&folder), [""; 0]);
        drop(sudoers);
    }
}
