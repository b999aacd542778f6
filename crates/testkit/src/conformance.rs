//! What every destination must prove, whatever it is made of: one function per behaviour, each with a sentence for a name.
//!
//! A plugin's test file says `longshore_testkit::store_conformance!(fixture);`, with an `async fn fixture() -> Fixture` that makes a
//! destination for one test; that gives one test per behaviour. `huge_conformance!(fixture)` gives the one that takes minutes
//! (in the second tier), with a quick one that stands for it. Where a destination cannot be had, `fixture` fails saying so.

mod claim;
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

pub use claim::*;
pub use huge::*;
pub use ship::*;
pub use store::*;
pub use suite::{ship, store};

/// A destination under test. Each behaviour works in a folder of its own, so one fixture may serve several.
pub struct Fixture {
    /// What may write: the destination with the least that a backup host holds.
    pub ship: Arc<dyn Ship>,
    /// What may read, list and remove; the same destination.
    pub store: Arc<dyn Store>,
    /// How hard to try.
    pub scale: Scale,
    /// Who wins a race.
    pub race: Race,
    /// For how long a list may still name what was removed.
    pub forgets: Duration,
    /// The folder that its keys are files in, where that can be written to without it.
    folder: Option<PathBuf>,
    _keep: Box<dyn Any + Send + Sync>,
}

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// The size of a large body, in bytes.
    pub large_bytes: u64,
    /// The size of a huge body, in bytes.
    pub huge_bytes: u64,
    /// How many keys are many.
    pub many_keys: usize,
    /// How long any one behaviour may take.
    pub patience: Duration,
}

/// Who wins where several write one name in the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Race {
    /// Exactly one, and the others are told.
    One,
    /// The latest, and it is told: all that can be had of a store that cannot create without overwriting. One that came before it may
    /// have been told the same.
    Latest,
}

impl Default for Scale {
    fn default() -> Self {
        Self { large_bytes: 64 << 20, huge_bytes: HUGE_BYTES, many_keys: 10_000, patience: Duration::from_secs(300) }
    }
}

impl Fixture {
    /// A destination, and what must live as long as it: a folder, a server.
    pub fn new(store: impl Into<Arc<dyn Store>>, keep: impl Any + Send + Sync) -> Self {
        let store = store.into();
        Self {
            ship: Arc::<dyn Store>::clone(&store),
            store,
            scale: Scale::default(),
            race: Race::One,
            forgets: Duration::ZERO,
            folder: None,
            _keep: Box::new(keep),
        }
    }

    /// The same destination, written to with other credentials than it is read with.
    #[must_use]
    pub fn written_by(self, ship: impl Into<Arc<dyn Ship>>) -> Self {
        Self { ship: ship.into(), ..self }
    }

    /// The same destination, tried harder or less hard.
    #[must_use]
    pub fn scaled(self, scale: Scale) -> Self {
        Self { scale, ..self }
    }

    /// The same destination, where a race ends otherwise.
    #[must_use]
    pub fn racing(self, race: Race) -> Self {
        Self { race, ..self }
    }

    /// The same destination, whose lists may name what was removed for so long.
    #[must_use]
    pub fn forgetting_within(self, forgets: Duration) -> Self {
        Self { forgets, ..self }
    }

    /// The same destination, whose keys are files in a folder: of many, most are put there rather than shipped.
    #[must_use]
    pub fn in_folder(self, folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()), ..self }
    }

    /// Puts a file of one byte under a key, as if it had been shipped.
    fn put(&self, folder: &Path, key: &str) {
        let path = folder.join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }

    /// The keys, with sizes, that are listed in a folder, in the order of the list.
    async fn listed(&self, folder: &str) -> Vec<(String, u64)> {
        let folder = format!("{folder}/");
        let entries = self.store.list().await.unwrap();
        entries
            .map_ok(|entry| (entry.key.to_string(), entry.bytes))
            .try_filter(|(key, _)| std::future::ready(key.starts_with(&folder)))
            .try_collect()
            .await
            .unwrap()
    }

    /// What is listed in a folder once no more than so many are, or once the destination has had its time to forget the others.
    async fn left(&self, folder: &str, count: usize) -> Vec<(String, u64)> {
        let end = Instant::now() + self.forgets;
        loop {
            let listed = self.listed(folder).await;
            if listed.len() <= count || Instant::now() >= end {
                return listed;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The digest of what is under a key.
    async fn fetched(&self, key: &Key) -> Result<Digest> {
        crate::stream::digest(self.store.fetch(key, None).await?).await
    }

    /// That nothing is to be seen of a key, nor of anything else in its folder.
    async fn assert_nothing(&self, key: &Key) {
        assert_eq!(self.left(key.folder(), 0).await, [], "listed after {key} was not shipped");
        let error = self.fetched(key).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{}", error.chain());
    }
}

/// A key that the suite knows to be one.
fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}
