//! Restore drills: the result of a drill, recorded beside the backup.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::key::BackupName;
use crate::manifest::Tool;

pub use crate::comparison::{Comparison, ComparisonOutcome, differences_error};
pub use crate::phase::Phase;

/// The record of one drill of one backup, stored as the mark `drilled` or `damaged` beside the
/// backup; 0.1.0 also wrote `unrestorable`.
///
/// The record contains all fields of a [`Mark`](crate::mark::Mark), so it can be read as one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drill {
    /// The version of Longshore that wrote the record.
    pub longshore: String,
    /// The author: a user and a host.
    pub by: String,
    /// The finding, if any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The backup.
    pub backup: BackupName,
    /// The destination that the backup was restored from.
    pub destination: String,
    /// The beginning of the drill.
    pub started: DateTime<Utc>,
    /// The end of the last comparison or query.
    pub finished: DateTime<Utc>,
    /// The verdict.
    pub verdict: Verdict,
    /// A description of the drill's cluster.
    pub scratch: String,
    /// The programs used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// The phases of the drill and their durations, in order.
    pub phases: Vec<Phase>,
    /// The number of comparisons.
    pub compared: u64,
    /// The number of differences.
    pub different: u64,
    /// All comparisons. With encryption they are in an encrypted file beside the record instead,
    /// since they name tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comparisons: Vec<Comparison>,
    /// The results of configured assertion queries. With encryption they are stored with the
    /// comparisons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<AssertionResult>,
}

/// The confidential part of a drill's record, encrypted if the backup is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// All comparisons.
    pub comparisons: Vec<Comparison>,
    /// The results of configured assertion queries.
    pub answers: Vec<AssertionResult>,
}

impl Drill {
    /// Splits the record into the public and the confidential part.
    pub fn split_confidential(mut self) -> (Self, Details) {
        let comparisons = std::mem::take(&mut self.comparisons);
        let answers = std::mem::take(&mut self.answers);
        (self, Details { comparisons, answers })
    }

    /// Returns the comparisons that were not possible, each with the reason.
    pub fn not_compared(&self) -> impl Iterator<Item = (&Comparison, &str)> {
        self.comparisons.iter().filter_map(|comparison| match &comparison.outcome {
            ComparisonOutcome::Not(reason) => Some((comparison, reason.as_str())),
            _ => None,
        })
    }

    /// Returns the time to restore the data, in seconds: the sum of all phases except those that
    /// only verify.
    pub fn restore_seconds(&self) -> f64 {
        // A plain sum of an empty list would be -0.
        self.phases.iter().filter(|phase| phase.restores).fold(0.0, |sum, phase| sum + phase.seconds)
    }
}

/// The verdict of a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The backup can be restored, and equals the dumped data.
    Good,
    /// The backup is damaged: its bytes, its rows, or a constraint that its rows violate.
    Damaged,
    /// The restore failed or differed, because of the backup or of the drill's cluster. Only 0.1.0
    /// wrote this verdict.
    Unrestorable,
    /// No verdict: the drill failed, possibly for a reason other than the backup.
    #[serde(alias = "unfit")]
    NotDrilled,
}

/// The result of a configured assertion query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssertionResult {
    /// The queried database.
    pub database: String,
    /// The query.
    pub query: String,
    /// The expected result.
    pub expected: String,
    /// The actual result, or the error.
    pub found: String,
    /// True if the result is as expected.
    pub good: bool,
}
