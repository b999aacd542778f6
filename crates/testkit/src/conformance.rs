//! The requirements of all destinations, with one function per behaviour.
//!
//! A plugin's test file contains `longshore_testkit::store_conformance!(fixture);` and an `async fn
//! fixture() -> Fixture` that creates a destination for one test; the macro defines one test per
//! behaviour. `huge_conformance!(fixture)` defines a test that takes minutes (in the second tier)
//! and a quick substitute. If a destination is not available, `fixture` fails and reports it.

mod capability;
mod huge;
mod ship;
mod store;
mod suite;

use std::any::Any;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use longshore_core::key::Key;
use longshore_core::meter::Digest;
use longshore_core::stage::{Ship, Store};
use longshore_core::{Kind, Result};

pub use capability::*;
pub use huge::*;
pub use ship::*;
pub use store::*;
pub use suite::{ship, store};

/// A destination under test. Each behaviour uses its own folder, so several can share a fixture.
pub struct Fixture {
    /// The destination with the permissions of a backup host, which may only write.
    pub ship: Arc<dyn Ship>,
    /// The same destination with permission to read, list and delete.
    pub store: Arc<dyn Store>,
    /// The sizes of the tests.
    pub scale: Scale,
    /// The result of a race.
    pub race: Race,
    /// The time during which a listing may still contain deleted keys.
    pub listing_delay: Duration,
    /// The folder that contains the keys as files, if tests can write to it directly.
    folder: Option<PathBuf>,
    _keep: Box<dyn Any + Send + Sync>,
}

/// The sizes of the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// The size of a large body, in bytes.
    pub large_bytes: u64,
    /// The size of a huge body, in bytes.
    pub huge_bytes: u64,
    /// The number of keys in a long listing.
    pub many_keys: usize,
    /// The time limit for each behaviour.
    pub time_limit: Duration,
}

/// The result of several writers that write one key at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Race {
    /// Exactly one writer succeeds, and the others fail.
    One,
    /// The last writer wins and succeeds: the best result in a store without create-only requests.
    /// Earlier writers may succeed as well.
    Latest,
}

impl Default for Scale {
    fn default() -> Self {
        Self { large_bytes: 64 << 20, huge_bytes: HUGE_BYTES, many_keys: 10_000, time_limit: Duration::from_secs(300) }
    }
}

impl Fixture {
    /// Returns a fixture for a destination. `keep` is dropped with the fixture: a folder or a
    /// server.
    pub fn new(store: impl Into<Arc<dyn Store>>, keep: impl Any + Send + Sync) -> Self {
        let store = store.into();
        Self {
            ship: Arc::<dyn Store>::clone(&store),
            store,
            scale: Scale::default(),
            race: Race::One,
            listing_delay: Duration::ZERO,
            folder: None,
            _keep: Box::new(keep),
        }
    }

    /// Sets the destination for writing, with other credentials than for reading.
    #[must_use]
    pub fn written_by(self, ship: impl Into<Arc<dyn Ship>>) -> Self {
        Self { ship: ship.into(), ..self }
    }

    /// Sets the sizes of the tests.
    #[must_use]
    pub fn scaled(self, scale: Scale) -> Self {
        Self { scale, ..self }
    }

    /// Sets the result of a race.
    #[must_use]
    pub fn racing(self, race: Race) -> Self {
        Self { race, ..self }
    }

    /// Sets the time during which listings may still contain deleted keys.
    #[must_use]
    pub fn with_listing_delay(self, listing_delay: Duration) -> Self {
        Self { listing_delay, ..self }
    }

    /// Sets the folder that contains the keys as files. Tests of long listings create most keys
    /// there instead of uploading them.
    #[must_use]
    pub fn in_folder(self, folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()), ..self }
    }

    /// Creates a file of one byte for a key, as if it had been uploaded.
    fn put(&self, folder: &Path, key: &str) {
        let path = folder.join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }

    /// Lists the keys in a folder with their sizes, in the order of the listing.
    async fn list(&self, folder: &str) -> Vec<(String, u64)> {
        let folder = format!("{folder}/");
        let entries = self.store.list(None).await.unwrap();
        entries
            .map_ok(|entry| (entry.key.to_string(), entry.bytes))
            .try_filter(|(key, _)| std::future::ready(key.starts_with(&folder)))
            .try_collect()
            .await
            .unwrap()
    }

    /// Lists a folder until it contains at most `count` keys, or until the time for deleted keys
    /// has passed.
    async fn list_until(&self, folder: &str, count: usize) -> Vec<(String, u64)> {
        let end = Instant::now() + self.listing_delay;
        loop {
            let list = self.list(folder).await;
            if list.len() <= count || Instant::now() >= end {
                return list;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Returns the digest of the content of a key.
    async fn digest_of(&self, key: &Key) -> Result<Digest> {
        crate::stream::digest(self.store.fetch(key, None).await?).await
    }

    /// Verifies that neither the key nor anything else in its folder is visible.
    async fn assert_missing(&self, key: &Key) {
        assert_eq!(self.list_until(key.folder(), 0).await, [], "listed after the upload of {key} failed");
        let error = self.digest_of(key).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{}", error.chain());
    }
}

/// Parses a key that is known to be valid.
fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}
