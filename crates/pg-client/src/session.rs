//! The settings that Longshore's sessions, and those of the programs it starts, rely on.
//!
//! `ALTER ROLE … SET` and `ALTER DATABASE … SET` change every new session, and some of those
//! settings break a dump or a restore: a `role` that cannot read the tables, a read-only default, a
//! timeout. Settings in the startup packet (`options`, `PGOPTIONS`) override them, so Longshore
//! sends its own there. They reach every session of a program, including those that `pg_dumpall`
//! and `pg_restore --create` open later.
//!
//! Options of the user (the connection string, a service file, `PGOPTIONS`) are kept. They override
//! the settings of [`OVERRIDABLE`], which only limit time or choose rights: the worst effect is a
//! failure. They do not override the others, on which the content of a backup depends.
//!
//! Some settings are not sent:
//! - `synchronous_commit`, `session_replication_role`, tablespaces, table access methods and
//!   preloaded libraries: the owner of a target chooses how it stores data, and pg_dump's scripts
//!   set those that the content depends on.
//! - `client_encoding` and `TimeZone`: libpq sends them from `PGCLIENTENCODING` and `PGTZ`.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use tokio::process::Command;
use uuid::Uuid;

use crate::conninfo::ConnInfo;
use crate::service_file;

/// A setting and its value, as `current_setting` returns it.
pub(crate) type Setting = (&'static str, &'static str);

/// The purpose of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A query of Longshore's, whose names are all PostgreSQL's own.
    Query,
    /// Reading: a dump, or a query of the user.
    Read,
    /// Writing: a restore, and its preparation.
    Write,
}

/// The facts about a server that decide which settings it takes.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct ServerFacts {
    /// The settings of [`VERSION_DEPENDENT`] that the server's version has.
    settings: BTreeSet<String>,
    /// True if the login role is a superuser.
    superuser: bool,
}

impl ServerFacts {
    /// Returns the SQL that yields these facts as JSON.
    pub(crate) fn sql() -> String {
        let names: Vec<_> = VERSION_DEPENDENT.iter().map(|(name, _)| format!("'{name}'")).collect();
        format!(
            "json_build_object('superuser', (select rolsuper from pg_catalog.pg_roles where rolname = session_user),
            'settings', (select coalesce(json_agg(name), '[]') from pg_catalog.pg_settings where name in ({})))",
            names.join(", ")
        )
    }
}

/// The sessions of one client: their options, and how libpq receives them. Clones share the facts
/// about the server.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    user: String,
    source: OptionsSource,
    /// The purpose of the programs that are started.
    pub(crate) purpose: Purpose,
    /// The `lc_monetary` of programs, if it differs from the server's.
    pub(crate) money: Option<Arc<str>>,
    /// The value of [`PROBE`]: the same in all sessions of this client, and unique to them.
    pub(crate) nonce: Arc<str>,
    facts: Arc<OnceLock<ServerFacts>>,
}

/// The source of the options. libpq reads only the first of these that has any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OptionsSource {
    /// The connection string, which overrides a service file and the environment.
    ConnectionString,
    /// `PGOPTIONS`.
    Environment,
}

impl Session {
    /// Removes the user's options from a connection string, or finds them where libpq would.
    pub(crate) fn of(conninfo: &mut ConnInfo) -> Self {
        let service = conninfo.get("service").map(str::to_owned).or_else(|| std::env::var("PGSERVICE").ok());
        let of_service = || service_file::options(service.as_deref()?, conninfo.get("servicefile"));
        let (user, source) = match conninfo.get("options").map(str::to_owned).or_else(of_service) {
            Some(options) => (options, OptionsSource::ConnectionString),
            None => (std::env::var("PGOPTIONS").unwrap_or_default(), OptionsSource::Environment),
        };
        conninfo.remove("options");
        let nonce = Uuid::new_v4().simple().to_string().into();
        Self { user, source, purpose: Purpose::Read, money: None, nonce, facts: Arc::default() }
    }

    /// Adds the options of its sessions to a command.
    pub(crate) fn add_options(&self, conninfo: &mut ConnInfo, command: &mut Command, purpose: Purpose) {
        self.set_options(conninfo, command, &options(&self.user(), purpose, &self.facts(), &self.nonce));
    }

    /// Returns the options of the sessions of programs.
    pub(crate) fn options(&self) -> String {
        options(&self.user(), self.purpose, &self.facts(), &self.nonce)
    }

    /// Returns the options of the user, and the locale of money.
    fn user(&self) -> String {
        let money = self.money.as_deref().map(|locale| option(&("lc_monetary", locale)));
        let parts = [Some(self.user.clone()).filter(|user| !user.is_empty()), money];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// Returns true if options of the user limit the time of a session or a statement.
    pub(crate) fn has_user_timeout(&self) -> bool {
        self.user.contains("_timeout")
    }

    /// Returns the settings that sessions of programs always have.
    pub(crate) fn mandatory(&self) -> Vec<Setting> {
        mandatory(self.purpose, &self.facts())
    }

    /// Returns the probe alone, as options.
    pub(crate) fn probe(&self) -> String {
        option(&(PROBE, &self.nonce))
    }

    /// Sets up all later sessions for a server. Only the first call has an effect.
    pub(crate) fn set_up(&self, facts: ServerFacts) {
        self.facts.get_or_init(|| facts);
    }

    pub(crate) fn is_set_up(&self) -> bool {
        self.facts.get().is_some()
    }

    /// Returns true if the sessions of programs only read, and have all settings that the server
    /// accepts.
    pub(crate) fn is_set_up_to_read(&self) -> bool {
        self.is_set_up() && self.purpose == Purpose::Read
    }

    fn facts(&self) -> ServerFacts {
        self.facts.get().cloned().unwrap_or_default()
    }

    /// Sets `options` as the only options of a command.
    pub(crate) fn set_options(&self, conninfo: &mut ConnInfo, command: &mut Command, options: &str) {
        match self.source {
            OptionsSource::ConnectionString => {
                conninfo.set("options", options);
                command.env_remove("PGOPTIONS");
            }
            OptionsSource::Environment => {
                command.env("PGOPTIONS", options);
            }
        }
    }

    /// Returns the same sessions, with the options in the connection string, which overrides every
    /// other place.
    pub(crate) fn in_connection_string(&self) -> Self {
        Self { source: OptionsSource::ConnectionString, ..self.clone() }
    }
}

/// The setting that shows whether the startup packet's options are in force.
pub(crate) const PROBE: &str = "longshore.session";

/// Settings that the user's options override.
const OVERRIDABLE: &[Setting] = &[
    ("role", "none"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
];

/// Settings of every session, which every version has.
const MANDATORY: &[Setting] = &[
    // Fails instead of returning only some of the rows.
    ("row_security", "off"),
    // The same text for the same data.
    ("bytea_output", "hex"),
    ("standard_conforming_strings", "on"),
    ("quote_all_identifiers", "off"),
    // If off, the element NULL of an array is restored as the text "NULL".
    ("array_nulls", "on"),
    ("transform_null_equals", "off"),
    // Standbys refuse serializable sessions, and concurrent writes make them fail.
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
    ("exit_on_error", "off"),
    ("client_min_messages", "warning"),
    // A library that only some role loads may be missing on another host.
    ("local_preload_libraries", ""),
];

/// Settings of every session that only some versions have.
const VERSION_DEPENDENT: &[Setting] = &[
    ("idle_session_timeout", "0"),
    ("transaction_timeout", "0"),
    ("createrole_self_grant", ""),
    ("restrict_nonsystem_relation_kind", ""),
];

/// Settings that only a superuser may send.
const SUPERUSER: &[Setting] = &[
    // If on, either setting omits rows of damaged pages.
    ("zero_damaged_pages", "off"),
    ("ignore_checksum_failure", "off"),
    ("temp_file_limit", "-1"),
];

/// Settings of sessions that write.
const WRITING: &[Setting] = &[
    ("default_transaction_read_only", "off"),
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("xmloption", "content"),
];

/// Settings of Longshore's own queries: functions and formats are PostgreSQL's own.
const QUERYING: &[Setting] = &[
    ("search_path", "pg_catalog"),
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("extra_float_digits", "3"),
];

/// Returns the settings on which content depends, which no option of the user overrides.
fn mandatory(purpose: Purpose, facts: &ServerFacts) -> Vec<Setting> {
    let mut settings = MANDATORY.to_vec();
    settings.extend(match purpose {
        Purpose::Query => QUERYING,
        Purpose::Read => &[],
        Purpose::Write => WRITING,
    });
    if purpose == Purpose::Query {
        settings.push(("default_transaction_read_only", "off"));
    }
    if facts.superuser {
        settings.extend(SUPERUSER);
    }
    settings
}

/// Returns the options of a startup packet, including those of the user, in the form of
/// `PGOPTIONS`.
fn options(user: &str, purpose: Purpose, facts: &ServerFacts, nonce: &str) -> String {
    let version_dependent = VERSION_DEPENDENT.iter().filter(|(name, _)| facts.settings.contains(*name));
    let mut options: Vec<String> = OVERRIDABLE.iter().chain(version_dependent).map(option).collect();
    if !user.is_empty() {
        options.push(user.to_owned());
    }
    options.extend(mandatory(purpose, facts).iter().map(option));
    options.push(option(&(PROBE, nonce)));
    options.join(" ")
}

/// Formats one setting as an option. An unescaped space would end the option.
fn option((name, value): &(&str, &str)) -> String {
    format!("-c {name}={}", value.replace('\\', "\\\\").replace(' ', "\\ "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(options: &str, option: &str) -> Option<usize> {
        options.find(&format!("-c {option}"))
    }

    #[test]
    fn user_options_override_only_rights_and_timeouts() {
        let user = "-c role=owner -c row_security=on";
        let options = options(user, Purpose::Read, &ServerFacts::default(), "x");
        assert!(position(&options, "role=none") < position(&options, "role=owner"));
        assert!(position(&options, "row_security=on") < position(&options, "row_security=off"));
    }

    #[test]
    fn settings_depend_on_purpose_version_and_role() {
        let facts = ServerFacts { settings: ["transaction_timeout".to_owned()].into(), superuser: true };
        let older = options("", Purpose::Read, &ServerFacts::default(), "x");
        let newer = options("", Purpose::Write, &facts, "x");
        for option in ["transaction_timeout=0", "zero_damaged_pages=off", "default_transaction_read_only=off"] {
            assert!(position(&older, option).is_none() && position(&newer, option).is_some(), "{option}");
        }
        assert!(position(&newer, "idle_session_timeout").is_none());
        assert!(position(&options("", Purpose::Query, &facts, "x"), "search_path=pg_catalog").is_some());
    }

    #[test]
    fn option_escapes_spaces() {
        assert_eq!(option(&("a", "read committed")), "-c a=read\\ committed");
    }
}
