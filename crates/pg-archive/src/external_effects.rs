//! Objects of an archive that act beyond their database after a restore.

use std::collections::BTreeSet;

use crate::Facts;
use crate::listing::{description, split_owner};

/// Extensions that run jobs on their own.
const SCHEDULERS: [&str; 5] = ["pg_cron", "pg_timetable", "pgagent", "pg_partman", "timescaledb"];

/// Extensions that connect to other servers, including foreign data wrappers.
const CLIENTS: [&str; 19] = [
    "clickhouse_fdw",
    "citus",
    "dblink",
    "http",
    "jdbc_fdw",
    "mongo_fdw",
    "mysql_fdw",
    "ogr_fdw",
    "oracle_fdw",
    "pg_net",
    "pglogical",
    "plproxy",
    "postgres_fdw",
    "redis_fdw",
    "sqlite_fdw",
    "tds_fdw",
    "wrappers",
    "aws_s3",
    "aws_lambda",
];

/// Objects of one archive that act beyond their database, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExternalEffects {
    /// Extensions that run jobs on their own.
    pub schedulers: BTreeSet<String>,
    /// Extensions that connect to other servers.
    pub clients: BTreeSet<String>,
    /// Foreign servers.
    pub servers: BTreeSet<String>,
    /// User mappings, which may contain passwords, such as `app SERVER far`.
    pub user_mappings: BTreeSet<String>,
    /// Subscriptions of logical replication.
    pub subscriptions: BTreeSet<String>,
    /// Event triggers, including login triggers.
    pub event_triggers: BTreeSet<String>,
    /// Materialized views, whose queries a restore runs.
    pub refreshed: BTreeSet<String>,
    /// True if a restore is known to run the database's own queries or functions. An archive's list
    /// shows this only for materialized views.
    pub runs_own_code: bool,
}

impl ExternalEffects {
    /// Finds the active objects in the record of an archive. A script's record contains only its
    /// extensions.
    pub fn of(facts: &Facts) -> Self {
        let extensions = |known: &[&str]| {
            let named = facts.extensions.iter().filter(|name| known.contains(&name.as_str()));
            named.cloned().collect()
        };
        let entries = |kind: &str| {
            let entries = facts.toc.iter().filter_map(|line| description(line)?.strip_prefix(kind));
            entries.map(|named| split_owner(named, &facts.roles).0.to_owned()).collect()
        };
        Self {
            schedulers: extensions(&SCHEDULERS),
            clients: extensions(&CLIENTS),
            servers: entries("SERVER - "),
            user_mappings: entries("USER MAPPING - USER MAPPING "),
            subscriptions: entries("SUBSCRIPTION - "),
            event_triggers: entries("EVENT TRIGGER - "),
            refreshed: entries("MATERIALIZED VIEW DATA "),
            runs_own_code: false,
        }
    }

    /// Records whether the database is known to run its own code during a restore.
    #[must_use]
    pub fn running_own_code(self, runs_own_code: Option<bool>) -> Self {
        Self { runs_own_code: runs_own_code == Some(true), ..self }
    }

    /// Returns true if a restore alone may connect to another server: a refreshed materialized view
    /// may read from one, and so may a function that a constraint or an index calls.
    pub fn may_connect(&self) -> bool {
        let can_connect = !self.clients.is_empty() || !self.servers.is_empty();
        can_connect && (self.runs_own_code || !self.refreshed.is_empty())
    }

    /// Returns a phrase for each kind of active object, such as `foreign servers "far"`.
    pub fn phrases(&self) -> Vec<String> {
        let kinds = [
            ("schedulers", &self.schedulers),
            ("extensions that connect to other servers", &self.clients),
            ("foreign servers", &self.servers),
            ("user mappings", &self.user_mappings),
            ("subscriptions", &self.subscriptions),
            ("event triggers", &self.event_triggers),
        ];
        let quoted =
            |names: &BTreeSet<String>| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let present = kinds.iter().filter(|(_, names)| !names.is_empty());
        present.map(|(kind, names)| format!("{kind} {}", quoted(names))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(toc: &[&str], extensions: &[&str]) -> Facts {
        let script = b"--\n-- PostgreSQL database dump\n--\n\n--\n-- PostgreSQL database dump complete\n--\n\n";
        let mut facts = crate::read(&script[..], &mut |_| ()).unwrap();
        facts.toc = toc.iter().map(|line| (*line).to_owned()).collect();
        facts.extensions = extensions.iter().map(|name| (*name).to_owned()).collect();
        facts.roles = ["old owner".to_owned()].into();
        facts
    }

    #[test]
    fn finds_effects_in_toc_and_extensions() {
        let toc = [
            "3390; 1417 16390 SERVER - far postgres",
            "3391; 0 0 ACL - FOREIGN SERVER far postgres",
            "3392; 1418 16391 USER MAPPING - USER MAPPING app SERVER far old owner",
            "3393; 6100 16392 SUBSCRIPTION - from shop postgres",
            "3394; 3466 16393 EVENT TRIGGER - audit postgres",
            "3395; 0 16394 MATERIALIZED VIEW DATA public totals app",
        ];
        let active = ExternalEffects::of(&facts(&toc, &["pg_cron", "postgres_fdw", "pgcrypto"]));
        assert!(active.may_connect());
        assert_eq!(active.refreshed, ["public totals".to_owned()].into());
        let expected = [
            "schedulers \"pg_cron\"",
            "extensions that connect to other servers \"postgres_fdw\"",
            "foreign servers \"far\"",
            "user mappings \"app SERVER far\"",
            "subscriptions \"from shop\"",
            "event triggers \"audit\"",
        ];
        assert_eq!(active.phrases(), expected);
    }

    #[test]
    fn restore_without_refresh_cannot_connect() {
        assert!(!ExternalEffects::of(&facts(&["1; 1417 2 SERVER - far postgres"], &["dblink"])).may_connect());
        assert!(!ExternalEffects::of(&facts(&["1; 0 2 MATERIALIZED VIEW DATA public totals app"], &[])).may_connect());
    }

    #[test]
    fn own_code_may_connect() {
        let of = |extensions: &[&str], runs| ExternalEffects::of(&facts(&[], extensions)).running_own_code(runs);
        assert!(of(&["dblink"], Some(true)).may_connect());
        assert!(!of(&["dblink"], Some(false)).may_connect() && !of(&["dblink"], None).may_connect());
        assert!(!of(&["hstore"], Some(true)).may_connect());
    }
}
