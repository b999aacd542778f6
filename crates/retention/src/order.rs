//! The order of removal: the oldest backup first, and dependents before the backups that they need.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use chrono::{DateTime, Utc};

use super::candidate::Candidate;
use super::need::{Needs, Place};

/// The order of removal for some histories: always the oldest backup among those without remaining
/// dependents.
pub(super) struct Order {
    places: Vec<Place>,
    circular: Vec<Place>,
}

impl Order {
    /// Computes the order for these histories.
    pub(super) fn of(histories: &[&[&Candidate]], needs: &Needs<'_>) -> Self {
        let all = || {
            let all = histories.iter().enumerate();
            all.flat_map(|(history, backups)| (0..backups.len()).map(move |place| (history, place)))
        };
        // The number of remaining dependents of each backup.
        let mut needing: Vec<Vec<u32>> = histories.iter().map(|backups| vec![0; backups.len()]).collect();
        for (history, place) in all().flat_map(|place| needs.of(place)) {
            needing[*history][*place] += 1;
        }
        let turn = |(history, place): Place| Turn::of((history, place), histories[history][place]);
        let free = all().filter(|(history, place)| needing[*history][*place] == 0);
        let mut free: BinaryHeap<Turn> = free.map(turn).collect();
        let mut places = Vec::new();
        while let Some(turn_of) = free.pop() {
            places.push(turn_of.place());
            for need in needs.of(turn_of.place()) {
                let needing = &mut needing[need.0][need.1];
                *needing -= 1;
                if *needing == 0 {
                    free.push(turn(*need));
                }
            }
        }
        let circular = all().filter(|(history, place)| needing[*history][*place] > 0).collect();
        Self { places, circular }
    }

    /// Returns the backups in the order of removal.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.places.iter().copied()
    }

    /// Returns the backups in dependency cycles, and the backups that these need. They have no
    /// order.
    pub(super) fn circular(&self) -> impl Iterator<Item = Place> {
        self.circular.iter().copied()
    }
}

/// The sort key of the next backup to remove: the greatest key is the oldest backup. At equal
/// times, the first history comes first, and in a history the oldest backup, which is the last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn(Reverse<DateTime<Utc>>, Reverse<usize>, usize);

impl Turn {
    /// Returns the key of a backup.
    pub(super) fn of((history, place): Place, backup: &Candidate) -> Self {
        Self(Reverse(backup.time), Reverse(history), place)
    }

    /// Returns the indices of the backup.
    pub(super) fn place(self) -> Place {
        (self.1.0, self.2)
    }
}
