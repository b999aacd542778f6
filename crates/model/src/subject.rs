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
    /// The files of the cluster, as a base backup.
    Base,
}

/// The kind of a subject, in the order of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    /// A part of the cluster as SQL, such as the globals: a logical backup.
    ClusterSql,
    /// One database: a logical backup.
    Database,
    /// The files of the cluster: a physical backup.
    ClusterFiles,
}

impl Subject {
    /// Returns the database `name` as a subject.
    pub fn database(name: impl Into<String>) -> Self {
        Self::Database { name: name.into() }
    }

    /// Returns the kind of the subject.
    pub fn kind(&self) -> SubjectKind {
        match self {
            Self::Globals | Self::Roles | Self::Tablespaces | Self::Schema | Self::All => SubjectKind::ClusterSql,
            Self::Database { .. } => SubjectKind::Database,
            Self::Base => SubjectKind::ClusterFiles,
        }
    }

    /// Returns the subject's folder in a destination, one segment of a key. The first byte of a
    /// database name that equals a reserved word is encoded.
    pub fn segment(&self) -> String {
        match self {
            Self::Database { name } if is_reserved(name) => encode_reserved_name(name),
            Self::Database { name } => encode_name(name),
            other => other.to_string(),
        }
    }

    /// Returns the subject's folder in destinations of 0.1.0, if that version used another one.
    pub fn former_segment(&self) -> Option<&str> {
        match self {
            Self::Database { name } if RESERVED_AFTER_0_1_0.contains(&name.as_str()) => Some(name),
            _ => None,
        }
    }

    /// Returns all folders that may contain backups of the subject, the current one first.
    pub fn segments(&self) -> impl Iterator<Item = String> {
        std::iter::once(self.segment()).chain(self.former_segment().map(str::to_owned))
    }
}

/// The words that 0.1.0 did not reserve: the folders of base backups and of WAL.
const RESERVED_AFTER_0_1_0: [&str; 2] = ["base", "wal"];

/// Returns true if `name` is the name of another subject, or of a cluster's other folders.
fn is_reserved(name: &str) -> bool {
    matches!(name, "globals" | "roles" | "tablespaces" | "schema" | "all") || RESERVED_AFTER_0_1_0.contains(&name)
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
            Self::Base => "base",
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

    /// All subjects of the whole cluster, each with its kind.
    const OF_CLUSTER: [(Subject, SubjectKind); 6] = [
        (Subject::Globals, SubjectKind::ClusterSql),
        (Subject::Roles, SubjectKind::ClusterSql),
        (Subject::Tablespaces, SubjectKind::ClusterSql),
        (Subject::Schema, SubjectKind::ClusterSql),
        (Subject::All, SubjectKind::ClusterSql),
        (Subject::Base, SubjectKind::ClusterFiles),
    ];

    #[test]
    fn each_subject_has_a_kind() {
        for (subject, kind) in OF_CLUSTER {
            assert_eq!(subject.kind(), kind, "{subject}");
            assert_eq!(Subject::database(subject.to_string()).kind(), SubjectKind::Database);
        }
    }

    #[test]
    fn base_backup_follows_dumps_in_a_restore() {
        let mut kinds = [SubjectKind::ClusterFiles, SubjectKind::Database, SubjectKind::ClusterSql];
        kinds.sort();
        assert_eq!(kinds, [SubjectKind::ClusterSql, SubjectKind::Database, SubjectKind::ClusterFiles]);
    }

    #[test]
    fn databases_share_no_folder_with_other_subjects() {
        for (subject, _) in OF_CLUSTER {
            let database = Subject::database(subject.to_string());
            assert_ne!(database.segment(), subject.segment());
            assert_eq!(subject.former_segment(), None);
        }
        let segments = |name: &str| Subject::database(name).segments().collect::<Vec<_>>();
        assert_eq!(segments("base"), ["%62ase", "base"]);
        assert_eq!(segments("wal"), ["%77al", "wal"]);
        assert_eq!(segments("globals"), ["%67lobals"]);
        for name in ["bases", "Base", "WAL", "my base"] {
            assert_eq!(segments(name).len(), 1, "{name}");
        }
    }

    #[test]
    fn base_has_a_kind_of_its_own_in_json() {
        let json = serde_json::to_string(&Subject::Base).unwrap();
        assert_eq!(json, r#"{"kind":"base"}"#);
        assert_eq!(serde_json::from_str::<Subject>(&json).unwrap(), Subject::Base);
    }
}
