//! What every [`Ship`](longshore_core::stage::Ship) must prove: all or nothing, and never over anything.

use std::time::Duration;

use futures_util::future::join_all;
use longshore_core::Kind;
use longshore_core::key::{Key, encode_name};
use longshore_core::meter::Digest;
use longshore_core::stream::{ByteStream, CHUNK_BYTES, channel, from_bytes};

use super::{Fixture, Race, key};
use crate::stream::{abandoned_after, digest, fails_after, is_failure, random, random_bytes, stalls_after};

/// Lengths at which something may happen: nothing yet, a first byte, within a chunk, many chunks.
const LENGTHS: [u64; 4] = [0, 1, 1000, 3 * CHUNK_BYTES as u64 + 17];

impl Fixture {
    /// Ships what is to succeed, and says what it was.
    async fn shipped(&self, key: &Key, body: ByteStream) {
        self.ship.ship(key, body).await.unwrap();
    }

    async fn assert_whole(&self, key: &Key, expected: &Digest) {
        assert_eq!(self.fetched(key).await.unwrap(), *expected, "{key}");
        let listed = self.listed(key.folder()).await;
        assert!(listed.contains(&(key.to_string(), expected.bytes)), "{key} in {listed:?}");
    }
}

/// What was shipped is there, with its size and every byte, whatever chunks it came in.
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

/// Nothing is something, too: a dump with `--section` may be empty.
pub async fn an_empty_body_arrives_as_an_empty_file(fixture: &Fixture) {
    let key = key("empty/appdb.dump");
    fixture.shipped(&key, from_bytes("")).await;
    fixture.assert_whole(&key, &Digest::of(b"")).await;
}

/// Larger than any buffer on the way.
pub async fn a_large_body_arrives_whole(fixture: &Fixture) {
    let key = key("large/appdb.dump");
    let length = fixture.scale.large_bytes;
    fixture.shipped(&key, random(2, length)).await;
    fixture.assert_whole(&key, &digest(random(2, length)).await.unwrap()).await;
}

/// Every byte that a database's name may have, as it is encoded in a key.
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

/// The longest key that a backup can have: a cluster and a database whose names are all encoded.
pub async fn a_long_key_is_kept_whole(fixture: &Fixture) {
    let name = encode_name(&"\u{1}".repeat(63));
    let key = key(&format!("{name}/{name}/{name}-2026-06-07_091500.details.json.age"));
    fixture.shipped(&key, from_bytes("long")).await;
    fixture.assert_whole(&key, &Digest::of(b"long")).await;
}

/// `app` and `app-prod` are two; so are an artifact and its manifest.
pub async fn keys_that_begin_alike_do_not_meet(fixture: &Fixture) {
    let keys = ["alike/app/x.dump", "alike/app/x.dump.age", "alike/app-prod/x.dump", "alike/app.dump"].map(key);
    for key in &keys {
        fixture.shipped(key, from_bytes(key.to_string())).await;
    }
    for key in &keys {
        fixture.assert_whole(key, &Digest::of(key.as_str().as_bytes())).await;
    }
}

/// Databases are dumped side by side, into folders that nobody has made yet.
pub async fn many_at_once_do_not_hinder_each_other(fixture: &Fixture) {
    let keys: Vec<_> = (0..16).map(|n| key(&format!("crowd/{}/{n}.dump", n % 4))).collect();
    let ships = keys.iter().zip(0..).map(|(key, n)| fixture.shipped(key, random(n, 100_000)));
    join_all(ships).await;
    for (key, n) in keys.iter().zip(0..) {
        fixture.assert_whole(key, &Digest::of(&random_bytes(n, 100_000))).await;
    }
}

/// Neither by other bytes, nor by the same, nor by none.
pub async fn what_is_there_is_never_overwritten(fixture: &Fixture) {
    let key = key("there/appdb.dump");
    let first = random_bytes(1, 100_000);
    fixture.shipped(&key, from_bytes(first.clone())).await;
    for second in [random_bytes(2, 100_000), first.clone(), random_bytes(2, 0), random_bytes(2, 1_000_000)] {
        let error = fixture.ship.ship(&key, from_bytes(second)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists, "{}", error.chain());
        assert_eq!(fixture.fetched(&key).await.unwrap(), Digest::of(&first));
    }
    assert_eq!(fixture.listed("there").await.len(), 1, "a second writer left something");
}

/// All have begun before any ends. The others hear [`Kind::AlreadyExists`], and what is there is the winner's, whole. Where the latest wins
/// ([`Race::Latest`]), it may be that more are told so; what is there is one of theirs, whole.
pub async fn of_writers_that_race_exactly_one_wins(fixture: &Fixture) {
    for round in 0..8 {
        let key = key(&format!("race/{round}/appdb.dump"));
        let bodies: Vec<_> = (0..4).map(|n| random_bytes(n, 50_000 + n as usize)).collect();
        let (feeders, streams): (Vec<_>, Vec<_>) = bodies.iter().map(|_| channel()).unzip();
        let feeding = feeders.into_iter().zip(&bodies).map(async |(feeder, body)| {
            // A writer that has been told already reads no further.
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
        assert!(winners.iter().any(|(_, body)| fetched == Digest::of(body)), "what is there is no winner's");
        assert_eq!(fixture.listed(key.folder()).await.len(), 1, "a loser left something");
    }
}

/// Whenever it fails: before the first byte, or after many.
pub async fn a_body_that_fails_leaves_nothing_and_its_own_error_is_returned(fixture: &Fixture) {
    for length in LENGTHS {
        let key = key(&format!("failed/{length}/appdb.dump"));
        let error = fixture.ship.ship(&key, fails_after(length)).await.unwrap_err();
        assert!(is_failure(&error), "another error than the body's: {}", error.chain());
        fixture.assert_nothing(&key).await;
    }
}

/// A task that was cancelled is not a clean end.
pub async fn a_body_whose_producer_went_away_leaves_nothing(fixture: &Fixture) {
    for length in LENGTHS {
        let key = key(&format!("abandoned/{length}/appdb.dump"));
        fixture.ship.ship(&key, abandoned_after(length)).await.unwrap_err();
        fixture.assert_nothing(&key).await;
    }
}

/// A run that is interrupted drops what it was at.
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

/// What a failure left behind, out of sight, does not stand in the way.
pub async fn what_has_failed_can_be_shipped_again(fixture: &Fixture) {
    let key = key("again/appdb.dump");
    fixture.ship.ship(&key, fails_after(100_000)).await.unwrap_err();
    let ship = fixture.ship.ship(&key, stalls_after(100_000));
    tokio::time::timeout(Duration::from_millis(100), ship).await.unwrap_err();
    fixture.shipped(&key, from_bytes("at last")).await;
    fixture.assert_whole(&key, &Digest::of(b"at last")).await;
}
