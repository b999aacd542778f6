//! The copies, repairs and reports of a sync.

use longshore_testkit::memory::{Fault, MemoryStore, Operation};

use super::*;
use crate::fixture::{catalogued, job, put_base, put_chain, put_run, put_run_with, rename_as_0_1_0, with_backup};

#[tokio::test]
async fn unreadable_backup_is_reported_as_not_damaged() {
    let ((store, at), job) = (with_backup().await, job(None));
    let (found, unread) = find_damaged(&job, std::slice::from_ref(&at), Mode::Act, &ignore()).await;
    assert_eq!((found.len(), unread.len()), (0, 0));
    store.fault(Operation::Fetch, Fault::FailAfter(1));
    let (found, unread) = find_damaged(&job, &[at], Mode::Act, &ignore()).await;
    assert_eq!((found.len(), unread.len()), (0, 1));
    let synced = Synced { problems: unread, ..Synced::default() };
    assert!(!synced.succeeded() && !synced.problems[0].damaged);
}

#[tokio::test]
async fn damage_mark_is_reported_until_a_read_succeeds() {
    let (store, _) = with_backup().await;
    let name = crate::fixture::manifest().name().unwrap();
    longshore_catalog::mark::put(&mark(None, "a bit flipped"), &store, &name, MarkKind::Damaged, Utc::now())
        .await
        .unwrap();
    let at = [catalogued(&store).await];
    let planned = plan(&job(None), None, &at, &BTreeMap::new(), Repair::No).unwrap();
    assert!(planned.unrepaired.len() == 1 && planned.unrepaired[0].damaged);
    let (found, _) = find_damaged(&job(None), &at, Mode::Act, &ignore()).await;
    assert!(found.is_empty());
    assert!(catalogued(&store).await.catalog.backups().all(Backup::is_good));
}

#[tokio::test]
async fn repaired_backup_is_good_despite_a_recent_damage_mark() {
    let ((good, good_at), (bad, _)) = (with_backup().await, with_backup().await);
    drop(good);
    let manifest = crate::fixture::manifest();
    bad.put(&manifest.artifact.key, "abd");
    let bad_at = catalogued(&bad).await;
    let (found, _) = find_damaged(&job(None), std::slice::from_ref(&bad_at), Mode::Act, &ignore()).await;
    assert_eq!(found.len(), 1);
    assert!(!catalogued(&bad).await.catalog.backups().all(Backup::is_good));
    let backup = good_at.catalog.backups().next().unwrap();
    let planned =
        PlannedCopy { backup, why: CopyReason::Damaged, to: &bad_at, from: vec![&good_at], leftovers: Leftovers::Kept };
    let (copied, damaged) = copy_backup(&planned, &ignore()).await;
    assert!(copied.error.is_none() && damaged.is_empty());
    assert!(catalogued(&bad).await.catalog.backups().all(Backup::is_good));
}

#[tokio::test]
async fn damaged_source_is_marked_and_the_next_one_is_used() {
    let ((good, good_at), (bad, _), to) = (with_backup().await, with_backup().await, MemoryStore::new());
    bad.put(&crate::fixture::manifest().artifact.key, "abd");
    let named = async |name: &str, store| Catalogued { name: name.to_owned(), ..catalogued(store).await };
    let (good_at, bad_at, to_at) =
        (Catalogued { name: "good".to_owned(), ..good_at }, named("bad", &bad).await, named("to", &to).await);
    let backup = good_at.catalog.backups().next().unwrap();
    let planned = PlannedCopy {
        backup,
        why: CopyReason::Missing,
        to: &to_at,
        from: vec![&bad_at, &good_at],
        leftovers: Leftovers::Kept,
    };
    let (copied, damaged) = copy_backup(&planned, &ignore()).await;
    assert!(copied.error.is_none() && copied.from == "good", "{copied:?}");
    assert!(damaged.keys().eq([&("bad".to_owned(), backup.name.clone())]), "{damaged:?}");
    assert!(!catalogued(&bad).await.catalog.backups().any(Backup::is_good));
    assert!(catalogued(&to).await.catalog.backups().all(Backup::is_good));
    assert!(catalogued(&good).await.catalog.backups().all(Backup::is_good));
}

#[tokio::test]
async fn damage_by_the_destination_does_not_mark_the_source() {
    let ((_, good_at), to) = (with_backup().await, MemoryStore::new());
    to.fault(Operation::Ship, Fault::Vanish);
    let to_at = catalogued(&to).await;
    let backup = good_at.catalog.backups().next().unwrap();
    let planned =
        PlannedCopy { backup, why: CopyReason::Missing, to: &to_at, from: vec![&good_at], leftovers: Leftovers::Kept };
    let (copied, damaged) = copy_backup(&planned, &ignore()).await;
    assert!(copied.error.is_some() && damaged.is_empty(), "{copied:?}");
}

#[tokio::test]
async fn backups_of_0_1_0_are_copied_under_their_names() {
    let (from, to) = (MemoryStore::new(), MemoryStore::new());
    put_run_with(&from, "2026-05-01_030000", &["base", "wal"], "", rename_as_0_1_0);
    put_run(&from, "2026-05-02_030000", &["base", "wal"]);
    put_base(&from, "2026-05-03_030000");
    let read = async || {
        let named = async |name: &str, store| Catalogued { name: name.to_owned(), ..catalogued(store).await };
        [named("from", &from).await, named("to", &to).await]
    };
    let all = read().await;
    let planned = plan(&job(None), None, &all, &BTreeMap::new(), Repair::No).unwrap();
    let copies: Vec<_> = planned.copies.iter().flatten().collect();
    assert_eq!(copies.len(), 7);
    for planned in copies {
        let (copied, damaged) = copy_backup(planned, &ignore()).await;
        assert!(copied.error.is_none() && damaged.is_empty(), "{copied:?}");
    }
    assert_eq!(to.keys(), from.keys());
    let all = read().await;
    let planned = plan(&job(None), None, &all, &BTreeMap::new(), Repair::Yes).unwrap();
    assert!(planned.copies.iter().flatten().next().is_none() && planned.unrepaired.is_empty());
}

#[tokio::test]
async fn base_backup_is_copied_after_the_dumps_of_its_run() {
    let (from, to) = (MemoryStore::new(), MemoryStore::new());
    put_run(&from, "2026-05-01_030000", &["app"]);
    put_base(&from, "2026-05-01_030000");
    let all = [catalogued(&from).await, Catalogued { name: "to".to_owned(), ..catalogued(&to).await }];
    let planned = plan(&job(None), None, &all, &BTreeMap::new(), Repair::No).unwrap();
    let order: Vec<_> = planned.copies.iter().flatten().map(|copy| copy.backup.manifest.subject.to_string()).collect();
    assert_eq!(order, ["globals", "app", "base"]);
}

#[tokio::test]
async fn parents_are_copied_before_their_children() {
    let (from, to) = (MemoryStore::new(), MemoryStore::new());
    let times = ["2026-05-01_030000", "2026-05-02_030000", "2026-05-03_030000"];
    let chain = put_chain(&from, &times);
    put_base(&from, "2026-04-01_030000");
    put_run(&from, "2026-05-02_120000", &["app"]);
    let named = async |name: &str, store| Catalogued { name: name.to_owned(), ..catalogued(store).await };
    let all = [named("from", &from).await, named("to", &to).await];
    let planned = || plan(&job(None), None, &all, &BTreeMap::new(), Repair::No).unwrap().copies.remove(1);
    let names = |group: &[PlannedCopy<'_>]| group.iter().map(|planned| planned.backup.name.clone()).collect::<Vec<_>>();
    let chain: Vec<_> = chain.iter().map(|manifest| manifest.name().unwrap()).collect();
    let groups = in_chains(planned());
    assert_eq!(names(&groups[0]), chain, "the newest chain first, from its full backup on");
    let others: Vec<_> = groups[1..].iter().map(|group| names(group).len()).collect();
    assert_eq!(others, [1, 1, 1], "two of a run, and an older full backup");

    to.fault(Operation::Ship, Fault::Deny);
    let results = copy_group(&groups[0], &ignore()).await;
    let errors: Vec<_> = results.iter().map(|(copied, _)| copied.error.as_ref().unwrap().message.clone()).collect();
    assert!(!errors[0].contains("continues") && errors[1..].iter().all(|error| error.contains(chain[0].as_str())));
    to.heal();
    let results = copy_group(&groups[0], &ignore()).await;
    assert!(results.iter().all(|(copied, _)| copied.error.is_none()));
    let catalog = Catalog::read(&to).await.unwrap();
    assert_eq!(catalog.backups().filter(|backup| backup.is_good()).count(), 3);
}
