//! Listing and reading: only files of this destination.

use std::fs::{self, File};

use futures_util::StreamExt;
use longshore_core::Kind;
use longshore_testkit::folder_conformance;
use longshore_testkit::stream::random;

use crate::{key, temporary};

#[tokio::test(flavor = "multi_thread")]
async fn hidden_files_and_invalid_keys_are_not_listed() {
    let (folder, store) = temporary();
    folder_conformance::hidden_files_and_invalid_keys_are_not_listed(folder.path(), &*store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_not_followed() {
    let (folder, store) = temporary();
    folder_conformance::links_are_not_followed(folder.path(), &*store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accepts_keys_without_a_folder() {
    let (folder, store) = temporary();
    folder_conformance::accepts_keys_without_a_folder(folder.path(), &*store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_folders_fail_the_listing() {
    let (folder, store) = temporary();
    // More entries than fit into the channel, so the walk has not reached the second folder when it
    // is removed.
    fs::create_dir(folder.path().join("first")).unwrap();
    for n in 0..1000 {
        File::create(folder.path().join(format!("first/{n}"))).unwrap();
    }
    fs::create_dir(folder.path().join("second")).unwrap();
    let mut list = store.list(None).await.unwrap();
    list.next().await.unwrap().unwrap();
    fs::remove_dir(folder.path().join("second")).unwrap();
    let rest: Vec<_> = list.collect().await;
    assert_eq!(rest.len(), 1000);
    let error = rest.last().unwrap().as_ref().unwrap_err();
    assert_eq!(error.kind(), Kind::Failed, "a failed list does not prove absence");
    assert!(error.subject().ends_with("second/"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_lists_stop_walking() {
    let (folder, store) = temporary();
    for n in 0..2000 {
        File::create(folder.path().join(n.to_string())).unwrap();
    }
    for _ in 0..600 {
        // More walks than blocking threads: an unfinished one would prevent the next from starting.
        let first = store.list(None).await.unwrap().next().await;
        first.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_folders_have_no_size() {
    let (folder, store) = temporary();
    store.ship(&key("a/small"), random(1, 10)).await.unwrap();
    std::os::unix::fs::symlink("small", folder.path().join("a/link")).unwrap();
    std::os::unix::fs::symlink("a", folder.path().join("linked")).unwrap();
    for name in ["a/link", "a", "linked"] {
        assert_eq!(store.stat(&key(name)).await.unwrap_err().kind(), Kind::NotFound, "{name}");
    }
    assert!(store.list(Some(&key("linked"))).await.unwrap().next().await.is_none(), "a link leads elsewhere");
    fs::remove_dir_all(folder.path()).unwrap();
    let error = store.stat(&key("a/small")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused, "the disk may not be mounted");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_truncated_during_a_download_are_corrupt() {
    let (folder, store) = temporary();
    let key = key("main/appdb.dump");
    store.ship(&key, random(1, 3 << 20)).await.unwrap();
    let mut fetched = store.fetch(&key, None).await.unwrap();
    fetched.next().await.unwrap().unwrap();
    let file = File::options().write(true).open(folder.path().join("main/appdb.dump")).unwrap();
    file.set_len(1 << 20).unwrap();
    let rest: Vec<_> = fetched.collect().await;
    assert!(rest.last().unwrap().is_err());
}
