//! Random operations of two hosts on two destinations: no comparison reports a difference, and
//! every deletion, replacement or rollback by a stranger is found.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use longshore_catalog::mark::put;
use longshore_catalog::signature::ListedSignatures;
use longshore_config::{Config, Destination, TrustSettings};
use longshore_core::Kind;
use longshore_core::event::ignore;
use longshore_core::header::{HeaderName, RecipientSet};
use longshore_core::key::{BackupName, Key, Timestamp};
use longshore_core::manifest::Manifest;
use longshore_core::mark::{MarkKind, MarkName};
use longshore_core::meter::Digest;
use longshore_core::pipeline::{ship_record, sign_record};
use longshore_core::plugin::Identities;
use longshore_core::run_report::Outcome;
use longshore_core::signature::{Verdict, signature_key};
use longshore_core::stream::from_bytes;
use longshore_core::subject::Subject;
use longshore_retention::Policy;
use longshore_testkit::memory::{Fault, MemoryStore, Operation};
use longshore_trust::signing_key::SigningKey;
use tempfile::TempDir;

use crate::accept_chain::accept_chain;
use crate::catalogs::read_catalogs;
use crate::fixture::{config, manifest, registry};
use crate::hold::{HoldChange, hold};
use crate::prune::{self, Mode, Overrides};
use crate::run_report::{CommandResult, RunRecorder};
use crate::sign_existing::{AdoptRequest, adopt};
use crate::sync::{self, Repair};

/// The names of the destinations.
const PLACES: [&str; 2] = ["memory", "other"];

/// Two hosts that write, and two that read: one often, one rarely.
struct World {
    stores: [MemoryStore; 2],
    hosts: [Config; 2],
    readers: [Config; 2],
    random: fastrand::Rng,
    /// The time of the last backup.
    time: DateTime<Utc>,
    removed: usize,
    _folder: TempDir,
}

fn write_key(folder: &Path, name: &str) -> (PathBuf, SigningKey) {
    let (path, key) = (folder.join(format!("{name}.key")), SigningKey::generate("").unwrap());
    fs::write(&path, key.to_file().unwrap()).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    (path, key)
}

impl World {
    fn new(seed: u64) -> Self {
        let folder = TempDir::new().unwrap();
        let stores = [MemoryStore::new(), MemoryStore::new()];
        let (paths, keys): (Vec<_>, Vec<_>) = ["a", "b"].map(|name| write_key(folder.path(), name)).into_iter().unzip();
        let line =
            |(name, key): (&str, &SigningKey)| key.public_line(&format!("backup@{name},prune@{name},drill@{name}"));
        let signers = folder.path().join("signers");
        fs::write(&signers, ["a", "b"].into_iter().zip(&keys).map(line).collect::<Vec<_>>().join("\n")).unwrap();
        let config_of = |name: &str, key: Option<&PathBuf>| {
            let state = folder.path().join(name).join("state");
            fs::create_dir_all(&state).unwrap();
            let policy: Policy = serde_json::from_value(serde_json::json!({ "keep_last": 3 })).unwrap();
            let mut config = config(&folder.path().join(name), &stores[0], Some(policy.clone()));
            let trust = TrustSettings { key: key.cloned(), allowed_signers: Some(signers.clone()), required: true };
            config.destinations = PLACES
                .iter()
                .zip(&stores)
                .map(|(name, store)| ((*name).to_owned(), Destination::of(store.clone()).with_trust(&trust)))
                .collect();
            config.trust = trust;
            let mut job = config.jobs.values().next().unwrap().clone();
            // Both hosts have this host's name, so that only the job distinguishes their chains.
            job.name = format!("job-{name}");
            job.ship = PLACES.map(str::to_owned).to_vec();
            job.retention = PLACES.map(|name| (name.to_owned(), policy.clone())).into_iter().collect();
            config.jobs = BTreeMap::from([(job.name.clone(), job)]);
            config
        };
        let hosts = [config_of("a", Some(&paths[0])), config_of("b", Some(&paths[1]))];
        let readers = [config_of("often", None), config_of("rarely", None)];
        Self {
            stores,
            hosts,
            readers,
            random: fastrand::Rng::with_seed(seed),
            time: Utc::now() - TimeDelta::days(200),
            removed: 0,
            _folder: folder,
        }
    }

    /// Returns the manifest of a host's next backup.
    fn next_manifest(&mut self, host: usize) -> (BackupName, Manifest) {
        self.time += TimeDelta::minutes(7);
        let job = self.hosts[host].jobs.values().next().unwrap();
        let mut own = manifest();
        own.job.clone_from(&job.name);
        own.subject = Subject::database(["app", "shop"][host]);
        own.time = Timestamp::new(self.time);
        own.run = format!("{}-0", own.time);
        own.run_backups = 1;
        own.needs = Vec::new();
        own.details = None;
        let name = own.name().unwrap();
        own.artifact.key = name.artifact(".dump.zst.age").unwrap();
        (name, own)
    }

    /// Makes a backup on a host: at both destinations, or at one of them.
    async fn run(&mut self, host: usize) {
        let (name, own) = self.next_manifest(host);
        let config = &self.hosts[host];
        let job = config.jobs.values().next().unwrap();
        let mut recorder = RunRecorder::begin(config, "run", Some(job));
        let bytes = own.to_bytes().unwrap();
        let missed = self.random.usize(0..8);
        let mut arrived = Vec::new();
        for (index, place) in PLACES.iter().enumerate().filter(|(index, _)| *index != missed) {
            let store = config.destination(place).unwrap().open().unwrap();
            self.stores[index].put(&own.artifact.key, "abc");
            let (signature, content) = sign_record(&*store, &name.manifest(), &bytes).await.unwrap().unwrap();
            ship_record(&*store, &signature, content).await.unwrap();
            ship_record(&*store, &name.manifest(), bytes.clone().into()).await.unwrap();
            arrived.push(((*place).to_owned(), Digest::of(&bytes)));
        }
        // Some runs are killed before their report, and some reports are not uploaded.
        if self.random.usize(0..12) == 0 {
            return;
        }
        recorder.record(CommandResult::of_made(&name, &arrived));
        recorder.end(Outcome::Done, 0);
        let unreachable = self.random.usize(0..12);
        if let Some(store) = self.stores.get(unreachable) {
            store.fault(Operation::Ship, Fault::Deny);
        }
        recorder.ship().await;
        self.stores.iter().for_each(MemoryStore::heal);
    }

    async fn prune(&mut self, host: usize) {
        let config = &self.hosts[host];
        let job = config.jobs.values().next().unwrap();
        let mut recorder = RunRecorder::begin(config, "prune", Some(job));
        let overrides = Overrides::default();
        let request =
            prune::Request { job: Some(&job.name), destination: None, mode: Mode::Act, overrides, retire: None };
        let pruned = prune::prune(config, &request).await.unwrap();
        for series in pruned.iter().flat_map(|pruned| &pruned.series) {
            assert!(series.failed.is_empty(), "{:?}", series.failed);
            self.removed += series.remove.len();
        }
        recorder.record(pruned.as_slice().into());
        recorder.end(Outcome::Done, 0);
        recorder.ship().await;
    }

    async fn sync(&mut self, host: usize) {
        let damaged = self.any_artifact(host);
        let config = &self.hosts[host];
        let job = config.jobs.values().next().unwrap();
        let repair = if self.random.bool() { Repair::Yes } else { Repair::No };
        if repair == Repair::Yes
            && let Some((place, key)) = damaged
        {
            self.stores[place].damage(&key, |bytes| bytes[0] ^= 1);
        }
        sync::sync(config, job, repair, Mode::Act, ignore()).await.unwrap();
    }

    /// Returns an artifact of the host that both destinations have.
    fn any_artifact(&mut self, host: usize) -> Option<(usize, Key)> {
        let folder = format!("main/{}/", ["app", "shop"][host]);
        let is_artifact = |key: &&Key| key.as_str().starts_with(&folder) && key.as_str().ends_with(".age");
        let keys = self.stores[0].keys();
        let both: Vec<&Key> = keys.iter().filter(is_artifact).filter(|key| self.stores[1].get(key).is_some()).collect();
        let chosen = self.random.choice(&both)?;
        Some((self.random.usize(0..2), (**chosen).clone()))
    }

    async fn hold(&mut self, host: usize) {
        let Some((_, key)) = self.any_artifact(host) else { return };
        let name = key.as_str().split('.').next().unwrap().to_owned();
        let change = match self.random.bool() {
            true => HoldChange::Hold { until: None, why: "audit".to_owned() },
            false => HoldChange::Release,
        };
        match hold(&self.hosts[host], &name, None, &change).await {
            Ok(marked) => assert!(marked.iter().all(|marked| marked.error.is_none()), "{marked:?}"),
            // A backup without a hold cannot be released, and one without a manifest is none.
            Err(error) => assert!(matches!(error.kind(), Kind::Usage | Kind::NotFound | Kind::Refused), "{error:?}"),
        }
    }

    /// Stores a header beside an artifact, as a rekey does.
    async fn rekey(&mut self, host: usize) {
        let Some((_, sealed)) = self.any_artifact(host) else { return };
        let recipients = RecipientSet::of(&[format!("age1{}", self.random.u64(..))]);
        let key = HeaderName { sealed, time: Timestamp::new(Utc::now()), recipients }.key().unwrap();
        for place in PLACES {
            let store = self.hosts[host].destination(place).unwrap().open().unwrap();
            store.ship(&key, from_bytes("a header")).await.unwrap();
        }
    }

    /// Signs a backup from before the first signature, which only one destination has.
    async fn adopt(&mut self, host: usize) {
        let (name, own) = self.next_manifest(host);
        let place = self.random.usize(0..2);
        self.stores[place].put(&own.artifact.key, "abc");
        self.stores[place].put(&name.manifest(), own.to_bytes().unwrap());
        let identities = Identities::none();
        let (destination, mode) = (PLACES[place], crate::mode::Mode::Act);
        let request = AdoptRequest { destination, mode, identities: &identities, observer: ignore() };
        let adopted = adopt(&self.hosts[host], &registry(), &request).await.unwrap();
        assert!(adopted.len() == 1 && adopted[0].error.is_none(), "{adopted:?}");
    }

    /// Expects that a reader finds nothing.
    async fn look(&self, reader: usize, context: &str) {
        for (name, at) in read_catalogs(&self.readers[reader], None).await.unwrap() {
            let at = at.unwrap();
            assert_eq!(at.history, [], "{name}: {context}");
            assert!(at.catalog.unreadable.is_empty(), "{context}: {:?}", at.catalog.unreadable);
            for backup in at.catalog.backups() {
                assert_eq!(backup.marks.untrusted().collect::<Vec<_>>(), [], "{context}");
                assert!(backup.signature.signer().is_some(), "{context}");
            }
        }
    }

    async fn step(&mut self) -> &'static str {
        let host = self.random.usize(0..2);
        match self.random.usize(0..40) {
            0..16 => {
                self.run(host).await;
                "run"
            }
            16..23 => {
                self.prune(host).await;
                "prune"
            }
            23..27 => {
                self.sync(host).await;
                "sync"
            }
            27..30 => {
                self.hold(host).await;
                "hold"
            }
            30..33 => {
                self.rekey(host).await;
                "rekey"
            }
            33 => {
                self.adopt(host).await;
                "adopt"
            }
            _ => {
                self.look(0, "often").await;
                "look"
            }
        }
    }

    async fn steps(&mut self, count: usize, every: usize) {
        for number in 0..count {
            let step = self.step().await;
            if number % every == every - 1 {
                self.look(1, &format!("step {number} {step}")).await;
            }
        }
        self.look(0, "the end").await;
        self.look(1, "the end").await;
        assert!(self.removed > count / 50, "{} backups were pruned", self.removed);
    }

    /// Replaces a manifest at the first destination by another one with a good signature, as the
    /// thief of a signing key does.
    async fn replace(&self, key: &Key) {
        let mut manifest = Manifest::from_bytes(key, &self.stores[0].get(key).unwrap()).unwrap();
        manifest.run_backups += 1;
        let bytes = manifest.to_bytes().unwrap();
        let store = self.hosts[0].destination(PLACES[0]).unwrap().open().unwrap();
        let (signature, content) = sign_record(&*store, key, &bytes).await.unwrap().unwrap();
        self.stores[0].put(&signature, content);
        self.stores[0].put(key, bytes);
    }

    /// Returns the problems that a reader finds at the first destination.
    async fn problems(&self, reader: usize) -> String {
        let all = read_catalogs(&self.readers[reader], Some(PLACES[0])).await.unwrap();
        let history = all.into_iter().flat_map(|(_, at)| at.unwrap().history);
        history.map(|problem| problem.message).collect::<Vec<_>>().join("; ")
    }
}

#[tokio::test]
async fn random_operations_cause_no_alarm() {
    for seed in 0..2 {
        World::new(seed).steps(120, 25).await;
    }
}

#[tokio::test]
async fn stranger_is_found_after_any_history() {
    for seed in 10..14 {
        let mut world = World::new(seed);
        world.steps(60, 20).await;
        let store = world.stores[0].clone();
        let before: Vec<_> = store.keys().into_iter().map(|key| (key.clone(), store.get(&key).unwrap())).collect();
        world.run(0).await;
        world.run(1).await;
        world.look(0, "before the deletion").await;
        let manifests = store.keys().into_iter().filter(|key| BackupName::from_manifest_key(key).is_some());
        let manifests: Vec<Key> = manifests.collect();
        let lost = &manifests[world.random.usize(0..manifests.len())];
        let (content, signature) = (store.get(lost).unwrap(), store.get(&signature_key(lost).unwrap()).unwrap());
        store.lose(lost);
        assert!(world.problems(0).await.contains("1 backup is missing"), "{}", world.problems(0).await);
        store.put(lost, content.clone());
        assert_eq!(world.problems(0).await, "");
        world.replace(lost).await;
        assert!(world.problems(0).await.contains("replaced: "), "{}", world.problems(0).await);
        assert!(world.problems(0).await.contains("replaced: "), "a second look forgets nothing");
        store.put(lost, content);
        store.put(&signature_key(lost).unwrap(), signature);
        assert_eq!(world.problems(0).await, "");
        let newest: Vec<Key> = store.keys();
        for key in &newest {
            store.lose(key);
        }
        for (key, bytes) in before {
            store.put(&key, bytes);
        }
        let problems = world.problems(0).await;
        assert!(problems.contains("missing"), "seed {seed}: {problems}");
    }
}

#[tokio::test]
async fn repair_in_progress_is_no_deletion() {
    let mut world = World::new(20);
    world.run(0).await;
    world.look(0, "before the repair").await;
    let store = world.hosts[0].destination(PLACES[0]).unwrap().open().unwrap();
    let manifests = world.stores[0].keys().into_iter().filter(|key| BackupName::from_manifest_key(key).is_some());
    let manifest = manifests.last().unwrap();
    let name = BackupName::from_manifest_key(&manifest).unwrap();
    let content = world.stores[0].get(&manifest).unwrap();
    world.stores[0].lose(&manifest);
    // A mark that a stranger stores explains nothing.
    let forged = MarkName { backup: name.clone(), kind: MarkKind::Damaged, time: Timestamp::new(Utc::now()) };
    world.stores[0].put(&forged.key().unwrap(), "{}");
    assert!(world.problems(0).await.contains("1 backup is missing"), "{}", world.problems(0).await);
    world.stores[0].lose(&forged.key().unwrap());
    let mark = crate::hold::mark(None, "");
    let begun = Utc::now() - TimeDelta::minutes(1);
    put(&mark, &*store, &name, MarkKind::Damaged, begun).await.unwrap();
    world.look(0, "in the repair").await;
    world.stores[0].put(&manifest, content);
    put(&mark, &*store, &name, MarkKind::Verified, Utc::now()).await.unwrap();
    world.look(0, "after the repair").await;
    world.stores[0].lose(&manifest);
    assert!(world.problems(0).await.contains("1 backup is missing"), "{}", world.problems(0).await);
}

#[tokio::test]
async fn record_deleted_with_its_signature_is_not_unsigned() {
    let mut world = World::new(21);
    world.run(0).await;
    let store = world.readers[0].destination(PLACES[0]).unwrap().open().unwrap();
    let keys = world.stores[0].keys();
    let manifest = keys.iter().find(|key| BackupName::from_manifest_key(key).is_some()).unwrap();
    let content = world.stores[0].get(manifest).unwrap();
    let listed = ListedSignatures::of(&keys);
    world.stores[0].lose(&signature_key(manifest).unwrap());
    assert_eq!(listed.verify(&*store, manifest, &content).await.unwrap(), Verdict::Unsigned);
    world.stores[0].lose(manifest);
    assert_eq!(listed.verify(&*store, manifest, &content).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn everything_at_a_destination_can_be_accepted() {
    let mut world = World::new(22);
    // A backup of before has no run report.
    for _ in 0..4 {
        world.adopt(0).await;
    }
    world.look(0, "before the deletion").await;
    let keys = world.stores[0].keys();
    let manifest = keys.iter().find(|key| BackupName::from_manifest_key(key).is_some()).unwrap();
    world.stores[0].lose(manifest);
    let problems = read_catalogs(&world.readers[0], Some(PLACES[0])).await.unwrap().remove(0).1.unwrap().history;
    assert!(problems[0].hint.contains(&format!("accept-chain {}`", PLACES[0])), "{problems:?}");
    assert_eq!(accept_chain(&world.readers[0], PLACES[0]).await.unwrap(), [PLACES[0]]);
    world.look(0, "accepted").await;
}

mod slow {
    use super::*;

    #[tokio::test]
    async fn ten_thousand_random_operations_cause_no_alarm() {
        for seed in 100..104 {
            World::new(seed).steps(2500, 400).await;
        }
    }
}
