//! The requirements of every [`Ship`](longshore_core::stage::Ship): all or nothing, and no
//! overwriting.

use std::time::Duration;

use futures_util::future::join_all;
use longshore_core::Kind;
use longshore_core::key::{Key, encode_name};
use longshore_core::meter::Digest;
use longshore_core::stream::{ByteStream, CHUNK_BYTES, channel, from_bytes};

use super::{Fixture, Race, key};
use crate::stream::{abandoned_after, digest, fails_after, is_failure, random, random_bytes, stalls_after};

/// Lengths with different behaviour: empty, one byte, within a chunk, many chunks.
const LENGTHS: [u64; 4] = [0, 1, 1000, 3 * CHUNK_BYTES as u64 + 17];

impl Fixture {
    /// Uploads a body that must succeed, and verifies the result.
    async fn shipped(&self, key: &Key, body: ByteStream) {
        self.ship.ship(key, body).await.unwrap();
    }

    async fn assert_whole(&self, key: &Key, expected: &Digest) {
        assert_eq!(self.fetched(key).await.unwrap(), *expected, "{key}");
        let listed = self.listed(key.folder()).await;
        assert!(listed.contains(&(key.to_string(), expected.bytes)), "{key} in {listed:?}");
    }
}

/// An uploaded body is listed with its size and read back unchanged, regardless of its chunks.
pub async fn a_body_arrives_whole(fixture: &Fixture) {
    for length in LENGTHS {
        let key = key(&format!("whole/appdb/appdb-{length}.dump"));
        fixture.shipped(&key, random(length, length)).await;
        fixture.assert_whole(&key, &digest(random(length, length)).await.unwrap()).await;
    }
    let key = key("whole/appdb/crumbs.dump");
    let crumbs = random_bytes(1, 5000);
    let chunks: Vec<_> = crumbs.chunks(7).map(|chunk| Ok(crumbs.slice_ref(chunk))).collect();
    fixture.shipped(&key, Box::pin(futures_util::stream::iter(chunks))).await;
    fixture.assert_whole(&key, &Digest::of(&crumbs)).await;
}

/// An empty body is valid: a dump with `--section` may be empty.
pub async fn an_empty_body_arrives_as_an_empty_file(fixture: &Fixture) {
    let key = key("empty/appdb.dump");
    fixture.shipped(&key, from_bytes("")).await;
    fixture.assert_whole(&key, &Digest::of(b"")).await;
}

/// The body is larger than any buffer.
pub async fn a_large_body_arrives_whole(fixture: &Fixture) {
    let key = key("large/appdb.dump");
    let length = fixture.scale.large_bytes;
    fixture.shipped(&key, random(2, length)).await;
    fixture.assert_whole(&key, &digest(random(2, length)).await.unwrap()).await;
}

/// Tests every byte that a database's name may contain, encoded in a key.
pub async fn a_key_with_encoded_characters_keeps_them(fixture: &Fixture) {
    let ascii = (1..=127).map(|byte| format!("a{}z", char::from(byte)));
    let names =
        ascii.chain(["é", "\u{1F418}", "a%2Fb", "A", "a+b c?d#e&f=g", "-x", "%", "..", "a.", "CON"].map(String::from));
    let keys: Vec<_> = names.map(|name| key(&format!("odd/{}/x.json", encode_name(&name)))).collect();
    let ships = keys.iter().map(|key| fixture.shipped(key, from_bytes(key.to_string())));
    join_all(ships).await;
    for key in &keys {
        assert_eq!(fixture.fetched(key).await.unwrap(), Digest::of(key.as_str().as_bytes()), "{key}");
    }
    let mut expected: Vec<_> = keys.iter().map(|key| (key.to_string(), key.as_str().len() as u64)).collect();
    expected.sort();
    assert_eq!(fixture.listed("odd").await, expected);
}

/// Tests the longest possible key: a cluster and a database with names that are fully encoded.
pub async fn a_long_key_is_kept_whole(fixture: &Fixture) {
    let name = encode_name(&"\u{1}".repeat(63));
    let key = key(&format!("{name}/{name}/{name}-2026-06-07_091500.details.json.age"));
    fixture.shipped(&key, from_bytes("long")).await;
    fixture.assert_whole(&key, &Digest::of(b"long")).await;
}

/// Keys with a common prefix are different, such as `app` and `app-prod`, or an artifact and its
/// manifest.
pub async fn keys_that_begin_alike_do_not_meet(fixture: &Fixture) {
    let keys = ["alike/app/x.dump", "alike/app/x.dump.age", "alike/app-prod/x.dump", "alike/app.dump"].map(key);
    for key in &keys {
        fixture.shipped(key, from_bytes(key.to_string())).await;
    }
    for key in &keys {
        fixture.assert_whole(key, &Digest::of(key.as_str().as_bytes())).await;
    }
}

/// Databases are dumped concurrently, into folders that do not exist yet.
pub async fn many_at_once_do_not_hinder_each_other(fixture: &Fixture) {
    let keys: Vec<_> = (0..16).map(|n| key(&format!("crowd/{}/{n}.dump", n % 4))).collect();
    let ships = keys.iter().zip(0..).map(|(key, n)| fixture.shipped(key, random(n, 100_000)));
    join_all(ships).await;
    for (key, n) in keys.iter().zip(0..) {
        fixture.assert_whole(key, &Digest::of(&random_bytes(n, 100_000))).await;
    }
}

/// Overwriting fails with other bytes, with the same bytes, and with an empty body.
pub async fn what_is_there_is_never_overwritten(fixture: &Fixture) {
    let key = key("there/appdb.dump");
    let first = random_bytes(1, 100_000);
    fixture.shipped(&key, from_bytes(first.clone())).await;
    for second in [random_bytes(2, 100_000), first.clone(), random_bytes(2, 0), random_bytes(2, 1_000_000)] {
        let error = fixture.ship.ship(&key, from_bytes(second)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists, "{}", error.chain());
        assert_eq!(fixture.fetched(&key).await.unwrap(), Digest::of(&first));
    }
    assert_eq!(fixture.listed("there").await.len(), 1, "the second writer left a file");
}

/// All writers start before any of them ends. The losers get [`Kind::AlreadyExists`], and the
/// stored content is the winner's and complete. If the last writer wins ([`Race::Latest`]), more
/// than one may succeed; the stored content is that of one of them and complete.
pub async fn of_writers_that_race_exactly_one_wins(fixture: &Fixture) {
    for round in 0..8 {
        let key = key(&format!("race/{round}/appdb.dump"));
        let bodies: Vec<_> = (0..4).map(|n| random_bytes(n, 50_000 + n as usize)).collect();
        let (feeders, streams): (Vec<_>, Vec<_>) = bodies.iter().map(|_| channel()).unzip();
        let feeding = feeders.into_iter().zip(&bodies).map(async |(feeder, body)| {
            // A writer that has failed already reads no further.
            if feeder.feed(body.slice(..40_000)).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if feeder.feed(body.slice(40_000..)).await.is_ok() {
                    feeder.finish().await.ok();
                }
            }
        });
        let racing = join_all(streams.into_iter().map(|stream| fixture.ship.ship(&key, stream)));
        let (results, _) = tokio::join!(racing, join_all(feeding));
        let winners: Vec<_> = results.iter().zip(&bodies).filter(|(result, _)| result.is_ok()).collect();
        match fixture.race {
            Race::One => assert_eq!(winners.len(), 1, "{results:?}"),
            Race::Latest => assert!(!winners.is_empty(), "{results:?}"),
        }
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            assert_eq!(error.kind(), Kind::AlreadyExists, "{}", error.chain());
        }
        let fetched = fixture.fetched(&key).await.unwrap();
        assert!(winners.iter().any(|(_, body)| fetched == Digest::of(body)), "the stored content is not a winner's");
        assert_eq!(fixture.listed(key.folder()).await.len(), 1, "a losing writer left a file");
    }
}

/// The body fails before the first byte, or after many bytes.
pub async fn a_body_that_fails_leaves_nothing_and_its_own_error_is_returned(fixture: &Fixture) {
    for length in LENGTHS {
        let key = key(&format!("failed/{length}/appdb.dump"));
        let error = fixture.ship.ship(&key, fails_after(length)).await.unwrap_err();
        assert!(is_failure(&error), "another error than the body's: {}", error.chain());
        fixture.assert_nothing(&key).await;
    }
}

/// A cancelled producer is not a clean end.
pub async fn a_body_whose_producer_went_away_leaves_nothing(fixture: &Fixture) {
    for length in LENGTHS {
        let key = key(&format!("abandoned/{length}/appdb.dump"));
        fixture.ship.ship(&key, abandoned_after(length)).await.unwrap_err();
        fixture.assert_nothing(&key).await;
    }
}

/// An interrupted run drops its uploads.
pub async fn a_future_that_is_dropped_leaves_nothing(fixture: &Fixture) {
    for length in LENGTHS {
        for wait in [0, 1, 100] {
            let key = key(&format!("dropped/{length}-{wait}/appdb.dump"));
            let ship = fixture.ship.ship(&key, stalls_after(length));
            tokio::time::timeout(Duration::from_millis(wait), ship).await.unwrap_err();
            fixture.assert_nothing(&key).await;
        }
    }
}

/// Hidden files of a failed upload do not prevent another upload.
pub async fn what_has_failed_can_be_shipped_again(fixture: &Fixture) {
    let key = key("again/appdb.dump");
    fixture.ship.ship(&key, fails_after(100_000)).await.unwrap_err();
    let ship = fixture.ship.ship(&key, stalls_after(100_000));
    tokio::time::timeout(Duration::from_millis(100), ship).await.unwrap_err();
    fixture.shipped(&key, from_bytes("at last")).await;
    fixture.assert_whole(&key, &Digest::of(b"at last")).await;
}
