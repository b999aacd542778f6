use chrono::TimeDelta;
use longshore_testkit::memory::{Fault, MemoryStore, Operation};
use tempfile::TempDir;

use longshore_core::manifest::Manifest;

use super::*;
use crate::fixture::{config, put, put_chain};

const FULL: &str = "2026-06-01_030000";
const CHILD: &str = "2026-06-02_030000";

fn time(text: &str) -> DateTime<Utc> {
    Timestamp::parse(text).unwrap().time()
}

fn settings(more: &str) -> Settings {
    toml::from_str(&format!("full_every = '7d'\n{more}")).unwrap()
}

/// Stores a full base backup, and an incremental one of the next day. Returns the manifest of the
/// latter.
fn chain(store: &MemoryStore) -> Manifest {
    put_chain(store, &[FULL, CHILD]).remove(1)
}

/// Returns the state after the chain.
fn newest(child: &Manifest) -> Newest {
    Newest {
        name: child.name().unwrap(),
        sealed: child.artifact.sealed.clone(),
        system_identifier: child.cluster.server.system_identifier.clone().unwrap(),
        server_version: child.cluster.server.server_version.clone(),
        history: "digest".to_owned(),
        base: child.base.clone().unwrap(),
        destinations: ["there".to_owned()].into(),
        full_time: Timestamp::parse(FULL).unwrap(),
        incrementals: 1,
    }
}

fn at(store: &MemoryStore) -> Destination {
    Destination { name: "there".to_owned(), store: Arc::new(store.clone()) }
}

#[test]
fn chain_ends_by_age_length_and_clock() {
    let newest = newest(&chain(&MemoryStore::new()));
    let is_due = |more: &str, at| newest.is_full_due(&settings(more), at);
    assert!(!is_due("", time("2026-06-03_030000")));
    assert!(!is_due("", time("2026-06-08_015900")));
    assert!(is_due("", time("2026-06-08_025959")), "a second early on the seventh day");
    assert!(is_due("max_incrementals = 1", time("2026-06-03_030000")));
    assert!(!is_due("max_incrementals = 2", time("2026-06-03_030000")));
    assert!(is_due("", time(CHILD)), "the parent is not older");
}

#[tokio::test]
async fn destination_must_show_the_whole_chain() {
    let store = MemoryStore::new();
    let child = chain(&store);
    let newest = newest(&child);
    let settings = settings("");
    assert_eq!(newest.look_up(&at(&store), &settings).await, Found::Good);
    let reason = async |newest: &Newest, store: &MemoryStore| match newest.look_up(&at(store), &settings).await {
        Found::Unusable(reason) => reason,
        found => panic!("{found:?}"),
    };
    let full = BackupName::from_manifest_key(&child.needs[0].manifest()).unwrap();
    let lost = MemoryStore::new();
    let other = Newest { sealed: Digest::of(b"other"), ..newest.clone() };
    assert!(reason(&other, &store).await.contains("another backup"));
    assert!(reason(&newest, &lost).await.contains("lacks main/base/"));
    store.lose(&full.artifact(".base.tar.zst.age").unwrap());
    let damaged = reason(&newest, &store).await;
    assert!(damaged.contains(&format!("continues {}", full.file_name())), "{damaged}");
}

#[tokio::test]
async fn destination_that_shows_nothing_is_trusted_only_by_setting() {
    let store = MemoryStore::new();
    let newest = newest(&chain(&store));
    store.fault(Operation::List, Fault::Deny);
    let found = newest.look_up(&at(&store), &settings("")).await;
    assert!(matches!(&found, Found::Unusable(full) if full.contains("\"there\" does not show")), "{found:?}");
    let trusting = settings("parent_unseen = 'trust'");
    let found = newest.look_up(&at(&store), &trusting).await;
    assert!(matches!(&found, Found::Trusted(warning) if warning.contains("does not show")), "{found:?}");
    // The destination failed when the backup was made.
    let absent = Newest { destinations: BTreeSet::new(), ..newest };
    let found = absent.look_up(&at(&store), &trusting).await;
    assert!(matches!(&found, Found::Unusable(reason) if reason.contains("did not receive")), "{found:?}");
}

#[test]
fn state_names_the_manifest_of_the_newest_backup() {
    let (store, folder) = (MemoryStore::new(), TempDir::new().unwrap());
    let child = chain(&store);
    let config = config(folder.path(), &store, None);
    let job = config.jobs.values().next().unwrap();
    assert!(Newest::read(&config, job).unwrap().is_none());
    let newest = newest(&child);
    let manifest = |text: &str| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    };
    let earlier = Newest { name: child.needs[0].clone(), ..newest.clone() };
    earlier.write(&config, job, &manifest("earlier")).unwrap();
    newest.write(&config, job, &manifest("newest")).unwrap();
    let read = Newest::read(&config, job).unwrap().unwrap();
    assert_eq!((&read.name, &read.base, read.incrementals), (&newest.name, &newest.base, 1));
    let parent = read.parent(&config, job).unwrap();
    assert_eq!(fs::read_to_string(&parent.manifest).unwrap(), "newest");
    let state = folder.path().join("state").join(FOLDER);
    assert_eq!(fs::read_dir(&state).unwrap().count(), 2, "the manifest of the earlier backup was removed");
    Incrementals { config: &config, job, newest: None }.forget().unwrap();
    assert!(Newest::read(&config, job).unwrap().is_none());
    fs::write(state.join(format!("{}.json", prefix(&config, job))), "{").unwrap();
    assert!(Newest::read(&config, job).unwrap_err().remedy().is_some());
}

#[tokio::test]
async fn damaged_link_makes_its_successors_bad() {
    let store = MemoryStore::new();
    let [_, child, grandchild] = &put_chain(&store, &[FULL, CHILD, "2026-06-03_030000"])[..] else { unreachable!() };
    let good = async || {
        let catalog = Catalog::read(&store).await.unwrap();
        catalog.backups().map(|backup| backup.candidate().good).collect::<Vec<_>>()
    };
    assert_eq!(good().await, [true; 3]);
    let mut foreign = grandchild.clone();
    foreign.base.as_mut().unwrap().incremental_from = Some("8/28".parse().unwrap());
    put(&store, &foreign);
    assert_eq!(good().await, [true, true, false], "it continues another backup");
    put(&store, grandchild);
    store.lose(&child.name().unwrap().manifest());
    assert_eq!(good().await, [true, false], "its parent is missing");
    put(&store, child);
    store.lose(&child.needs[0].manifest());
    assert_eq!(good().await, [false, false], "the full backup is missing");
}

#[test]
fn backups_dated_after_the_run_end_the_chain() {
    let newest = newest(&chain(&MemoryStore::new()));
    assert!(newest.is_full_due(&settings(""), time(CHILD) - TimeDelta::days(1)));
}
