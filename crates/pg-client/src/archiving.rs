//! The test of a WAL archive at its source: the settings of the server, and a segment that it
//! archives at once.

use std::collections::BTreeMap;

use async_trait::async_trait;
use longshore_core::base::Lsn;
use longshore_core::check::{Finding, Outcome};
use longshore_core::stage::{Archiving, EndedSegment, WalPosition};
use longshore_core::{Error, Kind, Result, Stage};
use serde::Deserialize;

use crate::client::Client;
use crate::server::literal;

/// The settings that decide about archiving, as far as the role may read them.
const SETTINGS: &str = "select json_object_agg(name, setting) from pg_catalog.pg_settings
    where name in ('archive_mode', 'archive_command', 'archive_library', 'archive_timeout', 'full_page_writes')";

/// The last failure of archive_command, if it is later than the last success.
const FAILURE: &str = "select coalesce(to_json(max(last_failed_wal)), 'null') from pg_catalog.pg_stat_archiver
    where last_failed_time > coalesce(last_archived_time, '-infinity')";

/// The presence of a receiver, as far as the role may see it.
const RECEIVER: &str = "select to_json(exists(select from pg_catalog.pg_stat_replication
    where application_name = 'longshore' and state = 'streaming'))";

/// Ends the segment with a new restore point: on an idle server, the switch alone does nothing.
const END_SEGMENT: &str =
    "select case when pg_is_in_recovery() then json_build_object('name', null) else json_build_object(
    'name', pg_walfile_name(pg_create_restore_point('longshore check')),
    'system_identifier', (select system_identifier::text from pg_control_system()),
    'segment_bytes', (select setting::bigint from pg_catalog.pg_settings where name = 'wal_segment_size'),
    'next', pg_switch_wal()) end";

/// The end of the WAL of a primary or of a standby.
const POSITION: &str = "select json_build_object(
    'system_identifier', (select system_identifier::text from pg_control_system()),
    'lsn', case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end,
    'segment_bytes', (select setting::bigint from pg_catalog.pg_settings where name = 'wal_segment_size'))";

/// The state of the slot of a receiver, if there is one: lost, or not used by any process. The name
/// of the slot follows.
const SLOT: &str =
    "select json_build_object('exists', count(*) > 0, 'is_lost', coalesce(bool_or(wal_status = 'lost'), false),
    'is_unused', coalesce(bool_or(not active), false))
    from pg_catalog.pg_replication_slots where slot_type = 'physical' and slot_name = ";

/// The answer to [`POSITION`].
#[derive(Deserialize)]
struct Position {
    lsn: Lsn,
    system_identifier: String,
    segment_bytes: u64,
}

/// The answer to [`SLOT`].
#[derive(Deserialize)]
struct Slot {
    exists: bool,
    is_lost: bool,
    is_unused: bool,
}

/// The answer to [`END_SEGMENT`]; without a name on a standby.
#[derive(Deserialize)]
struct Ended {
    name: Option<String>,
    #[serde(default)]
    system_identifier: String,
    #[serde(default)]
    segment_bytes: u64,
}

#[async_trait]
impl Archiving for Client {
    async fn check(&self, slot_name: &str) -> Vec<Finding> {
        let subject = format!("cluster {}", self.name());
        match self.query::<BTreeMap<String, String>>(SETTINGS).await {
            Ok(mut settings) => {
                let is_received = self.query::<bool>(RECEIVER).await.is_ok_and(|is_received| is_received);
                let slot = self.query::<Slot>(&format!("{SLOT}{}", literal(slot_name))).await;
                let by_command = settings.get(ARCHIVE_MODE).is_none_or(|mode| mode != "off");
                if is_received || !by_command && slot.as_ref().is_ok_and(|slot| slot.exists) {
                    // A receiver archives all WAL, so archive_command may be unset.
                    settings.retain(|name, _| name == "full_page_writes");
                }
                let mut findings = judge(&subject, &settings);
                match slot {
                    Ok(slot) => findings.extend(judge_slot(&subject, slot_name, &slot, by_command)),
                    Err(error) => findings.push(Finding::failed(&subject, &error)),
                }
                match self.query::<Option<String>>(FAILURE).await {
                    Ok(None) => {}
                    Ok(Some(segment)) => findings.push(failed(
                        &subject,
                        format!("archive_command fails for {segment}: WAL accumulates in pg_wal"),
                        "read the server's log, which has the messages of archive_command",
                    )),
                    Err(error) => findings.push(Finding::failed(subject, &error)),
                }
                findings
            }
            Err(error) => vec![Finding::failed(subject, &error)],
        }
    }

    async fn end_segment(&self) -> Result<EndedSegment> {
        let refused = |message: &str| Error::new(Stage::Connect, Kind::Refused, self.name(), message);
        let Ended { name, system_identifier, segment_bytes } = self.query(END_SEGMENT).await.map_err(|error| {
            error.hint(
                "use a superuser, or grant EXECUTE on pg_create_restore_point(text) and pg_switch_wal() to the role",
            )
        })?;
        let name = name.ok_or_else(|| refused("the server is a standby, which ends no segments"))?;
        let system_identifier = system_identifier
            .parse()
            .map_err(|error| refused("the server's system identifier is not a number").because(error))?;
        Ok(EndedSegment { system_identifier, segment_bytes, name })
    }

    async fn position(&self) -> Result<WalPosition> {
        let Position { lsn, system_identifier, segment_bytes } = self.query(POSITION).await?;
        let system_identifier = system_identifier.parse().map_err(|error| {
            let message = "the server's system identifier is not a number";
            Error::new(Stage::Connect, Kind::Failed, self.name(), message).because(error)
        })?;
        Ok(WalPosition { system_identifier, segment_bytes, lsn })
    }
}

/// Returns a finding that WAL is not archived.
fn failed(subject: &str, message: impl Into<String>, remedy: &str) -> Finding {
    let remedy = Some(remedy.to_owned());
    Finding { outcome: Outcome::Failed, subject: subject.to_owned(), message: message.into(), remedy }
}

/// The setting without which the server archives nothing itself.
const ARCHIVE_MODE: &str = "archive_mode";

/// Checks the slot of a receiver, if there is one. `by_command` is true if the server archives WAL
/// itself, too.
fn judge_slot(subject: &str, name: &str, slot: &Slot, by_command: bool) -> Option<Finding> {
    let drop = format!("SELECT pg_drop_replication_slot({})", literal(name));
    if slot.is_lost {
        let message = format!("the replication slot {name} is lost: the server removed WAL that was not received");
        let remedy = format!("{drop}; then start `longshore wal receive --create-slot`, and make a base backup");
        Some(failed(subject, message, &remedy))
    } else if slot.is_unused {
        let message = format!("no receiver uses the replication slot {name}: WAL accumulates in pg_wal");
        let remedy = format!("start `longshore wal receive`; if it is no longer used, {drop}");
        // Without a receiver, nothing archives WAL.
        Some(if by_command { Finding::warning(subject, message, &remedy) } else { failed(subject, message, &remedy) })
    } else {
        None
    }
}

/// Checks the settings of a server.
fn judge(subject: &str, settings: &BTreeMap<String, String>) -> Vec<Finding> {
    let setting = |name: &str| settings.get(name).map(String::as_str);
    let mut findings = Vec::new();
    if setting(ARCHIVE_MODE) == Some("off") {
        let remedy = "set archive_mode = on, and restart the server; or start `longshore wal receive --create-slot`, \
                      which needs no archive_mode";
        findings.push(failed(subject, "archive_mode = off: no WAL is archived", remedy));
        return findings;
    }
    let command = r#"set archive_command = '/PATH/longshore --config FILE wal push "%p"', and reload"#;
    match (setting("archive_command"), setting("archive_library")) {
        (_, Some(library)) if !library.is_empty() => {
            let message = format!("archive_library = {library}: the server does not run archive_command");
            findings.push(Finding::warning(subject, message, "reset archive_library"));
        }
        (Some("" | "(disabled)"), _) => {
            findings.push(failed(subject, "archive_command is empty: WAL accumulates in pg_wal", command));
        }
        (Some(found), _) if !found.split_whitespace().any(|word| word == "push") => {
            let message = "archive_command does not run `longshore wal push`";
            findings.push(Finding::warning(subject, message, command));
        }
        _ => {}
    }
    if setting("archive_timeout") == Some("0") {
        let message = "archive_timeout = 0: the newest transactions are archived only when a segment is full";
        findings.push(Finding::warning(subject, message, "set archive_timeout = 5min, the most that may be lost"));
    }
    if setting("full_page_writes") == Some("off") {
        let message = "full_page_writes = off: pages torn by a crash are damaged in the archive as well";
        findings.push(Finding::warning(subject, message, "set full_page_writes = on, unless the storage prevents it"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_archive_nothing_are_failures() {
        let outcomes = |more: &[(&str, &str)]| -> Vec<Outcome> {
            let usual = [
                ("archive_mode", "on"),
                ("archive_command", "/usr/bin/longshore wal push \"%p\""),
                ("archive_library", ""),
                ("archive_timeout", "300"),
                ("full_page_writes", "on"),
            ];
            let settings = usual.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            judge("cluster main", &settings.collect()).iter().map(|finding| finding.outcome).collect()
        };
        assert_eq!(outcomes(&[]), []);
        assert_eq!(outcomes(&[("archive_mode", "off"), ("archive_timeout", "0")]), [Outcome::Failed]);
        assert_eq!(outcomes(&[("archive_command", "(disabled)")]), [Outcome::Failed]);
        assert_eq!(outcomes(&[("archive_command", "/bin/true")]), [Outcome::Warning]);
        assert_eq!(outcomes(&[("archive_timeout", "0"), ("full_page_writes", "off")]), [Outcome::Warning; 2]);
    }

    #[test]
    fn lost_and_unused_slots_are_found() {
        let outcome = |is_lost, is_unused, by_command| {
            let slot = Slot { exists: true, is_lost, is_unused };
            judge_slot("cluster main", "longshore", &slot, by_command).map(|finding| finding.outcome)
        };
        for by_command in [false, true] {
            assert_eq!(outcome(false, false, by_command), None);
            assert_eq!(outcome(true, true, by_command), Some(Outcome::Failed));
        }
        assert_eq!(outcome(false, true, true), Some(Outcome::Warning));
        assert_eq!(outcome(false, true, false), Some(Outcome::Failed), "nothing archives WAL");
    }
}
