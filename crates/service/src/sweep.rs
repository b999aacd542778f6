//! Removing what interrupted runs left in a destination: out of sight drafts, spooled files and parts of uploads that are paid for;
//! in sight artifacts whose manifest never came.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use longshore_core::catalog::Backup;
use longshore_core::key::{BackupName, Key};
use longshore_core::mark::MarkName;
use longshore_core::stage::{Entry, Store};
use longshore_core::{Error, Kind, Result};
use serde::Serialize;

use crate::catalogs::Catalogued;
use crate::memory::Memory;
use crate::problem::Problem;
use crate::prune::Mode;

/// Something that was left, and what became of it.
#[derive(Debug, Serialize)]
pub struct Swept {
    /// What the destination calls it.
    pub name: String,
    /// Its size in bytes, where that is told.
    pub bytes: Option<u64>,
    /// When it was last written to, by the destination's clock; or, of what lies in sight, since when this host knows of it.
    pub since: DateTime<Utc>,
    /// Whether it lies there under the name of a file of a backup, whose manifest never came.
    pub orphan: bool,
    /// Why it is still there, if it should have gone.
    pub error: Option<Problem>,
}

/// Removes, or only tells, what interrupted runs left in a destination and what was seen last, or first, before this time.
pub(crate) async fn sweep(
    at: &Catalogued,
    memory: Option<&mut Memory>,
    mode: Mode,
    before: DateTime<Utc>,
) -> Result<Vec<Swept>> {
    let mut all = drafts(&*at.store, mode, before).await?;
    if let Some(memory) = memory {
        all.extend(orphans(at, memory, mode, before).await?);
    }
    Ok(all)
}

/// What was left out of sight. A destination that cannot look has nothing to tell.
async fn drafts(store: &dyn Store, mode: Mode, before: DateTime<Utc>) -> Result<Vec<Swept>> {
    let Some(broom) = store.sweep() else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for leftover in broom.leftovers().await? {
        if leftover.since >= before {
            continue;
        }
        let gone = match mode {
            Mode::Act => broom.discard(&leftover).await,
            Mode::DryRun => Ok(()),
        };
        let error = gone.err().as_ref().map(|error: &Error| Problem::from(error));
        all.push(Swept { name: leftover.name, bytes: leftover.bytes, since: leftover.since, orphan: false, error });
    }
    Ok(all)
}

/// The files of backups that have no manifest, and had none when this host saw them first, long ago: whoever was to write it has died. The
/// time in a name does not tell that, since it is when the run began, and a listing tells no other.
async fn orphans(at: &Catalogued, memory: &mut Memory, mode: Mode, before: DateTime<Utc>) -> Result<Vec<Swept>> {
    let now = Utc::now();
    let known = std::mem::take(&mut memory.orphans);
    let mut due = Vec::new();
    let detailed = detailed(&at.catalog.orphans);
    for Entry { key, bytes } in at.catalog.orphans.iter().filter(|entry| is_ours(at, &detailed, &entry.key)) {
        let since = known.get(key).copied().unwrap_or(now).min(now);
        memory.orphans.insert(key.clone(), since);
        if since < before {
            due.push((key.clone(), *bytes, since));
        }
    }
    if due.is_empty() {
        return Ok(Vec::new());
    }
    // What tells that an artifact is Longshore's outlasts the artifact.
    due.sort_by_key(|(key, ..)| is_details(key));
    let manifests: Vec<Key> = at
        .store
        .list()
        .await?
        .try_filter_map(async |entry| Ok(BackupName::of_manifest(&entry.key).map(|_| entry.key)))
        .try_collect()
        .await?;
    let mut all = Vec::new();
    for (key, bytes, since) in due {
        // Its manifest may have come since the catalog was read; or be there, and hidden from who may not read it.
        let Some(manifest) = BackupName::of_file(&key).map(|name| name.manifest()) else { continue };
        if manifests.binary_search(&manifest).is_ok() || !is_free(&*at.store, &manifest).await {
            continue;
        }
        let gone = match mode {
            Mode::Act => at.store.remove(&key).await,
            Mode::DryRun => Ok(()),
        };
        if gone.is_ok() && mode == Mode::Act {
            memory.orphans.remove(&key);
        }
        let error = gone.err().as_ref().map(Problem::from);
        all.push(Swept { name: key.to_string(), bytes: Some(bytes), since, orphan: true, error });
    }
    Ok(all)
}

/// Whether there is nothing at all under a key.
async fn is_free(store: &dyn Store, key: &Key) -> bool {
    store.fetch(key, None).await.is_err_and(|error| error.kind() == Kind::NotFound)
}

/// Returns whether a file is the details of a backup.
fn is_details(key: &Key) -> bool {
    let suffix = BackupName::of_file(key).and_then(|name| key.as_str().strip_prefix(name.as_str()).map(str::to_owned));
    suffix.is_some_and(|suffix| suffix.starts_with(".details.json"))
}

/// Returns the names whose details are there. A mark tells nothing of an artifact: adopted files have marks, too.
fn detailed(orphans: &[Entry]) -> BTreeSet<BackupName> {
    let details = orphans.iter().filter(|entry| is_details(&entry.key));
    details.filter_map(|entry| BackupName::of_file(&entry.key)).collect()
}

/// Returns whether a file without a manifest is Longshore's, beyond doubt. Scripts name dumps as
/// Longshore does, and theirs never have a manifest. What tells them apart is a suffix that only
/// Longshore gives, details beside it, or that the series has backups
/// of this suffix here, of which it is not older.
fn is_ours(at: &Catalogued, detailed: &BTreeSet<BackupName>, key: &Key) -> bool {
    let Some(name) = BackupName::of_file(key) else { return false };
    let Some(suffix) = key.as_str().strip_prefix(name.as_str()) else { return false };
    let of_mark = MarkName::of(key).is_some() || MarkName::of_details(key).is_some();
    if of_mark || detailed.contains(&name) || suffix.ends_with(".zst.age") {
        return true;
    }
    let like_it = |backup: &Backup| {
        let artifact = &backup.manifest.artifact.key;
        artifact.folder() == key.folder()
            && artifact.as_str().strip_prefix(backup.name.as_str()) == Some(suffix)
            && backup.name.as_str() <= name.as_str()
    };
    at.catalog.backups().any(like_it)
}
