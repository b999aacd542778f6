//! The environment of one injection: two destinations with backups, a server, and the
//! configuration of a job between them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use longshore_config::Config;
use longshore_config::registry::Registry;
use longshore_core::event::ignore;
use longshore_core::key::{BackupName, Key};
use longshore_core::pipeline::{Destination, Pipeline};
use longshore_core::plugin::{Ask, Cluster, Identities, IdentityText, Passphrase};
use longshore_core::stage::{Encrypt, Verify};
use longshore_testkit::fake_stage::{Xor, dumped, order};
use longshore_testkit::injection::Injector;
use longshore_testkit::injection::faulty_store::FaultyStore;
use longshore_testkit::memory::MemoryStore;
use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;

use crate::stage::{Digests, Examines, Memory, Restores, ScratchServers, Server, XorEncryption, content, subjects};

/// The names of the destinations.
pub(crate) const DESTINATIONS: [&str; 2] = ["first", "second"];

/// The times of the runs whose backups exist from the start, the oldest first.
pub(crate) const TIMES: [&str; 4] =
    ["2024-03-01_010000", "2024-03-02_010000", "2024-03-03_010000", "2024-03-04_010000"];

/// The state that the stages of an environment share.
pub(crate) struct Shared {
    pub(crate) injector: Injector,
    pub(crate) stores: BTreeMap<&'static str, FaultyStore>,
    /// The restored bytes, by the subject's name.
    pub(crate) restored: Mutex<BTreeMap<String, Bytes>>,
    /// The folder of scratch servers.
    pub(crate) scratch: PathBuf,
    /// The position of the WAL that a receiver has reported as durable.
    reported: AtomicU64,
}

/// The existing environments, by their names in configurations.
static ENVS: LazyLock<Mutex<BTreeMap<String, Arc<Shared>>>> = LazyLock::new(Mutex::default);

impl Shared {
    /// Returns the environment of this name.
    pub(crate) fn of(name: &str) -> Arc<Self> {
        Arc::clone(&ENVS.lock().unwrap()[name])
    }

    /// Returns the position of the WAL that a receiver has reported as durable.
    pub(crate) fn reported(&self) -> u64 {
        self.reported.load(Ordering::Relaxed)
    }

    /// Sets the position of the WAL that a receiver has reported as durable.
    pub(crate) fn set_reported(&self, position: u64) {
        self.reported.store(position, Ordering::Relaxed);
    }

    /// Returns the environment that a connection names.
    pub(crate) fn at(cluster: &Cluster) -> Arc<Self> {
        Self::of(cluster.connection.expose_secret().trim_start_matches("host="))
    }
}

/// The contents of the destinations, by their names.
pub(crate) type Contents = BTreeMap<&'static str, BTreeMap<Key, Bytes>>;

/// A test environment: destinations, a server and a configuration of its own.
pub(crate) struct TestEnv {
    pub(crate) shared: Arc<Shared>,
    pub(crate) config: Config,
    pub(crate) registry: Registry,
    pub(crate) cluster: Cluster,
    name: String,
    folder: TempDir,
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        ENVS.lock().unwrap().remove(&self.name);
    }
}

struct Silent;

impl Ask for Silent {
    fn secret(&self, _: &str) -> Option<SecretString> {
        None
    }
}

/// Returns the identity that decrypts the backups.
pub(crate) fn identities() -> Identities {
    let text = IdentityText { name: "test".to_owned(), text: "key".into() };
    Identities {
        files: Vec::new(),
        texts: vec![text],
        passphrase: Passphrase::Unused,
        ask: Arc::new(Silent),
        programs: Default::default(),
    }
}

fn registry() -> Registry {
    let mut registry = Registry {
        default_verify: vec!["digests".to_owned()],
        default_scratch: "places".to_owned(),
        default_examine: "asks".to_owned(),
        ..Registry::default()
    };
    registry.dump.add::<Server>();
    registry.verify.add::<Digests>();
    registry.encrypt.add::<XorEncryption>();
    registry.decrypt.add::<XorEncryption>();
    registry.store.add::<Memory>();
    registry.restore.add::<Restores>();
    registry.scratch.add::<ScratchServers>();
    registry.examine.add::<Examines>();
    registry
}

impl TestEnv {
    /// Creates an environment whose destinations have these contents.
    pub(crate) fn new(contents: &Contents) -> Self {
        Self::with(contents, "")
    }

    /// Creates an environment with more lines in its configuration.
    pub(crate) fn with(contents: &Contents, more: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("env{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::Builder::new().prefix("longshore-test-").tempdir().unwrap();
        let (injector, scratch) = (Injector::default(), folder.path().join("scratch"));
        std::fs::create_dir(&scratch).unwrap();
        let stores = DESTINATIONS.map(|name| {
            let store = MemoryStore::new();
            for (key, bytes) in contents.get(name).into_iter().flatten() {
                store.put(key, bytes.clone());
            }
            (name, FaultyStore::new(name, store, injector.clone()))
        });
        let stores = BTreeMap::from(stores);
        let shared =
            Arc::new(Shared { injector, stores, restored: Mutex::default(), scratch, reported: AtomicU64::new(0) });
        ENVS.lock().unwrap().insert(name.clone(), Arc::clone(&shared));
        let path = folder.path().join("config.toml");
        std::fs::write(&path, settings(&name, &folder.path().display().to_string()) + more).unwrap();
        let registry = registry();
        let config = Config::load(&path, &registry).unwrap();
        let cluster = config.job(None).unwrap().site.cluster.clone();
        Self { shared, config, registry, cluster, name, folder }
    }

    /// Returns the folder of the environment.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the contents of the destinations.
    pub(crate) fn contents(&self) -> Contents {
        let of = |store: &FaultyStore| {
            let store = store.inner();
            store.keys().into_iter().map(|key| (key.clone(), store.get(&key).unwrap())).collect()
        };
        self.shared.stores.iter().map(|(name, store)| (*name, of(store))).collect()
    }

    /// Returns true if no scratch server is left.
    pub(crate) fn is_scratch_empty(&self) -> bool {
        std::fs::read_dir(&self.shared.scratch).unwrap().next().is_none()
    }

    /// Returns the temporary files that writers left in the state folder.
    pub(crate) fn temporary(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.folder.path().join("state")) else { return Vec::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".tmp"))).collect()
    }
}

fn settings(env: &str, folder: &str) -> String {
    let destination = |name: &str| {
        format!(
            "[destination.{name}]\ntype = 'memory'\nenv = '{env}'\nname = '{name}'\nstall_timeout = '60s'\n\
             orphan_grace = '1s'\n"
        )
    };
    format!(
        "lock_dir = '{folder}/locks'\nstate_dir = '{folder}/state'\n\n[cluster.main]\nconnection = 'host={env}'\n\n\
         {}{}[retention.short]\nkeep_last = 2\n\n[adopt.old]\ndestination = 'first'\n\
         pattern = 'old/{{database}}-%Y-%m-%d_%H%M%S.dump'\nretention = 'short'\n\n[job.nightly]\ncluster = 'main'\n\
         dump = [{{ type = 'server', env = '{env}' }}]\nencrypt = {{ type = 'xor' }}\n\
         compression = {{ method = 'none' }}\nship = ['first', 'second']\nretention = 'short'\n",
        destination("first"),
        destination("second"),
    )
}

/// Returns the contents of destinations after a run at each of these times, with files of
/// another program.
pub(crate) async fn baseline(times: &[&str]) -> Contents {
    let stores = DESTINATIONS.map(|name| (name, MemoryStore::new()));
    let destinations = stores.iter().map(|(name, store)| Destination {
        name: (*name).to_owned(),
        store: Arc::new(store.clone()) as Arc<dyn longshore_core::stage::Store>,
    });
    let encrypt: Arc<dyn Encrypt> = Arc::new(Xor);
    let verify: Vec<Arc<dyn Verify>> = vec![Arc::new(Digests {})];
    let pipeline = Pipeline { verify, encrypt: Some(encrypt), destinations: destinations.collect(), needed_wal: None };
    for time in times {
        let mut globals: Option<BackupName> = None;
        for subject in subjects() {
            let mut order = order("nightly", &subject, time);
            order.run_backups = subjects().len() as u32;
            if let Some(globals) = &globals {
                order.needs = DESTINATIONS.map(|name| (name.to_owned(), vec![globals.clone()])).into();
            }
            let stream = longshore_core::stream::from_bytes(content(&subject));
            let shipped = pipeline.back_up(&order, dumped(stream), &ignore()).await.unwrap();
            globals.get_or_insert(shipped.name);
        }
    }
    let mut contents: Contents = BTreeMap::new();
    for (name, store) in stores {
        contents.insert(name, store.keys().into_iter().map(|key| (key.clone(), store.get(&key).unwrap())).collect());
    }
    for day in 1..=4 {
        let key = Key::parse(&format!("old/legacy-2024-01-0{day}_000000.dump")).unwrap();
        contents.get_mut("first").unwrap().insert(key, Bytes::from(format!("PGDMP of day {day}")));
    }
    contents
}
