//! The order in which backups may go: the oldest first, and nothing before what needs it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::plan::Candidate;
use crate::key::BackupName;

/// The place of a backup: of its history, and in it.
type Place = (usize, usize);

/// An order of all backups of some histories in which each comes after all that need it.
pub(super) struct Order {
    places: Vec<Place>,
    circular: Vec<Place>,
}

impl Order {
    /// The order of these histories.
    pub(super) fn of(histories: &[&[&Candidate]]) -> Self {
        let all = || {
            histories.iter().enumerate().flat_map(|(history, backups)| {
                backups.iter().enumerate().map(move |(place, backup)| ((history, place), *backup))
            })
        };
        let mut ranks: Vec<Vec<Rank>> =
            histories.iter().map(|backups| backups.iter().map(|backup| Rank::of(backup)).collect()).collect();
        if all().any(|(_, backup)| !backup.needs.is_empty()) {
            let by_name: HashMap<&BackupName, Place> = all().map(|(place, backup)| (&backup.name, place)).collect();
            let needs = |backup: &Candidate| -> Vec<Place> {
                backup.needs.iter().filter_map(|need| by_name.get(need).copied()).collect()
            };
            for (_, backup) in all() {
                for (history, place) in needs(backup) {
                    ranks[history][place].needing += 1;
                }
            }
            let mut ready: Vec<Place> =
                all().map(|(place, _)| place).filter(|(history, place)| ranks[*history][*place].needing == 0).collect();
            while let Some((history, place)) = ready.pop() {
                let Rank { latest, depth, .. } = ranks[history][place];
                for (needed_history, needed_place) in needs(histories[history][place]) {
                    let rank = &mut ranks[needed_history][needed_place];
                    rank.latest = rank.latest.max(latest);
                    rank.depth = rank.depth.max(depth + 1);
                    rank.needing -= 1;
                    if rank.needing == 0 {
                        ready.push((needed_history, needed_place));
                    }
                }
            }
        }
        let rank = |(history, place): &Place| &ranks[*history][*place];
        let (mut places, circular): (Vec<_>, Vec<_>) =
            all().map(|(place, _)| place).partition(|place| rank(place).needing == 0);
        places.sort_unstable_by(|a, b| {
            let (ours, theirs) = (rank(a), rank(b));
            // Of a history's backups of one time and rank, the newest stands first.
            (ours.latest, ours.depth, a.0, b.1).cmp(&(theirs.latest, theirs.depth, b.0, a.1))
        });
        Self { places, circular }
    }

    /// Every backup's place, in the order.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.places.iter().copied()
    }

    /// The places of backups that need each other in a circle, and of what those need: for them there is no order.
    pub(super) fn circular(&self) -> impl Iterator<Item = Place> {
        self.circular.iter().copied()
    }
}

/// What decides when a backup may go.
#[derive(Clone, Copy)]
struct Rank {
    /// The latest time of the backup and of all that need it.
    latest: DateTime<Utc>,
    /// How long the longest chain is of backups that need it.
    depth: u32,
    /// How many backups need it that have not been looked at.
    needing: u32,
}

impl Rank {
    fn of(backup: &Candidate) -> Self {
        Self { latest: backup.time, depth: 0, needing: 0 }
    }
}
