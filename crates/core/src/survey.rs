//! The result of a look at a server: what a run would copy, what it would leave out, and what it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::error::{Error, printable};
use crate::manifest::Server;
use crate::subject::Subject;

/// The result of a look at a server.
#[derive(Debug, Clone)]
pub struct Survey {
    /// The server that would be read.
    pub server: Server,
    /// What would be copied, in the order in which to do it.
    pub subjects: Vec<Surveyed>,
    /// Subjects that the settings name and that cannot be copied, each with the reason.
    pub missing: Vec<(Subject, Error)>,
    /// Parts of the server that the settings take in, and that no backup of the run would contain.
    pub not_captured: Vec<NotCaptured>,
    /// The connections that a copy takes, and those that the server grants, where that is known.
    pub connections: Option<Connections>,
    /// Whether the server is a standby.
    pub is_standby: bool,
    /// What its owner should hear, such as a pattern that matches nothing.
    pub warnings: Vec<String>,
}

/// One subject that a survey found.
#[derive(Debug, Clone)]
pub struct Surveyed {
    /// What it is.
    pub subject: Subject,
    /// About how much there is to read, in bytes: a database's size on disk, for progress and free space.
    pub estimated_bytes: Option<u64>,
}

/// A part of a server that no backup contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotCaptured {
    /// The subject, where it is one that a backup could be of.
    pub subject: Option<Subject>,
    /// The part, and the reason, such as `database "old": allows no connections`.
    pub what: String,
    /// The way to capture the part, or to leave it out without a notice.
    pub remedy: String,
}

impl NotCaptured {
    /// A database of this name, left out for `reason`.
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

/// The connections that a copy takes, and those that the server grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connections {
    /// The most that the copy of one subject holds at once.
    pub each: u32,
    /// The number that the role can open now.
    pub free: u32,
    /// The limit that says so, such as `role backup: connection limit 3`.
    pub limit: String,
    /// The way to raise the limit.
    pub remedy: String,
}

impl Connections {
    /// Returns the number of copies that fit at once. One connection is kept for a question to the server: a session that
    /// asked one may still be ending when a copy begins.
    pub fn copies(&self) -> usize {
        (self.free.saturating_sub(1) / self.each.max(1)) as usize
    }

    /// Returns the number of connections that so many copies take at once.
    pub fn needed(&self, copies: usize) -> u64 {
        u64::from(self.each) * copies as u64 + 1
    }

    /// Combines the needs of two stages that ask the same server.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let each = self.each.max(other.each);
        let tighter = if other.free < self.free { other } else { self };
        Self { each, ..tighter }
    }
}

/// The features of a server that a place to restore its backups to must have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// The server's version, such as `17.4`.
    pub server_version: String,
    /// The extensions of the databases, each with the databases that have it.
    pub extensions: BTreeMap<String, BTreeSet<String>>,
    /// The libraries that the server preloads, where the role may read that.
    pub preload_libraries: Option<Vec<String>>,
}

/// Extensions that refuse to be made unless the server loads a library at its start, each with the library. The server
/// cannot be asked: neither its catalogs nor the control file of an extension say it.
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

/// Extensions that can be made without their library, though servers often load it.
const USABLE_WITHOUT: [&str; 2] = ["pg_prewarm", "pg_stat_statements"];

/// Returns the library that a server must load at its start for an extension to be made, if one is known.
pub fn preloaded_library(extension: &str) -> Option<&'static str> {
    PRELOADED.iter().find(|(name, _)| *name == extension).map(|(_, library)| *library)
}

/// An extension that needs a library in `shared_preload_libraries`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preloaded<'a> {
    /// Its name.
    pub extension: &'a str,
    /// The library.
    pub library: &'a str,
    /// The databases that have the extension.
    pub databases: &'a BTreeSet<String>,
    /// False where the source loads a library of this name, and nothing is known of the extension.
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
    fn one_connection_stays_free_for_questions() {
        let fitting = [(1, 0), (1, 1), (1, 2), (1, 5), (5, 5), (5, 6), (5, 11)];
        let copies = fitting.map(|(each, free)| connections(each, free).copies());
        assert_eq!(copies, [0, 0, 1, 4, 0, 1, 2]);
        assert_eq!(connections(5, 100).needed(4), 21);
    }

    #[test]
    fn two_stages_need_the_larger_share_of_the_tighter_limit() {
        let both = connections(1, 3).and(connections(5, 8));
        assert_eq!((both.each, both.free, &*both.limit), (5, 3, "limit 3"));
    }

    #[test]
    fn an_extension_may_need_what_the_source_preloads() {
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
        // Its library only gathers what its view shows.
        requirements.preload_libraries = Some(vec!["pg_stat_statements".to_owned(), "own".to_owned()]);
        assert_eq!(names(&requirements), ["own false", "pg_cron true", "pgsodium true"]);
    }
}
