//! What retention decided and did: for people by way of the command line, for programs as JSON.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use longshore_core::key::{BackupName, Key};
use longshore_core::retention::{Cause, Reason};
use serde::{Serialize, Serializer};

use crate::problem::Problem;
use crate::sweep::Swept;

/// What retention decided and did at one destination.
#[derive(Debug, Serialize)]
pub struct Pruned {
    /// The destination's name.
    pub destination: String,
    /// What stays, with the reasons, and what goes, by series.
    pub series: Vec<SeriesPruned>,
    /// Files of no backup that no adopt claims, and why: they are left alone. Nothing where nothing is adopted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_adopted: Vec<NotAdopted>,
    /// What interrupted writers had left there long ago, and that went or would go.
    pub swept: Vec<Swept>,
    /// What went wrong besides, or should be looked at.
    pub problems: Vec<Problem>,
    /// Warnings that fail nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Problem>,
    /// Why nothing could be decided, if so.
    pub error: Option<Problem>,
    /// Whether that was for a safety rule.
    pub refused: bool,
}

/// A file that is left alone where others are adopted.
#[derive(Debug, Serialize)]
pub struct NotAdopted {
    /// Its key.
    pub key: Key,
    /// Why.
    pub why: String,
}

/// What retention decided and did for one series.
#[derive(Debug, Serialize)]
pub struct SeriesPruned {
    /// The cluster's name.
    pub cluster: String,
    /// What the backups are copies of.
    pub subject: String,
    /// The job that makes them, or the name of the adopt.
    pub job: String,
    /// Whether they are files of another program, which were adopted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
    /// The policy in force.
    pub policy: String,
    /// The time zone by whose calendar it counts.
    #[serde(serialize_with = "by_name")]
    pub timezone: Tz,
    /// What stays, newest first, with every reason.
    pub keep: Vec<Kept>,
    /// What goes, oldest first, and why.
    pub remove: Vec<Removed>,
    /// What should have gone and is still there, and why.
    pub failed: Vec<(BackupName, Problem)>,
    /// Why nothing was decided for it, if so: a safety rule.
    pub refused: Option<Problem>,
    /// Backups dated in the future by a clock that is not this host's: they stay, and count for nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ahead: Vec<BackupName>,
    /// When its last backup was made, if the job went on without it: a database that is gone, or that fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<DateTime<Utc>>,
}

/// A backup that stays.
#[derive(Debug, Serialize)]
pub struct Kept {
    /// The backup.
    pub name: BackupName,
    /// What it takes, in bytes.
    pub bytes: u64,
    /// The one time of its run.
    pub time: DateTime<Utc>,
    /// Every reason to keep it.
    #[serde(serialize_with = "in_words")]
    pub reasons: Vec<Reason>,
}

/// A backup that goes.
#[derive(Debug, Serialize)]
pub struct Removed {
    /// The backup.
    pub name: BackupName,
    /// What it takes, in bytes.
    pub bytes: u64,
    /// The one time of its run.
    pub time: DateTime<Utc>,
    /// Why.
    pub cause: Cause,
    /// What a person gave as the reason, who removed it by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A time zone by its name in the IANA's database.
pub(crate) fn by_name<S: Serializer>(zone: &Tz, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(zone.name())
}

/// Reasons as a list of words, the same that people read.
pub(crate) fn in_words<S: Serializer>(reasons: &[Reason], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(reasons.iter().map(ToString::to_string))
}

impl Pruned {
    /// A destination where nothing was done yet.
    pub(super) fn of(destination: &str) -> Self {
        Self {
            destination: destination.to_owned(),
            series: Vec::new(),
            not_adopted: Vec::new(),
            swept: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            error: None,
            refused: false,
        }
    }

    /// Whether all that was decided was done.
    pub fn succeeded(&self) -> bool {
        self.error.is_none()
            && self.problems.is_empty()
            && self
                .series
                .iter()
                .all(|series| series.failed.is_empty() && series.refused.is_none() && series.ahead.is_empty())
            && self.swept.iter().all(|swept| swept.error.is_none())
    }

    /// Whether safety rules forbade all of it.
    pub fn was_refused(&self) -> bool {
        self.refused || !self.series.is_empty() && self.series.iter().all(|series| series.refused.is_some())
    }
}
