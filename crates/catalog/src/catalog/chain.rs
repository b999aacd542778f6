//! Chains of backups: an incremental base backup and a difference are of use only with the backups
//! that they continue.

use std::collections::HashMap;

use longshore_core::key::BackupName;

use super::Backup;

/// Notes, for each backup of a series that continues others, the first one of its chain that is
/// damaged or missing. The backups are sorted by time, and a parent is older than its child.
pub(super) fn mark_unusable(backups: &mut [Backup]) {
    if !backups.iter().any(|backup| backup.manifest.continues_others()) {
        return;
    }
    let mut indices: HashMap<BackupName, usize> = HashMap::new();
    for index in 0..backups.len() {
        let (unusable, is_doubtful) = state(backups, &indices, index);
        if let Some(backup) = backups.get_mut(index) {
            (backup.unusable, backup.is_chain_doubtful) = (unusable, is_doubtful);
            indices.insert(backup.name.clone(), index);
        }
    }
}

/// Returns the first unusable backup that a backup continues, and whether one may be damaged.
fn state(backups: &[Backup], indices: &HashMap<BackupName, usize>, index: usize) -> (Option<BackupName>, bool) {
    let Some(backup) = backups.get(index).filter(|backup| backup.manifest.continues_others()) else {
        return (None, false);
    };
    // A manifest that names no parent makes the backup itself unusable.
    let Some(name) = backup.manifest.parent() else { return (Some(backup.name.clone()), false) };
    let parent = indices.get(name).and_then(|parent| backups.get(*parent));
    match parent {
        Some(parent) if parent.is_intact() && backup.manifest.continues(&parent.manifest) => {
            (parent.unusable.clone(), parent.marks.possibly_damaged || parent.is_chain_doubtful)
        }
        _ => (Some(name.clone()), false),
    }
}
