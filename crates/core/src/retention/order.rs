//! The order in which backups may go: the oldest first, and nothing before what needs it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::need::{Needs, Place};
use super::plan::Candidate;

/// An order of the backups of some histories: of those that no backup needs which has not had its turn, always the oldest.
pub(super) struct Order {
    places: Vec<Place>,
    circular: Vec<Place>,
}

impl Order {
    /// The order of those backups of these histories that `takes_part` tells by their places; what others need is nobody's matter.
    pub(super) fn of(histories: &[&[&Candidate]], needs: &Needs<'_>, takes_part: impl Fn(Place) -> bool) -> Self {
        let all = || {
            let all = histories.iter().enumerate();
            let all = all.flat_map(|(history, backups)| (0..backups.len()).map(move |place| (history, place)));
            all.filter(|place| takes_part(*place))
        };
        // How many need each that have not had their turn.
        let mut needing: Vec<Vec<u32>> = histories.iter().map(|backups| vec![0; backups.len()]).collect();
        for (history, place) in all().flat_map(|place| needs.of(place)) {
            needing[*history][*place] += 1;
        }
        // Of one time, those of the first history come first, and of one history the oldest, which stands last.
        let turn = |(history, place): Place| Reverse((histories[history][place].time, history, Reverse(place)));
        let free = all().filter(|(history, place)| needing[*history][*place] == 0);
        let mut free: BinaryHeap<_> = free.map(turn).collect();
        let mut places = Vec::new();
        while let Some(Reverse((_, history, Reverse(place)))) = free.pop() {
            places.push((history, place));
            for need in needs.of((history, place)) {
                let needing = &mut needing[need.0][need.1];
                *needing -= 1;
                if *needing == 0 && takes_part(*need) {
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
