//! The settings of a scratch cluster's server: defaults, the job's, and those that no job may
//! change.

use std::collections::BTreeMap;
use std::path::Path;

use crate::PORT;

/// The prefix of each line of the server's log, as in `log_line_prefix`: the SQLSTATE, the
/// application's name and the command's tag, each followed by a tab. None of them can contain a
/// tab.
pub const LOG_LINE_PREFIX: &str = "%e\t%a\t%i\t";

/// Settings that a job may change.
const DEFAULTS: [(&str, &str); 14] = [
    // The cluster is temporary, so nothing needs to be flushed to disk.
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_wal_size", "8GB"),
    ("checkpoint_timeout", "1d"),
    ("autovacuum", "off"),
    ("maintenance_work_mem", "256MB"),
    // pg_dump holds locks on all tables simultaneously.
    ("max_locks_per_transaction", "1024"),
    ("lc_messages", "C"),
    // Tablespaces are placed within the cluster: their original directories do not exist on this
    // host.
    ("allow_in_place_tablespaces", "on"),
    // No parallel workers are available.
    ("max_parallel_workers_per_gather", "0"),
    ("max_parallel_maintenance_workers", "0"),
];

/// Settings that a job cannot change: without them, restored objects could act by themselves, or
/// the log would be unreadable.
const FORCED: [(&str, &str); 11] = [
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    // No background worker starts: no scheduler of any extension, and no subscription.
    ("max_worker_processes", "0"),
    ("max_logical_replication_workers", "0"),
    // No restored trigger fires, including event triggers.
    ("session_replication_role", "replica"),
    ("archive_mode", "off"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_line_prefix", LOG_LINE_PREFIX),
    ("log_error_verbosity", "default"),
    // Notices and warnings also have codes, but are not failures.
    ("log_min_messages", "error"),
];

/// The first release with `event_triggers`, which disables login triggers as well.
const EVENT_TRIGGERS_SINCE: u32 = 17;

/// The settings that a server needs at least as large as at the source of a base backup: prepared
/// transactions and their locks are restored, too. Hot standby would need more, but the server of a
/// drill is none. Source: `RecoverPreparedTransactions` in PostgreSQL's `twophase.c`, and
/// `CheckRequiredParameterValues` in its `xlogrecovery.c`.
const OF_SOURCE: [&str; 3] = ["max_connections", "max_prepared_transactions", LOCKS];

const LOCKS: &str = "max_locks_per_transaction";

/// The value of `max_connections` in a server without a configuration.
const DEFAULT_CONNECTIONS: u64 = 100;

/// The number of locks for which a server of a drill has room: pg_dump locks all tables of a
/// database.
const LOCKS_IN_ALL: u64 = 102_400;

/// Settings of each session with a cluster restored from its files. They override those of
/// databases and roles, which may name a library that is missing here, and end waits for the locks
/// of prepared transactions.
const SESSION: [(&str, &str); 3] =
    [("session_preload_libraries", ""), ("session_replication_role", "replica"), ("lock_timeout", "60s")];

/// The settings of one server, in order.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// Names and values; later ones take precedence.
    pub(crate) settings: Vec<(String, String)>,
    /// The job's settings that were overridden.
    pub(crate) overridden: Vec<String>,
}

/// Returns the settings for a server of release `major` with its socket in `socket`.
pub(crate) fn resolve(chosen: &BTreeMap<String, String>, socket: &Path, major: u32) -> Configuration {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let socket = socket.display().to_string().replace('"', "\"\"");
    let mut forced: Vec<(String, String)> = FORCED.iter().map(owned).collect();
    forced.push(("port".to_owned(), PORT.to_string()));
    forced.push(("unix_socket_directories".to_owned(), format!("\"{socket}\"")));
    if major >= EVENT_TRIGGERS_SINCE {
        forced.push(("event_triggers".to_owned(), "off".to_owned()));
    }
    let overridden = chosen.iter().filter_map(|(name, value)| {
        // The server accepts names in any case, and with hyphens.
        let normalized = name.to_lowercase().replace('-', "_");
        let (_, forced_value) = forced.iter().find(|(name, _)| *name == normalized)?;
        (forced_value != value)
            .then(|| format!("{name} of scratch is always \"{forced_value}\" in a drill; the setting is ignored"))
    });
    let overridden = overridden.collect();
    let mut settings: Vec<(String, String)> = DEFAULTS.iter().map(owned).collect();
    settings.extend(chosen.clone());
    settings.extend(forced);
    Configuration { settings, overridden }
}

/// Returns the settings of a job, preceded by those that the server needs for the files of a base
/// backup, given the settings that the source had.
pub(crate) fn for_files(chosen: &BTreeMap<String, String>, source: &BTreeMap<String, u64>) -> BTreeMap<String, String> {
    let mut settings: BTreeMap<&str, u64> =
        OF_SOURCE.iter().filter_map(|name| Some((*name, *source.get(*name)?))).collect();
    let connections = source.get("max_connections").copied().unwrap_or(DEFAULT_CONNECTIONS);
    let transactions = connections.saturating_add(source.get("max_prepared_transactions").copied().unwrap_or(0));
    let locks = settings.entry(LOCKS).or_default();
    *locks = LOCKS_IN_ALL.div_ceil(transactions.max(1)).max(*locks);
    let mut settings: BTreeMap<String, String> =
        settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_string())).collect();
    settings.extend(chosen.clone());
    settings
}

/// Returns the options of sessions with a cluster of release `major` that was restored from its
/// files, in the form of `PGOPTIONS`.
pub(crate) fn session_options(major: u32) -> String {
    let event_triggers = (major >= EVENT_TRIGGERS_SINCE).then_some(("event_triggers", "off"));
    let options = SESSION.into_iter().chain(event_triggers).map(|(name, value)| format!("-c {name}={value}"));
    options.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_settings_cannot_enable_background_workers() {
        let chosen = [("Max-Worker-Processes", "8"), ("work_mem", "64MB"), ("fsync", "on"), ("archive_mode", "off")];
        let chosen = chosen.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let Configuration { settings, overridden } = resolve(&chosen, Path::new("/x/\"socket"), 17);
        let last = |wanted: &str| {
            let mut named = settings.iter().filter(|(name, _)| name.to_lowercase().replace('-', "_") == wanted);
            named.next_back().map(|(_, value)| value.as_str()).unwrap()
        };
        assert_eq!(last("max_worker_processes"), "0");
        assert_eq!((last("work_mem"), last("fsync"), last("event_triggers")), ("64MB", "on", "off"));
        assert_eq!(last("unix_socket_directories"), "\"/x/\"\"socket\"");
        assert_eq!(overridden, ["Max-Worker-Processes of scratch is always \"0\" in a drill; the setting is ignored"]);
    }

    #[test]
    fn older_server_lacks_event_triggers() {
        let Configuration { settings, .. } = resolve(&BTreeMap::new(), Path::new("/x"), 16);
        assert!(!settings.iter().any(|(name, _)| name == "event_triggers"));
    }

    #[test]
    fn files_need_room_for_prepared_transactions() {
        let map =
            |settings: &[(&str, u64)]| settings.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let resolved = |source: &[(&str, u64)], chosen: &[(&str, &str)]| {
            let chosen = chosen.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            for_files(&chosen, &map(source))
        };
        let source =
            [("max_connections", 500), ("max_prepared_transactions", 12), (LOCKS, 64), ("max_worker_processes", 8)];
        let settings = resolved(&source, &[]);
        assert_eq!((&*settings["max_connections"], &*settings["max_prepared_transactions"]), ("500", "12"));
        assert_eq!(settings[LOCKS], "200");
        assert!(!settings.contains_key("max_worker_processes"), "no worker of an extension starts");
        assert_eq!(resolved(&[(LOCKS, 9000), ("max_connections", 100)], &[])[LOCKS], "9000");
        assert_eq!(resolved(&source, &[("max_connections", "700")])["max_connections"], "700");
        assert_eq!(resolved(&[], &[])[LOCKS], "1024");
    }

    #[test]
    fn session_options_depend_on_version() {
        assert!(session_options(16).starts_with("-c session_preload_libraries= -c "), "{}", session_options(16));
        assert!(!session_options(16).contains("event_triggers") && session_options(17).contains("event_triggers=off"));
    }
}
