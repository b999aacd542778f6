//! Reading back: each damage (an action at a place) is found for every combination of compression
//! and encryption.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use longshore_core::compress::Compression;
use longshore_core::key::Key;
use longshore_core::manifest::Manifest;
use longshore_core::meter::Digest;
use longshore_core::pipeline::{Depth, ReadBack, Source, open, open_from, read_back};
use longshore_core::progress::{Progress, unwatched};
use longshore_core::stage::{Decrypt, Dumped, Ship, Verify};
use longshore_core::stream::{ByteStream, CHUNK_BYTES, from_bytes};
use longshore_core::subject::Subject;
use longshore_core::{Kind, Result, Stage};
use longshore_testkit::fake_stage::{FakeVerify, Xor, dumped, order, pipeline};
use longshore_testkit::memory::{Fault, MemoryStore, Operation};
use longshore_testkit::stream::{digest, random};
use serde_json::json;

/// A counter of the bytes read.
#[derive(Default)]
struct Counter(AtomicU64);

impl Progress for Counter {
    fn read(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

const LENGTH: u64 = 3 * CHUNK_BYTES as u64 + 5;

const ZSTD: Compression = Compression::Zstd { level: 1, threads: 1 };

/// The compression and encryption of a backup.
#[derive(Debug, Clone, Copy)]
struct Packing {
    compression: Compression,
    sealing: Sealing,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Sealing {
    Open,
    Sealed,
}

fn packings() -> Vec<Packing> {
    let pair = |compression| [Sealing::Open, Sealing::Sealed].map(|sealing| Packing { compression, sealing });
    [Compression::None, ZSTD].into_iter().flat_map(pair).collect()
}

/// Makes a backup with details, and returns its manifest.
async fn backup(packing: Packing) -> (MemoryStore, Manifest) {
    let store = MemoryStore::new();
    let mut pipeline = pipeline([("memory", store.clone())]);
    let details = json!({ "tables": { "public.orders": 17 } }).as_object().cloned();
    pipeline.verify.push(Arc::new(FakeVerify::Finds(details.unwrap_or_default())));
    if packing.sealing == Sealing::Sealed {
        pipeline.encrypt = Some(Arc::new(Xor));
    }
    let dump = Dumped { compression: packing.compression, ..dumped(random(1, LENGTH)) };
    let order = order("nightly", &Subject::database("appdb"), "2026-06-07_091500");
    let shipped = pipeline.back_up(&order, dump, &unwatched()).await.expect("the dump succeeds");
    (store, shipped.manifest.expect("the manifest was written"))
}

/// Reads a backup back with all keys.
async fn read(store: &MemoryStore, manifest: &Manifest) -> Result<ReadBack> {
    read_back(store, manifest, Some(&Xor), &[], &unwatched()).await
}

/// A modification of a stored file.
type Action = fn(&mut Vec<u8>);

const ACTIONS: [(&str, Action); 8] = [
    ("the first byte is flipped", |bytes| bytes[0] ^= 1),
    ("a byte in the middle is flipped", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x80;
    }),
    ("the last byte is flipped", |bytes| *bytes.last_mut().expect("not empty") ^= 1),
    ("the last byte is cut", |bytes| bytes.truncate(bytes.len() - 1)),
    ("the second half is cut", |bytes| bytes.truncate(bytes.len() / 2)),
    ("the file is emptied", Vec::clear),
    ("a byte is added", |bytes| bytes.push(0)),
    ("the content is repeated", |bytes| bytes.extend_from_within(..)),
];

/// The file to modify.
type Place = fn(&Manifest) -> Key;

const PLACES: [(&str, Place); 2] = [
    ("artifact", |manifest| manifest.artifact.key.clone()),
    ("details", |manifest| manifest.details.clone().expect("the manifest names details").key),
];

#[tokio::test]
async fn every_damage_is_found_wherever_it_is() {
    for packing in packings() {
        let (store, manifest) = backup(packing).await;
        read(&store, &manifest).await.unwrap();
        for (place, key) in PLACES {
            let key = key(&manifest);
            let whole = store.get(&key).unwrap();
            for (action, damage) in ACTIONS {
                store.damage(&key, damage);
                let error = read(&store, &manifest).await.expect_err(action);
                assert_eq!(error.kind(), Kind::Corrupt, "{place}: {action}, {packing:?}: {}", error.chain());
                assert_eq!(error.subject(), key.as_str());
                store.put(&key, whole.clone());
            }
            store.lose(&key);
            let error = read(&store, &manifest).await.unwrap_err();
            assert_eq!(error.kind(), Kind::NotFound, "{place}: lost, {packing:?}");
            store.put(&key, whole);
        }
        read(&store, &manifest).await.unwrap();
    }
}

#[tokio::test]
async fn without_an_identity_the_sealed_bytes_are_judged_and_no_more_is_claimed() {
    let sealed = Packing { compression: ZSTD, sealing: Sealing::Sealed };
    let (store, manifest) = backup(sealed).await;
    let judges: [Arc<dyn Verify>; 1] = [Arc::new(FakeVerify::Rejects)];
    let read = read_back(&store, &manifest, None, &judges, &unwatched()).await.unwrap();
    assert_eq!(read.depth, Depth::Sealed, "the verifier cannot read encrypted bytes");
    for (action, damage) in ACTIONS {
        let whole = store.get(&manifest.artifact.key).unwrap();
        store.damage(&manifest.artifact.key, damage);
        let error = read_back(&store, &manifest, None, &[], &unwatched()).await.expect_err(action);
        assert_eq!(error.kind(), Kind::Corrupt, "{action}");
        store.put(&manifest.artifact.key, whole);
    }
}

#[tokio::test]
async fn a_backup_that_is_judged_unsound_fails_its_read_back() {
    for packing in packings() {
        let (store, manifest) = backup(packing).await;
        let judges: [Arc<dyn Verify>; 1] = [Arc::new(FakeVerify::Rejects)];
        let error = read_back(&store, &manifest, Some(&Xor), &judges, &unwatched()).await.unwrap_err();
        assert_eq!((error.stage(), error.kind()), (Stage::Verify, Kind::Corrupt));
    }
}

#[tokio::test]
async fn a_connection_lost_while_reading_is_not_damage() {
    for packing in packings() {
        let (store, manifest) = backup(packing).await;
        for length in [0, 1000, u64::MAX] {
            store.heal();
            store.fault(Operation::Fetch, Fault::FailAfter(length));
            let error = read(&store, &manifest).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unavailable, "{packing:?} after {length}: {}", error.chain());
        }
    }
}

#[tokio::test]
async fn what_is_opened_is_what_was_dumped_and_its_bytes_are_counted() {
    let dumped = digest(random(1, LENGTH)).await.unwrap();
    for packing in packings() {
        let (store, manifest) = backup(packing).await;
        let opened = open(&store, &manifest, Some(&Xor)).await.unwrap();
        assert_eq!(digest(opened).await.unwrap(), dumped, "{packing:?}");
        let counter = Arc::new(Counter::default());
        let progress: Arc<dyn Progress> = counter.clone();
        read_back(&store, &manifest, Some(&Xor), &[], &progress).await.unwrap();
        assert_eq!(counter.0.load(Ordering::Relaxed), LENGTH);
    }
}

#[tokio::test]
async fn where_one_destination_fails_half_way_the_next_goes_on() {
    for packing in packings() {
        let (near, manifest) = backup(packing).await;
        let far = MemoryStore::new();
        far.ship(&manifest.artifact.key, from_bytes(near.get(&manifest.artifact.key).unwrap())).await.unwrap();
        let source = |name: &str, store: &MemoryStore| Source { name: name.into(), store: Arc::new(store.clone()) };
        let sources = [source("near", &near), source("gone", &MemoryStore::new()), source("far", &far)];
        let dumped = digest(random(1, LENGTH)).await.unwrap();
        for fault in [Fault::FailAfter(0), Fault::FailAfter(1000), Fault::Deny] {
            near.heal();
            near.fault(Operation::Fetch, fault);
            let turns = Arc::new(AtomicU64::new(0));
            let counted = Arc::clone(&turns);
            let turned = move |_: &longshore_core::Error, _: &Source| {
                counted.fetch_add(1, Ordering::Relaxed);
            };
            let opened = open_from(&sources, &manifest, Some(&Xor), turned).await.unwrap();
            assert_eq!(digest(opened).await.unwrap(), dumped, "{packing:?} {fault:?}");
            assert_eq!(turns.load(Ordering::Relaxed), 2);
        }
        let opened = open_from(&sources[..1], &manifest, Some(&Xor), |_, _| {}).await;
        assert_eq!(opened.err().map(|error| error.kind()), Some(Kind::Denied));
    }
}

#[tokio::test]
async fn a_sealed_backup_is_not_opened_without_an_identity() {
    let sealed = Packing { compression: ZSTD, sealing: Sealing::Sealed };
    let (store, manifest) = backup(sealed).await;
    let error = open(&store, &manifest, None).await.map(drop).unwrap_err();
    assert_eq!((error.stage(), error.kind()), (Stage::Decrypt, Kind::Usage));
    assert!(error.remedy().unwrap().contains("--identity"), "{error:?}");
}

/// A decryption that returns the ciphertext.
struct Wrong;

#[async_trait]
impl Decrypt for Wrong {
    async fn decrypt(&self, ciphertext: ByteStream, _: &str) -> Result<ByteStream> {
        Ok(ciphertext)
    }
}

#[tokio::test]
async fn a_seal_opened_with_the_wrong_identity_is_damage() {
    for compression in [Compression::None, ZSTD] {
        let (store, manifest) = backup(Packing { compression, sealing: Sealing::Sealed }).await;
        let error = read_back(&store, &manifest, Some(&Wrong), &[], &unwatched()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
    }
}

#[tokio::test]
async fn a_manifest_changed_to_fit_other_bytes_does_not_fit_the_plaintext() {
    let open = Packing { compression: Compression::None, sealing: Sealing::Sealed };
    let (store, mut manifest) = backup(open).await;
    store.damage(&manifest.artifact.key, |bytes| bytes[7] ^= 1);
    manifest.artifact.sealed = Digest::of(&store.get(&manifest.artifact.key).unwrap());
    let error = read(&store, &manifest).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
}
