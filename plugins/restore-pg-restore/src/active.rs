//! Parts of a backup that act by themselves once they are restored: schedulers, subscriptions, foreign servers, event triggers.

use std::collections::BTreeSet;

use longshore_core::check::Finding;
use longshore_core::error::printable;

use crate::prepare::named;

/// Extensions that run jobs by themselves, which their tables hold.
const SCHEDULERS: [&str; 8] =
    ["pg_cron", "pg_timetable", "pgagent", "pg_dbms_job", "pg_partman", "pg_squeeze", "timescaledb", "pg_task"];

/// Findings of what becomes active in the target, with the way to prevent it.
pub(crate) fn findings(subject: &str, lines: &[&str], extensions: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut warn = |names: Vec<String>, message: &dyn Fn(String) -> String, remedy: &str| {
        if !names.is_empty() {
            let names: Vec<_> = names.iter().map(|name| format!("\"{}\"", printable(name))).collect();
            findings.push(Finding::warning(subject, message(names.join(", ")), remedy));
        }
    };
    let schedulers = extensions.iter().filter(|name| SCHEDULERS.contains(&name.as_str())).cloned().collect();
    warn(
        schedulers,
        &|names| format!("jobs of the scheduler {names} come back, and run in the target where it loads that"),
        "look at the jobs first (restore NAME --list), and leave the extension's tables out with --list-file",
    );
    warn(
        named(lines, "SUBSCRIPTION"),
        &|names| {
            format!("the subscriptions {names} come back disabled: each connects to its publisher once it is enabled")
        },
        "leave them out with --list-file, or drop them afterwards (alter subscription … set (slot_name = none))",
    );
    warn(
        named(lines, "USER MAPPING"),
        &|names| {
            format!(
                "foreign servers can be reached with stored passwords: {names}; a view that reads from one does so now"
            )
        },
        "leave the mappings out with --list-file to keep the target from them",
    );
    warn(
        named(lines, "EVENT TRIGGER"),
        &|names| {
            format!("the event triggers {names} act on what is done in the database from then on, logins included")
        },
        "leave them out with --list-file, or disable them afterwards (alter event trigger … disable)",
    );
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_acts_by_itself_is_named() {
        let lines = [
            "9; 6100 16400 SUBSCRIPTION - far_orders postgres",
            "8; 1418 16401 USER MAPPING - USER MAPPING app SERVER far postgres",
            "7; 3466 16402 EVENT TRIGGER - audit postgres",
            "6; 1259 16403 TABLE public t postgres",
        ];
        let findings = findings("appdb", &lines, &["pg_cron".to_owned(), "hstore".to_owned()].into());
        let messages: Vec<_> = findings.iter().map(|finding| finding.message.as_str()).collect();
        for name in ["\"pg_cron\"", "\"far_orders\"", "\"USER MAPPING app SERVER far\"", "\"audit\""] {
            assert!(messages.iter().any(|message| message.contains(name)), "{name}: {messages:?}");
        }
        assert_eq!(findings.len(), 4);
    }

    #[test]
    fn a_backup_of_tables_alone_says_nothing() {
        assert_eq!(super::findings("appdb", &["6; 1259 16403 TABLE public t postgres"], &BTreeSet::new()), []);
    }
}
