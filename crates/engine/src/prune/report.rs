//! The decisions and results of retention, for the command line and as JSON.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use longshore_core::key::{BackupName, Key};
use longshore_retention::{Reason, RemoveReason};
use serde::{Serialize, Serializer};

use crate::error_report::ErrorReport;
use crate::sweep::Swept;
use crate::wal::prune::WalPruned;

/// The decisions and results of retention at one destination.
#[derive(Debug, Serialize)]
pub struct Pruned {
    /// The destination's name.
    pub destination: String,
    /// The kept and the deleted backups, by series.
    pub series: Vec<SeriesPruned>,
    /// Files that are not backups and that no adopt claims, each with the reason; empty unless
    /// files are adopted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_adopted: Vec<NotAdopted>,
    /// The old leftovers of interrupted writers that were or would be removed.
    pub swept: Vec<Swept>,
    /// The decisions about archived WAL, by cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wal: Vec<WalPruned>,
    /// Further errors, and problems that need attention.
    pub problems: Vec<ErrorReport>,
    /// Warnings that do not fail the prune.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<ErrorReport>,
    /// The error if the plan failed.
    pub error: Option<ErrorReport>,
    /// True if a safety rule forbade the plan.
    pub refused: bool,
}

/// A file that is not adopted at a destination where others are.
#[derive(Debug, Serialize)]
pub struct NotAdopted {
    /// The key of the file.
    pub key: Key,
    /// The reason.
    pub why: String,
}

/// The decisions and results of retention for one series.
#[derive(Debug, Serialize)]
pub struct SeriesPruned {
    /// The cluster's name.
    pub cluster: String,
    /// The subject of the backups.
    pub subject: String,
    /// The job that makes the backups, or the name of the adopt.
    pub job: String,
    /// True if the series consists of adopted files of another program.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
    /// The policy of the series.
    pub policy: String,
    /// The time zone of the policy's calendar.
    #[serde(serialize_with = "serialize_zone")]
    pub timezone: Tz,
    /// The kept backups, newest first, each with all reasons.
    pub keep: Vec<Kept>,
    /// The deleted backups, oldest first, each with the cause.
    pub remove: Vec<Removed>,
    /// The backups that could not be deleted, each with the error.
    pub failed: Vec<(BackupName, ErrorReport)>,
    /// The safety rule that refused to decide for the series, if one did.
    pub refused: Option<ErrorReport>,
    /// Backups dated in the future by another host's clock. They are kept, and do not count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ahead: Vec<BackupName>,
    /// The time of the last backup, if the job has run since without a backup of the series.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<DateTime<Utc>>,
}

/// A backup that is kept.
#[derive(Debug, Serialize)]
pub struct Kept {
    /// The name of the backup.
    pub name: BackupName,
    /// The size of the backup in bytes.
    pub bytes: u64,
    /// The time of the backup's run.
    pub time: DateTime<Utc>,
    /// All reasons for keeping the backup.
    #[serde(serialize_with = "serialize_reasons")]
    pub reasons: Vec<Reason>,
}

/// A backup that is deleted.
#[derive(Debug, Serialize)]
pub struct Removed {
    /// The name of the backup.
    pub name: BackupName,
    /// The size of the backup in bytes.
    pub bytes: u64,
    /// The time of the backup's run.
    pub time: DateTime<Utc>,
    /// The cause.
    pub cause: RemoveReason,
    /// The operator's reason, for a removal by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Serializes a time zone as its name in the IANA database.
pub(crate) fn serialize_zone<S: Serializer>(zone: &Tz, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(zone.name())
}

/// Serializes reasons as texts, as shown to the operator.
pub(crate) fn serialize_reasons<S: Serializer>(reasons: &[Reason], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(reasons.iter().map(ToString::to_string))
}

impl Pruned {
    /// Creates an empty report of a destination.
    pub(super) fn of(destination: &str) -> Self {
        Self {
            destination: destination.to_owned(),
            series: Vec::new(),
            not_adopted: Vec::new(),
            swept: Vec::new(),
            wal: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            error: None,
            refused: false,
        }
    }

    /// Returns true if all decisions were carried out.
    pub fn succeeded(&self) -> bool {
        self.error.is_none()
            && self.problems.is_empty()
            && self
                .series
                .iter()
                .all(|series| series.failed.is_empty() && series.refused.is_none() && series.ahead.is_empty())
            && self.swept.iter().all(|swept| swept.error.is_none())
            && self.wal.iter().all(|wal| wal.error.is_none())
    }

    /// Returns true if safety rules forbade everything.
    pub fn was_refused(&self) -> bool {
        self.refused || !self.series.is_empty() && self.series.iter().all(|series| series.refused.is_some())
    }
}
