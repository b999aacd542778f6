//! Backups and holds that a destination lost since the last prune of this host.

use chrono::{DateTime, Utc};
use longshore_config::Config;

use super::{Issue, IssueKind, destination_issue};
use crate::catalogs::Catalogued;
use crate::destination_state::DestinationState;

/// Returns the backups and holds that the state of this host contains and the destination lacks.
pub(crate) fn loss_issues(config: &Config, at: &Catalogued, now: DateTime<Utc>) -> Vec<Issue> {
    let state = match DestinationState::read(config, &at.name) {
        Ok(state) => state,
        Err(error) => return vec![destination_issue(IssueKind::Unknown, &at.name, error.chain())],
    };
    let there = at.catalog.backups().count() + at.catalog.unreadable.len();
    let backups = state.expect_backups(&at.name, there).err().map(|error| {
        let message = format!(
            "backups are missing, so nothing is pruned: {error}; `longshore prune --despite listing` accepts the loss"
        );
        destination_issue(IssueKind::BackupsLost, &at.name, message)
    });
    let holds = state.lost_holds(&at.catalog, now).into_keys().map(|name| {
        let message = format!("the hold of {name} was deleted or shortened at the destination");
        destination_issue(IssueKind::HoldLost, &at.name, message)
    });
    backups.into_iter().chain(holds).collect()
}
