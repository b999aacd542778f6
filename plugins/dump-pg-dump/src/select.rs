//! Which databases the patterns mean.

use globset::{Glob, GlobMatcher};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::server::Database;

/// Patterns of databases to take and to leave.
pub(crate) struct Selection {
    include: Vec<GlobMatcher>,
    exclude: Vec<GlobMatcher>,
}

/// What the patterns mean on a server.
pub(crate) struct Selected<'a> {
    /// The databases to dump.
    pub(crate) databases: Vec<&'a Database>,
    /// What its owner should hear.
    pub(crate) warnings: Vec<String>,
}

impl Selection {
    pub(crate) fn new(include: &[String], exclude: &[String]) -> Result<Self> {
        Ok(Self { include: globs("databases", include)?, exclude: globs("exclude", exclude)? })
    }

    /// Chooses among a server's databases. A template is taken only if a pattern is its very name; one that allows no connections never.
    pub(crate) fn choose<'a>(&self, all: &'a [Database]) -> Selected<'a> {
        let named = |name: &str| self.include.iter().any(|pattern| pattern.glob().glob() == name);
        let eligible =
            |database: &&Database| database.allows_connections && (!database.template || named(&database.name));
        let included = |database: &&Database| matches(&self.include, &database.name);
        let databases: Vec<_> = all
            .iter()
            .filter(eligible)
            .filter(included)
            .filter(|database| !matches(&self.exclude, &database.name))
            .collect();

        let mut warnings = Vec::new();
        for pattern in &self.include {
            if !all.iter().filter(eligible).any(|database| pattern.is_match(&database.name)) {
                warnings.push(format!("databases: \"{}\" matches no database that can be dumped", pattern.glob()));
            }
        }
        for pattern in &self.exclude {
            if !all.iter().any(|database| pattern.is_match(&database.name)) {
                warnings.push(format!("exclude: \"{}\" matches no database", pattern.glob()));
            }
        }
        Selected { databases, warnings }
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
        };
        Database { name: name.into(), allows_connections, template, bytes: Some(1), facts }
    }

    fn choose(include: &[&str], exclude: &[&str]) -> (Vec<String>, Vec<String>) {
        let all = [
            database("app", false, true),
            database("app-prod", false, true),
            database("scratch_1", false, true),
            database("a/b", false, true),
            database("retired", false, false),
            database("template0", true, false),
            database("template1", true, true),
        ];
        let owned = |patterns: &[&str]| patterns.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<_>>();
        let selected = Selection::new(&owned(include), &owned(exclude)).unwrap().choose(&all);
        (selected.databases.iter().map(|database| database.name.clone()).collect(), selected.warnings)
    }

    #[test]
    fn all_means_all_that_can_be_dumped_but_templates() {
        assert_eq!(choose(&["*"], &["scratch_*"]), (vec!["app".into(), "app-prod".into(), "a/b".into()], vec![]));
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
        let (_, warnings) = choose(&["app", "shop_*", "retired"], &["old"]);
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings[0].contains("shop_*") && warnings[1].contains("retired") && warnings[2].contains("old"));
    }

    #[test]
    fn what_is_not_a_pattern_is_refused() {
        assert_eq!(Selection::new(&["a[".into()], &[]).err().unwrap().kind(), Kind::Usage);
    }
}
