//! Restore drills: what one found, as it is recorded beside the backup that it proves.

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

/// The record of one drill of one backup. It is the mark `drilled` or `damaged` beside the backup; 0.1.0 wrote `unrestorable`, too.
///
/// It holds what a [`Mark`](crate::mark::Mark) holds, and more, so that whoever only reads marks reads it, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drill {
    /// The version of Longshore that wrote it.
    pub longshore: String,
    /// Who ran it: a user and a host.
    pub by: String,
    /// What was found, if anything, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The backup.
    pub backup: BackupName,
    /// The destination that it was taken from.
    pub destination: String,
    /// When it began.
    pub started: DateTime<Utc>,
    /// When the last answer was there.
    pub finished: DateTime<Utc>,
    /// What it proved.
    pub verdict: Verdict,
    /// Where it was restored to, in words.
    pub scratch: String,
    /// The programs that were used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// What took how long, in its order.
    pub phases: Vec<Phase>,
    /// How many things were compared.
    pub compared: u64,
    /// How many of them were not as recorded.
    pub different: u64,
    /// All comparisons. Where the backup is sealed, they travel sealed beside the record, since they name tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comparisons: Vec<Comparison>,
    /// The owner's own questions. Where the backup is sealed, they travel with the comparisons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Answer>,
}

/// What of a drill names the plaintext's own: it travels sealed where the backup is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// All comparisons.
    pub comparisons: Vec<Comparison>,
    /// The owner's own questions.
    pub answers: Vec<Answer>,
}

impl Drill {
    /// The most bytes that a record may have.
    const MAX_BYTES: usize = 64 << 20;

    /// Puts the record beside the backup as a mark, `time` being no earlier than those that lie there. Where something seals,
    /// what names the plaintext's own lies sealed beside it. A drill that proved nothing leaves nothing.
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
        // The mark claims its second for both.
        let name = mark::put(&open, store, name).await?;
        store.ship(&name.details(extension)?, from_bytes(sealed)).await?;
        Ok(Some(name))
    }

    /// What anyone may see, and what only the plaintext's owner may.
    pub fn parted(mut self) -> (Self, Details) {
        let comparisons = std::mem::take(&mut self.comparisons);
        let answers = std::mem::take(&mut self.answers);
        (self, Details { comparisons, answers })
    }

    /// Reads the record that a mark is.
    pub async fn get(store: &dyn Store, name: &MarkName) -> Result<Self> {
        let key = name.key()?;
        let bytes = collect(store.fetch(&key, None).await?, Self::MAX_BYTES, Stage::Catalog, key.as_str()).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(Stage::Catalog, Kind::Corrupt, key.as_str(), "not the record of a drill").because(error)
        })
    }

    /// What could not be compared, and why.
    pub fn not_compared(&self) -> impl Iterator<Item = (&Comparison, &str)> {
        self.comparisons.iter().filter_map(|comparison| match &comparison.outcome {
            Compared::Not(reason) => Some((comparison, reason.as_str())),
            _ => None,
        })
    }

    /// How long it takes to have the data back: all phases but those that only prove it, in seconds.
    pub fn restore_seconds(&self) -> f64 {
        // A sum of nothing would be -0.
        self.phases.iter().filter(|phase| phase.restores).fold(0.0, |sum, phase| sum + phase.seconds)
    }
}

/// What a drill proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The backup can be restored, and is what was dumped.
    Good,
    /// The backup is not good: its bytes, its rows, or a constraint that it was dumped with.
    Damaged,
    /// The backup could not be restored, or differed, for its own sake or the place's. Only 0.1.0 wrote this.
    Unrestorable,
    /// Nothing: something else than the backup stood in the way, or may have.
    #[serde(alias = "unfit")]
    NotDrilled,
}

/// A part of a drill or a restore, and how long it took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// What was done, such as `fetch`, `decrypt`, `restore`, `index`, `analyze`, `compare`.
    pub name: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Whether a restore in earnest would have to do it, too.
    pub restores: bool,
}

/// One thing that was held against what was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// What it is, such as `table public.orders`, `sequence public.orders_id_seq`, `large objects`.
    pub subject: String,
    /// What was looked at, such as `rows`, `content`, `value`, `presence`.
    pub aspect: String,
    /// What was recorded, where anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was found, where anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What follows.
    pub outcome: Compared,
}

/// What follows from a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// It is as recorded.
    Same,
    /// It is not.
    Different,
    /// It is not, and need not be, for this reason.
    Expected(String),
    /// It cannot be compared, for this reason.
    Not(String),
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| printable(value.as_deref().unwrap_or("nothing"));
        let (subject, expected, found) = (printable(&self.subject), shown(&self.expected), shown(&self.found));
        write!(f, "{subject}: {}: expected {expected}, found {found}", self.aspect)
    }
}

/// The error of a backup whose content differs from the record of its dump. Its causes name the
/// differences, and so tables.
pub fn differs(subject: &str, differences: &[Comparison]) -> Error {
    /// More lines than a person reads.
    const MOST: usize = 20;
    let count = differences.len();
    let shown = if count == 1 { "1 difference".to_owned() } else { format!("{count} differences") };
    let mut lines: Vec<String> = differences.iter().take(MOST).map(Comparison::to_string).collect();
    if count > MOST {
        lines.push(format!("and {} more", count - MOST));
    }
    let message = format!("not as recorded while it was dumped: {shown}");
    Error::new(Stage::Verify, Kind::Corrupt, subject, message).because(lines.join("\n"))
}

/// What came of one of the owner's own questions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The database that was asked.
    pub database: String,
    /// The question.
    pub query: String,
    /// What it must answer, in words.
    pub expected: String,
    /// What it answered; the error where it failed.
    pub found: String,
    /// Whether that is good.
    pub good: bool,
}
