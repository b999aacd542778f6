//! Status, backups, retention and runs together, for a view that is refreshed: a page or a service.
//!
//! Records that were read before are not fetched again. A destination that does not answer delays
//! neither the others nor the first overview.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use longshore_catalog::drill::get as get_drill;
use longshore_config::registry::Registry;
use longshore_config::{Config, WalArchive};
use longshore_core::drill::Drill;
use longshore_core::key::Key;
use longshore_core::mark::{MarkKind, MarkName};
use longshore_core::plugin::Identities;
use longshore_core::stage::Store;
use longshore_core::{Error, Kind, Result, Stage};
use serde::Serialize;
use tokio::time::{Instant, sleep_until, timeout};

use crate::catalogs::{Catalogued, RecordCaches, read_cached};
use crate::listing::{ListedBackup, listing};
use crate::prune::{Pruned, explain};
use crate::run_history::recent_runs;
use crate::status::{Request, Status, TablesOf, status_of};
use crate::wal::status::{Archives, Completeness, archives};

pub use crate::run_history::{LastRun, RunningRuns};

/// The time limit for reading one destination.
const READ_TIMEOUT: Duration = Duration::from_secs(300);
/// The number of run reports that an overview contains.
const MAX_RUNS: usize = 200;

/// The state of all destinations at one time.
pub struct Overview {
    /// False if some destinations have not answered yet.
    pub is_complete: bool,
    /// The state of series, jobs and destinations.
    pub status: Status,
    /// The backups, ordered by name.
    pub backups: Vec<ListedBackup>,
    /// The decisions that a prune would make now. Locks of stores are not queried.
    pub retention: Vec<Pruned>,
    /// The newest run reports, the newest first.
    pub runs: Vec<LastRun>,
    /// The records of drills, each with the name of its destination.
    pub drills: BTreeMap<MarkName, String>,
    /// The archived WAL of each cluster with an archive.
    pub wal: Vec<ClusterWal>,
    /// The stores of the readable destinations.
    stores: BTreeMap<String, Arc<dyn Store>>,
}

/// The archived WAL of one cluster.
#[derive(Debug, Serialize)]
pub struct ClusterWal {
    /// The name of the cluster.
    pub cluster: String,
    /// The archives, as `longshore wal status --json` prints them.
    #[serde(flatten)]
    pub archives: Archives,
}

impl std::fmt::Debug for Overview {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overview").field("backups", &self.backups.len()).finish_non_exhaustive()
    }
}

impl Overview {
    /// Creates an overview that contains the status only.
    pub fn new(status: Status) -> Self {
        Self {
            is_complete: true,
            status,
            backups: Vec::new(),
            retention: Vec::new(),
            runs: Vec::new(),
            drills: BTreeMap::new(),
            wal: Vec::new(),
            stores: BTreeMap::new(),
        }
    }

    /// Reads the record of a drill.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::NotFound`] for a record that is not among [`Self::drills`].
    pub async fn drill(&self, name: &MarkName) -> Result<Drill> {
        let store = self.drills.get(name).and_then(|destination| self.stores.get(destination));
        let unknown = || Error::new(Stage::Catalog, Kind::NotFound, name.label(), "no such drill");
        get_drill(&**store.ok_or_else(unknown)?, name).await
    }

    /// Returns the name of the drill that is stored under a key without its extension.
    pub fn drill_name(&self, key: &str) -> Option<MarkName> {
        let key = Key::parse(&format!("{key}.json")).ok()?;
        MarkName::from_key(&key).filter(|name| self.drills.contains_key(name))
    }
}

/// A reader of overviews, with a cache of the records that it has read.
pub struct OverviewReader<'a> {
    config: Arc<Config>,
    registry: &'a Registry,
    identities: Identities,
    tables: &'a TablesOf<'a>,
    caches: RecordCaches,
}

impl<'a> OverviewReader<'a> {
    /// Creates a reader with an empty cache. The identities and `tables` are those of a
    /// [`Request`].
    pub fn new(config: Arc<Config>, registry: &'a Registry, identities: Identities, tables: &'a TablesOf<'a>) -> Self {
        let caches = RecordCaches::new(&config);
        Self { config, registry, identities, tables, caches }
    }

    /// Reads all destinations, and passes the overview to `publish`. If some destinations take
    /// longer than `patience`, first passes an overview in which they have not answered yet.
    ///
    /// # Errors
    ///
    /// Fails if the status cannot be evaluated.
    pub async fn read(&self, patience: Option<Duration>, mut publish: impl FnMut(Overview)) -> Result<()> {
        let mut reads: FuturesUnordered<_> = self
            .config
            .destinations
            .keys()
            .map(async |name| {
                let read = timeout(READ_TIMEOUT, read_cached(&self.config, name, &self.caches)).await;
                let limit = READ_TIMEOUT.as_secs();
                (name, read.unwrap_or_else(|_| Err(no_answer(name, &format!("did not answer within {limit} s")))))
            })
            .collect();
        let mut done: BTreeMap<&String, Result<Catalogued>> = BTreeMap::new();
        let mut deadline = patience.map(|patience| Instant::now() + patience);
        while !reads.is_empty() {
            let expired = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((name, read)) = reads.next() => {
                    done.insert(name, read);
                }
                () = expired => {
                    deadline = None;
                    let pending = |name: &String| Err(no_answer(name, "has not answered yet"));
                    let known = self.config.destinations.keys();
                    let known = known.map(|name| (name.clone(), done.get(name).cloned().unwrap_or_else(|| pending(name))));
                    publish(Overview { is_complete: false, ..self.overview(known.collect()).await? });
                }
            }
        }
        publish(self.overview(done.into_iter().map(|(name, read)| (name.clone(), read)).collect()).await?);
        Ok(())
    }

    async fn overview(&self, reads: Vec<(String, Result<Catalogued>)>) -> Result<Overview> {
        let request = Request { job: None, max_age: None, identities: &self.identities, tables: self.tables };
        let (status, catalogs) = status_of(&self.config, self.registry, &request, reads).await?;
        let runs = recent_runs(&self.config, self.registry, &self.identities, &catalogs, MAX_RUNS).await;
        let mut drills = BTreeMap::new();
        for at in &catalogs {
            let names = at.catalog.backups().flat_map(|backup| backup.marks.effective(MarkKind::Drilled));
            drills.extend(names.map(|name| (name.clone(), at.name.clone())));
        }
        let time = status.time;
        let completeness = Completeness::of(catalogs.len() == self.config.destinations.len());
        let cluster_wal = |settings: &WalArchive| ClusterWal {
            cluster: settings.cluster.clone(),
            archives: archives(settings, &catalogs, completeness, time),
        };
        Ok(Overview {
            is_complete: true,
            status,
            backups: listing(&self.config, &catalogs),
            retention: explain(&self.config, &catalogs).await,
            runs,
            drills,
            wal: self.config.wal.values().map(cluster_wal).collect(),
            stores: catalogs.iter().map(|at| (at.name.clone(), Arc::clone(&at.store))).collect(),
        })
    }
}

fn no_answer(destination: &str, message: &str) -> Error {
    Error::new(Stage::Ship, Kind::Unavailable, format!("destination \"{destination}\""), message)
}
