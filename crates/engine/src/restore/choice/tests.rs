use longshore_core::key::Timestamp;
use longshore_core::plugin::{Ask, Identities, Passphrase};
use longshore_testkit::fake_stage::Xor;
use longshore_testkit::memory::MemoryStore;

use super::*;
use crate::encryption_policy::Unsealed;
use crate::fixture::{config, put_base, put_run, put_run_with, rename_as_0_1_0};

#[tokio::test]
async fn future_backup_is_not_chosen_as_newest() {
    let (store, folder) = (MemoryStore::new(), tempfile::tempdir().unwrap());
    let ahead = Timestamp::new(Utc::now() + chrono::TimeDelta::days(400)).to_string();
    put_run(&store, &ahead, &["app"]);
    let config = config(folder.path(), &store, None);
    let policy = EncryptionPolicy::of_config(&config);
    let app = |at| Selector::Subject { words: "app".to_owned(), job: None, at, globals: Globals::Leave };
    let only = choose(&config, &app(None), None, &policy).await.unwrap();
    assert_eq!(only.backups[0].backup.manifest.time.to_string(), ahead, "better than none");
    put_run(&store, "2026-05-01_030000", &["app"]);
    let choice = choose(&config, &app(None), None, &policy).await.unwrap();
    assert_eq!(choice.backups[0].backup.manifest.time.to_string(), "2026-05-01_030000");
    assert!(choice.warnings[0].contains("dated in the future"), "{:?}", choice.warnings);
    let late = choose(&config, &app(Some(DateTime::<Utc>::MAX_UTC)), None, &policy).await.unwrap();
    assert_eq!(late.backups[0].backup.manifest.time.to_string(), ahead);
}

#[tokio::test]
async fn both_names_of_a_database_are_chosen_from() {
    let (store, folder) = (MemoryStore::new(), tempfile::tempdir().unwrap());
    put_run_with(&store, "2026-05-01_030000", &["base"], "", rename_as_0_1_0);
    put_run(&store, "2026-05-02_030000", &["base"]);
    let config = config(folder.path(), &store, None);
    let policy = EncryptionPolicy::of_config(&config);
    let chosen = async |words: &str, at: Option<&str>| {
        let at = at.map(|at| Timestamp::parse(at).unwrap().time());
        let selector = Selector::Subject { words: words.to_owned(), job: None, at, globals: Globals::First };
        let choice = choose(&config, &selector, None, &policy).await?;
        let names = choice.backups.iter().map(|chosen| chosen.backup.name.to_string()).collect::<Vec<_>>();
        Ok::<_, Error>((names, choice.warnings))
    };
    let (old, new) = ("main/base/base-2026-05-01_030000", "main/%62ase/%62ase-2026-05-02_030000");
    for (words, at, expected) in [
        ("base", None, new),
        ("main/%62ase", None, new),
        ("base", Some("2026-05-01_120000"), old),
        (old, None, old),
        (new, None, new),
    ] {
        let (names, warnings) = chosen(words, at).await.unwrap();
        assert_eq!((names.len(), names[1].as_str()), (2, expected), "{words}, after its globals");
        assert!(warnings.is_empty(), "{warnings:?}");
    }
    // An unreadable manifest in either folder may be newer.
    for segment in ["base", "%62ase"] {
        let key = Key::parse(&format!("main/{segment}/{segment}-2026-05-03_030000.json")).unwrap();
        store.put(&key, "{");
        let (_, warnings) = chosen("base", Some("2026-05-01_120000")).await.unwrap();
        assert!(warnings.iter().any(|warning| warning.starts_with(key.as_str())), "{warnings:?}");
        store.lose(&key);
    }
    put_base(&store, "2026-05-04_030000");
    let error = chosen("base", None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage, "the database or the cluster's files");
    assert!(error.remedy().unwrap().contains("main/%62ase, main/base"), "{error:?}");
    let selector = Selector::Subject { words: "main/base".to_owned(), job: None, at: None, globals: Globals::Leave };
    let base = choose(&config, &selector, None, &policy).await.unwrap();
    assert_eq!(base.backups[0].backup.name.as_str(), "main/base/base-2026-05-04_030000");
    assert_eq!(chosen("main/%62ase", None).await.unwrap().0[1], new);
}

#[tokio::test]
async fn base_backup_of_a_run_is_restored_last() {
    let (store, folder) = (MemoryStore::new(), tempfile::tempdir().unwrap());
    put_run(&store, "2026-05-01_030000", &["app"]);
    put_base(&store, "2026-05-01_030000");
    let config = config(folder.path(), &store, None);
    let run = Selector::Run("2026-05-01_030000-0".to_owned());
    let choice = choose(&config, &run, None, &EncryptionPolicy::of_config(&config)).await.unwrap();
    let subjects = choice.backups.iter().map(|chosen| chosen.backup.manifest.subject.to_string());
    assert_eq!(subjects.collect::<Vec<_>>(), ["globals", "app", "base"]);
}

#[tokio::test]
async fn sealed_copy_is_preferred_to_unsealed_copy() {
    let (near, far, folder) = (MemoryStore::new(), MemoryStore::new(), tempfile::tempdir().unwrap());
    put_run_with(&near, "2026-05-01_030000", &["app"], "", |manifest| manifest.artifact.encryption = None);
    let mut config = config(folder.path(), &near, None);
    for job in config.jobs.values_mut() {
        job.encrypt = Some(Arc::new(|_| Ok(Box::new(Xor))));
    }
    let app = Selector::Subject { words: "app".to_owned(), job: None, at: None, globals: Globals::First };
    let none = Identities {
        files: Vec::new(),
        texts: Vec::new(),
        passphrase: Passphrase::Unused,
        ask: Arc::new(NoAnswer),
        programs: Default::default(),
    };
    let refused = EncryptionPolicy::new(&config, &none, Unsealed::Refused);
    assert_eq!(choose(&config, &app, None, &refused).await.err().unwrap().kind(), Kind::Refused);
    let allowed = choose(&config, &app, None, &EncryptionPolicy::of_config(&config)).await.unwrap();
    assert_eq!((allowed.backups.len(), allowed.warnings.len()), (2, 2), "globals, too: {:?}", allowed.warnings);
    put_run(&far, "2026-05-01_030000", &["app"]);
    config.destinations.insert("the other".to_owned(), longshore_config::Destination::of(far.clone()));
    let policy = EncryptionPolicy::new(&config, &none, Unsealed::Refused);
    let choice = choose(&config, &app, None, &policy).await.unwrap();
    assert!(choice.backups.iter().all(|chosen| chosen.destination == "the other"));
}

struct NoAnswer;

impl Ask for NoAnswer {
    fn secret(&self, _: &str) -> Option<secrecy::SecretString> {
        None
    }
}
