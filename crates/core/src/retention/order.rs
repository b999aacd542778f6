//! The order in which backups may go: the oldest first, and nothing before what needs it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::plan::Candidate;
use crate::key::BackupName;

/// The place of a backup: of its history, and in it.
type Place = (usize, usize);

/// An order of the backups of some histories: of those that no backup needs which has not had its turn, always the oldest.
pub(super) struct Order {
    places: Vec<Place>,
    circular: Vec<Place>,
}

impl Order {
    /// The order of those backups of these histories that `takes_part` tells by their places; what others need is nobody's matter.
    pub(super) fn of(histories: &[&[&Candidate]], takes_part: impl Fn(Place) -> bool) -> Self {
        let all = || {
            let all = histories.iter().enumerate().flat_map(|(history, backups)| {
                backups.iter().enumerate().map(move |(place, backup)| ((history, place), *backup))
            });
            all.filter(|(place, _)| takes_part(*place))
        };
        let needed = || all().flat_map(|(_, backup)| &backup.needs);
        let mut by_name: HashMap<&BackupName, Place> = HashMap::new();
        if needed().next().is_some() {
            by_name.extend(all().map(|(place, backup)| (&backup.name, place)));
        }
        // How many need each that have not had their turn.
        let mut needing: Vec<Vec<u32>> = histories.iter().map(|backups| vec![0; backups.len()]).collect();
        for (history, place) in needed().filter_map(|need| by_name.get(need)) {
            needing[*history][*place] += 1;
        }
        // Of one time, those of the first history come first, and of one history the oldest, which stands last.
        let turn = |(history, place): Place| Reverse((histories[history][place].time, history, Reverse(place)));
        let free = all().map(|(place, _)| place).filter(|(history, place)| needing[*history][*place] == 0);
        let mut free: BinaryHeap<_> = free.map(turn).collect();
        let mut places = Vec::new();
        while let Some(Reverse((_, history, Reverse(place)))) = free.pop() {
            places.push((history, place));
            for need in histories[history][place].needs.iter().filter_map(|need| by_name.get(need).copied()) {
                let needing = &mut needing[need.0][need.1];
                *needing -= 1;
                if *needing == 0 {
                    free.push(turn(need));
                }
            }
        }
        let circular = all().map(|(place, _)| place).filter(|(history, place)| needing[*history][*place] > 0).collect();
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
