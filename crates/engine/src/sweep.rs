//! Removal of leftovers of interrupted runs: invisible drafts, spooled files and parts of uploads,
//! which cost money; and visible artifacts without a manifest.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use longshore_catalog::catalog::Backup;
use longshore_core::header::HeaderName;
use longshore_core::key::{BackupName, Key};
use longshore_core::mark::MarkName;
use longshore_core::signature::Record;
use longshore_core::stage::{Entry, Store};
use longshore_core::{Error, Kind, Result};
use serde::Serialize;

use crate::catalogs::Catalogued;
use crate::destination_state::DestinationState;
use crate::error_report::ErrorReport;
use crate::mode::Mode;

/// A leftover, and the result of its removal.
#[derive(Debug, Serialize)]
pub struct Swept {
    /// The destination's name for the leftover.
    pub name: String,
    /// The size in bytes, if known.
    pub bytes: Option<u64>,
    /// The time of the last write by the destination's clock or, for a visible file, the time since
    /// which this host knows of the file.
    pub since: DateTime<Utc>,
    /// True if this is a visible file of a backup without a manifest.
    pub orphan: bool,
    /// The error, if the leftover could not be removed.
    pub error: Option<ErrorReport>,
}

/// Removes, or only lists, leftovers of interrupted runs that were last written, or first seen,
/// before this time.
pub(crate) async fn sweep(
    at: &Catalogued,
    state: Option<&mut DestinationState>,
    mode: Mode,
    before: DateTime<Utc>,
) -> Result<Vec<Swept>> {
    let mut all = sweep_hidden(&*at.store, mode, before).await?;
    if let Some(state) = state {
        all.extend(sweep_orphans(at, state, mode, before).await?);
    }
    Ok(all)
}

/// Removes invisible leftovers. Returns none if the destination cannot list them.
async fn sweep_hidden(store: &dyn Store, mode: Mode, before: DateTime<Utc>) -> Result<Vec<Swept>> {
    let Some(sweeper) = store.capabilities().incomplete_uploads else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for leftover in sweeper.leftovers().await? {
        if leftover.since >= before {
            continue;
        }
        let removed = match mode {
            Mode::Act => sweeper.discard(&leftover).await,
            Mode::DryRun => Ok(()),
        };
        let error = removed.err().as_ref().map(|error: &Error| ErrorReport::from(error));
        all.push(Swept { name: leftover.name, bytes: leftover.bytes, since: leftover.since, orphan: false, error });
    }
    Ok(all)
}

/// Removes files of backups without a manifest that this host first saw long ago: their writer has
/// died. The time in a name is the start of the run, and a listing contains no other time, so the
/// time of the first sighting counts.
async fn sweep_orphans(
    at: &Catalogued,
    state: &mut DestinationState,
    mode: Mode,
    before: DateTime<Utc>,
) -> Result<Vec<Swept>> {
    let now = Utc::now();
    let known = std::mem::take(&mut state.orphans);
    let mut expired = Vec::new();
    let names_with_details = names_with_details(&at.catalog.orphans);
    for Entry { key, bytes, .. } in
        at.catalog.orphans.iter().filter(|entry| is_ours(at, &names_with_details, &entry.key))
    {
        let since = known.get(key).copied().unwrap_or(now).min(now);
        state.orphans.insert(key.clone(), since);
        if since < before {
            expired.push((key.clone(), *bytes, since));
        }
    }
    if expired.is_empty() {
        return Ok(Vec::new());
    }
    // Details, which prove that an artifact is Longshore's, are removed after the artifact.
    expired.sort_by_key(|(key, ..)| is_details(key));
    let manifests: Vec<Key> = at
        .store
        .list(None)
        .await?
        .try_filter_map(async |entry| Ok(BackupName::from_manifest_key(&entry.key).map(|_| entry.key)))
        .try_collect()
        .await?;
    let mut all = Vec::new();
    for (key, bytes, since) in expired {
        // The manifest may have been written since the catalog was read, or be hidden from
        // these credentials.
        let Some(manifest) = BackupName::from_file_key(&key).map(|name| name.manifest()) else { continue };
        if manifests.binary_search(&manifest).is_ok() || !is_missing(&*at.store, &manifest).await {
            continue;
        }
        let removed = match mode {
            Mode::Act => at.store.remove(&key).await,
            Mode::DryRun => Ok(()),
        };
        if removed.is_ok() && mode == Mode::Act {
            state.orphans.remove(&key);
        }
        let error = removed.err().as_ref().map(ErrorReport::from);
        all.push(Swept { name: key.to_string(), bytes: Some(bytes), since, orphan: true, error });
    }
    Ok(all)
}

/// Returns true if a destination has no object under the key.
async fn is_missing(store: &dyn Store, key: &Key) -> bool {
    store.fetch(key, None).await.is_err_and(|error| error.kind() == Kind::NotFound)
}

/// Returns true if a file contains details of a backup.
fn is_details(key: &Key) -> bool {
    let suffix =
        BackupName::from_file_key(key).and_then(|name| key.as_str().strip_prefix(name.as_str()).map(str::to_owned));
    suffix.is_some_and(|suffix| suffix.starts_with(".details.json")) && HeaderName::from_key(key).is_none()
}

/// Returns the names of backups with details. Marks do not count: adopted files have marks, too.
fn names_with_details(orphans: &[Entry]) -> BTreeSet<BackupName> {
    let details = orphans.iter().filter(|entry| is_details(&entry.key));
    details.filter_map(|entry| BackupName::from_file_key(&entry.key)).collect()
}

/// Returns true if a file without a manifest is certainly Longshore's. Scripts use the same
/// names for dumps, and their dumps never have a manifest. A file is Longshore's if only
/// Longshore uses its suffix, if details are beside it, or if its series has an older or equally
/// old backup with this suffix.
fn is_ours(at: &Catalogued, names_with_details: &BTreeSet<BackupName>, key: &Key) -> bool {
    let Some(name) = BackupName::from_file_key(key) else { return false };
    let Some(suffix) = key.as_str().strip_prefix(name.as_str()) else { return false };
    let of_mark = MarkName::from_key(key).is_some() || MarkName::from_details_key(key).is_some();
    let beside = HeaderName::from_key(key).is_some() || Record::from_signature_key(key).is_some();
    if of_mark || beside || names_with_details.contains(&name) || suffix.ends_with(".zst.age") {
        return true;
    }
    let is_same_kind = |backup: &Backup| {
        let artifact = &backup.manifest.artifact.key;
        artifact.folder() == key.folder()
            && artifact.as_str().strip_prefix(backup.name.as_str()) == Some(suffix)
            && backup.name.as_str() <= name.as_str()
    };
    at.catalog.backups().any(is_same_kind)
}
