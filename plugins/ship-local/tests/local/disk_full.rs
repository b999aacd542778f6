//! Full disks: no partial file remains, and the error has a helpful hint. These tests mount small
//! disks, so they require root and fail without it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use longshore_core::Kind;
use longshore_core::check::Outcome;
use longshore_core::stream::from_bytes;
use longshore_testkit::stream::{digest, random, stalls_after};
use serde_json::json;
use tempfile::TempDir;

use crate::{files, key, local};

/// A disk of 8 MiB in memory, mounted until it is dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size=8m,mode=0700{options}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "longshore-test"]).arg(folder.path());
        let output = mount.output().expect("mount (util-linux) can be started");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "this test mounts a disk, which needs root: {stderr}");
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn free_bytes(&self) -> u64 {
        let stats = rustix::fs::statvfs(self.path()).unwrap();
        stats.f_bavail * stats.f_frsize
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "the disk could not be unmounted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_fails_and_leaves_nothing() {
    let disk = SmallDisk::mount("");
    let store = local(disk.path(), json!({ "min_free": "0" }));
    let (first, second) = (key("main/first.dump"), key("main/second.dump"));
    store.ship(&first, random(1, 1 << 20)).await.unwrap();
    let free_before = disk.free_bytes();

    let error = store.ship(&second, random(2, 16 << 20)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
    assert!(error.to_string().contains("no space left on"), "{error}");
    assert!(error.subject().starts_with(disk.path().to_str().unwrap()), "{error}");
    assert!(error.remedy().is_some());
    assert_eq!(files(disk.path()), [disk.path().join(first.as_str())]);
    assert_eq!(disk.free_bytes(), free_before, "invisible data was left");

    store.ship(&second, random(2, 1 << 20)).await.unwrap();
    let fetched = digest(store.fetch(&second, None).await.unwrap()).await.unwrap();
    assert_eq!(fetched, digest(random(2, 1 << 20)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_exhausted_inodes_as_no_space() {
    let disk = SmallDisk::mount(",nr_inodes=3");
    let store = local(disk.path(), json!({ "min_free": "0" }));
    store.ship(&key("main/first.dump"), from_bytes("x")).await.unwrap();
    let error = store.ship(&key("main/second.dump"), from_bytes("x")).await.unwrap_err();
    assert!(error.to_string().contains("no space left on"), "{error}");
    assert!(error.remedy().unwrap().contains("df -i"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_stops_at_min_free_and_leaves_nothing() {
    let disk = SmallDisk::mount("");
    let store = local(disk.path(), json!({ "min_free": "4MiB" }));
    let error = store.ship(&key("main/large.dump"), random(1, 5 << 20)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
    assert!(error.to_string().contains("no space left on"), "{error}");
    assert!(error.to_string().contains("min_free"), "{error}");
    assert!(error.remedy().is_some());
    assert_eq!(files(disk.path()), [] as [&Path; 0]);

    store.ship(&key("main/small.dump"), random(1, 3 << 20)).await.unwrap();
    assert!(disk.free_bytes() >= 4 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_uploads_below_min_free_before_reading() {
    let disk = SmallDisk::mount("");
    let store = local(disk.path(), json!({ "min_free": "64MiB" }));
    let key = key("main/appdb.dump");
    let ship = store.ship(&key, stalls_after(0));
    let result = tokio::time::timeout(Duration::from_secs(10), ship).await;
    let error = result.expect("fails without waiting for the body").unwrap_err();
    assert!(error.to_string().contains("min_free"), "{error}");
    assert_eq!(store.capabilities().free_space.unwrap().free_bytes().await.unwrap(), 0);
    let findings = store.check().await;
    let failed = findings.iter().find(|finding| finding.outcome == Outcome::Failed).unwrap();
    assert!(failed.message.contains("no space left on"), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_an_unmounted_disk() {
    let disk = SmallDisk::mount("");
    let path = disk.path().join("backups");
    std::fs::create_dir(&path).unwrap();
    let store = local(&path, json!({}));
    store.ship(&key("main/first.dump"), from_bytes("x")).await.unwrap();
    let SmallDisk(folder) = &disk;
    assert!(Command::new("umount").arg(folder.path()).status().unwrap().success());
    let error = store.ship(&key("main/second.dump"), from_bytes("x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(files(folder.path()), [] as [&Path; 0], "a backup onto the system disk");
    // Dropping the disk unmounts it, so it must be mounted.
    assert!(
        Command::new("mount").args(["-t", "tmpfs", "longshore-test"]).arg(folder.path()).status().unwrap().success()
    );
}
