//! The results of a verification, and the marks that it stores.

use longshore_core::plugin::{Ask, Passphrase, Plugin};
use longshore_testkit::fake_stage::FakeVerify;
use longshore_testkit::memory::{Fault, Operation};
use secrecy::SecretString;

use super::*;
use crate::fixture::{job, with_backup};

/// A verifier that rejects every dump.
#[derive(Clone, serde::Deserialize, schemars::JsonSchema)]
struct Rejects {}

impl Plugin<dyn Verify> for Rejects {
    const TYPE: &'static str = "rejects";

    fn build(self, _: &JobContext) -> Result<Box<dyn Verify>> {
        Ok(Box::new(FakeVerify::Rejects))
    }
}

struct NoAnswer;

impl Ask for NoAnswer {
    fn secret(&self, _: &str) -> Option<SecretString> {
        None
    }
}

fn registry() -> Registry {
    let mut registry = Registry { default_verify: vec![Rejects::TYPE.to_owned()], ..Registry::default() };
    registry.verify.add::<Rejects>();
    registry
}

async fn read(at: &Catalogued) -> Option<VerifyResult> {
    let registry = registry();
    let config = Config::default();
    let identities = Identities {
        files: Vec::new(),
        texts: Vec::new(),
        passphrase: Passphrase::Unused,
        ask: Arc::new(NoAnswer),
        programs: Default::default(),
    };
    let verifier = BackupVerifier {
        config: &config,
        registry: &registry,
        identities: &identities,
        job: None,
        scratch_dir: None,
        observer: longshore_core::event::ignore(),
    };
    verifier.verify_backup(at, at.catalog.backups().next().unwrap()).await
}

#[tokio::test]
async fn backup_pruned_during_verification_is_skipped() {
    let (store, at) = with_backup().await;
    assert_eq!(read(&at).await.unwrap().depth, Some(Depth::Sealed));
    for key in at.catalog.backups().next().unwrap().manifest.keys().unwrap() {
        store.lose(&key);
    }
    assert!(read(&at).await.is_none());
}

#[tokio::test]
async fn result_is_marked_once_until_it_changes() {
    let (store, _) = with_backup().await;
    let artifact = crate::fixture::manifest().artifact.key;
    let marks = || async {
        let at = crate::fixture::catalogued(&store).await;
        let backup = at.catalog.backups().next().unwrap();
        (backup.marks.names.len(), backup.marks.verified(), backup.is_good())
    };
    for (content, expected) in
        [("abc", (1, true, true)), ("abc", (1, true, true)), ("abd", (2, false, false)), ("abc", (3, true, true))]
    {
        store.put(&artifact, content);
        let at = crate::fixture::catalogued(&store).await;
        let read = read(&at).await.unwrap();
        assert!(read.unmarked.is_none(), "{read:?}");
        assert_eq!(marks().await, expected, "{content}");
    }
}

#[tokio::test]
async fn sealed_read_does_not_clear_decoded_damage() {
    let (store, _) = with_backup().await;
    let differs = Error::new(Stage::Verify, Kind::Corrupt, "appdb", "1 difference").because("table orders");
    let mark_with = async |found_by, error: Option<&Error>| {
        let at = crate::fixture::catalogued(&store).await;
        mark_result(&at, at.catalog.backups().next().unwrap(), found_by, error).await.unwrap();
        let at = crate::fixture::catalogued(&store).await;
        let backup = at.catalog.backups().next().unwrap();
        (backup.marks.names.len(), backup.marks.content_differs(), backup.is_good())
    };
    let unsealed = Error::new(Stage::Verify, Kind::Corrupt, "appdb", "other bytes");
    assert_eq!(mark_with(Depth::Sealed, Some(&unsealed)).await, (1, false, false));
    assert_eq!(mark_with(Depth::Decoded, Some(&differs)).await, (2, true, false));
    assert_eq!(mark_with(Depth::Decoded, Some(&differs)).await, (2, true, false));
    assert_eq!(mark_with(Depth::Sealed, None).await, (2, true, false));
    assert_eq!(mark_with(Depth::Decoded, None).await, (3, false, true));
    let at = crate::fixture::catalogued(&store).await;
    let names = &at.catalog.backups().next().unwrap().marks.names;
    let marks: Vec<String> = names
        .iter()
        .map(|name| String::from_utf8(store.get(&name.key().unwrap()).unwrap().to_vec()).unwrap())
        .collect();
    assert!(marks.iter().any(|mark| mark.contains("1 difference")), "{marks:?}");
    assert!(!marks.iter().any(|mark| mark.contains("orders")), "{marks:?}");
}

#[tokio::test]
async fn backup_of_0_1_0_is_verified_and_marked() {
    let store = longshore_testkit::memory::MemoryStore::new();
    crate::fixture::put_run_with(&store, "2026-05-01_030000", &["base"], "", crate::fixture::rename_as_0_1_0);
    store.lose(&Key::parse("main/globals/globals-2026-05-01_030000.json").unwrap());
    let result = read(&crate::fixture::catalogued(&store).await).await.unwrap();
    assert!(result.error.is_none() && result.unmarked.is_none(), "{result:?}");
    let at = crate::fixture::catalogued(&store).await;
    let backup = at.catalog.backups().next().unwrap();
    assert_eq!((backup.name.as_str(), backup.marks.verified()), ("main/base/base-2026-05-01_030000", true));
}

#[tokio::test]
async fn read_only_destination_still_reports_the_result() {
    let (store, at) = with_backup().await;
    store.fault(Operation::Ship, Fault::Deny);
    let read = read(&at).await.unwrap();
    assert!(read.error.is_none() && read.unmarked.is_some());
}

#[tokio::test]
async fn missing_artifact_is_damage() {
    let (store, at) = with_backup().await;
    store.lose(&at.catalog.backups().next().unwrap().manifest.artifact.key);
    assert!(read(&at).await.unwrap().damaged);
}

#[test]
fn empty_verify_list_uses_default_for_read_backs() {
    let job = Job { verify: Some(Vec::new()), ..job(None) };
    assert_eq!(verifiers(&registry(), Some(&job), &job.site).unwrap().len(), 0);
    assert_eq!(read_back_verifiers(&registry(), Some(&job), &job.site).unwrap().len(), 1);
}

#[test]
fn daily_samples_cover_all_backups() {
    let stamp = longshore_core::key::Timestamp::parse("2026-06-07_091500").unwrap();
    let names: Vec<_> = (0..500).map(|n| BackupName::new("main", &format!("app{n}"), stamp).unwrap()).collect();
    for (percent, days) in [(100, 1), (50, 2), (30, 4), (10, 10), (1, 100)] {
        let percent = Percent::new(percent).unwrap();
        let taken = |day| names.iter().filter(move |name| percent.includes(name.as_str(), day)).count();
        assert_eq!((0..days).map(taken).sum::<usize>(), names.len());
        assert_eq!(taken(7), taken(7 + days));
        assert!(taken(3) < names.len() / days as usize * 2 + 10);
    }
    assert!(Percent::new(0).is_none() && Percent::new(101).is_none());
}

#[test]
fn unreadable_manifest_matches_name_subject_and_folder() {
    let key = Key::parse("main/my%20app/my%20app-2026-06-07_091500.json").unwrap();
    for words in ["my app", "my%20app", "main/my%20app", "my%20app-2026-06-07_091500", key.as_str()] {
        assert!(Scope::Named(words.to_owned()).may_select(&key), "{words}");
    }
    for words in ["app", "main", "other/my%20app", "my%20app-2026-06-07_091501"] {
        assert!(!Scope::Named(words.to_owned()).may_select(&key), "{words}");
    }
    assert!(Scope::Newest.may_select(&key) && Scope::All.may_select(&key));
    // This manifest may be of a base backup, or of a database in a destination of 0.1.0.
    let key = Key::parse("main/base/base-2026-06-07_091500.json").unwrap();
    for words in ["base", "%62ase", "main/base"] {
        assert!(Scope::Named(words.to_owned()).may_select(&key), "{words}");
    }
}

#[tokio::test]
async fn decoding_finds_damage_under_a_valid_digest() {
    for (content, expected) in [("abc", true), ("abd", false)] {
        let (store, mut manifest) = (longshore_testkit::memory::MemoryStore::new(), crate::fixture::manifest());
        manifest.artifact.encryption = None;
        crate::fixture::put(&store, &manifest);
        store.put(&manifest.artifact.key, content);
        let at = crate::fixture::catalogued(&store).await;
        assert!(read(&at).await.unwrap().damaged);
        let at = crate::fixture::catalogued(&store).await;
        assert_eq!(at.catalog.backups().next().unwrap().marks.content_differs(), expected, "{content}");
    }
}
