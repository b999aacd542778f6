//! The dependencies among backups, by index instead of by name.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use longshore_model::key::BackupName;

use super::candidate::Candidate;

/// The indices of a history and of a backup in it.
pub(super) type Index = (usize, usize);

/// The dependencies among the backups of some histories, and those of backups outside the plan.
pub(super) struct Needs<'a> {
    of: Vec<Vec<Vec<Index>>>,
    outside: Vec<(Index, &'a BackupName)>,
}

impl<'a> Needs<'a> {
    /// Resolves the dependencies of these histories, and ignores missing backups.
    pub(super) fn resolve(
        histories: &[&[&'a Candidate]],
        outside: &'a BTreeMap<BackupName, BTreeSet<BackupName>>,
    ) -> Self {
        let all = || histories.iter().flat_map(|backups| *backups);
        // Few backups are needed by others, so a table of these alone is fast.
        let needed = all().flat_map(|backup| &backup.needs).chain(outside.keys());
        let mut indices: HashMap<&BackupName, Option<Index>> = needed.map(|name| (name, None)).collect();
        if !indices.is_empty() {
            for (history, backups) in histories.iter().enumerate() {
                for (index, backup) in backups.iter().enumerate() {
                    if let Some(found) = indices.get_mut(&backup.name) {
                        *found = Some((history, index));
                    }
                }
            }
        }
        let find = |name: &BackupName| indices.get(name).copied().flatten();
        let of = |backup: &&Candidate| backup.needs.iter().filter_map(find).collect();
        Self {
            of: histories.iter().map(|backups| backups.iter().map(of).collect()).collect(),
            outside: outside
                .iter()
                .flat_map(|(name, by)| find(name).into_iter().flat_map(|index| by.iter().map(move |by| (index, by))))
                .collect(),
        }
    }

    /// Returns the backups that a backup needs.
    pub(super) fn of(&self, (history, index): Index) -> &[Index] {
        &self.of[history][index]
    }

    /// Returns the backups that are needed from outside the plan, once for each dependent.
    pub(super) fn outside(&self) -> impl Iterator<Item = (Index, &'a BackupName)> {
        self.outside.iter().copied()
    }
}
