//! Entries of a backup that a restore could not make, although the data is there.

use serde::{Deserialize, Serialize};

/// Under which key of a record's details [`Restore::brings`](crate::stage::Restore::brings) lists the lines of what was left out, so
/// that a comparison skips them.
pub const DETAILS: &str = "left_out";

/// An entry of a backup that failed after the data was restored, and did not undo it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its line in the archive's list, as `pg_restore --list` prints it: `217; 0 16390 MATERIALIZED VIEW DATA public mv app`.
    pub line: String,
    /// Its weight.
    pub nature: Nature,
    /// The reason, in the server's words.
    pub why: String,
    /// The server's error code, such as `42501`, where it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    /// The SQL, or the way, that makes it later.
    pub command: String,
}

/// Weight of an entry that was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nature {
    /// It is derived from the data, or needs more rights: a refreshed view, a publication, a privilege, a comment.
    Derived,
    /// It is a part of the tables: an index, a constraint, a trigger, a policy. A constraint that fails with a code of class 23 is
    /// violated by the restored rows.
    Structural,
}

impl LeftOut {
    /// The entry without its numbers: `MATERIALIZED VIEW DATA public mv app`.
    pub fn entry(&self) -> &str {
        self.line.splitn(4, ' ').nth(3).unwrap_or(&self.line)
    }

    /// Whether the restored rows violate a constraint that they were dumped with.
    pub fn is_violation(&self) -> bool {
        self.nature == Nature::Structural && self.sqlstate.as_deref().is_some_and(|code| code.starts_with("23"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(nature: Nature, sqlstate: &str) -> LeftOut {
        LeftOut {
            line: "217; 0 16390 MATERIALIZED VIEW DATA public my view app".to_owned(),
            nature,
            why: String::new(),
            sqlstate: Some(sqlstate.to_owned()),
            command: String::new(),
        }
    }

    #[test]
    fn an_entry_is_named_without_its_numbers() {
        assert_eq!(left_out(Nature::Derived, "42501").entry(), "MATERIALIZED VIEW DATA public my view app");
    }

    #[test]
    fn only_a_constraint_that_rows_break_is_a_violation() {
        assert!(left_out(Nature::Structural, "23505").is_violation());
        assert!(!left_out(Nature::Structural, "42883").is_violation());
        assert!(!left_out(Nature::Derived, "23505").is_violation());
    }
}
