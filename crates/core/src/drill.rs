//! Restore drills: the result of a drill, recorded beside the backup.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result, Stage, printable};
use crate::key::{BackupName, Stamp};
use crate::manifest::Tool;
use crate::mark::{self, MarkName, Says};
use crate::pipeline::seal_json;
use crate::stage::{Encrypt, Ship, Store};
use crate::stream::{collect, from_bytes};

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
    pub answers: Vec<Answer>,
}

/// The confidential part of a drill's record, encrypted if the backup is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// All comparisons.
    pub comparisons: Vec<Comparison>,
    /// The results of configured assertion queries.
    pub answers: Vec<Answer>,
}

impl Drill {
    /// The maximum size of a record in bytes.
    const MAX_BYTES: usize = 64 << 20;

    /// Stores the record beside the backup as a mark. `time` must not be earlier than the existing
    /// marks. With `encrypt`, the confidential part is stored in an encrypted file beside the mark.
    /// A drill without a result stores nothing.
    pub async fn put(
        &self,
        store: &dyn Ship,
        encrypt: Option<&dyn Encrypt>,
        time: DateTime<Utc>,
    ) -> Result<Option<MarkName>> {
        let says = match self.verdict {
            Verdict::Good => Says::Drilled,
            Verdict::Damaged => Says::Damaged,
            Verdict::Unrestorable | Verdict::NotDrilled => return Ok(None),
        };
        let name = MarkName { backup: self.backup.clone(), says, time: Stamp::new(time) };
        let Some(encrypt) = encrypt else {
            return mark::put(self, store, name).await.map(Some);
        };
        let (open, details) = self.clone().parted();
        let record = serde_json::to_value(details).map_err(|error| {
            Error::new(Stage::Catalog, Kind::Failed, self.backup.as_str(), "cannot write the record").because(error)
        })?;
        let (extension, sealed) = seal_json(Some(encrypt), &record, self.backup.as_str()).await?;
        // The mark reserves its second for both files.
        let name = mark::put(&open, store, name).await?;
        store.ship(&name.details(extension)?, from_bytes(sealed)).await?;
        Ok(Some(name))
    }

    /// Splits the record into the public and the confidential part.
    pub fn parted(mut self) -> (Self, Details) {
        let comparisons = std::mem::take(&mut self.comparisons);
        let answers = std::mem::take(&mut self.answers);
        (self, Details { comparisons, answers })
    }

    /// Fetches and parses the record in a mark.
    pub async fn get(store: &dyn Store, name: &MarkName) -> Result<Self> {
        let key = name.key()?;
        let bytes = collect(store.fetch(&key, None).await?, Self::MAX_BYTES, Stage::Catalog, key.as_str()).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(Stage::Catalog, Kind::Corrupt, key.as_str(), "not the record of a drill").because(error)
        })
    }

    /// Returns the comparisons that were not possible, each with the reason.
    pub fn not_compared(&self) -> impl Iterator<Item = (&Comparison, &str)> {
        self.comparisons.iter().filter_map(|comparison| match &comparison.outcome {
            Compared::Not(reason) => Some((comparison, reason.as_str())),
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

/// A part of a drill or a restore, and its duration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// The name, such as `fetch`, `decrypt`, `restore`, `index`, `analyze`, `compare`.
    pub name: String,
    /// The duration in seconds.
    pub seconds: f64,
    /// True if a real restore includes this phase.
    pub restores: bool,
}

/// A comparison of a restored object with its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// The object, such as `table public.orders`, `sequence public.orders_id_seq`, `large objects`.
    pub subject: String,
    /// The compared aspect, such as `rows`, `content`, `value`, `presence`.
    pub aspect: String,
    /// The recorded value, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// The restored value, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// The outcome.
    pub outcome: Compared,
}

/// The outcome of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// The value is as recorded.
    Same,
    /// The value differs.
    Different,
    /// The value differs, but may, for this reason.
    Expected(String),
    /// The value cannot be compared, for this reason.
    Not(String),
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| printable(value.as_deref().unwrap_or("nothing"));
        let (subject, expected, found) = (printable(&self.subject), shown(&self.expected), shown(&self.found));
        write!(f, "{subject}: {}: expected {expected}, found {found}", self.aspect)
    }
}

/// Returns the error of a backup whose content differs from the record of its dump. Its cause lists
/// the differences, and thus names tables.
pub fn differs(subject: &str, differences: &[Comparison]) -> Error {
    /// The maximum number of differences in the error.
    const MOST: usize = 20;
    let count = differences.len();
    let shown = if count == 1 { "1 difference".to_owned() } else { format!("{count} differences") };
    let mut lines: Vec<String> = differences.iter().take(MOST).map(Comparison::to_string).collect();
    if count > MOST {
        lines.push(format!("and {} more", count - MOST));
    }
    let message = format!("the content differs from the record of the dump: {shown}");
    Error::new(Stage::Verify, Kind::Corrupt, subject, message).because(lines.join("\n"))
}

/// The result of a configured assertion query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
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
