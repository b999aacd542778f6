//! Entries of a backup that a restore could not create, although the data was restored.

use serde::{Deserialize, Serialize};

/// The key in the record's details under which
/// `Restore::comparable_details` lists the lines of
/// failed entries, so that a comparison skips them.
pub const DETAILS: &str = "left_out";

/// An entry of a backup that failed after the data was restored, without failing the restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The entry's line in the archive's list, as printed by `pg_restore --list`: `217; 0 16390
    /// MATERIALIZED VIEW DATA public mv app`.
    pub line: String,
    /// The severity of the failure.
    pub nature: Nature,
    /// The server's error message.
    pub why: String,
    /// The server's error code, such as `42501`, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    /// The SQL or the instructions to create the entry later.
    pub command: String,
}

/// The severity of a failed entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nature {
    /// The entry is derived from the data, or needs more privileges: a refreshed view, a
    /// publication, a privilege, a comment.
    Derived,
    /// The entry is a part of the tables: an index, a constraint, a trigger, a policy. An error
    /// code of class 23 means that the restored rows violate a constraint.
    Structural,
}

impl LeftOut {
    /// Returns the entry without its numbers: `MATERIALIZED VIEW DATA public mv app`.
    pub fn entry(&self) -> &str {
        self.line.splitn(4, ' ').nth(3).unwrap_or(&self.line)
    }

    /// Returns true if the restored rows violate a constraint of the backup.
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
    fn entry_omits_the_archive_numbers() {
        assert_eq!(left_out(Nature::Derived, "42501").entry(), "MATERIALIZED VIEW DATA public my view app");
    }

    #[test]
    fn only_violated_constraints_are_violations() {
        assert!(left_out(Nature::Structural, "23505").is_violation());
        assert!(!left_out(Nature::Structural, "42883").is_violation());
        assert!(!left_out(Nature::Derived, "23505").is_violation());
    }
}
