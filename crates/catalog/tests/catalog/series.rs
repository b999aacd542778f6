//! The series of a catalog: complete, in order, and never mixed up.

use longshore_catalog::catalog::Catalog;
use longshore_core::key::Timestamp;
use longshore_core::subject::Subject;
use longshore_testkit::memory::MemoryStore;

use crate::{TIMES, back_up, series, times};

#[tokio::test]
async fn an_empty_destination_has_an_empty_catalog() {
    let catalog = Catalog::read(&MemoryStore::new()).await.unwrap();
    assert!(catalog.series.is_empty() && catalog.unreadable.is_empty() && catalog.orphans.is_empty());
}

#[tokio::test]
async fn series_are_listed_oldest_first() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &[TIMES[2], TIMES[0], TIMES[1]]).await;
    back_up(&store, "nightly", &Subject::Globals, &TIMES[..1]).await;
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(catalog.series.len(), 2);
    assert_eq!(times(&catalog, &series("app", "nightly")), TIMES);
    assert_eq!(catalog.backups().count(), 4);
    assert!(catalog.backups().all(|backup| backup.is_good()));
    assert!(catalog.orphans.is_empty() && catalog.unreadable.is_empty());
}

#[tokio::test]
async fn catalog_contains_more_than_one_batch() {
    let store = MemoryStore::new();
    let start = Timestamp::parse(TIMES[0]).unwrap().time();
    let timestamps: Vec<_> =
        (0..200).map(|hour| Timestamp::new(start + chrono::TimeDelta::hours(hour)).to_string()).collect();
    let timestamps: Vec<_> = timestamps.iter().map(String::as_str).collect();
    back_up(&store, "hourly", &Subject::database("app"), &timestamps).await;
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(times(&catalog, &series("app", "hourly")), timestamps);
}

#[tokio::test]
async fn similar_names_are_different_series() {
    let store = MemoryStore::new();
    let names = [
        "app",
        "app-prod",
        "app_prod",
        "a/b",
        "a_b",
        "a%2Fb",
        "App",
        "app-2026-06-05_030000",
        "globals",
        "app.details",
        "ä",
    ];
    for name in names {
        back_up(&store, "nightly", &Subject::database(name), &TIMES[..1]).await;
    }
    back_up(&store, "nightly", &Subject::Globals, &TIMES[..1]).await;
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(catalog.series.len(), names.len() + 1);
    assert!(catalog.orphans.is_empty() && catalog.unreadable.is_empty());
    for name in names {
        let backups = &catalog.series[&series(name, "nightly")];
        assert_eq!(backups.len(), 1, "{name}");
        assert!(backups[0].is_good(), "{name}");
    }
}

#[tokio::test]
async fn jobs_of_one_database_have_separate_series() {
    let store = MemoryStore::new();
    back_up(&store, "nightly", &Subject::database("app"), &TIMES[..2]).await;
    back_up(&store, "hourly", &Subject::database("app"), &TIMES[2..]).await;
    let catalog = Catalog::read(&store).await.unwrap();
    assert_eq!(times(&catalog, &series("app", "nightly")), TIMES[..2]);
    assert_eq!(times(&catalog, &series("app", "hourly")), TIMES[2..]);
}
