//! Differences: made while a dump passes, and merged with the full backup.

use std::fs::File;

use longshore_core::compress::Compression;
use longshore_core::difference::{
    Choice, Differ, Difference, FullBlocks, HELD_BYTES, Key, Outcome, Signature, reconstruct,
};
use longshore_core::digest::Digest;
use longshore_core::error::{Error, Kind, Result, Stage};
use longshore_core::key::{BackupName, Timestamp};
use longshore_core::manifest::Manifest;
use longshore_core::pipeline::open;
use longshore_core::stream::{ByteStream, collect, failed, from_bytes};
use longshore_testkit::memory::MemoryStore;

const KEY: Key = Key([5; 32]);
const ZSTD: Compression = Compression::Zstd { level: 3, threads: 1 };
const LIMIT: usize = 100 << 20;

fn rows(count: u32, seed: u32) -> Vec<u8> {
    (0..count).flat_map(|row| format!("{row}\t{}\n", (row ^ seed).wrapping_mul(2_654_435_761)).into_bytes()).collect()
}

/// Passes a dump, and returns the stored bytes with the choice and the outcome.
async fn stored(full: Option<FullBlocks>, file: &File, dump: &[u8]) -> (Vec<u8>, Choice, Outcome) {
    let differ = Differ { full, key: KEY, block_bytes: 512, signature: file.try_clone().unwrap() };
    let encoded = differ.begin(from_bytes(dump.to_vec()), ZSTD, "appdb").await;
    let bytes = collect(encoded.stream, LIMIT, Stage::Dump, "appdb").await.unwrap();
    let outcome = match encoded.outcome.get().unwrap() {
        Outcome::Full(Ok(summary)) => Outcome::Full(Ok(*summary)),
        Outcome::Full(Err(error)) => panic!("{error}"),
        Outcome::Difference => Outcome::Difference,
    };
    (bytes.to_vec(), encoded.choice, outcome)
}

/// Stores a dump as a full backup, and returns its digests.
async fn full_of(dump: &[u8]) -> impl Fn() -> FullBlocks + use<> {
    let file = tempfile::tempfile().unwrap();
    let (bytes, choice, outcome) = stored(None, &file, dump).await;
    assert_eq!((bytes == dump, &choice), (true, &Choice::Full));
    let Outcome::Full(Ok(summary)) = outcome else { panic!("{outcome:?}") };
    let plaintext = Digest::of(dump);
    move || FullBlocks {
        name: BackupName::new("main", "appdb", Timestamp::parse("2026-06-06_091500").unwrap()).unwrap(),
        plaintext: plaintext.clone(),
        signature: Signature::open(file.try_clone().unwrap(), &KEY, 512, &summary).unwrap(),
    }
}

fn manifest(plaintext: &[u8], form: &str) -> Manifest {
    let mut manifest: Manifest = serde_json::from_str(include_str!("../../../model/testdata/manifest-1.json")).unwrap();
    manifest.artifact.plaintext = Digest::of(plaintext);
    manifest.artifact.difference = Some(Box::new(Difference {
        form: form.to_owned(),
        full: manifest.name().unwrap(),
        full_plaintext: Digest::of(b""),
        encoded: Digest::of(b""),
        block_bytes: 512,
    }));
    manifest
}

async fn merged(full: ByteStream, difference: &[u8], manifest: &Manifest) -> Result<Vec<u8>> {
    let stream = reconstruct(full, from_bytes(difference.to_vec()), manifest)?;
    collect(stream, LIMIT, Stage::Dump, "").await.map(|bytes| bytes.to_vec())
}

#[tokio::test]
async fn difference_and_full_backup_give_the_dump() {
    let old = rows(400_000, 1);
    assert!(old.len() > HELD_BYTES);
    let full = full_of(&old).await;
    let mut new = old.clone();
    new.splice(2_000_000..2_000_100, *b"changed");
    let file = tempfile::tempfile().unwrap();
    let (bytes, choice, outcome) = stored(Some(full()), &file, &new).await;
    assert!(matches!(outcome, Outcome::Difference), "{outcome:?}");
    assert!(matches!(choice, Choice::Difference { block_bytes: 512, .. }) && bytes.len() < 3000, "{}", bytes.len());
    let manifest = manifest(&new, "rdiff");
    assert!(merged(from_bytes(old.clone()), &bytes, &manifest).await.unwrap() == new);
    // Another full backup gives another dump, or is too short.
    for other in [[b"x", &old[1..]].concat(), old[..3_000_000].to_vec()] {
        let error = merged(from_bytes(other), &bytes, &manifest).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
    }
    let error = merged(from_bytes(old.clone()), &bytes[..bytes.len() - 1], &manifest).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.chain().contains("truncated"), "{}", error.chain());
    let lost = Error::new(Stage::Ship, Kind::Unavailable, "nas", "connection lost");
    let error = merged(failed(lost), &bytes, &manifest).await.unwrap_err();
    assert_eq!((error.kind(), error.subject()), (Kind::Unavailable, "nas"));
    let unknown = self::manifest(&new, "bsdiff");
    assert_eq!(merged(from_bytes(old), &bytes, &unknown).await.unwrap_err().kind(), Kind::Refused);
}

#[tokio::test]
async fn dump_without_known_blocks_is_stored_as_a_full_backup() {
    let full = full_of(&rows(400_000, 1)).await;
    for other in [rows(400_000, 7), rows(1000, 9), Vec::new()] {
        let file = tempfile::tempfile().unwrap();
        let (bytes, choice, outcome) = stored(Some(full()), &file, &other).await;
        assert!(bytes == other && choice == Choice::Full);
        let Outcome::Full(Ok(summary)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(summary.blocks, other.len() as u64 / 512);
        Signature::open(file, &KEY, 512, &summary).unwrap();
    }
}

#[tokio::test]
async fn small_dump_is_a_difference_only_if_it_is_halved() {
    let old = rows(10_000, 1);
    let full = full_of(&old).await;
    let half = old.len() / 2;
    for (kept, is_difference) in [(half + 20_000, true), (half - 20_000, false)] {
        let new = [&old[..kept], &rows(10_000, 3)[kept..]].concat();
        let file = tempfile::tempfile().unwrap();
        let (_, choice, _) = stored(Some(full()), &file, &new).await;
        assert_eq!(choice != Choice::Full, is_difference, "{kept}");
    }
}

#[tokio::test]
async fn failed_dump_fails_the_stream() {
    let full = full_of(&rows(400_000, 1)).await;
    for full in [None, Some(full())] {
        let differ = Differ { full, key: KEY, block_bytes: 512, signature: tempfile::tempfile().unwrap() };
        let lost = failed(Error::new(Stage::Dump, Kind::Unavailable, "appdb", "connection lost"));
        let encoded = differ.begin(lost, ZSTD, "appdb").await;
        let error = collect(encoded.stream, LIMIT, Stage::Dump, "").await.unwrap_err();
        assert_eq!((error.kind(), encoded.choice), (Kind::Unavailable, Choice::Full));
        assert!(encoded.outcome.get().is_none());
    }
}

#[tokio::test]
async fn difference_alone_is_not_opened() {
    let (store, manifest) = (MemoryStore::new(), manifest(b"plaintext", "rdiff"));
    store.put(&manifest.artifact.key, "difference");
    let error = open(&store, &manifest, None).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.chain().contains("only be read with its full backup"), "{}", error.chain());
}
