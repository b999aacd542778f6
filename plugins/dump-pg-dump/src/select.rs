//! Selects the databases that the patterns match, and reports those that cannot be dumped.

use globset::{Glob, GlobMatcher};
use longshore_core::discovery::NotCaptured;
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::server::{Database, Server, identifier};

/// The patterns of databases to include and to exclude.
pub(crate) struct Selection {
    include: Vec<GlobMatcher>,
    exclude: Vec<GlobMatcher>,
}

/// The databases of a server that the patterns match.
pub(crate) struct Selected<'a> {
    /// The databases to dump.
    pub(crate) databases: Vec<&'a Database>,
    /// The databases named explicitly that cannot be dumped: a run without them is incomplete.
    pub(crate) missing: Vec<(Subject, Error)>,
    /// The databases that match a pattern but cannot be dumped.
    pub(crate) not_captured: Vec<NotCaptured>,
    /// The warnings for the user.
    pub(crate) warnings: Vec<String>,
}

/// The result of inspecting a template. Other databases are dumped regardless of their content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TemplateContent {
    /// The template has objects of its own, such as tables.
    OwnObjects,
    /// The template contains only the objects of every new database.
    Empty,
    /// The template could not be inspected, for this reason.
    Failed(String),
}

impl Selection {
    pub(crate) fn new(include: &[String], exclude: &[String]) -> Result<Self> {
        Ok(Self { include: globs("databases", include)?, exclude: globs("exclude", exclude)? })
    }

    /// Returns the templates whose selection depends on their content, if the role can connect to
    /// them.
    pub(crate) fn templates<'a>(&'a self, all: &'a [Database], role: &'a Server) -> impl Iterator<Item = &'a Database> {
        all.iter().filter(|database| {
            database.template
                && database.name != "template0"
                && matches(&self.include, &database.name)
                && !self.is_named(&database.name)
                && !matches(&self.exclude, &database.name)
                && obstacle(database, role).is_none()
        })
    }

    /// Selects from the databases of a server. A template is dumped if it contains objects of its
    /// own; template0 and template1, which every cluster has, only if a pattern is exactly their
    /// name.
    pub(crate) fn choose<'a>(
        &self,
        all: &'a [Database],
        role: &Server,
        inspect: impl Fn(&str) -> Option<TemplateContent>,
    ) -> Selected<'a> {
        let mut selected =
            Selected { databases: Vec::new(), missing: Vec::new(), not_captured: Vec::new(), warnings: Vec::new() };
        for database in all {
            let name = &database.name;
            if !matches(&self.include, name) || matches(&self.exclude, name) {
                continue;
            }
            let not_captured = |reason: &str, remedy: &str| {
                NotCaptured::database(name, reason, format!("{remedy}, or exclude it: exclude = [{}]", pattern(name)))
            };
            match (obstacle(database, role), self.is_named(name)) {
                (Some(obstacle), true) => {
                    selected.missing.push((Subject::database(name), obstacle.error(name)));
                }
                (None, true) => selected.databases.push(database),
                // Every cluster has template0, and it is always empty.
                (_, false) if name == "template0" => {}
                (Some(Obstacle { reason, remedy, .. }), false) => {
                    selected.not_captured.push(not_captured(&reason, &remedy));
                }
                (None, false) if !database.template => selected.databases.push(database),
                (None, false) => match inspect(name) {
                    Some(TemplateContent::OwnObjects) if name == "template1" => {
                        let remedy =
                            format!("name it explicitly: databases = [{}, \"template1\"]", self.include_list());
                        selected.not_captured.push(not_captured("has objects of its own", &remedy));
                    }
                    Some(TemplateContent::OwnObjects) => selected.databases.push(database),
                    Some(TemplateContent::Failed(reason)) => {
                        selected.not_captured.push(not_captured(&reason, "let the role connect to it"));
                    }
                    Some(TemplateContent::Empty) | None => {}
                },
            }
        }
        self.report_unmatched(all, &mut selected);
        selected
    }

    /// Reports the patterns without a match: a name is an error, any other pattern a warning.
    fn report_unmatched(&self, all: &[Database], selected: &mut Selected<'_>) {
        for pattern in &self.include {
            let name = pattern.glob().glob();
            if all.iter().any(|database| pattern.is_match(&database.name)) {
                continue;
            }
            if is_name(name) {
                let existing = all.iter().filter(|database| !database.template).map(|database| database.name.as_str());
                let existing = existing.collect::<Vec<_>>().join(", ");
                let error = Error::new(Stage::Dump, Kind::NotFound, name, "the server has no such database")
                    .hint(format!("correct databases; the server has: {existing}"));
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

    /// Returns true if a pattern is exactly this name.
    fn is_named(&self, name: &str) -> bool {
        self.include.iter().any(|pattern| pattern.glob().glob() == name)
    }

    /// Returns the include patterns as written in the configuration.
    fn include_list(&self) -> String {
        self.include.iter().map(|pattern| format!("\"{}\"", pattern.glob())).collect::<Vec<_>>().join(", ")
    }
}

/// The reason why a database cannot be dumped.
struct Obstacle {
    kind: Kind,
    reason: String,
    remedy: String,
}

impl Obstacle {
    /// Returns the error for a database that was named explicitly.
    fn error(self, name: &str) -> Error {
        let Self { kind, reason, remedy } = self;
        Error::new(Stage::Dump, kind, name, reason).hint(format!("{remedy}, or remove it from databases"))
    }
}

/// Returns the reason why the role cannot dump a database, if any.
fn obstacle(database: &Database, role: &Server) -> Option<Obstacle> {
    let name = identifier(&database.name);
    let obstacle_of = |kind, reason: &str, remedy: String| Some(Obstacle { kind, reason: reason.to_owned(), remedy });
    if database.invalid {
        let reason = "a DROP DATABASE of it was interrupted; it can only be dropped again";
        return obstacle_of(Kind::NotFound, reason, format!("drop it: drop database {name}"));
    }
    if !database.allows_connections {
        let remedy = format!("alter database {name} allow_connections true");
        return obstacle_of(Kind::NotFound, "allows no connections", remedy);
    }
    if !database.may_connect {
        let reason = format!("role {} has no CONNECT privilege", role.role);
        return obstacle_of(
            Kind::Denied,
            &reason,
            format!("grant connect on database {name} to {}", identifier(&role.role)),
        );
    }
    if database.connection_limit == 0 && !role.superuser {
        let remedy = format!("alter database {name} connection limit -1");
        return obstacle_of(Kind::Denied, "its connection limit is 0", remedy);
    }
    None
}

/// Returns the name of a database as a TOML pattern that matches no other name.
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

/// Returns true if a pattern can match only the database of that name.
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
