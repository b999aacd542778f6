//! The comparison of a restored database with the record of its dump.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Stage, printable};

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
    pub outcome: ComparisonOutcome,
}

/// The outcome of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComparisonOutcome {
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
pub fn differences_error(subject: &str, differences: &[Comparison]) -> Error {
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
