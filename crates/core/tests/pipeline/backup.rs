//! Making a backup: destinations contain the complete backup or none of it, and the manifest is
//! written last.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use longshore_catalog::catalog::Catalog;
use longshore_core::compress::Compression;
use longshore_core::event::{Event, Observer, ignore};
use longshore_core::key::{BackupName, Key};
use longshore_core::manifest::Manifest;
use longshore_core::meter::{Digest, Hash};
use longshore_core::pipeline::{Depth, Destination, NeededWal, Pipeline, read_back};
use longshore_core::provenance::Provenance;
use longshore_core::stage::Dumped;
use longshore_core::stream::{CHUNK_BYTES, from_bytes};
use longshore_core::{Kind, Result, Stage};
use longshore_testkit::fake_stage::{FakeVerify, Xor, dumped, pipeline};
use longshore_testkit::memory::{Fault, MemoryStore, Operation};
use longshore_testkit::stream::{abandoned_after, fails_after, is_failure, random, random_bytes, stalls_after};
use serde_json::{Map, Value, json};

use crate::{artifact, order};

/// More bytes than all buffers between a dump and its destinations hold.
const LONG: u64 = 24 * CHUNK_BYTES as u64 + 5;

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

fn manifest_of(store: &MemoryStore) -> Manifest {
    let key = key("main/appdb/appdb-2026-06-07_091500.json");
    Manifest::from_bytes(&key, &store.get(&key).unwrap()).unwrap()
}

/// Returns two stores, and a pipeline that ships to both.
fn two_stores() -> (MemoryStore, MemoryStore, Pipeline) {
    let (near, far) = (MemoryStore::new(), MemoryStore::new());
    let pipeline = pipeline([("near", near.clone()), ("far", far.clone())]);
    (near, far, pipeline)
}

fn details() -> Map<String, Value> {
    json!({ "tables": { "public.secret_customers": 17 } }).as_object().unwrap().clone()
}

#[tokio::test]
async fn backup_is_complete_at_every_destination() {
    let (near, far, mut pipeline) = two_stores();
    pipeline.encrypt = Some(Arc::new(Xor));
    let dump = Dumped { compression: Compression::Zstd { level: 3, threads: 2 }, ..dumped(random(1, LONG)) };
    let shipped = pipeline.back_up(&order(), dump, &ignore()).await.unwrap();
    for (store, delivery) in [&near, &far].into_iter().zip(&shipped.deliveries) {
        delivery.result.as_ref().unwrap();
        let manifest = manifest_of(store);
        assert_eq!(Some(&manifest), shipped.manifest.as_ref());
        assert_eq!(manifest.artifact.key.as_str(), "main/appdb/appdb-2026-06-07_091500.dump.zst.xor");
        let plaintext = blake3::hash(&random_bytes(1, LONG as usize)).to_hex().to_string();
        assert_eq!(manifest.artifact.plaintext, Digest { bytes: LONG, hash: Hash::Blake3(plaintext) });
        assert_eq!(manifest.artifact.sealed, Digest::of(&store.get(&manifest.artifact.key).unwrap()));
        let read = read_back(store, &manifest, Some(&Xor), &[], &ignore()).await.unwrap();
        assert_eq!(read.depth, Depth::Decoded);
    }
}

#[tokio::test]
async fn empty_dump_is_a_backup() {
    let (near, _, pipeline) = two_stores();
    pipeline.back_up(&order(), dumped(from_bytes("")), &ignore()).await.unwrap();
    assert_eq!(manifest_of(&near).artifact.plaintext.bytes, 0);
}

#[tokio::test]
async fn failed_dump_leaves_nothing() {
    for length in [0, 1, LONG] {
        for compression in [Compression::None, Compression::Zstd { level: 3, threads: 2 }] {
            let (near, far, mut pipeline) = two_stores();
            pipeline.encrypt = Some(Arc::new(Xor));
            pipeline.verify.push(Arc::new(FakeVerify::Finds(details())));
            let dump = Dumped { compression, ..dumped(fails_after(length)) };
            let error = pipeline.back_up(&order(), dump, &ignore()).await.unwrap_err();
            assert!(is_failure(&error), "unexpected error: {}", error.chain());
            assert_eq!((near.keys(), far.keys()), (vec![], vec![]));
        }
    }
}

#[tokio::test]
async fn abandoned_dump_leaves_nothing() {
    for length in [0, LONG] {
        let (near, far, pipeline) = two_stores();
        let dump = dumped(abandoned_after(length));
        pipeline.back_up(&order(), dump, &ignore()).await.unwrap_err();
        assert_eq!((near.keys(), far.keys()), (vec![], vec![]));
    }
}

#[tokio::test]
async fn failed_verification_leaves_nothing() {
    let (near, far, mut pipeline) = two_stores();
    pipeline.verify = vec![
        Arc::new(FakeVerify::Finds(details())),
        Arc::new(FakeVerify::Rejects),
        Arc::new(FakeVerify::Finds(Map::new())),
    ];
    let error = pipeline.back_up(&order(), dumped(random(1, LONG)), &ignore()).await.unwrap_err();
    assert_eq!((error.stage(), error.kind()), (Stage::Verify, Kind::Corrupt));
    assert_eq!((near.keys(), far.keys()), (vec![], vec![]));
}

#[tokio::test]
async fn cancelled_run_leaves_nothing() {
    let (near, far, pipeline) = two_stores();
    let order = order();
    let observer = ignore();
    let run = pipeline.back_up(&order, dumped(stalls_after(LONG)), &observer);
    tokio::time::timeout(Duration::from_millis(200), run).await.unwrap_err();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((near.keys(), far.keys()), (vec![], vec![]));
}

#[tokio::test]
async fn failed_destination_does_not_affect_others() {
    for (fault, kind) in [
        (Fault::Deny, Kind::Denied),
        (Fault::FailAfter(0), Kind::Unavailable),
        (Fault::FailAfter(LONG / 2), Kind::Unavailable),
        (Fault::FailAfter(LONG), Kind::Unavailable),
    ] {
        let (near, far, pipeline) = two_stores();
        far.fault(Operation::Ship, fault);
        let shipped = pipeline.back_up(&order(), dumped(random(1, LONG)), &ignore()).await.unwrap();
        let [at_near, at_far] = &shipped.deliveries[..] else {
            panic!("{:?}", shipped.deliveries);
        };
        assert_eq!((at_near.destination.as_str(), at_far.destination.as_str()), ("near", "far"));
        at_near.result.as_ref().unwrap();
        assert_eq!(at_far.result.as_ref().unwrap_err().kind(), kind, "{fault:?}");
        assert_eq!(far.keys(), []);
        let manifest = manifest_of(&near);
        let results: Vec<_> = manifest.shipments.iter().map(|to| (to.destination.as_str(), to.arrived)).collect();
        assert_eq!(results, [("near", true), ("far", false)]);
        assert_eq!(manifest.shipments[0].bytes, manifest.artifact.sealed.bytes);
        read_back(&near, &manifest, None, &[], &ignore()).await.unwrap();
    }
}

#[tokio::test]
async fn destination_without_manifest_has_no_backup() {
    let (near, far, mut pipeline) = two_stores();
    pipeline.verify.push(Arc::new(FakeVerify::Finds(details())));
    for ending in [".details.json", "appdb-2026-06-07_091500.json"] {
        far.heal();
        far.fault_at(Operation::Ship, ending, Fault::Deny);
        for store in [&near, &far] {
            store.keys().iter().for_each(|key| store.lose(key));
        }
        let shipped = pipeline.back_up(&order(), dumped(random(1, 1000)), &ignore()).await.unwrap();
        shipped.deliveries[0].result.as_ref().unwrap();
        assert_eq!(shipped.deliveries[1].result.as_ref().unwrap_err().kind(), Kind::Denied, "{ending}");
        let catalog = Catalog::read(&far).await.unwrap();
        assert_eq!(catalog.backups().count(), 0);
        assert!(catalog.orphans.iter().any(|orphan| orphan.key == artifact()), "{:?}", catalog.orphans);
        assert_eq!(Catalog::read(&near).await.unwrap().backups().count(), 1);
    }
}

#[tokio::test]
async fn all_destinations_may_fail_independently() {
    let (near, far, pipeline) = two_stores();
    near.fault(Operation::Ship, Fault::Deny);
    far.fault(Operation::Ship, Fault::FailAfter(10));
    let shipped = pipeline.back_up(&order(), dumped(random(1, LONG)), &ignore()).await.unwrap();
    assert_eq!(shipped.manifest, None);
    let kinds = shipped.deliveries.iter().map(|delivery| delivery.result.as_ref().unwrap_err().kind());
    assert_eq!(kinds.collect::<Vec<_>>(), [Kind::Denied, Kind::Unavailable]);
    assert_eq!((near.keys(), far.keys()), (vec![], vec![]));
}

#[tokio::test]
async fn manifest_is_uploaded_last() {
    let (near, far, mut pipeline) = two_stores();
    pipeline.verify.push(Arc::new(FakeVerify::Finds(details())));
    pipeline.back_up(&order(), dumped(random(1, LONG)), &ignore()).await.unwrap();
    let stem = "main/appdb/appdb-2026-06-07_091500";
    let expected = [".dump", ".details.json", ".json"].map(|ending| key(&format!("{stem}{ending}")));
    assert_eq!(near.shipped(), expected);
    assert_eq!(far.shipped(), expected);
    // The manifest is also deleted first, so that a partly deleted backup is not one.
    assert_eq!(manifest_of(&near).keys().unwrap()[0], expected[2]);
}

#[tokio::test]
async fn confidential_details_are_encrypted() {
    let (near, _, mut pipeline) = two_stores();
    pipeline.encrypt = Some(Arc::new(Xor));
    pipeline.verify = vec![Arc::new(FakeVerify::Finds(Map::new())), Arc::new(FakeVerify::Finds(details()))];
    pipeline.back_up(&order(), dumped(random(1, 1000)), &ignore()).await.unwrap();

    let manifest = manifest_of(&near);
    assert_eq!(manifest.verified.len(), 2);
    let file = manifest.details.clone().unwrap();
    assert_eq!(file.key.as_str(), "main/appdb/appdb-2026-06-07_091500.details.json.xor");
    let sealed = near.get(&file.key).unwrap();
    assert_eq!(file.sealed, Digest::of(&sealed));
    let opened: Vec<u8> = sealed.iter().map(|byte| byte ^ 0x5A).collect();
    let mut opened = serde_json::from_slice::<Map<String, Value>>(&opened).unwrap();
    assert_eq!(opened["backup"]["time"], "2026-06-07T09:15:00Z");
    assert!(Provenance::mismatches(&manifest, &opened).is_empty());
    opened.remove(Provenance::KEY);
    assert_eq!(opened, details());
    for key in near.keys() {
        let bytes = near.get(&key).unwrap();
        let seen = bytes.windows(16).any(|window| window == b"secret_customers");
        assert!(!seen, "{key} contains a table name in plaintext");
    }
}

#[tokio::test]
async fn empty_reports_have_no_details() {
    let (near, _, mut pipeline) = two_stores();
    pipeline.verify.push(Arc::new(FakeVerify::Finds(Map::new())));
    pipeline.back_up(&order(), dumped(random(1, 1000)), &ignore()).await.unwrap();
    assert_eq!(manifest_of(&near).details, None);
    assert_eq!(near.keys().len(), 2);
}

#[tokio::test]
async fn second_backup_of_a_time_overwrites_nothing() {
    let (near, far, pipeline) = two_stores();
    pipeline.back_up(&order(), dumped(random(1, 1000)), &ignore()).await.unwrap();
    let first = manifest_of(&near);
    let shipped = pipeline.back_up(&order(), dumped(random(2, 1000)), &ignore()).await.unwrap();
    for delivery in &shipped.deliveries {
        assert_eq!(delivery.result.as_ref().unwrap_err().kind(), Kind::AlreadyExists);
    }
    for store in [&near, &far] {
        assert_eq!(manifest_of(store), first);
        read_back(store, &first, None, &[], &ignore()).await.unwrap();
    }
}

#[tokio::test]
async fn needs_differ_by_destination() {
    let (near, far, pipeline) = two_stores();
    let mut order = order();
    let globals = BackupName::new("main", "globals", order.time).unwrap();
    // The globals did not arrive at the other destination.
    order.needs = [("near".to_owned(), vec![globals.clone()])].into();
    pipeline.back_up(&order, dumped(random(1, 10)), &ignore()).await.unwrap();
    assert_eq!(manifest_of(&near).needs, [globals]);
    assert_eq!(manifest_of(&far).needs, []);
}

/// Archived WAL that arrives after a minute.
struct LateWal;

#[async_trait]
impl NeededWal for LateWal {
    async fn expect(&self, _: &Destination, _: &Manifest) -> Result<()> {
        tokio::time::sleep(Duration::from_secs(60)).await;
        Ok(())
    }
}

/// An observer that keeps warnings.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Observer for Warnings {
    fn event(&self, event: &Event<'_>) {
        if let Event::Warned(text) = event {
            self.0.lock().unwrap().push((*text).to_owned());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_archived_wal_is_reported() {
    let (near, _, mut pipeline) = two_stores();
    let facts = json!({
        "timeline": 1, "start_lsn": "0/2000028", "stop_lsn": "0/2000130", "wal": "archive",
        "wal_segment_bytes": 16 << 20, "from_standby": false, "page_checksums": true, "settings": {},
        "files": 1, "file_bytes": 3
    });
    pipeline.verify = vec![Arc::new(FakeVerify::FindsBase(serde_json::from_value(facts).unwrap()))];
    pipeline.needed_wal = Some(Arc::new(LateWal));
    let warnings = Arc::new(Warnings::default());
    let observer: Arc<dyn Observer> = Arc::clone(&warnings) as _;
    let shipped = pipeline.back_up(&order(), dumped(random(1, 10)), &observer).await.unwrap();
    assert!(shipped.deliveries.iter().all(|delivery| delivery.result.is_ok()));
    assert!(manifest_of(&near).base.is_some());
    let warnings = warnings.0.lock().unwrap();
    assert!(warnings.len() == 2 && warnings[0].contains("waiting for the server to archive"), "{warnings:?}");
}
