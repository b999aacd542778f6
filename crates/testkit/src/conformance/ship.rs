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
    async fn upload(&self, key: &Key, body: ByteStream) {
        self.ship.ship(key, body).await.unwrap();
    }

    async fn assert_whole(&self, key: &Key, expected: &Digest) {
        assert_eq!(self.digest_of(key).await.unwrap(), *expected, "{key}");
        let list = self.list(key.folder()).await;
        assert!(list.contains(&(key.to_string(), expected.bytes)), "{key} in {list:?}");
    }
}

/// An uploaded body is listed with its size and read back unchanged, regardless of its chunks.
pub async fn stores_bodies_of_any_length(fixture: &Fixture) {
    for length in LENGTHS {
        let key = key(&format!("whole/appdb/appdb-{length}.dump"));
        fixture.upload(&key, random(length, length)).await;
        fixture.assert_whole(&key, &digest(random(length, length)).await.unwrap()).await;
    }
    let key = key("whole/appdb/crumbs.dump");
    let whole = random_bytes(1, 5000);
    let chunks: Vec<_> = whole.chunks(7).map(|chunk| Ok(whole.slice_ref(chunk))).collect();
    fixture.upload(&key, Box::pin(futures_util::stream::iter(chunks))).await;
    fixture.assert_whole(&key, &Digest::of(&whole)).await;
}

/// An empty body is valid: a dump with `--section` may be empty.
pub async fn stores_empty_bodies(fixture: &Fixture) {
    let key = key("empty/appdb.dump");
    fixture.upload(&key, from_bytes("")).await;
    fixture.assert_whole(&key, &Digest::of(b"")).await;
}

/// The body is larger than any buffer.
pub async fn stores_large_bodies(fixture: &Fixture) {
    let key = key("large/appdb.dump");
    let length = fixture.scale.large_bytes;
    fixture.upload(&key, random(2, length)).await;
    fixture.assert_whole(&key, &digest(random(2, length)).await.unwrap()).await;
}

/// Tests every byte that a database's name may contain, encoded in a key.
pub async fn preserves_encoded_keys(fixture: &Fixture) {
    let ascii = (1..=127).map(|byte| format!("a{}z", char::from(byte)));
    let names =
        ascii.chain(["é", "\u{1F418}", "a%2Fb", "A", "a+b c?d#e&f=g", "-x", "%", "..", "a.", "CON"].map(String::from));
    let keys: Vec<_> = names.map(|name| key(&format!("odd/{}/x.json", encode_name(&name)))).collect();
    let uploads = keys.iter().map(|key| fixture.upload(key, from_bytes(key.to_string())));
    join_all(uploads).await;
    for key in &keys {
        assert_eq!(fixture.digest_of(key).await.unwrap(), Digest::of(key.as_str().as_bytes()), "{key}");
    }
    let mut expected: Vec<_> = keys.iter().map(|key| (key.to_string(), key.as_str().len() as u64)).collect();
    expected.sort();
    assert_eq!(fixture.list("odd").await, expected);
}

/// Tests the longest possible key: a cluster and a database with names that are fully encoded.
pub async fn preserves_long_keys(fixture: &Fixture) {
    let name = encode_name(&"\u{1}".repeat(63));
    let key = key(&format!("{name}/{name}/{name}-2026-06-07_091500.details.json.age"));
    fixture.upload(&key, from_bytes("long")).await;
    fixture.assert_whole(&key, &Digest::of(b"long")).await;
}

/// Keys with a common prefix are different, such as `app` and `app-prod`, or an artifact and its
/// manifest.
pub async fn separates_keys_with_a_common_prefix(fixture: &Fixture) {
    let keys = ["alike/app/x.dump", "alike/app/x.dump.age", "alike/app-prod/x.dump", "alike/app.dump"].map(key);
    for key in &keys {
        fixture.upload(key, from_bytes(key.to_string())).await;
    }
    for key in &keys {
        fixture.assert_whole(key, &Digest::of(key.as_str().as_bytes())).await;
    }
}

/// Databases are dumped concurrently, into folders that do not exist yet.
pub async fn supports_concurrent_uploads(fixture: &Fixture) {
    let keys: Vec<_> = (0..16).map(|n| key(&format!("crowd/{}/{n}.dump", n % 4))).collect();
    let uploads = keys.iter().zip(0..).map(|(key, n)| fixture.upload(key, random(n, 100_000)));
    join_all(uploads).await;
    for (key, n) in keys.iter().zip(0..) {
        fixture.assert_whole(key, &Digest::of(&random_bytes(n, 100_000))).await;
    }
}

/// Overwriting fails with other bytes, with the same bytes, and with an empty body.
pub async fn never_overwrites_a_key(fixture: &Fixture) {
    let key = key("there/appdb.dump");
    let first = random_bytes(1, 100_000);
    fixture.upload(&key, from_bytes(first.clone())).await;
    for second in [random_bytes(2, 100_000), first.clone(), random_bytes(2, 0), random_bytes(2, 1_000_000)] {
        let error = fixture.ship.ship(&key, from_bytes(second)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists, "{}", error.chain());
        assert_eq!(fixture.digest_of(&key).await.unwrap(), Digest::of(&first));
    }
    assert_eq!(fixture.list("there").await.len(), 1, "the second writer left a file");
}

/// All writers start before any of them ends. The losers get [`Kind::AlreadyExists`], and the
/// stored content is the winner's and complete. If the last writer wins ([`Race::Latest`]), more
/// than one may succeed; the stored content is that of one of them and complete.
pub async fn racing_writers_store_one_whole_body(fixture: &Fixture) {
    for round in 0..8 {
        let key = key(&format!("race/{round}/appdb.dump"));
        let bodies: Vec<_> = (0..4).map(|n| random_bytes(n, 50_000 + n as usize)).collect();
        let (senders, streams): (Vec<_>, Vec<_>) = bodies.iter().map(|_| channel()).unzip();
        let feeding = senders.into_iter().zip(&bodies).map(async |(sender, body)| {
            // A writer that has failed already reads no further.
            if sender.send(body.slice(..40_000)).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if sender.send(body.slice(40_000..)).await.is_ok() {
                    sender.finish().await.ok();
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
        let stored = fixture.digest_of(&key).await.unwrap();
        assert!(winners.iter().any(|(_, body)| stored == Digest::of(body)), "the stored content is not a winner's");
        assert_eq!(fixture.list(key.folder()).await.len(), 1, "a losing writer left a file");
    }
}

/// The body fails before the first byte, or after many bytes.
pub async fn failed_bodies_leave_nothing(fixture: &Fixture) {
    for length in LENGTHS {
        let key = key(&format!("failed/{length}/appdb.dump"));
        let error = fixture.ship.ship(&key, fails_after(length)).await.unwrap_err();
        assert!(is_failure(&error), "another error than the body's: {}", error.chain());
        fixture.assert_missing(&key).await;
    }
}

/// A cancelled producer is not a clean end.
pub async fn abandoned_bodies_leave_nothing(fixture: &Fixture) {
    for length in LENGTHS {
        let key = key(&format!("abandoned/{length}/appdb.dump"));
        fixture.ship.ship(&key, abandoned_after(length)).await.unwrap_err();
        fixture.assert_missing(&key).await;
    }
}

/// An interrupted run drops its uploads.
pub async fn dropped_uploads_leave_nothing(fixture: &Fixture) {
    for length in LENGTHS {
        for wait in [0, 1, 100] {
            let key = key(&format!("dropped/{length}-{wait}/appdb.dump"));
            let ship = fixture.ship.ship(&key, stalls_after(length));
            tokio::time::timeout(Duration::from_millis(wait), ship).await.unwrap_err();
            fixture.assert_missing(&key).await;
        }
    }
}

/// Hidden files of a failed upload do not prevent another upload.
pub async fn failed_uploads_can_be_repeated(fixture: &Fixture) {
    let key = key("again/appdb.dump");
    fixture.ship.ship(&key, fails_after(100_000)).await.unwrap_err();
    let ship = fixture.ship.ship(&key, stalls_after(100_000));
    tokio::time::timeout(Duration::from_millis(100), ship).await.unwrap_err();
    fixture.upload(&key, from_bytes("at last")).await;
    fixture.assert_whole(&key, &Digest::of(b"at last")).await;
}
