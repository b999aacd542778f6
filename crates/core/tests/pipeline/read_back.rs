//! Reading back: each damage (an action at a place) is found for every combination of compression
//! and encryption.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use longshore_core::compress::Compression;
use longshore_core::event::{Event, Observer, ignore};
use longshore_core::key::Key;
use longshore_core::manifest::Manifest;
use longshore_core::meter::Digest;
use longshore_core::pipeline::{Depth, ReadBack, Source, open, open_from, read_back};
use longshore_core::stage::{Decrypt, Dumped, Ship, Verify};
use longshore_core::stream::{ByteStream, CHUNK_BYTES, from_bytes};
use longshore_core::{Kind, Result, Stage};
use longshore_testkit::fake_stage::{FakeVerify, Xor, dumped, pipeline};
use longshore_testkit::memory::{Fault, MemoryStore, Operation};
use longshore_testkit::stream::{digest, random};
use serde_json::json;

use crate::order;

/// A counter of the bytes read.
#[derive(Default)]
struct Counter(AtomicU64);

impl Observer for Counter {
    fn event(&self, event: &Event<'_>) {
        if let Event::BytesRead(bytes) = event {
            self.0.fetch_add(*bytes, Ordering::Relaxed);
        }
    }
}

const LENGTH: u64 = 3 * CHUNK_BYTES as u64 + 5;

const ZSTD: Compression = Compression::Zstd { level: 1, threads: 1 };

/// The compression and encryption of a backup.
#[derive(Debug, Clone, Copy)]
struct Encoding {
    compression: Compression,
    encryption: Encryption,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Encryption {
    Plain,
    Encrypted,
}

fn encodings() -> Vec<Encoding> {
    let pair =
        |compression| [Encryption::Plain, Encryption::Encrypted].map(|encryption| Encoding { compression, encryption });
    [Compression::None, ZSTD].into_iter().flat_map(pair).collect()
}

/// Makes a backup with details, and returns its manifest.
async fn backup(encoding: Encoding) -> (MemoryStore, Manifest) {
    let store = MemoryStore::new();
    let mut pipeline = pipeline([("memory", store.clone())]);
    let details = json!({ "tables": { "public.orders": 17 } }).as_object().cloned();
    pipeline.verify.push(Arc::new(FakeVerify::Finds(details.unwrap_or_default())));
    if encoding.encryption == Encryption::Encrypted {
        pipeline.encrypt = Some(Arc::new(Xor));
    }
    let dump = Dumped { compression: encoding.compression, ..dumped(random(1, LENGTH)) };
    let shipped = pipeline.back_up(&order(), dump, &ignore()).await.expect("the dump succeeds");
    (store, shipped.manifest.expect("the manifest was written"))
}

/// Reads a backup back with all keys.
async fn read(store: &MemoryStore, manifest: &Manifest) -> Result<ReadBack> {
    read_back(store, manifest, Some(&Xor), &[], &ignore()).await
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
type StoredFile = fn(&Manifest) -> Key;

const STORED_FILES: [(&str, StoredFile); 2] = [
    ("artifact", |manifest| manifest.artifact.key.clone()),
    ("details", |manifest| manifest.details.clone().expect("the manifest names details").key),
];

#[tokio::test]
async fn finds_every_damage_in_every_file() {
    for encoding in encodings() {
        let (store, manifest) = backup(encoding).await;
        read(&store, &manifest).await.unwrap();
        for (file, key) in STORED_FILES {
            let key = key(&manifest);
            let whole = store.get(&key).unwrap();
            for (action, damage) in ACTIONS {
                store.damage(&key, damage);
                let error = read(&store, &manifest).await.expect_err(action);
                assert_eq!(error.kind(), Kind::Corrupt, "{file}: {action}, {encoding:?}: {}", error.chain());
                assert_eq!(error.subject(), key.as_str());
                store.put(&key, whole.clone());
            }
            store.lose(&key);
            let error = read(&store, &manifest).await.unwrap_err();
            assert_eq!(error.kind(), Kind::NotFound, "{file}: lost, {encoding:?}");
            store.put(&key, whole);
        }
        read(&store, &manifest).await.unwrap();
    }
}

#[tokio::test]
async fn verifies_only_digests_without_an_identity() {
    let sealed = Encoding { compression: ZSTD, encryption: Encryption::Encrypted };
    let (store, manifest) = backup(sealed).await;
    let verifiers: [Arc<dyn Verify>; 1] = [Arc::new(FakeVerify::Rejects)];
    let read = read_back(&store, &manifest, None, &verifiers, &ignore()).await.unwrap();
    assert_eq!(read.depth, Depth::Sealed, "the verifier cannot read encrypted bytes");
    for (action, damage) in ACTIONS {
        let whole = store.get(&manifest.artifact.key).unwrap();
        store.damage(&manifest.artifact.key, damage);
        let error = read_back(&store, &manifest, None, &[], &ignore()).await.expect_err(action);
        assert_eq!(error.kind(), Kind::Corrupt, "{action}");
        store.put(&manifest.artifact.key, whole);
    }
}

#[tokio::test]
async fn verifier_error_fails_the_read_back() {
    for encoding in encodings() {
        let (store, manifest) = backup(encoding).await;
        let verifiers: [Arc<dyn Verify>; 1] = [Arc::new(FakeVerify::Rejects)];
        let error = read_back(&store, &manifest, Some(&Xor), &verifiers, &ignore()).await.unwrap_err();
        assert_eq!((error.stage(), error.kind()), (Stage::Verify, Kind::Corrupt));
    }
}

#[tokio::test]
async fn lost_connection_is_not_damage() {
    for encoding in encodings() {
        let (store, manifest) = backup(encoding).await;
        for length in [0, 1000, u64::MAX] {
            store.heal();
            store.fault(Operation::Fetch, Fault::FailAfter(length));
            let error = read(&store, &manifest).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unavailable, "{encoding:?} after {length}: {}", error.chain());
        }
    }
}

#[tokio::test]
async fn opened_plaintext_equals_the_dump() {
    let dumped = digest(random(1, LENGTH)).await.unwrap();
    for encoding in encodings() {
        let (store, manifest) = backup(encoding).await;
        let opened = open(&store, &manifest, Some(&Xor)).await.unwrap();
        assert_eq!(digest(opened).await.unwrap(), dumped, "{encoding:?}");
        let counter = Arc::new(Counter::default());
        let observer: Arc<dyn Observer> = counter.clone();
        read_back(&store, &manifest, Some(&Xor), &[], &observer).await.unwrap();
        assert_eq!(counter.0.load(Ordering::Relaxed), LENGTH);
    }
}

#[tokio::test]
async fn next_destination_resumes_a_failed_fetch() {
    for encoding in encodings() {
        let (near, manifest) = backup(encoding).await;
        let far = MemoryStore::new();
        far.ship(&manifest.artifact.key, from_bytes(near.get(&manifest.artifact.key).unwrap())).await.unwrap();
        let source = |name: &str, store: &MemoryStore| Source { name: name.into(), store: Arc::new(store.clone()) };
        let sources = [source("near", &near), source("gone", &MemoryStore::new()), source("far", &far)];
        let dumped = digest(random(1, LENGTH)).await.unwrap();
        for fault in [Fault::FailAfter(0), Fault::FailAfter(1000), Fault::Deny] {
            near.heal();
            near.fault(Operation::Fetch, fault);
            let switches = Arc::new(AtomicU64::new(0));
            let counted = Arc::clone(&switches);
            let on_switch = move |_: &longshore_core::Error, _: &Source| {
                counted.fetch_add(1, Ordering::Relaxed);
            };
            let opened = open_from(&sources, &manifest, Some(&Xor), on_switch).await.unwrap();
            assert_eq!(digest(opened).await.unwrap(), dumped, "{encoding:?} {fault:?}");
            assert_eq!(switches.load(Ordering::Relaxed), 2);
        }
        let opened = open_from(&sources[..1], &manifest, Some(&Xor), |_, _| {}).await;
        assert_eq!(opened.err().map(|error| error.kind()), Some(Kind::Denied));
    }
}

#[tokio::test]
async fn encrypted_backup_requires_an_identity() {
    let sealed = Encoding { compression: ZSTD, encryption: Encryption::Encrypted };
    let (store, manifest) = backup(sealed).await;
    let error = open(&store, &manifest, None).await.map(drop).unwrap_err();
    assert_eq!((error.stage(), error.kind()), (Stage::Decrypt, Kind::Usage));
    assert!(error.remedy().unwrap().contains("--identity"), "{error:?}");
}

/// A decryption that returns the ciphertext.
struct WrongIdentity;

#[async_trait]
impl Decrypt for WrongIdentity {
    async fn decrypt(&self, ciphertext: ByteStream, _: &str) -> Result<ByteStream> {
        Ok(ciphertext)
    }
}

#[tokio::test]
async fn wrong_plaintext_is_corrupt() {
    for compression in [Compression::None, ZSTD] {
        let (store, manifest) = backup(Encoding { compression, encryption: Encryption::Encrypted }).await;
        let error = read_back(&store, &manifest, Some(&WrongIdentity), &[], &ignore()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
    }
}

#[tokio::test]
async fn plaintext_digest_detects_a_forged_manifest() {
    let open = Encoding { compression: Compression::None, encryption: Encryption::Encrypted };
    let (store, mut manifest) = backup(open).await;
    store.damage(&manifest.artifact.key, |bytes| bytes[7] ^= 1);
    manifest.artifact.sealed = Digest::of(&store.get(&manifest.artifact.key).unwrap());
    let error = read(&store, &manifest).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
}
