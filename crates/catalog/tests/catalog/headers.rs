//! The headers beside a backup's files.

use longshore_catalog::catalog::Catalog;
use longshore_core::key::Key;
use longshore_core::subject::Subject;
use longshore_testkit::memory::MemoryStore;

use crate::{TIMES, back_up, key, orphans, series};

/// Returns the key of a header of a file of the oldest backup of `app`, made on this day.
fn header(suffix: &str, day: u32) -> Key {
    let stamp = format!("2026-11-{day}_000000-1f0c9a7e5d3b2c4a");
    key(&format!("main/app/app-{}{suffix}.header.{stamp}.age-header", TIMES[0]))
}

#[tokio::test]
async fn headers_belong_to_their_backup() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES).await;
    let of_artifact = [header(".dump.zst.age", 10), header(".dump.zst.age", 20)];
    let of_details = header(".details.json.age", 10);
    let of_mark = header(".drilled.2026-07-01_120000.details.json.age", 10);
    for header in of_artifact.iter().chain([&of_details, &of_mark]) {
        store.put(header, "a header");
    }
    let stranger = key(&format!("main/app/app-{}.dump.header.txt", TIMES[0]));
    store.put(&stranger, "notes");
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(orphans(&catalog), [stranger]);
    let backups = &catalog.series[&series("app", "nightly")];
    assert!(backups[1..].iter().all(|backup| backup.headers.is_empty()));
    let artifact = key(&format!("main/app/app-{}.dump.zst.age", TIMES[0]));
    let newest_first: Vec<_> = backups[0].headers_of(&artifact).map(|header| header.key().unwrap()).collect();
    assert_eq!(newest_first, [of_artifact[1].clone(), of_artifact[0].clone()]);

    // The manifest is deleted first, and the headers after the files that it names.
    let keys = backups[0].keys().unwrap();
    assert_eq!(keys[0], backups[0].name.manifest());
    let place = |wanted: &Key| keys.iter().position(|key| key == wanted).unwrap();
    let artifact = place(&backups[0].manifest.artifact.key);
    assert!(of_artifact.iter().chain([&of_details, &of_mark]).all(|header| place(header) > artifact));
    assert_eq!(backups[0].lockable_keys().unwrap(), keys);
}

#[tokio::test]
async fn headers_without_a_backup_are_orphans() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES[1..]).await;
    let header = header(".dump.zst.age", 10);
    store.put(&header, "a header");
    assert_eq!(orphans(&Catalog::read(&store).await.unwrap()), [header]);
}
