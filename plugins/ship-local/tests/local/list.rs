//! Listing and reading: only files of this destination.

use std::fs::{self, File};

use futures_util::StreamExt;
use longshore_core::stream::{CHUNK_BYTES, collect};
use longshore_core::{Kind, Stage};
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
    let mut list = store.list().await.unwrap();
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
        let first = store.list().await.unwrap().next().await;
        first.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_fetch_equals_single_fetches() {
    let (folder, store) = temporary();
    for (name, bytes) in
        [("a/small", 10), ("a/empty", 0), ("b/large", CHUNK_BYTES + 1), ("b/too-large", CHUNK_BYTES + 2)]
    {
        store.ship(&key(name), random(1, bytes as u64)).await.unwrap();
    }
    std::os::unix::fs::symlink("small", folder.path().join("a/link")).unwrap();
    let names = ["b/large", "a/none", "a/small", "b/too-large", "a", "a/link", "a/empty"];
    let together = store.gather().unwrap().fetch_all(names.map(key).into(), CHUNK_BYTES + 1).await.unwrap();
    assert_eq!(together.len(), names.len());
    for (name, together) in names.into_iter().zip(together) {
        let alone = async { collect(store.fetch(&key(name), None).await?, CHUNK_BYTES + 1, Stage::Ship, name).await };
        let alone = alone.await.map_err(|error| error.kind());
        assert_eq!(together.map_err(|error| error.kind()), alone, "{name}");
        assert_eq!(alone.is_ok(), ["a/small", "a/empty", "b/large"].contains(&name), "{name}");
    }
    fs::remove_dir_all(folder.path()).unwrap();
    let error = store.gather().unwrap().fetch_all(vec![key("a/small")], 1).await.unwrap_err();
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
