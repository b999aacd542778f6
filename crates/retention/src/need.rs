//! The dependencies among backups, by index instead of by name.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use longshore_model::key::BackupName;

use super::candidate::Candidate;

/// The indices of a history and of a backup in it.
pub(super) type Place = (usize, usize);

/// The dependencies among the backups of some histories, and those of backups outside the plan.
pub(super) struct Needs<'a> {
    of: Vec<Vec<Vec<Place>>>,
    outside: Vec<(Place, &'a BackupName)>,
}

impl<'a> Needs<'a> {
    /// Resolves the dependencies of these histories, and ignores missing backups.
    pub(super) fn of_all(
        histories: &[&[&'a Candidate]],
        outside: &'a BTreeMap<BackupName, BTreeSet<BackupName>>,
    ) -> Self {
        let all = || histories.iter().flat_map(|backups| *backups);
        // Few backups are needed by others, so a table of these alone is fast.
        let needed = all().flat_map(|backup| &backup.needs).chain(outside.keys());
        let mut places: HashMap<&BackupName, Option<Place>> = needed.map(|name| (name, None)).collect();
        if !places.is_empty() {
            for (history, backups) in histories.iter().enumerate() {
                for (place, backup) in backups.iter().enumerate() {
                    if let Some(found) = places.get_mut(&backup.name) {
                        *found = Some((history, place));
                    }
                }
            }
        }
        let find = |name: &BackupName| places.get(name).copied().flatten();
        let of = |backup: &&Candidate| backup.needs.iter().filter_map(find).collect();
        Self {
            of: histories.iter().map(|backups| backups.iter().map(of).collect()).collect(),
            outside: outside
                .iter()
                .flat_map(|(name, by)| find(name).into_iter().flat_map(|place| by.iter().map(move |by| (place, by))))
                .collect(),
        }
    }

    /// Returns the backups that a backup needs.
    pub(super) fn of(&self, (history, place): Place) -> &[Place] {
        &self.of[history][place]
    }

    /// Returns the backups that are needed from outside the plan, once for each dependent.
    pub(super) fn outside(&self) -> impl Iterator<Item = (Place, &'a BackupName)> {
        self.outside.iter().copied()
    }
}
