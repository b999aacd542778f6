//! Backups and holds that a destination lost since the last prune of this host.

use chrono::{DateTime, Utc};

use super::{Attention, Matter, of_destination};
use crate::catalogs::Catalogued;
use crate::config::Config;
use crate::memory::Memory;

/// Returns the backups and holds that the state of this host contains and the destination lacks.
pub(crate) fn lost(config: &Config, at: &Catalogued, now: DateTime<Utc>) -> Vec<Attention> {
    let memory = match Memory::look(config, &at.name) {
        Ok(memory) => memory,
        Err(error) => return vec![of_destination(Matter::Unknown, &at.name, error.chain())],
    };
    let there = at.catalog.backups().count() + at.catalog.unreadable.len();
    let backups = memory.compare(&at.name, there).err().map(|error| {
        let message = format!(
            "backups are missing, so nothing is pruned: {error}; `longshore prune --despite listing` accepts the loss"
        );
        of_destination(Matter::BackupsLost, &at.name, message)
    });
    let holds = memory.lost_holds(&at.catalog, now).into_keys().map(|name| {
        let message = format!("the hold of {name} was deleted or shortened at the destination");
        of_destination(Matter::HoldLost, &at.name, message)
    });
    backups.into_iter().chain(holds).collect()
}
