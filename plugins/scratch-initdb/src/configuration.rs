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
}
