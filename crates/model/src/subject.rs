//! The subject of a backup.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::printable;
use crate::key::{encode_name, encode_reserved_name};

/// The subject of a backup.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Subject {
    /// The global objects of a cluster: roles and tablespaces.
    Globals,
    /// Only roles.
    Roles,
    /// Only tablespaces.
    Tablespaces,
    /// The definitions of all objects of the cluster, without data.
    Schema,
    /// The whole cluster as one script.
    All,
    /// One database.
    Database {
        /// The database's name, as stored in PostgreSQL.
        name: String,
    },
}

impl Subject {
    /// Returns the database `name` as a subject.
    pub fn database(name: impl Into<String>) -> Self {
        Self::Database { name: name.into() }
    }

    /// Returns true for a single database, and false for a part of the cluster.
    pub fn is_database(&self) -> bool {
        matches!(self, Self::Database { .. })
    }

    /// Returns the subject's folder in a destination, one segment of a key. The first byte of a
    /// database name that equals the name of another subject is encoded.
    pub fn segment(&self) -> String {
        match self {
            Self::Database { name } if is_reserved(name) => encode_reserved_name(name),
            Self::Database { name } => encode_name(name),
            other => other.to_string(),
        }
    }
}

/// Returns true if `name` is the name of another subject.
fn is_reserved(name: &str) -> bool {
    matches!(name, "globals" | "roles" | "tablespaces" | "schema" | "all")
}

/// The printable name of a database, or the name of another subject.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Database { name } => return f.write_str(&printable(name)),
            Self::Globals => "globals",
            Self::Roles => "roles",
            Self::Tablespaces => "tablespaces",
            Self::Schema => "schema",
            Self::All => "all",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_named_globals_is_not_the_globals() {
        assert_eq!(Subject::Globals.segment(), "globals");
        assert_eq!(Subject::database("globals").segment(), "%67lobals");
        assert_eq!(Subject::database("global").segment(), "global");
    }
}
