//! Detection of series that have ended.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use longshore_catalog::catalog::Backup;
use longshore_core::key::BackupName;

/// Returns the time of a series' last backup if a later run made no backup of the series: the
/// series has ended.
pub(crate) fn ended(newest: Option<DateTime<Utc>>, run: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    newest.filter(|time| Some(*time) < run)
}

/// Returns the time of a job's newest complete run, given all backups of the job at all
/// destinations. A series that a run failed to copy has not ended: only a complete run
/// shows its end.
pub(crate) fn newest_complete_run<'a>(backups: impl IntoIterator<Item = &'a Backup>) -> Option<DateTime<Utc>> {
    let mut runs: BTreeMap<&str, (&Backup, BTreeSet<&BackupName>)> = BTreeMap::new();
    for backup in backups {
        runs.entry(&backup.manifest.run).or_insert_with(|| (backup, BTreeSet::new())).1.insert(&backup.name);
    }
    let whole = runs.into_values().filter(|(any, made)| made.len() >= any.manifest.run_backups as usize);
    whole.map(|(any, _)| any.manifest.time.time()).max()
}
