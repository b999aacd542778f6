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

/// Extensions that can be made only on a server that preloads the library of the same name.
const PRELOADED: [&str; 7] = ["citus", "pg_cron", "pg_net", "pg_tle", "pgaudit", "pglogical", "timescaledb"];

impl Requirements {
    /// Returns the extensions that need a library of their own in `shared_preload_libraries`, each with its databases.
    pub fn preloaded(&self) -> impl Iterator<Item = (&String, &BTreeSet<String>)> {
        self.extensions.iter().filter(|(name, _)| {
            let known = PRELOADED.contains(&name.as_str());
            known || self.preload_libraries.as_ref().is_some_and(|libraries| libraries.contains(name))
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
    fn an_extension_is_preloaded_where_the_source_preloads_it() {
        let extensions = ["hstore", "pg_cron", "pg_stat_statements"];
        let mut requirements = Requirements {
            extensions: extensions.map(|name| (name.to_owned(), BTreeSet::from(["d".to_owned()]))).into(),
            ..Requirements::default()
        };
        let names =
            |requirements: &Requirements| requirements.preloaded().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&requirements), ["pg_cron"]);
        requirements.preload_libraries = Some(vec!["pg_stat_statements".to_owned()]);
        assert_eq!(names(&requirements), ["pg_cron", "pg_stat_statements"]);
    }
}
