//! A backup, as retention sees it.

use chrono::{DateTime, Utc};
use longshore_model::key::BackupName;
use longshore_model::mark::Hold;

/// The properties of a backup at a destination that retention depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The backup's name.
    pub name: BackupName,
    /// The time of the run.
    pub time: DateTime<Utc>,
    /// The stored size in bytes.
    pub bytes: u64,
    /// True if the backup is complete and no damage is known.
    pub good: bool,
    /// True if the backup was read back from this destination without damage.
    pub verified: bool,
    /// True if the backup was restored from this destination in a drill.
    pub drilled: bool,
    /// The hold, if any.
    pub held: Option<Hold>,
    /// The end of the store's lock.
    pub locked_until: Option<DateTime<Utc>>,
    /// The time until which a restore protects the backup.
    pub restoring_until: Option<DateTime<Utc>>,
    /// True if a recovery to the beginning of the cluster's recovery window begins with the backup.
    pub begins_window: bool,
    /// True if the backup continues another one of its series, so that it cannot be restored alone.
    pub continues_others: bool,
    /// The backups that a full restore of this one needs.
    pub needs: Vec<BackupName>,
}
