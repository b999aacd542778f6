//! The archived WAL at each destination.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use longshore_config::{Config, WalArchive};
use longshore_core::Result;
use longshore_core::wal_key::WalFolder;
use serde::Serialize;

use crate::wal::inventory::{ArchivedFile, Timeline, timelines};

/// The archived WAL of one cluster at one destination.
#[derive(Debug, Serialize)]
pub struct ArchivedWal {
    /// The name of the destination.
    pub destination: String,
    /// PostgreSQL's system identifier of the cluster, as text: JSON's numbers are less exact.
    pub system_identifier: String,
    /// The timelines, in the order of their numbers.
    pub timelines: Vec<Timeline>,
}

/// Reads the archive at each destination. One that cannot be listed is an error of its own.
pub async fn archived_wal(config: &Config, settings: &WalArchive) -> Vec<(String, Result<Vec<ArchivedWal>>)> {
    let reads = settings.ship.iter().map(async |name| (name.clone(), read(config, &settings.cluster, name).await));
    join_all(reads).await
}

async fn read(config: &Config, cluster: &str, destination: &str) -> Result<Vec<ArchivedWal>> {
    let store = config.destination(destination)?.open()?;
    let mut entries = store.list(Some(&WalFolder::above(cluster)?)).await?;
    let mut files = Vec::new();
    while let Some(entry) = entries.try_next().await? {
        files.extend(ArchivedFile::of(&entry));
    }
    Ok(archives(destination, files))
}

/// Returns the archives of one cluster at a destination, given all their files.
pub(crate) fn archives(destination: &str, files: impl IntoIterator<Item = ArchivedFile>) -> Vec<ArchivedWal> {
    let mut archives: BTreeMap<u64, Vec<ArchivedFile>> = BTreeMap::new();
    for file in files {
        archives.entry(file.key.system_identifier).or_default().push(file);
    }
    let archives = archives.into_iter().map(|(system_identifier, files)| ArchivedWal {
        destination: destination.to_owned(),
        system_identifier: system_identifier.to_string(),
        timelines: timelines(&files),
    });
    archives.collect()
}
