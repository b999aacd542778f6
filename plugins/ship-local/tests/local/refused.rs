//! Directories that a destination refuses.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use longshore_core::Kind;
use longshore_core::check::Outcome;
use longshore_core::lock::Holder;
use longshore_core::stream::from_bytes;
use serde_json::json;

use crate::{files, key, local};

/// Asserts that every operation refuses `path`, with its name, the reason and a hint, and leaves
/// nothing.
async fn assert_refused(path: &Path, wrong: &str) {
    let store = local(path, json!({}));
    let key = key("main/x.dump");
    let holder = Holder { work: "test".into(), since: "2026-06-07T09:15:00Z".parse().unwrap() };
    let errors = [
        store.ship(&key, from_bytes("x")).await.unwrap_err(),
        store.list(None).await.map(drop).unwrap_err(),
        store.fetch(&key, None).await.map(drop).unwrap_err(),
        // An unmounted disk must not count as a disk from which everything was removed.
        store.remove(&key).await.unwrap_err(),
        store.capabilities().exclusive_lock.unwrap().claim("nightly", &holder).await.unwrap_err(),
        store.capabilities().free_space.unwrap().free_bytes().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        assert_eq!(error.subject(), path.to_str().unwrap());
        assert!(error.to_string().contains(wrong), "{error}");
        assert!(error.remedy().is_some(), "{error}");
    }
    let findings = store.check().await;
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].outcome, Outcome::Failed);
    assert!(findings[0].message.contains(wrong), "{findings:?}");
    assert!(findings[0].remedy.is_some(), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn never_creates_a_missing_directory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not-mounted");
    assert_refused(&path, "does not exist").await;
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_a_world_writable_directory() {
    let folder = tempfile::tempdir().unwrap();
    // The sticky bit prevents users from removing files of others, but not from creating files.
    for mode in [0o777, 0o702, 0o1777] {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        assert_refused(folder.path(), "world-writable").await;
    }
    assert_eq!(files(folder.path()), [] as [&Path; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_world_writable_folders() {
    let folder = tempfile::tempdir().unwrap();
    let store = local(folder.path(), json!({}));
    store.ship(&key("main/appdb/first.dump"), from_bytes("x")).await.unwrap();
    let exposed = folder.path().join("main/appdb");
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o777)).unwrap();
    let findings = store.check().await;
    let failed: Vec<_> = findings.iter().filter(|finding| finding.outcome == Outcome::Failed).collect();
    assert!(failed.len() == 1 && failed[0].message.ends_with(": main/appdb"), "{findings:?}");
    let error = store.ship(&key("main/appdb/second.dump"), from_bytes("x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused, "{}", error.chain());
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(store.check().await.iter().all(|finding| finding.outcome != Outcome::Failed));
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_refuse_links_and_pipes() {
    let folder = tempfile::tempdir().unwrap();
    let (target, lock) = (folder.path().join("target"), folder.path().join(".longshore-nightly.lock"));
    let store = local(folder.path(), json!({}));
    let holder = Holder { work: "run of job nightly".to_owned(), since: "2026-06-07T09:15:00Z".parse().unwrap() };
    let refused = async || {
        let error = store.capabilities().exclusive_lock.unwrap().claim("nightly", &holder).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{}", error.chain());
        fs::remove_file(&lock).unwrap();
    };
    symlink(&target, &lock).unwrap();
    refused().await;
    assert!(!target.exists());
    fs::write(&target, "kept").unwrap();
    symlink(&target, &lock).unwrap();
    refused().await;
    assert_eq!(fs::read(&target).unwrap(), b"kept");
    assert!(Command::new("mkfifo").arg(&lock).status().unwrap().success());
    refused().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_a_path_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "x").unwrap();
    assert_refused(&path, "not a directory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_a_file_in_place_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("main"), "x").unwrap();
    let store = local(folder.path(), json!({}));
    let error = store.ship(&key("main/x.dump"), from_bytes("x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(error.subject(), folder.path().join("main").to_str().unwrap());
}
