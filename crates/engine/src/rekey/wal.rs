//! Rekeying of archived WAL, without which the new recipients could restore base backups only to
//! their end.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt};
use longshore_config::WalArchive;
use longshore_core::header::HeaderName;
use longshore_core::key::Key;
use longshore_core::wal_key::{WalFolder, WalKey};
use longshore_core::{Error, Result};
use serde::Serialize;

use super::file::{FileRekeyer, SealedFile};
use super::{CONCURRENT, RekeyScope, Rekeyer};
use crate::error_report::ErrorReport;

/// The result of rekeying the archived WAL of a cluster at one destination.
#[derive(Debug, Serialize)]
pub struct RekeyedWal {
    /// The cluster.
    pub cluster: String,
    /// The destination.
    pub destination: String,
    /// The number of new headers, or of those that would be written.
    pub headers: u64,
    /// The number of files that have a header for the recipients already.
    pub present: u64,
    /// The number of files that could not be rekeyed.
    pub failed: u64,
    /// The first error.
    pub error: Option<ErrorReport>,
}

/// The encrypted files of an archive, each with its headers, the newest first.
type Files = BTreeMap<Key, (u64, Vec<HeaderName>)>;

/// Rekeys the archives of a scope, destination by destination.
pub(super) async fn rekey(
    rekeyer: &Rekeyer<'_>,
    files: &FileRekeyer<'_>,
    scope: &RekeyScope<'_>,
    only: Option<&str>,
) -> Vec<RekeyedWal> {
    let archives: Vec<&WalArchive> = match scope {
        RekeyScope::Job(job) => rekeyer.config.wal.get(&job.site.cluster.name).into_iter().collect(),
        RekeyScope::All => rekeyer.config.wal.values().collect(),
        RekeyScope::Backup(_) => Vec::new(),
    };
    let mut all = Vec::new();
    for archive in archives {
        for destination in archive.ship.iter().filter(|name| only.is_none_or(|only| only == name.as_str())) {
            let mut rekeyed = RekeyedWal {
                cluster: archive.cluster.clone(),
                destination: destination.clone(),
                headers: 0,
                present: 0,
                failed: 0,
                error: None,
            };
            if let Err(error) = rekey_archive(rekeyer, files, &mut rekeyed).await {
                rekeyed.error = Some(ErrorReport::from(&error));
            }
            if rekeyed.headers + rekeyed.present + rekeyed.failed > 0 || rekeyed.error.is_some() {
                all.push(rekeyed);
            }
        }
    }
    all
}

async fn rekey_archive(rekeyer: &Rekeyer<'_>, rekey: &FileRekeyer<'_>, rekeyed: &mut RekeyedWal) -> Result<()> {
    let store = rekeyer.config.destination(&rekeyed.destination)?.open()?;
    let mut files = Files::new();
    let mut headers = BTreeSet::new();
    let mut entries = store.list(Some(&WalFolder::above(&rekeyed.cluster)?)).await?;
    while let Some(entry) = entries.try_next().await? {
        if WalKey::parse(&entry.key).is_some() && HeaderName::is_sealed(&entry.key) {
            files.insert(entry.key, (entry.bytes, Vec::new()));
        } else {
            headers.extend(HeaderName::from_key(&entry.key));
        }
    }
    for header in headers.into_iter().rev() {
        if let Some((_, headers)) = files.get_mut(&header.sealed) {
            headers.push(header);
        }
    }
    let results = files.iter().map(async |(key, (bytes, headers))| {
        rekey.rekey(&*store, &SealedFile { key, bytes: Some(*bytes), headers: headers.iter().collect() }).await
    });
    let mut results = futures_util::stream::iter(results).buffered(CONCURRENT);
    while let Some::<Result<Option<Key>, Error>>(result) = results.next().await {
        match result {
            Ok(Some(_)) => rekeyed.headers += 1,
            Ok(None) => rekeyed.present += 1,
            Err(error) => {
                rekeyed.failed += 1;
                rekeyed.error.get_or_insert_with(|| ErrorReport::from(&error));
            }
        }
    }
    Ok(())
}
