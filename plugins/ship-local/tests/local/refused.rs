//! Directories that no backup goes to.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use longshore_core::Kind;
use longshore_core::check::Outcome;
use longshore_core::lock::Holder;
use longshore_core::stream::from_bytes;
use serde_json::json;

use crate::{files, key, local};

/// That every operation refuses `path`, says which it is, what is wrong with it and what to do, and leaves nothing.
async fn assert_refused(path: &Path, wrong: &str) {
    let store = local(path, json!({}));
    let key = key("main/x.dump");
    let holder = Holder { work: "test".into(), since: "2026-06-07T09:15:00Z".parse().unwrap() };
    let errors = [
        store.ship(&key, from_bytes("x")).await.unwrap_err(),
        store.list().await.map(drop).unwrap_err(),
        store.fetch(&key, None).await.map(drop).unwrap_err(),
        // Neither may an unmounted disk be taken for one from which everything was removed.
        store.remove(&key).await.unwrap_err(),
        store.exclusive().unwrap().claim("nightly", &holder).await.unwrap_err(),
        store.room().unwrap().free_bytes().await.unwrap_err(),
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
async fn a_directory_that_does_not_exist_is_refused_and_never_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not-mounted");
    assert_refused(&path, "does not exist").await;
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_everybody_may_write_to_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    // The sticky bit keeps people from removing, but not from putting things there.
    for mode in [0o777, 0o702, 0o1777] {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        assert_refused(folder.path(), "everybody may write").await;
    }
    assert_eq!(files(folder.path()), [] as [&Path; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_directory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "x").unwrap();
    assert_refused(&path, "not a directory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_where_a_folder_should_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("main"), "x").unwrap();
    let store = local(folder.path(), json!({}));
    let error = store.ship(&key("main/x.dump"), from_bytes("x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(error.subject(), folder.path().join("main").to_str().unwrap());
}
