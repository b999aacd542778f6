//! Why a backup is kept, and why another is not.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::calendar::Every;
use crate::key::BackupName;

/// Why a backup is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It is one of the newest good backups of its series, which nothing removes: `min_keep` of them.
    Newest,
    /// Without it, fewer than `min_keep` good backups of its series would be left.
    LastGood,
    /// It is the newest that was read back whole from where it lies.
    NewestVerified,
    /// It is the newest that was restored in a drill from where it lies.
    NewestDrilled,
    /// `keep_last`: one of the newest.
    Last,
    /// `keep_within`: as young as that.
    Within,
    /// `keep_daily` and the like: the newest of one of the newest periods.
    NewestOf(Every),
    /// `keep_within_daily` and the like: the newest of a period, and as young as that.
    NewestWithin(Every),
    /// A kept backup cannot be fully restored without it.
    NeededBy(BackupName),
    /// Somebody holds it, and says why.
    Held {
        /// Until when; for good without.
        until: Option<DateTime<Utc>>,
        /// Why.
        why: String,
    },
    /// The store lets nobody remove it before.
    Locked {
        /// Until when.
        until: DateTime<Utc>,
    },
    /// It is being restored.
    Restoring {
        /// Until when that is to be believed without another word.
        until: DateTime<Utc>,
    },
    /// `min_age`: it is too young to go.
    Young {
        /// Until when.
        until: DateTime<Utc>,
    },
    /// It is dated in the future: a clock was wrong, and a person should look.
    FutureDated,
    /// Something speaks against it: a person should look.
    NotGood,
    /// No run that this host knows made it, and it was not opened here: a person should look.
    Unproven,
    /// `max_delete`: enough others go this time.
    Later,
    /// Its series is left alone this time.
    LeftAlone,
}

impl Reason {
    /// Whether only the policy's wish for so many backups keeps it, which its wish for no more bytes may overrule.
    pub(super) fn is_wish(&self) -> bool {
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
            Self::NewestOf(every) => f.write_str(every.adverb()),
            Self::NewestWithin(every) => write!(f, "within {}", every.adverb()),
            Self::NeededBy(name) => write!(f, "needed by {}", name.file_name()),
            Self::Held { until: None, why } => write!(f, "held: {why}"),
            Self::Held { until: Some(until), why } => write!(f, "held until {}: {why}", day(until)),
            Self::Locked { until } if *until == DateTime::<Utc>::MAX_UTC => {
                f.write_str("retained by the store until somebody lifts its hold")
            }
            Self::Locked { until } => write!(f, "retained by the store until {}", day(until)),
            Self::Restoring { until } => write!(f, "being restored (until {} at most)", day(until)),
            Self::Young { until } => write!(f, "younger than min_age until {}", day(until)),
            Self::FutureDated => f.write_str("dated in the future: look at the clocks"),
            Self::NotGood => f.write_str("damaged: look at it with `longshore verify`"),
            Self::Unproven => f.write_str("of no run of this host: verify it with an identity, or remove it"),
            Self::Later => f.write_str("max_delete: goes next time"),
            Self::LeftAlone => f.write_str("left alone"),
        }
    }
}

/// How many backups that need one are named.
const NAMED: usize = 3;

/// Returns reasons on one line: those that need a backup together, a few by name and of more how many.
pub fn in_words(reasons: &[Reason]) -> String {
    let is_need = |reason: &&Reason| matches!(reason, Reason::NeededBy(_));
    let mut words: Vec<String> = reasons.iter().filter(|reason| !is_need(reason)).map(Reason::to_string).collect();
    let needing: Vec<&str> = reasons
        .iter()
        .filter_map(|reason| match reason {
            Reason::NeededBy(name) => Some(name.file_name()),
            _ => None,
        })
        .collect();
    match needing.len() {
        0 => {}
        all if all <= NAMED => words.push(format!("needed by {}", needing.join(", "))),
        all => words.push(format!("needed by {} and {} more", needing[..NAMED - 1].join(", "), all + 1 - NAMED)),
    }
    words.join(", ")
}

/// Why a backup goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No rule keeps it.
    NoRule,
    /// A rule would keep it, but `max_total_size` does not, and it is among the oldest.
    TotalSize,
    /// A person said that its series is retired.
    Retired,
    /// A person removes it, and no other.
    ByHand,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRule => "no rule keeps it",
            Self::TotalSize => "max_total_size: the oldest beyond what must stay",
            Self::Retired => "its series is retired",
            Self::ByHand => "removed by hand",
        })
    }
}
