//! Planned copies of backups that continue each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use longshore_core::event::Observer;
use longshore_core::key::BackupName;
use longshore_core::{Error, Kind, Stage};

use super::{Copied, Damaged, PlannedCopy, copy_backup};

/// Groups planned copies: a backup follows those that it continues, all others are
/// groups of their own. The groups have the order of their first elements.
pub(super) fn in_chains(copies: Vec<PlannedCopy<'_>>) -> Vec<Vec<PlannedCopy<'_>>> {
    let parents: BTreeMap<&BackupName, Option<&BackupName>> =
        copies.iter().map(|planned| (&planned.backup.name, planned.backup.manifest.parent())).collect();
    // No chain is longer than the plan, not even if its names form a circle.
    let root = |name| {
        let planned =
            std::iter::successors(Some(name), |name| (*parents.get(name)?).filter(|it| parents.contains_key(it)));
        planned.take(parents.len()).last().unwrap_or(name)
    };
    let roots: Vec<BackupName> = copies.iter().map(|planned| root(&planned.backup.name).clone()).collect();
    let mut groups: Vec<Vec<PlannedCopy<'_>>> = Vec::new();
    let mut indices: BTreeMap<BackupName, usize> = BTreeMap::new();
    for (root, planned) in roots.into_iter().zip(copies) {
        let index = *indices.entry(root).or_insert(groups.len());
        match groups.get_mut(index) {
            Some(group) => group.push(planned),
            None => groups.push(vec![planned]),
        }
    }
    groups.iter_mut().for_each(|group| group.sort_by_key(|planned| planned.backup.manifest.time));
    groups
}

/// Copies backups that continue each other. Without the backup that it continues, a copy would be
/// of no use.
pub(super) async fn copy_group(group: &[PlannedCopy<'_>], observer: &Arc<dyn Observer>) -> Vec<(Copied, Damaged)> {
    let mut results: Vec<(Copied, Damaged)> = Vec::new();
    // The backups without a copy, each with the one whose copy failed.
    let mut missing: BTreeMap<BackupName, BackupName> = BTreeMap::new();
    for planned in group {
        let parent = planned.backup.manifest.parent();
        let cause = parent.and_then(|parent| missing.get(parent)).cloned();
        let result = match &cause {
            Some(missing) => {
                let message = format!("not copied: it continues {missing}, which could not be copied");
                let error = Error::new(Stage::Ship, Kind::Failed, planned.backup.name.as_str(), message);
                (planned.report(None, 0.0, Err(error)), Damaged::new())
            }
            None => copy_backup(planned, observer).await,
        };
        if result.0.error.is_some() {
            let name = result.0.name.clone();
            missing.insert(name.clone(), cause.unwrap_or(name));
        }
        results.push(result);
    }
    results
}
