//! Parts of a backup that act by themselves after a restore: schedulers, subscriptions, foreign
//! servers, event triggers.

use std::collections::BTreeSet;

use longshore_core::check::Finding;
use longshore_core::error::printable;

use crate::prepare::entry_names;

/// Extensions that run jobs stored in their tables.
const SCHEDULERS: [&str; 8] =
    ["pg_cron", "pg_timetable", "pgagent", "pg_dbms_job", "pg_partman", "pg_squeeze", "timescaledb", "pg_task"];

/// Returns findings for parts that become active in the target, with the way to prevent this.
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
        &|names| format!("jobs of the scheduler {names} are restored, and run if the target loads the scheduler"),
        "check the jobs first (restore NAME --list), and exclude the extension's tables with --list-file",
    );
    warn(
        entry_names(lines, "SUBSCRIPTION"),
        &|names| {
            format!("the subscriptions {names} are restored disabled: each connects to its publisher once enabled")
        },
        "exclude them with --list-file, or drop them afterwards (alter subscription … set (slot_name = none))",
    );
    warn(
        entry_names(lines, "USER MAPPING"),
        &|names| {
            format!(
                "foreign servers are reachable with restored passwords: {names}; views that read from them connect to them"
            )
        },
        "exclude the mappings with --list-file to prevent connections",
    );
    warn(
        entry_names(lines, "EVENT TRIGGER"),
        &|names| format!("the event triggers {names} fire in the database after the restore, some also for logins"),
        "exclude them with --list-file, or disable them afterwards (alter event trigger … disable)",
    );
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_name_each_active_object() {
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
    fn tables_have_no_findings() {
        assert_eq!(super::findings("appdb", &["6; 1259 16403 TABLE public t postgres"], &BTreeSet::new()), []);
    }
}
