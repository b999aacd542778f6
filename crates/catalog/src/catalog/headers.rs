//! The headers beside encrypted files, by the backup that they belong to.

use std::collections::BTreeMap;

use longshore_model::header::HeaderName;
use longshore_model::key::{BackupName, Key};

/// Returns the headers among the keys, by backup, and each backup's by file, oldest first.
pub(super) fn by_backup<'a>(keys: impl Iterator<Item = &'a Key>) -> BTreeMap<BackupName, Vec<HeaderName>> {
    let mut all: BTreeMap<BackupName, Vec<HeaderName>> = BTreeMap::new();
    for header in keys.filter_map(HeaderName::from_key) {
        if let Some(backup) = BackupName::from_file_key(&header.sealed) {
            all.entry(backup).or_default().push(header);
        }
    }
    all.values_mut().for_each(|headers| headers.sort());
    all
}
