//! Which databases the patterns mean, and which of them cannot be dumped.

use globset::{Glob, GlobMatcher};
use longshore_core::subject::Subject;
use longshore_core::survey::NotCaptured;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::server::{Database, Server, identifier};

/// Patterns of databases to take and to leave.
pub(crate) struct Selection {
    include: Vec<GlobMatcher>,
    exclude: Vec<GlobMatcher>,
}

/// What the patterns mean on a server.
pub(crate) struct Selected<'a> {
    /// The databases to dump.
    pub(crate) databases: Vec<&'a Database>,
    /// The databases that were asked for by name and cannot be dumped: a run without them is no backup of what was asked for.
    pub(crate) missing: Vec<(Subject, Error)>,
    /// The databases that a pattern takes in and that cannot be dumped.
    pub(crate) not_captured: Vec<NotCaptured>,
    /// What its owner should hear.
    pub(crate) warnings: Vec<String>,
}

/// A look into a template: an ordinary database is dumped whatever is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// The template has objects of its own, such as tables.
    OwnObjects,
    /// It holds only what every new database holds.
    Empty,
    /// It could not be looked into, for this reason.
    Failed(String),
}

impl Selection {
    pub(crate) fn new(include: &[String], exclude: &[String]) -> Result<Self> {
        Ok(Self { include: globs("databases", include)?, exclude: globs("exclude", exclude)? })
    }

    /// Returns the templates whose content decides about them, as far as the role can connect to them.
    pub(crate) fn templates<'a>(&'a self, all: &'a [Database], role: &'a Server) -> impl Iterator<Item = &'a Database> {
        all.iter().filter(|database| {
            database.template
                && database.name != "template0"
                && matches(&self.include, &database.name)
                && !self.names(&database.name)
                && !matches(&self.exclude, &database.name)
                && obstacle(database, role).is_none()
        })
    }

    /// Chooses among a server's databases. Of the templates those with objects of their own are dumped; template0 and
    /// template1, which every cluster has, only if a pattern is their very name.
    pub(crate) fn choose<'a>(
        &self,
        all: &'a [Database],
        role: &Server,
        look: impl Fn(&str) -> Option<Look>,
    ) -> Selected<'a> {
        let mut selected =
            Selected { databases: Vec::new(), missing: Vec::new(), not_captured: Vec::new(), warnings: Vec::new() };
        for database in all {
            let name = &database.name;
            if !matches(&self.include, name) || matches(&self.exclude, name) {
                continue;
            }
            let not_captured = |reason: &str, remedy: &str| {
                NotCaptured::database(name, reason, format!("{remedy}, or leave it out: exclude = [{}]", pattern(name)))
            };
            match (obstacle(database, role), self.names(name)) {
                (Some(obstacle), true) => {
                    selected.missing.push((Subject::database(name), obstacle.error(name)));
                }
                (None, true) => selected.databases.push(database),
                // Every cluster has it, and nothing is ever in it.
                (_, false) if name == "template0" => {}
                (Some(Obstacle { reason, remedy, .. }), false) => {
                    selected.not_captured.push(not_captured(&reason, &remedy));
                }
                (None, false) if !database.template => selected.databases.push(database),
                (None, false) => match look(name) {
                    Some(Look::OwnObjects) if name == "template1" => {
                        let remedy = format!("dump it by its name: databases = [{}, \"template1\"]", self.written());
                        selected.not_captured.push(not_captured("has objects of its own", &remedy));
                    }
                    Some(Look::OwnObjects) => selected.databases.push(database),
                    Some(Look::Failed(reason)) => {
                        selected.not_captured.push(not_captured(&reason, "let the role connect to it"));
                    }
                    Some(Look::Empty) | None => {}
                },
            }
        }
        self.unmatched(all, &mut selected);
        selected
    }

    /// Adds the patterns that lead nowhere: a name is an error, another pattern a warning.
    fn unmatched(&self, all: &[Database], selected: &mut Selected<'_>) {
        for pattern in &self.include {
            let name = pattern.glob().glob();
            if all.iter().any(|database| pattern.is_match(&database.name)) {
                continue;
            }
            if is_name(name) {
                let there = all.iter().filter(|database| !database.template).map(|database| database.name.as_str());
                let there = there.collect::<Vec<_>>().join(", ");
                let error = Error::new(Stage::Dump, Kind::NotFound, name, "the server has no such database")
                    .hint(format!("correct databases; the server has: {there}"));
                selected.missing.push((Subject::database(name), error));
            } else {
                selected.warnings.push(format!("databases: \"{name}\" matches no database"));
            }
        }
        for pattern in &self.exclude {
            if !all.iter().any(|database| pattern.is_match(&database.name)) {
                selected.warnings.push(format!("exclude: \"{}\" matches no database", pattern.glob()));
            }
        }
    }

    /// Whether a pattern is this very name.
    fn names(&self, name: &str) -> bool {
        self.include.iter().any(|pattern| pattern.glob().glob() == name)
    }

    /// The patterns to take, as they stand in the configuration.
    fn written(&self) -> String {
        self.include.iter().map(|pattern| format!("\"{}\"", pattern.glob())).collect::<Vec<_>>().join(", ")
    }
}

/// A reason for which a database cannot be dumped.
struct Obstacle {
    kind: Kind,
    reason: String,
    remedy: String,
}

impl Obstacle {
    /// The error that a database was asked for by its name.
    fn error(self, name: &str) -> Error {
        let Self { kind, reason, remedy } = self;
        Error::new(Stage::Dump, kind, name, reason).hint(format!("{remedy}, or take it out of databases"))
    }
}

/// Looks for a reason for which our role cannot dump a database.
fn obstacle(database: &Database, role: &Server) -> Option<Obstacle> {
    let name = identifier(&database.name);
    let found = |kind, reason: &str, remedy: String| Some(Obstacle { kind, reason: reason.to_owned(), remedy });
    if database.invalid {
        let reason = "a DROP DATABASE of it was interrupted, and all that can be done is to drop it again";
        return found(Kind::NotFound, reason, format!("drop it: drop database {name}"));
    }
    if !database.allows_connections {
        let remedy = format!("alter database {name} allow_connections true");
        return found(Kind::NotFound, "allows no connections", remedy);
    }
    if !database.may_connect {
        let reason = format!("role {} has no CONNECT privilege", role.role);
        return found(Kind::Denied, &reason, format!("grant connect on database {name} to {}", identifier(&role.role)));
    }
    if database.connection_limit == 0 && !role.superuser {
        let remedy = format!("alter database {name} connection limit -1");
        return found(Kind::Denied, "its connection limit is 0", remedy);
    }
    None
}

/// A database's name as a pattern that matches nothing else, in TOML.
fn pattern(name: &str) -> String {
    let mut pattern = String::from("\"");
    for char in name.chars() {
        match char {
            '*' | '?' | '[' | ']' | '{' | '}' => pattern.extend(['[', char, ']']),
            '\\' => pattern.push_str("[\\\\]"),
            '"' => pattern.push_str("\\\""),
            char if char.is_control() => pattern.push_str(&format!("\\u{:04X}", u32::from(char))),
            char => pattern.push(char),
        }
    }
    pattern + "\""
}

/// Whether a pattern can mean nothing but the database of that name.
fn is_name(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '[', ']', '{', '}', '\\'])
}

fn matches(patterns: &[GlobMatcher], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.is_match(name))
}

fn globs(setting: &str, patterns: &[String]) -> Result<Vec<GlobMatcher>> {
    let compile = |pattern: &String| {
        let glob = Glob::new(pattern).map_err(|error| {
            Error::new(Stage::Config, Kind::Usage, setting, format!("\"{pattern}\" is not a pattern")).because(error)
        })?;
        Ok(glob.compile_matcher())
    };
    patterns.iter().map(compile).collect()
}

#[cfg(test)]
mod tests;
