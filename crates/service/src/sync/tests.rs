//! The copies, repairs and reports of a sync.

use longshore_testkit::memory::{Fault, MemoryStore, Operation};

use super::*;
use crate::sample::{catalogued, job, with_backup};

#[tokio::test]
async fn what_cannot_be_read_is_neither_damaged_nor_passed_over() {
    let ((store, at), job) = (with_backup().await, job(None));
    let (found, unread) = damaged(&job, std::slice::from_ref(&at), Mode::Act, &unwatched()).await;
    assert_eq!((found.len(), unread.len()), (0, 0));
    store.fault(Operation::Fetch, Fault::FailAfter(1));
    let (found, unread) = damaged(&job, &[at], Mode::Act, &unwatched()).await;
    assert_eq!((found.len(), unread.len()), (0, 1));
    let synced = Synced { copies: Vec::new(), problems: unread };
    assert!(!synced.succeeded() && !synced.problems[0].damaged);
}

#[tokio::test]
async fn what_was_noted_as_damaged_is_told_until_it_is_read_again_and_found_sound() {
    let (store, _) = with_backup().await;
    let name = crate::sample::manifest().name().unwrap();
    let mark = mark(None, "a bit flipped");
    longshore_catalog::mark::put(&mark, &store, &name, Says::Damaged, Utc::now()).await.unwrap();
    let at = [catalogued(&store).await];
    let planned = plan(&job(None), None, &at, &BTreeMap::new(), Repair::No).unwrap();
    assert!(planned.hopeless.len() == 1 && planned.hopeless[0].damaged);
    let (found, _) = damaged(&job(None), &at, Mode::Act, &unwatched()).await;
    assert!(found.is_empty());
    assert!(catalogued(&store).await.catalog.backups().all(Backup::is_good));
}

#[tokio::test]
async fn what_was_mended_is_good_again_whatever_was_noted_in_the_same_second() {
    let ((good, good_at), (bad, _)) = (with_backup().await, with_backup().await);
    drop(good);
    let manifest = crate::sample::manifest();
    bad.put(&manifest.artifact.key, "abd");
    let bad_at = catalogued(&bad).await;
    let (found, _) = damaged(&job(None), std::slice::from_ref(&bad_at), Mode::Act, &unwatched()).await;
    assert_eq!(found.len(), 1);
    assert!(!catalogued(&bad).await.catalog.backups().all(Backup::is_good));
    let backup = good_at.catalog.backups().next().unwrap();
    let planned = Planned { backup, why: Why::Damaged, to: &bad_at, from: vec![&good_at], remnant: Remnant::Kept };
    let (copied, damaged) = one(&planned, &unwatched()).await;
    assert!(copied.error.is_none() && damaged.is_empty());
    assert!(catalogued(&bad).await.catalog.backups().all(Backup::is_good));
}

#[tokio::test]
async fn a_source_that_is_damaged_is_told_and_noted_and_another_serves() {
    let ((good, good_at), (bad, _), to) = (with_backup().await, with_backup().await, MemoryStore::new());
    bad.put(&crate::sample::manifest().artifact.key, "abd");
    let named = async |name: &str, store| Catalogued { name: name.to_owned(), ..catalogued(store).await };
    let (good_at, bad_at, to_at) =
        (Catalogued { name: "good".to_owned(), ..good_at }, named("bad", &bad).await, named("to", &to).await);
    let backup = good_at.catalog.backups().next().unwrap();
    let planned =
        Planned { backup, why: Why::Missing, to: &to_at, from: vec![&bad_at, &good_at], remnant: Remnant::Kept };
    let (copied, damaged) = one(&planned, &unwatched()).await;
    assert!(copied.error.is_none() && copied.from == "good", "{copied:?}");
    assert!(damaged.keys().eq([&("bad".to_owned(), backup.name.clone())]), "{damaged:?}");
    assert!(!catalogued(&bad).await.catalog.backups().any(Backup::is_good));
    assert!(catalogued(&to).await.catalog.backups().all(Backup::is_good));
    assert!(catalogued(&good).await.catalog.backups().all(Backup::is_good));
}

#[tokio::test]
async fn a_destination_that_damages_what_it_takes_is_no_fault_of_the_source() {
    let ((_, good_at), to) = (with_backup().await, MemoryStore::new());
    to.fault(Operation::Ship, Fault::Vanish);
    let to_at = catalogued(&to).await;
    let backup = good_at.catalog.backups().next().unwrap();
    let planned = Planned { backup, why: Why::Missing, to: &to_at, from: vec![&good_at], remnant: Remnant::Kept };
    let (copied, damaged) = one(&planned, &unwatched()).await;
    assert!(copied.error.is_some() && damaged.is_empty(), "{copied:?}");
}
