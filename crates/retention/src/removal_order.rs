//! The order of removal: the oldest backup first, and dependents before the backups that they need.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use chrono::{DateTime, Utc};

use super::candidate::Candidate;
use super::need::{Index, Needs};

/// The order of removal for some histories: always the oldest backup among those without remaining
/// dependents.
pub(super) struct RemovalOrder {
    indices: Vec<Index>,
    cyclic: Vec<Index>,
}

impl RemovalOrder {
    /// Computes the order for these histories.
    pub(super) fn of(histories: &[&[&Candidate]], needs: &Needs<'_>) -> Self {
        let all = || {
            let all = histories.iter().enumerate();
            all.flat_map(|(history, backups)| (0..backups.len()).map(move |index| (history, index)))
        };
        // The number of remaining dependents of each backup.
        let mut dependents: Vec<Vec<u32>> = histories.iter().map(|backups| vec![0; backups.len()]).collect();
        for (history, index) in all().flat_map(|index| needs.of(index)) {
            dependents[*history][*index] += 1;
        }
        let removal_key = |(history, index): Index| RemovalKey::of((history, index), histories[history][index]);
        let ready = all().filter(|(history, index)| dependents[*history][*index] == 0);
        let mut ready: BinaryHeap<RemovalKey> = ready.map(removal_key).collect();
        let mut indices = Vec::new();
        while let Some(next) = ready.pop() {
            indices.push(next.index());
            for dependency in needs.of(next.index()) {
                let dependents = &mut dependents[dependency.0][dependency.1];
                *dependents -= 1;
                if *dependents == 0 {
                    ready.push(removal_key(*dependency));
                }
            }
        }
        let cyclic = all().filter(|(history, index)| dependents[*history][*index] > 0).collect();
        Self { indices, cyclic }
    }

    /// Returns the backups in the order of removal.
    pub(super) fn indices(&self) -> impl Iterator<Item = Index> {
        self.indices.iter().copied()
    }

    /// Returns the backups in dependency cycles, and the backups that these need. They have no
    /// order.
    pub(super) fn cyclic(&self) -> impl Iterator<Item = Index> {
        self.cyclic.iter().copied()
    }
}

/// The sort key of the next backup to remove: the greatest key is the oldest backup. At equal
/// times, the first history comes first, and in a history the oldest backup, which is the last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RemovalKey(Reverse<DateTime<Utc>>, Reverse<usize>, usize);

impl RemovalKey {
    /// Returns the key of a backup.
    pub(super) fn of((history, index): Index, backup: &Candidate) -> Self {
        Self(Reverse(backup.time), Reverse(history), index)
    }

    /// Returns the indices of the backup.
    pub(super) fn index(self) -> Index {
        (self.1.0, self.2)
    }
}
