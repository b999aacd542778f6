//! Copying archived WAL to destinations that lack it, such as one that was left out while it could
//! not be reached. Encrypted bytes are copied unchanged.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use longshore_config::{Config, WalArchive};
use longshore_core::header::HeaderName;
use longshore_core::key::Key;
use longshore_core::stage::Store;
use longshore_core::wal_key::{WalFolder, WalKey};
use longshore_core::{Error, Kind, Result};
use longshore_pg_wal::ArchiveName;
use serde::Serialize;

use crate::error_report::ErrorReport;
use crate::mode::Mode;

/// The number of files copied at once.
const COPIES: usize = 4;

/// The WAL that was copied to one destination.
#[derive(Debug, Serialize)]
pub struct WalCopied {
    /// The name of the destination.
    pub to: String,
    /// The number of files that were or would be copied.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// The first error, if a destination could not be listed or a file could not be copied.
    pub error: Option<ErrorReport>,
}

/// The archive at one destination.
struct Listed {
    store: std::sync::Arc<dyn Store>,
    files: BTreeMap<Key, u64>,
}

/// Copies the WAL that a destination of the archive lacks and another one has. Returns the
/// destinations to which anything was to be copied.
pub(crate) async fn sync(config: &Config, archive: &WalArchive, mode: Mode) -> Vec<WalCopied> {
    let (mut all, mut copied) = (Vec::new(), Vec::new());
    for name in &archive.ship {
        match list(config, &archive.cluster, name).await {
            Ok(listed) => all.push((name, listed)),
            Err(error) => {
                copied.push(WalCopied { to: name.clone(), files: 0, bytes: 0, error: Some(ErrorReport::from(&error)) });
            }
        }
    }
    for (name, to) in &all {
        let mut missing: BTreeMap<&Key, (&Listed, u64)> = BTreeMap::new();
        for (_, from) in &all {
            let lacking = from.files.iter().filter(|(key, _)| !to.files.contains_key(*key));
            lacking.for_each(|(key, bytes)| {
                missing.entry(key).or_insert((from, *bytes));
            });
        }
        if missing.is_empty() {
            continue;
        }
        let mut done = WalCopied { to: (*name).clone(), files: 0, bytes: 0, error: None };
        // The history of a timeline precedes its segments.
        let mut missing: Vec<_> = missing.into_iter().collect();
        missing.sort_by_key(|(key, _)| !is_history(key));
        let copies = missing.into_iter().map(async |(key, (from, bytes))| {
            if mode == Mode::Act {
                copy(&*from.store, &*to.store, key).await?;
            }
            Ok::<_, Error>(bytes)
        });
        let mut copies = stream::iter(copies).buffered(COPIES);
        loop {
            match copies.try_next().await {
                Ok(Some(bytes)) => {
                    done.files += 1;
                    done.bytes += bytes;
                }
                Ok(None) => break,
                Err(error) => {
                    done.error = Some(ErrorReport::from(&error));
                    break;
                }
            }
        }
        copied.push(done);
    }
    copied
}

async fn list(config: &Config, cluster: &str, destination: &str) -> Result<Listed> {
    let store = config.destination(destination)?.open()?;
    match crate::mount::expect(config, destination, &*store) {
        Err(error) if error.kind() == Kind::Refused => return Err(error),
        // The next run reports a state file that cannot be read or written.
        _ => {}
    }
    let mut entries = store.list(Some(&WalFolder::above(cluster)?)).await?;
    let mut files = BTreeMap::new();
    while let Some(entry) = entries.try_next().await? {
        // Headers have the same recipients at every destination.
        if WalKey::parse(&entry.key).is_some() || HeaderName::from_key(&entry.key).is_some() {
            files.insert(entry.key, entry.bytes);
        }
    }
    Ok(Listed { store, files })
}

fn is_history(key: &Key) -> bool {
    WalKey::parse(key).is_some_and(|file| matches!(file.name, ArchiveName::History { .. }))
}

/// Copies one file. The server may archive the same file meanwhile.
async fn copy(from: &dyn Store, to: &dyn Store, key: &Key) -> Result<()> {
    match to.ship(key, from.fetch(key, None).await?).await {
        Err(error) if error.kind() == Kind::AlreadyExists => Ok(()),
        shipped => shipped,
    }
}
