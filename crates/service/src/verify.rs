//! Reading backups back: sizes, digests, and, where they can be opened, a decode to the end.

use std::sync::Arc;

use futures_util::StreamExt;
use longshore_core::catalog::Backup;
use longshore_core::pipeline::{Depth, read_back};
use longshore_core::plugin::{Cluster, Identities, Packing, Site};
use longshore_core::stage::{Decrypt, Verify};
use longshore_core::{Error, Kind, Result, Stage};
use serde::Serialize;

use crate::config::{Config, Job};
use crate::fleet::{Quay, means, quays};
use crate::registry::Registry;
use crate::report::Problem;

/// How many backups are read at once.
const READS: usize = 2;

/// Which backups to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The newest of every series.
    Newest,
    /// All.
    All,
    /// Those that the words mean; of a series, its newest.
    Named(String),
}

/// What became of one backup's read-back.
#[derive(Debug, Serialize)]
pub struct ReadBack {
    /// Where it lies.
    pub destination: String,
    /// The backup, or the key of what should be one.
    pub name: String,
    /// Bytes that were read of it.
    pub bytes: u64,
    /// How deep it was read, if it is sound.
    pub depth: Option<Depth>,
    /// What is wrong, if anything is.
    pub error: Option<Problem>,
    /// Whether what is wrong is damage, rather than a destination that could not be read.
    pub damaged: bool,
}

/// Who judges for a job, or by default where there is none.
pub(crate) fn judges(registry: &Registry, job: Option<&Job>, site: &Site) -> Result<Vec<Arc<dyn Verify>>> {
    match job.and_then(|job| job.verify.as_ref()) {
        Some(judges) => judges.iter().map(|judge| judge(site).map(Arc::from)).collect(),
        None => Ok(vec![Arc::from(registry.verify.build(registry.default_verify, site)?)]),
    }
}

/// What opens the backup, where it is sealed and there are identities.
pub(crate) fn opener(
    registry: &Registry,
    identities: &Identities,
    backup: &Backup,
) -> Result<Option<Box<dyn Decrypt>>> {
    match &backup.manifest.artifact.encryption {
        Some(encryption) if !identities.is_empty() => registry.decrypt.build(encryption, identities).map(Some),
        _ => Ok(None),
    }
}

/// A site without a server, for judging what was dumped elsewhere.
fn ashore() -> Site {
    Site {
        cluster: Cluster { name: String::new(), connection: String::new().into(), password: None, bin_dir: None },
        packing: Packing::Pipeline(longshore_core::compress::Compression::None),
        scratch_dir: None,
    }
}

/// Reads backups back. `on_bytes` hears how much was read.
pub async fn verify(
    config: &Config,
    registry: &Registry,
    which: &Which,
    only: Option<&str>,
    identities: &Identities,
    on_bytes: &(dyn Fn(u64) + Sync),
) -> Result<Vec<ReadBack>> {
    let mut all = Vec::new();
    let mut found = false;
    for (destination, quay) in quays(config, only).await? {
        let quay = match quay {
            Ok(quay) => quay,
            Err(error) => {
                all.push(unread(&destination, "", &error));
                continue;
            }
        };
        if *which != Which::Newest {
            all.extend(
                quay.catalog
                    .unreadable
                    .iter()
                    .filter(|_| *which == Which::All)
                    .map(|(key, error)| unread(&destination, key.as_str(), error)),
            );
        }
        let chosen = chosen(&quay, which);
        found |= !chosen.is_empty();
        let reads =
            chosen.into_iter().map(async |backup| one(config, registry, &quay, backup, identities, on_bytes).await);
        all.extend(futures_util::stream::iter(reads).buffered(READS).collect::<Vec<_>>().await);
    }
    match which {
        Which::Named(words) if !found && all.iter().all(|read| read.error.is_none()) => {
            Err(Error::new(Stage::Catalog, Kind::NotFound, words, "no backup of that name")
                .hint("`longshore list` shows what there is"))
        }
        _ => Ok(all),
    }
}

fn chosen<'a>(quay: &'a Quay, which: &Which) -> Vec<&'a Backup> {
    let series = quay.catalog.series.values();
    match which {
        Which::All => series.flatten().collect(),
        Which::Newest => series.filter_map(|backups| backups.last()).collect(),
        Which::Named(words) => series
            .filter_map(|backups| {
                let exact = backups.iter().find(|b| *words == b.name.as_str() || *words == b.name.file_name());
                exact.or_else(|| backups.last().filter(|backup| means(words, backup)))
            })
            .collect(),
    }
}

async fn one(
    config: &Config,
    registry: &Registry,
    quay: &Quay,
    backup: &Backup,
    identities: &Identities,
    on_bytes: &(dyn Fn(u64) + Sync),
) -> ReadBack {
    let job = config.jobs.get(&backup.manifest.job);
    let bytes = std::sync::atomic::AtomicU64::new(0);
    let read = async {
        let opener = opener(registry, identities, backup)?;
        let judges = judges(registry, job, &job.map_or_else(ashore, |job| job.site.clone()))?;
        let count = |read| {
            bytes.fetch_add(read, std::sync::atomic::Ordering::Relaxed);
            on_bytes(read);
        };
        read_back(&*quay.store, &backup.manifest, opener.as_deref(), &judges, count).await
    };
    let (depth, error) = match read.await {
        Ok(depth) => (Some(depth), None),
        Err(error) => (None, Some(error)),
    };
    ReadBack {
        destination: quay.name.clone(),
        name: backup.name.to_string(),
        bytes: bytes.into_inner(),
        depth,
        damaged: error.as_ref().is_some_and(is_damage),
        error: error.as_ref().map(Problem::from),
    }
}

fn unread(destination: &str, name: &str, error: &Error) -> ReadBack {
    ReadBack {
        destination: destination.to_owned(),
        name: name.to_owned(),
        bytes: 0,
        depth: None,
        error: Some(error.into()),
        damaged: is_damage(error),
    }
}

/// Whether an error means a bad backup: changed bytes, or bytes that a manifest names and that are not there.
fn is_damage(error: &Error) -> bool {
    error.kind() == Kind::Corrupt || error.kind() == Kind::NotFound && error.stage() == Stage::Ship
}
