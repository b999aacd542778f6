//! Discovery of the contents of a server: the subjects, the exclusions and the requirements of a
//! run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::error::{Error, printable};
use crate::key::BackupName;
use crate::manifest::Server;
use crate::subject::Subject;

/// The discovered contents of a server.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// The server to read.
    pub server: Server,
    /// The subjects to copy, in order.
    pub subjects: Vec<DiscoveredSubject>,
    /// Configured subjects that cannot be copied, each with the reason.
    pub missing: Vec<(Subject, Error)>,
    /// Configured parts of the server that no backup of the run would contain.
    pub not_captured: Vec<NotCaptured>,
    /// The connections that a copy needs and those that the server grants, if known.
    pub connections: Option<Connections>,
    /// True if the server is a standby.
    pub is_standby: bool,
    /// Warnings for the operator, such as a pattern that matches nothing.
    pub warnings: Vec<String>,
}

/// A discovered subject.
#[derive(Debug, Clone)]
pub struct DiscoveredSubject {
    /// The subject.
    pub subject: Subject,
    /// The approximate number of bytes to read: a database's size on disk, for progress and free
    /// space.
    pub estimated_bytes: Option<u64>,
    /// The backups of the same run that a full restore needs.
    pub run_needs: RunNeeds,
    /// The backups of earlier runs that a full restore needs, at every destination.
    pub needs: Vec<BackupName>,
}

/// The backups of the same run that a full restore of a backup needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunNeeds {
    /// None: the backup contains all that it needs.
    Nothing,
    /// The globals: every backup of the run whose subject is a part of the cluster as SQL.
    Globals,
}

/// A part of a server that no backup contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotCaptured {
    /// The subject, if the part is a possible subject of a backup.
    pub subject: Option<Subject>,
    /// The part, and the reason, such as `database "old": allows no connections`.
    pub what: String,
    /// The way to capture the part, or to exclude it without a notice.
    pub remedy: String,
}

impl NotCaptured {
    /// Returns the entry of a database that is excluded for `reason`.
    pub fn database(name: &str, reason: &str, remedy: impl Into<String>) -> Self {
        let what = format!("database \"{}\": {reason}", printable(name));
        Self { subject: Some(Subject::database(name)), what, remedy: remedy.into() }
    }
}

impl fmt::Display for NotCaptured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not captured: {}", self.what)
    }
}

/// The connections that a copy needs, and those that the server grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connections {
    /// The maximum number of simultaneous connections of one copy.
    pub each: u32,
    /// The number of connections that the role can open now.
    pub free: u32,
    /// The limit that applies, such as `role backup: connection limit 3`.
    pub limit: String,
    /// The way to raise the limit.
    pub remedy: String,
}

impl Connections {
    /// Returns the number of copies that can run at once. One connection is reserved: the session
    /// of an earlier query may still be ending when a copy begins.
    pub fn copies(&self) -> usize {
        (self.free.saturating_sub(1) / self.each.max(1)) as usize
    }

    /// Returns the number of connections that `copies` simultaneous copies need.
    pub fn needed(&self, copies: usize) -> u64 {
        u64::from(self.each) * copies as u64 + 1
    }

    /// Combines the requirements of two stages that use the same server.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let each = self.each.max(other.each);
        let tighter = if other.free < self.free { other } else { self };
        Self { each, ..tighter }
    }
}

/// The features of a server that a restore target must have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// The server's version, such as `17.4`.
    pub server_version: String,
    /// The extensions of the databases, each with its databases.
    pub extensions: BTreeMap<String, BTreeSet<String>>,
    /// The libraries that the server preloads, if the role may read the setting.
    pub preload_libraries: Option<Vec<String>>,
}

/// Extensions that can only be created if the server preloads a library, each with the library.
/// Neither the server's catalogs nor an extension's control file contain this information.
const PRELOADED: [(&str, &str); 12] = [
    ("bdr", "bdr"),
    ("citus", "citus"),
    ("pg_cron", "pg_cron"),
    ("pg_net", "pg_net"),
    ("pg_squeeze", "pg_squeeze"),
    ("pg_tle", "pg_tle"),
    ("pgaudit", "pgaudit"),
    ("pglogical", "pglogical"),
    ("pgsodium", "pgsodium"),
    ("set_user", "set_user"),
    ("timescaledb", "timescaledb"),
    ("vault", "pgsodium"),
];

/// Extensions that can be created without their library, although servers often preload it.
const USABLE_WITHOUT: [&str; 2] = ["pg_prewarm", "pg_stat_statements"];

/// Returns the library that a server must preload to create an extension, if known.
pub fn preloaded_library(extension: &str) -> Option<&'static str> {
    PRELOADED.iter().find(|(name, _)| *name == extension).map(|(_, library)| *library)
}

/// An extension that needs a library in `shared_preload_libraries`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preloaded<'a> {
    /// The extension's name.
    pub extension: &'a str,
    /// The library.
    pub library: &'a str,
    /// The databases that have the extension.
    pub databases: &'a BTreeSet<String>,
    /// False if the only evidence is a library of the same name at the source.
    pub is_certain: bool,
}

impl Requirements {
    /// Returns the extensions that need, or may need, a library in `shared_preload_libraries`.
    pub fn preloaded(&self) -> impl Iterator<Item = Preloaded<'_>> {
        self.extensions.iter().filter_map(|(extension, databases)| {
            let known = preloaded_library(extension);
            let at_source = self.preload_libraries.iter().flatten().find(|library| *library == extension);
            let at_source = at_source.filter(|library| !USABLE_WITHOUT.contains(&library.as_str()));
            let library = known.or_else(|| at_source.map(String::as_str))?;
            Some(Preloaded { extension, library, databases, is_certain: known.is_some() })
        })
    }

    /// Adds the requirements of another stage that reads the same server.
    pub fn extend(&mut self, other: Self) {
        let Self { server_version, extensions, preload_libraries } = other;
        if !server_version.is_empty() {
            self.server_version = server_version;
        }
        for (name, databases) in extensions {
            self.extensions.entry(name).or_default().extend(databases);
        }
        self.preload_libraries = self.preload_libraries.take().or(preload_libraries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(each: u32, free: u32) -> Connections {
        Connections { each, free, limit: format!("limit {free}"), remedy: String::new() }
    }

    #[test]
    fn one_connection_stays_free_for_queries() {
        let fitting = [(1, 0), (1, 1), (1, 2), (1, 5), (5, 5), (5, 6), (5, 11)];
        let copies = fitting.map(|(each, free)| connections(each, free).copies());
        assert_eq!(copies, [0, 0, 1, 4, 0, 1, 2]);
        assert_eq!(connections(5, 100).needed(4), 21);
    }

    #[test]
    fn combined_stages_use_the_tighter_limit() {
        let both = connections(1, 3).and(connections(5, 8));
        assert_eq!((both.each, both.free, &*both.limit), (5, 3, "limit 3"));
    }

    #[test]
    fn extension_may_need_a_preloaded_library() {
        let extensions = ["hstore", "own", "pg_cron", "pg_stat_statements", "vault"];
        let mut requirements = Requirements {
            extensions: extensions.map(|name| (name.to_owned(), BTreeSet::from(["d".to_owned()]))).into(),
            ..Requirements::default()
        };
        let names = |requirements: &Requirements| {
            let found = requirements.preloaded().map(|found| format!("{} {}", found.library, found.is_certain));
            found.collect::<Vec<_>>()
        };
        assert_eq!(names(&requirements), ["pg_cron true", "pgsodium true"]);
        // This library only collects data for a view.
        requirements.preload_libraries = Some(vec!["pg_stat_statements".to_owned(), "own".to_owned()]);
        assert_eq!(names(&requirements), ["own false", "pg_cron true", "pgsodium true"]);
    }
}
