//! Reasons to keep a backup, and reasons to remove it.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use longshore_model::key::BackupName;
use serde::Serialize;

use super::calendar::CalendarUnit;

/// A reason to keep a backup.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The backup is one of the newest `min_keep` good backups of its series.
    Newest,
    /// A removal would leave fewer than `min_keep` good backups of the series.
    LastGood,
    /// The backup is the newest one that was read back from this destination without damage.
    NewestVerified,
    /// The backup is the newest one that was restored from this destination in a drill.
    NewestDrilled,
    /// `keep_last`: the backup is one of the newest.
    Last,
    /// `keep_within`: the backup is within the span.
    Within,
    /// `keep_daily` and so on: the backup is the newest of one of the newest periods, or the newest
    /// complete one of a week or longer.
    NewestOf(CalendarUnit),
    /// `keep_within_daily` and so on: the backup is within the span and the newest of a period.
    NewestWithin(CalendarUnit),
    /// `recovery_window`: a recovery to the beginning of the window begins with the backup.
    RecoveryWindow,
    /// A kept backup needs this one for a full restore.
    NeededBy(BackupName),
    /// The backup is held.
    Held {
        /// The end of the hold; unlimited if absent.
        until: Option<DateTime<Utc>>,
        /// The reason for the hold.
        why: String,
    },
    /// The store has locked the backup.
    Locked {
        /// The end of the lock.
        until: DateTime<Utc>,
    },
    /// The backup is being restored.
    Restoring {
        /// The end of the protection, unless the restore renews it.
        until: DateTime<Utc>,
    },
    /// `min_age`: the backup is too young.
    Young {
        /// The end of the minimum age.
        until: DateTime<Utc>,
    },
    /// The backup is dated in the future by a wrong clock. An operator must examine it.
    FutureDated,
    /// The backup is damaged. An operator must examine it.
    NotGood,
    /// No known run made the backup, and it was not decoded on this host. An operator must examine
    /// it.
    Unproven,
    /// `max_delete`: the backup is removed later.
    Later,
    /// The series is excluded from this plan.
    LeftAlone,
}

impl Reason {
    /// Returns true for reasons of the policy's rules, which `max_total_size` may override.
    pub(super) fn is_rule(&self) -> bool {
        matches!(self, Self::Last | Self::Within | Self::NewestOf(_) | Self::NewestWithin(_))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = |time: &DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        match self {
            Self::Newest => f.write_str("newest"),
            Self::LastGood => f.write_str("among the last good backups of its series"),
            Self::NewestVerified => f.write_str("newest verified"),
            Self::NewestDrilled => f.write_str("newest drilled"),
            Self::Last => f.write_str("last"),
            Self::Within => f.write_str("within"),
            Self::NewestOf(unit) => f.write_str(unit.adverb()),
            Self::NewestWithin(unit) => write!(f, "within {}", unit.adverb()),
            Self::RecoveryWindow => f.write_str("recovery_window"),
            Self::NeededBy(name) => write!(f, "needed by {}", name.file_name()),
            Self::Held { until: None, why } => write!(f, "held: {why}"),
            Self::Held { until: Some(until), why } => write!(f, "held until {}: {why}", day(until)),
            Self::Locked { until } if *until == DateTime::<Utc>::MAX_UTC => {
                f.write_str("retained by the store until its hold is removed")
            }
            Self::Locked { until } => write!(f, "retained by the store until {}", day(until)),
            Self::Restoring { until } => write!(f, "being restored (until {} at most)", day(until)),
            Self::Young { until } => write!(f, "younger than min_age until {}", day(until)),
            Self::FutureDated => f.write_str("dated in the future: check the clocks"),
            Self::NotGood => f.write_str("damaged: run `longshore verify`"),
            Self::Unproven => f.write_str("not made by a run of this host: verify it with an identity, or remove it"),
            Self::Later => f.write_str("max_delete: postponed to the next prune"),
            Self::LeftAlone => f.write_str("excluded from this prune"),
        }
    }
}

/// The maximum number of dependents that are named.
const MAX_NAMED: usize = 3;

/// Returns reasons on one line. Dependents are combined: up to three are named, more are counted.
pub fn describe_reasons(reasons: &[Reason]) -> String {
    let is_dependency = |reason: &&Reason| matches!(reason, Reason::NeededBy(_));
    let mut words: Vec<String> =
        reasons.iter().filter(|reason| !is_dependency(reason)).map(Reason::to_string).collect();
    let dependents: Vec<&str> = reasons
        .iter()
        .filter_map(|reason| match reason {
            Reason::NeededBy(name) => Some(name.file_name()),
            _ => None,
        })
        .collect();
    match dependents.len() {
        0 => {}
        all if all <= MAX_NAMED => words.push(format!("needed by {}", dependents.join(", "))),
        all => {
            words.push(format!("needed by {} and {} more", dependents[..MAX_NAMED - 1].join(", "), all + 1 - MAX_NAMED))
        }
    }
    words.join(", ")
}

/// The reason for a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RemoveReason {
    /// No rule keeps the backup.
    NoRule,
    /// `max_total_size` overrides the rules, and the backup is among the oldest.
    TotalSize,
    /// An operator has retired the series.
    Retired,
    /// An operator removes this backup alone.
    ByHand,
}

impl fmt::Display for RemoveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRule => "no rule keeps it",
            Self::TotalSize => "max_total_size: among the oldest backups",
            Self::Retired => "its series is retired",
            Self::ByHand => "removed by hand",
        })
    }
}
