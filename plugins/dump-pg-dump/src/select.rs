//! Which databases the patterns mean.

use globset::{Glob, GlobMatcher};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::server::{Database, identifier};

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
    pub(crate) missing: Vec<Error>,
    /// What its owner should hear.
    pub(crate) warnings: Vec<String>,
}

impl Selection {
    pub(crate) fn new(include: &[String], exclude: &[String]) -> Result<Self> {
        Ok(Self { include: globs("databases", include)?, exclude: globs("exclude", exclude)? })
    }

    /// Chooses among a server's databases. A template is taken only if a pattern is its very name; what allows no connections, or whose
    /// removal was interrupted, never.
    pub(crate) fn choose<'a>(&self, all: &'a [Database]) -> Selected<'a> {
        let named = |name: &str| self.include.iter().any(|pattern| pattern.glob().glob() == name);
        let eligible = |database: &&Database| {
            database.allows_connections && !database.invalid && (!database.template || named(&database.name))
        };
        let included = |database: &&Database| matches(&self.include, &database.name);
        let databases: Vec<_> = all
            .iter()
            .filter(eligible)
            .filter(included)
            .filter(|database| !matches(&self.exclude, &database.name))
            .collect();

        let mut warnings = Vec::new();
        let mut missing = Vec::new();
        for pattern in &self.include {
            let name = pattern.glob().glob();
            if all.iter().filter(eligible).any(|database| pattern.is_match(&database.name)) {
                continue;
            }
            if is_name(name) {
                missing.push(missed(name, all));
            } else {
                warnings.push(format!("databases: \"{}\" matches no database that can be dumped", pattern.glob()));
            }
        }
        for pattern in &self.exclude {
            if !all.iter().any(|database| pattern.is_match(&database.name)) {
                warnings.push(format!("exclude: \"{}\" matches no database", pattern.glob()));
            }
        }
        let invalid = all.iter().filter(|database| database.invalid).filter(included);
        for database in invalid.filter(|database| !matches(&self.exclude, &database.name) && !named(&database.name)) {
            warnings.push(format!("\"{}\" is left out: {INTERRUPTED}", database.name));
        }
        Selected { databases, missing, warnings }
    }
}

/// What is amiss with an invalid database, and the way out.
const INTERRUPTED: &str = "a DROP DATABASE of it was interrupted, and all that can be done is to drop it again";

/// Whether a pattern can mean nothing but the database of that name.
fn is_name(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '[', ']', '{', '}', '\\'])
}

/// The error that a database was asked for by its name, and cannot be dumped.
fn missed(name: &str, all: &[Database]) -> Error {
    let error = |message: &str| Error::new(Stage::Dump, Kind::NotFound, name, message);
    match all.iter().find(|database| database.name == name) {
        Some(database) if database.invalid => error(INTERRUPTED).hint("drop it, or take it out of databases"),
        Some(_) => error("the database allows no connections, so it cannot be dumped")
            .hint(format!("alter database {} allow_connections true, or take it out of databases", identifier(name))),
        None => {
            let there = all.iter().filter(|database| !database.template).map(|database| database.name.as_str());
            let there = there.collect::<Vec<_>>().join(", ");
            error("the server has no such database").hint(format!("correct databases; the server has: {there}"))
        }
    }
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
mod tests {
    use longshore_core::manifest::DatabaseFacts;

    use super::*;

    fn database(name: &str, template: bool, allows_connections: bool) -> Database {
        let facts = DatabaseFacts {
            encoding: "UTF8".into(),
            collate: "C".into(),
            ctype: "C".into(),
            locale_provider: "libc".into(),
            locale: None,
            monetary: None,
        };
        Database { name: name.into(), allows_connections, invalid: false, template, bytes: Some(1), facts }
    }

    /// The names chosen, the warnings, and the errors.
    fn chosen(include: &[&str], exclude: &[&str]) -> (Vec<String>, Vec<String>, Vec<Error>) {
        let all = [
            database("app", false, true),
            database("app-prod", false, true),
            database("scratch_1", false, true),
            database("a/b", false, true),
            database("retired", false, false),
            Database { invalid: true, ..database("wreck", false, true) },
            database("template0", true, false),
            database("template1", true, true),
        ];
        let owned = |patterns: &[&str]| patterns.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<_>>();
        let selected = Selection::new(&owned(include), &owned(exclude)).unwrap().choose(&all);
        let names = selected.databases.iter().map(|database| database.name.clone());
        (names.collect(), selected.warnings, selected.missing)
    }

    fn choose(include: &[&str], exclude: &[&str]) -> (Vec<String>, Vec<String>) {
        let (names, warnings, missing) = chosen(include, exclude);
        assert!(missing.is_empty(), "{missing:?}");
        (names, warnings)
    }

    #[test]
    fn all_means_all_that_can_be_dumped_but_templates() {
        assert_eq!(
            choose(&["*"], &["scratch_*", "wreck"]),
            (vec!["app".into(), "app-prod".into(), "a/b".into()], vec![])
        );
    }

    #[test]
    fn a_name_means_that_database_and_no_other() {
        assert_eq!(choose(&["app"], &[]).0, ["app"]);
    }

    #[test]
    fn a_template_is_dumped_only_if_it_is_named() {
        assert_eq!(choose(&["template1"], &[]).0, ["template1"]);
        assert!(choose(&["template*"], &[]).0.is_empty());
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_said() {
        let (_, warnings) = choose(&["app", "shop_*", "retire?"], &["old", "wreck"]);
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings[0].contains("shop_*") && warnings[1].contains("retire?") && warnings[2].contains("old"));
    }

    #[test]
    fn a_name_that_is_not_there_is_an_error_that_tells_which_are() {
        let (names, _, missing) = chosen(&["app", "shop"], &[]);
        assert_eq!(names, ["app"]);
        assert_eq!((missing.len(), missing[0].kind(), missing[0].subject()), (1, Kind::NotFound, "shop"));
        assert!(missing[0].remedy().unwrap().contains("app, app-prod"), "{missing:?}");
    }

    #[test]
    fn a_named_database_that_cannot_be_dumped_is_an_error() {
        let (_, _, missing) = chosen(&["app", "retired", "wreck"], &[]);
        assert!(missing[0].to_string().contains("allows no connections"), "{missing:?}");
        assert!(missing[1].to_string().contains("interrupted"), "{missing:?}");
    }

    #[test]
    fn a_database_whose_removal_was_interrupted_is_left_out_and_said() {
        let (names, warnings) = choose(&["*"], &[]);
        assert!(!names.contains(&"wreck".to_owned()));
        assert!(warnings.len() == 1 && warnings[0].contains("\"wreck\" is left out"), "{warnings:?}");
    }

    #[test]
    fn what_is_not_a_pattern_is_refused() {
        assert_eq!(Selection::new(&["a[".into()], &[]).err().unwrap().kind(), Kind::Usage);
    }
}
