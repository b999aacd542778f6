//! The order in which backups may go: the oldest first, and nothing before what needs it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use chrono::{DateTime, Utc};

use super::need::{Needs, Place};
use super::plan::Candidate;

/// An order of the backups of some histories: of those that no backup needs which has not had its turn, always the oldest.
pub(super) struct Order {
    places: Vec<Place>,
    circular: Vec<Place>,
}

impl Order {
    /// The order of these histories.
    pub(super) fn of(histories: &[&[&Candidate]], needs: &Needs<'_>) -> Self {
        let all = || {
            let all = histories.iter().enumerate();
            all.flat_map(|(history, backups)| (0..backups.len()).map(move |place| (history, place)))
        };
        // How many need each that have not had their turn.
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

    /// Their places, in the order.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.places.iter().copied()
    }

    /// The places of backups that need each other in a circle, and of what those need: for them there is no order.
    pub(super) fn circular(&self) -> impl Iterator<Item = Place> {
        self.circular.iter().copied()
    }
}

/// What decides which of those goes first that may go: the greatest, which is the oldest. Of one time, those of the first history come
/// first, and of one history the oldest, which stands last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn(Reverse<DateTime<Utc>>, Reverse<usize>, usize);

impl Turn {
    /// The turn of the backup at this place.
    pub(super) fn of((history, place): Place, backup: &Candidate) -> Self {
        Self(Reverse(backup.time), Reverse(history), place)
    }

    /// Where the backup is.
    pub(super) fn place(self) -> Place {
        (self.1.0, self.2)
    }
}
