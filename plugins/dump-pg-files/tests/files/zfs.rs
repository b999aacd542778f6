//! Snapshots of ZFS, by zfs-fuse: the slower half of the tests.

mod slow {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use longshore_core::cleanup::CleanupScope;
    use longshore_core::manifest::Manifest;
    use longshore_core::stage::{SnapshotContent, SnapshotMember};
    use longshore_core::subject::Subject;
    use longshore_testkit::cluster::{Cluster, Installation};
    use serde_json::json;
    use tempfile::TempDir;

    use crate::support::{expect_idle, read, snapshot_stage, take};

    /// A pool in a file. Dropping it removes the pool, and ends the daemon if this test started it.
    struct Pool {
        name: String,
        daemon: Option<Child>,
        folder: TempDir,
    }

    impl Pool {
        fn new() -> Self {
            let folder = tempfile::Builder::new().permissions(Permissions::from_mode(0o711)).tempdir().unwrap();
            let image = folder.path().join("image");
            File::create(&image).unwrap().set_len(1 << 30).unwrap();
            let daemon = (!answers()).then(start_daemon);
            let name = format!("longshore{}", std::process::id());
            let mount_point = folder.path().join("pool");
            let mut create = Command::new("zpool");
            create.args(["create", "-f", "-m"]).arg(&mount_point).arg(&name).arg(&image);
            let created = create.output().unwrap();
            assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
            Self { name, daemon, folder }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("pool")
        }

        fn snapshots(&self) -> String {
            let listed = Command::new("zfs").args(["list", "-H", "-t", "all", "-o", "name", "-r", &self.name]).output();
            String::from_utf8(listed.unwrap().stdout).unwrap()
        }
    }

    impl Drop for Pool {
        fn drop(&mut self) {
            // The test may be failing already, and a panic here would hide its reason. A pool that
            // cannot be destroyed ends with its daemon.
            Command::new("zpool").args(["destroy", "-f", &self.name]).status().ok();
            if let Some(daemon) = &mut self.daemon {
                daemon.kill().ok();
                daemon.wait().ok();
            }
        }
    }

    fn answers() -> bool {
        Command::new("zpool")
            .arg("list")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|it| it.success())
    }

    /// Starts the daemon, which ends with this test.
    fn start_daemon() -> Child {
        let mut daemon = Command::new("setpriv");
        daemon.args(["--pdeathsig", "KILL", "zfs-fuse", "--no-daemon"]).stdout(Stdio::null()).stderr(Stdio::null());
        let daemon = daemon.spawn().expect("setpriv can be started");
        let deadline = Instant::now() + Duration::from_secs(20);
        while !answers() {
            assert!(Instant::now() < deadline, "zfs-fuse does not answer: run `cargo xtask test`, which installs it");
            std::thread::sleep(Duration::from_millis(50));
        }
        daemon
    }

    #[tokio::test]
    async fn zfs_snapshot_is_a_base_backup() {
        let pool = Pool::new();
        let mounts = tempfile::tempdir().unwrap();
        let cluster = Cluster::start_within(&pool.path(), &Installation::of_major(17), &["full_page_writes=on"]);
        cluster.psql("postgres", "create table t as select generate_series(1, 10000) n");
        let settings = json!({ "with": "zfs", "checkpoint": "fast", "mount_dir": mounts.path() });
        let stage = snapshot_stage(&cluster, settings);
        for _ in 0..2 {
            let taken = take(&*stage).await.unwrap();
            taken.pg_verifybackup(&cluster);
            assert_eq!(taken.notes.warnings, [""; 0]);
            assert_eq!(pool.snapshots(), format!("{}\n", pool.name));
            assert_eq!(fs::read_dir(mounts.path()).unwrap().count(), 0);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        expect_idle(&cluster).await;
        drop(cluster);
    }

    #[tokio::test]
    async fn zfs_snapshot_stays_on_the_host() {
        let pool = Pool::new();
        let mounts = tempfile::tempdir().unwrap();
        let cluster =
            Cluster::start_within(&pool.path(), &Installation::of_major(17), &["full_page_writes=on", "fsync=on"]);
        cluster.psql("postgres", "create table t as select generate_series(1, 10000) n");
        for consistency in ["backup", "crash"] {
            let settings = json!({
                "with": "zfs",
                "consistency": consistency,
                "checkpoint": "fast",
                "mount_dir": mounts.path(),
                "keep_on_host": 1,
            });
            let stage = snapshot_stage(&cluster, settings);
            let mut dumped = stage.dump(&Subject::Base).await.unwrap();
            let snapshot = dumped.snapshot.take().unwrap();
            let taken = read(dumped).await.unwrap();
            taken.pg_verifybackup(&cluster);
            assert_eq!(taken.facts().crash_consistent, consistency == "crash");
            assert_eq!(snapshot.keep(&manifest()).await.unwrap(), [""; 0]);
            // The pool and the snapshot, and no clone.
            assert_eq!(pool.snapshots().lines().count(), 2, "{}", pool.snapshots());
            let snapshots = stage.snapshots().unwrap();
            let kept = snapshots.kept().await.unwrap();
            assert_eq!(kept.len(), 1);
            let scope = CleanupScope::default();
            scope
                .run(async {
                    let files = snapshots.open(&kept[0]).await.unwrap();
                    let is_there = |member: &SnapshotMember| match &member.content {
                        SnapshotContent::Folder => true,
                        SnapshotContent::File(path) => path.is_file(),
                    };
                    assert!(files.members.iter().all(is_there));
                    assert!(files.members.iter().any(|member| member.path.ends_with("global/pg_control")));
                    assert_eq!(pool.snapshots().lines().count(), 3, "{}", pool.snapshots());
                })
                .await;
            scope.wait().await;
            assert_eq!(scope.failures().len(), 0);
            assert_eq!(pool.snapshots().lines().count(), 2, "{}", pool.snapshots());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        drop(cluster);
    }

    /// Returns the manifest of any backup.
    fn manifest() -> Manifest {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/model/testdata/manifest-2.json");
        serde_json::from_str(&fs::read_to_string(sample).unwrap()).unwrap()
    }
}
