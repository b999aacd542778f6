//! The requirements of every [`Store`](longshore_core::stage::Store) beyond uploads: complete
//! listings and correct reads.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use longshore_core::Kind;
use longshore_core::meter::Digest;
use longshore_core::stage::Entry;
use longshore_core::stream::{CHUNK_BYTES, from_bytes};

use super::{Fixture, key};
use crate::stream::{digest, random_bytes, stalls_after};

/// The number of concurrent uploads in tests with many keys.
const CONCURRENT_UPLOADS: usize = 32;
/// The number of uploaded keys if the test can create the other files directly. The test is about
/// listings.
const UPLOADS_IN_FOLDER: usize = 40;

/// Tests more keys than one page of a listing has, and names that a walk by folder lists in the
/// wrong order: `a-b/x` is before `a/x`.
pub async fn lists_all_keys_in_order(fixture: &Fixture) {
    let folders = ["a", "a-b", "a.b", "a0", "a%2Fb", "A", "b/a", "b-a/a"];
    let odd = ["many/a.dump", "many/a-", "many/a0b", "many/b/a0", "many/b/a.json", "many/b-"];
    let keys = (0..fixture.scale.many_keys)
        .map(|n| format!("many/{}/{n}.json", folders[n % folders.len()]))
        .chain(odd.map(String::from));
    let mut expected: Vec<_> = keys.map(|key| (key, 1)).collect();
    let uploaded = if fixture.folder.is_some() { UPLOADS_IN_FOLDER } else { expected.len() };
    stream::iter(&expected[..uploaded])
        .for_each_concurrent(CONCURRENT_UPLOADS, async |(text, _)| {
            fixture.ship.ship(&key(text), from_bytes("x")).await.unwrap();
        })
        .await;
    if let Some(folder) = &fixture.folder {
        expected[uploaded..].iter().for_each(|(text, _)| fixture.put(folder, text));
    }
    expected.sort();
    let list = fixture.list("many").await;
    assert_eq!(list.len(), expected.len());
    assert_eq!(list, expected);
}

/// Tests a folder, folders whose names begin with its name, a folder in a folder, a file and a
/// missing folder.
pub async fn lists_one_folder(fixture: &Fixture) {
    let keys = ["under/app/x", "under/app/y/z", "under/app-prod/x", "under/app.x", "under/ap/x"];
    for text in keys {
        fixture.ship.ship(&key(text), from_bytes("x")).await.unwrap();
    }
    fixture.list_until("under", keys.len()).await;
    for (folder, expected) in [
        ("under/app", &["under/app/x", "under/app/y/z"][..]),
        ("under/app/y", &["under/app/y/z"]),
        ("under/app.x", &[]),
        ("under/none", &[]),
        ("under/none/app", &[]),
    ] {
        let entries = fixture.store.list(Some(&key(folder))).await.unwrap();
        let entries: Vec<_> = entries.try_collect().await.unwrap();
        let found: Vec<_> = entries.iter().map(|entry: &Entry| entry.key.as_str()).collect();
        assert_eq!(found, expected, "{folder}");
        let now = Utc::now();
        for entry in &entries {
            let is_recent = entry.modified.is_none_or(|time| (now - time).abs() < TimeDelta::minutes(10));
            assert!(is_recent, "{entry:?} was stored just before {now}");
        }
    }
}

/// Tests archives of two clusters, and keys that only look like those of archives.
pub async fn lists_backups_without_archived_wal(fixture: &Fixture) {
    let kept = ["beside/shop/x", "beside/wal0/x", "besides/wal/wal-2026", "besides/wal/x/1"];
    let archived = ["beside/wal/70/0000000100000000/x", "besides/wal/7/history/x", "besides/wal/71/zz/x"];
    for text in kept.iter().chain(&archived) {
        fixture.ship.ship(&key(text), from_bytes("x")).await.unwrap();
    }
    fixture.list_until("beside", 3).await;
    let entries: Vec<_> = fixture.store.list_backups().await.unwrap().try_collect().await.unwrap();
    let found = entries.iter().map(|entry: &Entry| entry.key.as_str()).filter(|key| key.starts_with("beside"));
    assert_eq!(found.collect::<Vec<_>>(), kept);
}

/// Tests empty and larger objects, and what is no object.
pub async fn reports_sizes(fixture: &Fixture) {
    for (text, length) in [("size/empty.dump", 0), ("size/small.dump", 1), ("size/large.dump", CHUNK_BYTES + 1)] {
        let key = key(text);
        fixture.ship.ship(&key, from_bytes(random_bytes(4, length))).await.unwrap();
        let entry = fixture.store.stat(&key).await.unwrap();
        assert_eq!((entry.key, entry.bytes), (key, length as u64));
    }
    for text in ["size/none.dump", "size", "size/small", "size/small.dump/x", "none/x"] {
        let error = fixture.store.stat(&key(text)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{text}: {}", error.chain());
    }
}

/// An unfinished upload is invisible.
pub async fn unfinished_uploads_are_invisible(fixture: &Fixture) {
    let key = key("progress/appdb.dump");
    let shipping = fixture.ship.ship(&key, stalls_after(3 * CHUNK_BYTES as u64));
    tokio::pin!(shipping);
    for _ in 0..5 {
        tokio::time::timeout(Duration::from_millis(50), &mut shipping).await.unwrap_err();
        fixture.assert_missing(&key).await;
    }
}

/// Tests ranges within a chunk, across chunks, and at the first and the last byte.
pub async fn fetches_ranges(fixture: &Fixture) {
    let key = key("range/appdb.dump");
    let length = 2 * CHUNK_BYTES + 1000;
    let whole = random_bytes(3, length);
    fixture.ship.ship(&key, from_bytes(whole.clone())).await.unwrap();
    let chunk = CHUNK_BYTES;
    for range in [0..1, 0..length, 5..17, chunk - 1..chunk + 1, 1..length - 1, length - 1..length] {
        let bytes = Some(range.start as u64..range.end as u64);
        let fetched = digest(fixture.store.fetch(&key, bytes).await.unwrap()).await.unwrap();
        assert_eq!(fetched, Digest::of(&whole[range.clone()]), "{range:?}");
    }
}

/// A clean end means that the whole range was read.
pub async fn rejects_ranges_past_the_end(fixture: &Fixture) {
    let key = key("short/appdb.dump");
    fixture.ship.ship(&key, from_bytes("0123456789")).await.unwrap();
    for range in [5..11, 10..11, 100..200] {
        let read = async { digest(fixture.store.fetch(&key, Some(range.clone())).await?).await };
        let error = read.await.expect_err("a short read that ends cleanly");
        assert_eq!(error.kind(), Kind::Corrupt, "{range:?}: {}", error.chain());
    }
}

/// Tests a key without a folder, a folder, and a prefix of a key.
pub async fn missing_keys_are_not_found(fixture: &Fixture) {
    fixture.ship.ship(&key("found/a/x.dump"), from_bytes("x")).await.unwrap();
    for text in ["found/none/x.dump", "found/a/x", "found/a", "found/a/x.dump.age", "found/a/x.dump/y"] {
        for range in [None, Some(0..1)] {
            let error = fixture.store.fetch(&key(text), range).await.map(drop).unwrap_err();
            assert_eq!(error.kind(), Kind::NotFound, "{text}: {}", error.chain());
        }
    }
}

/// Tests names with characters that only other programs use, in folders and in files.
pub async fn names_of_other_programs_can_be_processed(fixture: &Fixture) {
    let names = [
        "foreign/2026,06/a=b.sql",
        "foreign/a b/db_2026-06-07T03:00:01+02:00.dump",
        "foreign/a b/db_2026-06-07T03:00:01+02:00.dump.age",
        "foreign/db@host 1,2=3:4+5%20.sql.gz",
        "foreign/db_2026-06-07T03:00:01Z.dump",
        "foreign/x+y/z",
        "foreign/x:y/z",
        "foreign/x@y/z",
    ];
    match &fixture.folder {
        Some(folder) => names.iter().for_each(|name| fixture.put(folder, name)),
        None => {
            for name in names {
                fixture.ship.ship(&key(name), from_bytes("x")).await.unwrap();
            }
        }
    }
    let expected = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 1)).collect::<Vec<_>>();
    assert_eq!(fixture.list("foreign").await, expected(&names));
    for name in names {
        assert_eq!(fixture.store.stat(&key(name)).await.unwrap().bytes, 1, "{name}");
        assert_eq!(fixture.digest_of(&key(name)).await.unwrap(), Digest::of(b"x"), "{name}");
    }
    let entries = fixture.store.list(Some(&key("foreign/a b"))).await.unwrap();
    let found: Vec<_> = entries.map_ok(|entry| entry.key.to_string()).try_collect().await.unwrap();
    assert_eq!(found, names[1..3]);
    for name in &names[1..5] {
        fixture.store.remove(&key(name)).await.unwrap();
    }
    let left = expected(&[&names[..1], &names[5..]].concat());
    assert_eq!(fixture.list_until("foreign", left.len()).await, left);
    for name in &names[5..] {
        fixture.store.remove(&key(name)).await.unwrap();
    }
}

/// A deleted key is missing for every operation.
pub async fn removed_keys_are_gone(fixture: &Fixture) {
    let key = key("gone/appdb.dump");
    fixture.ship.ship(&key, from_bytes("x")).await.unwrap();
    fixture.store.remove(&key).await.unwrap();
    fixture.assert_missing(&key).await;
}

/// Interrupted retention repeats deletions.
pub async fn removing_a_missing_key_succeeds(fixture: &Fixture) {
    let key = key("twice/a/appdb.dump");
    fixture.store.remove(&key).await.unwrap();
    fixture.ship.ship(&key, from_bytes("x")).await.unwrap();
    for _ in 0..2 {
        fixture.store.remove(&key).await.unwrap();
    }
    fixture.store.remove(&super::key("twice/a")).await.unwrap();
}

/// Pruning `app` must not affect `app-prod`, and deleting a manifest must not affect its artifact.
pub async fn removal_leaves_keys_with_a_common_prefix(fixture: &Fixture) {
    let keys = ["removed/app/x", "removed/app/x.json", "removed/app-prod/x", "removed/app.x"];
    for text in keys {
        fixture.ship.ship(&key(text), from_bytes("x")).await.unwrap();
    }
    fixture.store.remove(&key("removed/app/x")).await.unwrap();
    fixture.store.remove(&key("removed/app")).await.unwrap();
    let expected = ["removed/app-prod/x", "removed/app.x", "removed/app/x.json"];
    assert_eq!(fixture.list_until("removed", expected.len()).await, expected.map(|key| (key.to_owned(), 1)));
}
