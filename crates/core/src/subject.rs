//! What one artifact is a copy of.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::printable;
use crate::key::{encode_name, encode_name_apart};

/// What one artifact is a copy of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Subject {
    /// What belongs to the whole cluster: roles and tablespaces.
    Globals,
    /// Roles alone.
    Roles,
    /// Tablespaces alone.
    Tablespaces,
    /// The definitions of everything in the cluster, without data.
    Schema,
    /// The whole cluster as one script.
    All,
    /// One database.
    Database {
        /// Its name, as PostgreSQL has it.
        name: String,
    },
}

impl Subject {
    /// The database of this name.
    pub fn database(name: impl Into<String>) -> Self {
        Self::Database { name: name.into() }
    }

    /// Whether it is one database rather than something of the whole cluster.
    pub fn is_database(&self) -> bool {
        matches!(self, Self::Database { .. })
    }

    /// Its folder in a destination, one segment of a key. A database that bears the name of another kind of subject is told apart.
    pub fn segment(&self) -> String {
        match self {
            Self::Database { name } if word(name) => encode_name_apart(name),
            Self::Database { name } => encode_name(name),
            other => other.to_string(),
        }
    }
}

/// Whether a database of this name would be taken for another kind of subject.
fn word(name: &str) -> bool {
    matches!(name, "globals" | "roles" | "tablespaces" | "schema" | "all")
}

/// For people: a database's name as far as it can be shown, or the word for the rest.
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
