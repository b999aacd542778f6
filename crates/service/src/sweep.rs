//! Removing what interrupted writers left in a destination, out of sight: drafts, spooled files, parts of uploads that are paid for.

use chrono::{DateTime, TimeDelta, Utc};
use longshore_core::stage::Store;
use longshore_core::{Error, Result};
use serde::Serialize;

use crate::problem::Problem;
use crate::prune::Mode;

/// How old it must be to be nobody's any more: older than what any writer is at, also where a clock is wrong by hours.
const GRACE: TimeDelta = TimeDelta::hours(48);

/// Something that was left, and what became of it.
#[derive(Debug, Serialize)]
pub struct Swept {
    /// What the destination calls it.
    pub name: String,
    /// Its size in bytes, where that is told.
    pub bytes: Option<u64>,
    /// When it was last written to, by the destination's clock.
    pub since: DateTime<Utc>,
    /// Why it is still there, if it should have gone.
    pub error: Option<Problem>,
}

/// Removes, or only tells, what interrupted writers left in a destination long ago. One that cannot look has nothing to tell.
pub(crate) async fn sweep(store: &dyn Store, mode: Mode, now: DateTime<Utc>) -> Result<Vec<Swept>> {
    let Some(broom) = store.sweep() else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for leftover in broom.leftovers().await? {
        if now - leftover.since < GRACE {
            continue;
        }
        let gone = match mode {
            Mode::Act => broom.discard(&leftover).await,
            Mode::DryRun => Ok(()),
        };
        let error = gone.err().as_ref().map(|error: &Error| Problem::from(error));
        all.push(Swept { name: leftover.name, bytes: leftover.bytes, since: leftover.since, error });
    }
    Ok(all)
}
