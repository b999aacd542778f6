//! Which series no longer grow.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use longshore_core::catalog::Backup;
use longshore_core::key::BackupName;

/// When the last backup of a series was made, if a run came after it that made none of it: the series has ended.
pub(crate) fn ended(newest: Option<DateTime<Utc>>, run: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    newest.filter(|time| Some(*time) < run)
}

/// The time of the newest run of a job that made all that it was to make, of all its backups, wherever they lie. A series that a run failed
/// to make goes on: only a whole run tells that it has ended.
pub(crate) fn newest_whole_run<'a>(backups: impl IntoIterator<Item = &'a Backup>) -> Option<DateTime<Utc>> {
    let mut runs: BTreeMap<&str, (&Backup, BTreeSet<&BackupName>)> = BTreeMap::new();
    for backup in backups {
        runs.entry(&backup.manifest.run).or_insert_with(|| (backup, BTreeSet::new())).1.insert(&backup.name);
    }
    let whole = runs.into_values().filter(|(any, made)| made.len() >= any.manifest.run_backups as usize);
    whole.map(|(any, _)| any.manifest.time.time()).max()
}
