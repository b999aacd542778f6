//! A second read of an unchanged destination fetches nothing.

use std::sync::Arc;

use chrono::Utc;
use longshore_catalog::catalog::Catalog;
use longshore_catalog::mark;
use longshore_catalog::record_cache::{CachedStore, RecordCache};
use longshore_core::key::{BackupName, Timestamp};
use longshore_core::mark::{Mark, MarkKind};
use longshore_core::stage::Store;
use longshore_core::subject::Subject;
use longshore_testkit::memory::{Fault, MemoryStore, Operation};

use crate::manifest_of_format_1;

/// Stores a backup, and returns its name.
fn put(store: &MemoryStore, time: &str) -> BackupName {
    let mut manifest = manifest_of_format_1();
    (manifest.subject, manifest.time) = (Subject::database("shop"), Timestamp::parse(time).unwrap());
    (manifest.needs, manifest.details) = (Vec::new(), None);
    let name = manifest.name().unwrap();
    manifest.artifact.key = name.artifact(".dump.zst.age").unwrap();
    store.put(&manifest.artifact.key.clone(), vec![0; usize::try_from(manifest.artifact.sealed.bytes).unwrap()]);
    store.put(&name.manifest(), manifest.to_bytes().unwrap());
    name
}

async fn read(store: &MemoryStore, cache: &Arc<RecordCache>) -> Catalog {
    let cached: Arc<dyn Store> = Arc::new(CachedStore::new(Arc::new(store.clone()), Arc::clone(cache)));
    Catalog::read_cached(&*cached, cache).await.unwrap()
}

#[tokio::test]
async fn unchanged_destination_costs_lists_alone() {
    let (store, cache) = (MemoryStore::new(), Arc::default());
    let name = put(&store, "2026-06-05_030000");
    // The reason of a hold is in the mark, and not in its name.
    let hold = Mark { why: "audit".to_owned(), ..Mark::default() };
    mark::put(&hold, &store, &name, MarkKind::Hold, Utc::now()).await.unwrap();
    let first = read(&store, &cache).await;
    store.fault(Operation::Fetch, Fault::Deny);
    let second = read(&store, &cache).await;
    let backups = |catalog: &Catalog| catalog.backups().cloned().collect::<Vec<_>>();
    assert_eq!(backups(&first), backups(&second));
    assert_eq!(second.backups().next().unwrap().marks.held.as_ref().unwrap().why, "audit");
    // A new backup is fetched, alone.
    store.heal();
    put(&store, "2026-06-06_030000");
    store.fault_at(Operation::Fetch, "2026-06-05_030000.json", Fault::Deny);
    assert_eq!(read(&store, &cache).await.backups().count(), 2);
}

#[tokio::test]
async fn removed_and_changed_records_leave_the_cache() {
    let (store, cache) = (MemoryStore::new(), Arc::default());
    let (first, second) = (put(&store, "2026-06-05_030000"), put(&store, "2026-06-06_030000"));
    assert_eq!(read(&store, &cache).await.backups().count(), 2);
    store.lose(&first.manifest());
    store.damage(&second.manifest(), |bytes| bytes.truncate(10));
    let catalog = read(&store, &cache).await;
    assert_eq!((catalog.backups().count(), catalog.unreadable.len()), (0, 1));
}
