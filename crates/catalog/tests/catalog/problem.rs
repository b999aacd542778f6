//! Missing, damaged, moved and foreign files are reported, and hide no other backup.

use std::sync::Arc;

use longshore_catalog::catalog::{Catalog, Presence};
use longshore_core::event::ignore;
use longshore_core::manifest::{MAX_MANIFEST_BYTES, Manifest};
use longshore_core::subject::Subject;
use longshore_core::{Kind, Stage};
use longshore_testkit::fake_stage::{FakeVerify, dumped, order, pipeline};
use longshore_testkit::memory::{Fault, MemoryStore, Operation};
use longshore_testkit::stream::random;

use crate::{TIMES, back_up, key, orphans, series, times};

#[tokio::test]
async fn missing_or_truncated_artifact_is_reported() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    store.lose(&key("main/app/app-2026-06-05_030000.dump"));
    store.damage(&key("main/app/app-2026-06-06_030000.dump"), |bytes| bytes.truncate(10));
    let catalog = Catalog::read(&store).await.unwrap();
    let found = catalog.backups().map(|backup| backup.artifact);
    assert_eq!(found.collect::<Vec<_>>(), [Presence::Missing, Presence::OtherSize(10), Presence::Whole]);
}

#[tokio::test]
async fn damaged_manifest_hides_no_other() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    let manifests = TIMES.map(|time| key(&format!("main/app/app-{time}.json")));
    store.damage(&manifests[0], |bytes| bytes.truncate(100));
    store.damage(&manifests[1], |bytes| bytes.resize(MAX_MANIFEST_BYTES + 1, b' '));
    let strangers = key("main/app/notes.json");
    store.put(&strangers, "{}");
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(times(&catalog, &series("app", "nightly")), TIMES[2..]);
    let unreadable: Vec<_> = catalog.unreadable.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(unreadable, manifests[..2]);
    assert_eq!(orphans(&catalog), [strangers], "a foreign file with a manifest's suffix is an orphan");
    for (key, error) in &catalog.unreadable {
        assert_eq!((error.kind(), error.subject()), (Kind::Corrupt, key.as_str()));
    }
}

#[tokio::test]
async fn moved_manifest_is_reported() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES[..1]).await;
    let there = key("main/app/app-2026-06-05_030000.json");
    let moved = key("main/other/other-2026-06-05_030000.json");
    store.put(&moved, store.get(&there).unwrap());
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(catalog.backups().count(), 1);
    assert_eq!(catalog.unreadable.len(), 1);
    assert_eq!(catalog.unreadable[0].0, moved);
    let error = Manifest::from_bytes(&moved, &store.get(&moved).unwrap()).unwrap_err();
    assert!(error.to_string().contains("another backup"), "{error}");
}

#[tokio::test]
async fn files_of_a_damaged_manifest_are_no_orphans() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES[..2]).await;
    // One manifest is from a newer version, and the other is damaged: deleting their artifacts
    // would destroy backups.
    store.put(&key(&format!("main/app/app-{}.json", TIMES[0])), r#"{"format":3}"#);
    store.put(&key(&format!("main/app/app-{}.json", TIMES[1])), "damaged");
    store.put(&key(&format!("main/app/app-{}.details.json.xor", TIMES[1])), "details");
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(catalog.unreadable.len(), 2);
    assert_eq!(orphans(&catalog), []);
}

#[tokio::test]
async fn details_of_a_manifest_are_no_orphan() {
    let store = MemoryStore::new();
    let mut pipeline = pipeline([("memory", store.clone())]);
    let details = serde_json::Map::from_iter([("tables".to_owned(), 17.into())]);
    pipeline.verify.push(Arc::new(FakeVerify::Finds(details)));
    let order = order("nightly", &Subject::database("app"), TIMES[0]);
    pipeline.back_up(&order, dumped(random(1, 10)), &ignore()).await.unwrap();
    assert_eq!(store.keys().len(), 3);
    assert_eq!(orphans(&Catalog::read(&store).await.unwrap()), []);
}

#[tokio::test]
async fn unnamed_files_are_orphans() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    let mut orphans = Vec::new();
    for text in [
        "main/app/app-2026-06-07_030000.dump.zst",
        "main/app/app-2026-06-08_030000.details.json",
        "main/app/app-2026-06-08_030000.dump",
        "other/file.txt",
    ] {
        store.put(&key(text), "x");
        orphans.push(key(text));
    }
    store.lose(&key("main/app/app-2026-06-05_030000.json"));
    orphans.insert(0, key("main/app/app-2026-06-05_030000.dump"));
    assert_eq!(self::orphans(&Catalog::read(&store).await.unwrap()), orphans);
}

#[tokio::test]
async fn failed_listing_is_never_a_short_catalog() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    for entries in 0..=6 {
        store.heal();
        store.fault(Operation::List, Fault::FailAfter(entries));
        let error = Catalog::read(&store).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "after {entries}");
    }
}

#[tokio::test]
async fn lost_connection_is_never_a_short_catalog() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    // The connection is lost while a manifest is fetched, which is not evidence about the manifest.
    for fault in [Fault::FailAfter(0), Fault::FailAfter(100), Fault::FailAfter(u64::MAX)] {
        store.heal();
        store.fault_at(Operation::Fetch, "2026-06-06_030000.json", fault);
        let error = Catalog::read(&store).await.expect_err("the read fails");
        assert_eq!((error.stage(), error.kind()), (Stage::Ship, Kind::Unavailable), "{fault:?}");
    }
}

#[tokio::test]
async fn denied_manifest_hides_no_other() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    store.fault_at(Operation::Fetch, "2026-06-06_030000.json", Fault::Deny);
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(catalog.backups().count(), 2);
    let [(key, error)] = &catalog.unreadable[..] else { panic!("expected one unreadable manifest") };
    assert_eq!((key.file_name(), error.kind()), ("app-2026-06-06_030000.json", Kind::Denied));
    assert!(catalog.orphans.is_empty(), "the artifact is not an orphan");
}

/// The listing contains a deleted manifest: a prune is running, or the store's listing is stale.
#[tokio::test]
async fn deleted_manifest_is_no_backup() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    store.fault_at(Operation::Fetch, "2026-06-06_030000.json", Fault::Vanish);
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(catalog.backups().count(), 2);
    assert!(catalog.unreadable.is_empty());
}
