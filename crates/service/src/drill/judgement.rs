//! The verdict on a failed restore: the backup is damaged, or it was not drilled.
//!
//! Few failures prove damage: the bytes cannot be decrypted or decoded, the rows are not valid
//! data, or a constraint of the dump does not hold, each only if no other cause than the backup is
//! possible. All other failures have, or may have, their cause in the scratch server.

use longshore_catalog::copy::is_damage;
use longshore_core::drill::{Compared, Comparison, Verdict};
use longshore_core::left_out::{LeftOut, Nature};
use longshore_core::sqlstate::Failure;
use longshore_core::{Error, Kind, SqlState, Stage};

use super::place::Place;

/// The remedy for a role without the privileges that the restore needs.
const PRIVILEGES: &str = "drill as a superuser of the server, or with scratch = { type = \"initdb\" }";
const ROOM: &str = "use a folder with more space: --scratch-dir DIR";
const MEMORY: &str = "raise the limits of the server: scratch = { type = \"initdb\", settings = { max_locks_per_transaction = \"…\" } }, or drill on \
                      a host with more memory";
const EXTENSION: &str = "install the requirements of the extension on the scratch server, and set its parameters: \
                         scratch = { type = \"initdb\", settings = { shared_preload_libraries = \"…\" } }";
const ROLES: &str = "create the roles on the server first: `longshore restore globals --to …`";
const FOREIGN_KEY: &str = "rows of the source violate the foreign key: fix them there, or declare the key NOT VALID; a restore restores the rows \
                           and reports the key";
const LOG: &str = "check the server's log, disk space and memory";

/// Returns the verdict for an error of a restore and the commands that failed during it.
pub(super) fn verdict(error: &Error, failures: &[Failure], place: &Place) -> Verdict {
    let mut telling = failures.iter().filter(|failure| !is_aftermath(failure)).peekable();
    let data_failed = telling.peek().is_some() && telling.all(|failure| speaks_against(failure, place));
    if is_damage(error) || data_failed { Verdict::Damaged } else { Verdict::NotDrilled }
}

/// Returns the failures of entries that were left out. If the restored rows equal the dumped rows,
/// a violated foreign key was already violated in the source, whose triggers may be disabled: it
/// does not count against the backup.
pub(super) fn failures(left_out: &[LeftOut], comparisons: &[Comparison]) -> Vec<Failure> {
    let is_of_source =
        |failure: &Failure| failure.sqlstate == SqlState::FOREIGN_KEY_VIOLATION && are_as_dumped(comparisons);
    left_out.iter().filter_map(failure).filter(|failure| !is_of_source(failure)).collect()
}

/// Returns true if the rows of all tables were compared and are equal.
fn are_as_dumped(comparisons: &[Comparison]) -> bool {
    let mut of_rows = comparisons
        .iter()
        .filter(|comparison| comparison.subject.starts_with("table ") && comparison.aspect != "number")
        .peekable();
    of_rows.peek().is_some() && of_rows.all(|comparison| comparison.outcome == Compared::Same)
}

/// Returns the failure of an entry that was left out, if the entry belongs to a table and the
/// server reported a code.
fn failure(left_out: &LeftOut) -> Option<Failure> {
    let sqlstate = SqlState::parse(left_out.sqlstate.as_deref()?)?;
    let command = match left_out.entry().split(' ').next() {
        _ if left_out.nature == Nature::Derived => return None,
        Some("INDEX") => "CREATE INDEX",
        Some("CONSTRAINT" | "CHECK" | "FK" | "TABLE") => "ALTER TABLE",
        _ => "",
    };
    Some(Failure { sqlstate, command: command.to_owned() })
}

/// Returns true if a failure follows from another: terminated sessions, and commands in a
/// failed transaction.
fn is_aftermath(failure: &Failure) -> bool {
    matches!(failure.sqlstate.class(), "08" | "57") || failure.sqlstate.as_str() == "25P02"
}

/// Returns true if only damage of the backup can explain a failure.
fn speaks_against(failure: &Failure, place: &Place) -> bool {
    let loads = matches!(failure.command.as_str(), "COPY" | "INSERT");
    let constrains = matches!(failure.command.as_str(), "ALTER TABLE" | "CREATE INDEX");
    match (failure.sqlstate.as_str(), failure.sqlstate.class()) {
        // Malformed lines of COPY are damage on any server.
        ("22P04", _) => loads,
        _ if !place.is_like_source() => false,
        // Rows of another table may be missing because the settings exclude the table.
        ("23503", _) => (loads || constrains) && place.is_complete,
        (_, "22") => loads,
        (_, "23") => loads || constrains,
        _ => false,
    }
}

/// Wraps an error as a failure of the scratch server, with the remedy.
pub(super) fn not_drilled(error: &Error, failures: &[Failure], place: &Place) -> Error {
    let kind = match error.kind() {
        // Errors that the operator must fix, and errors that may be temporary.
        kind @ (Kind::Usage | Kind::Denied | Kind::Unavailable) if error.stage() != Stage::Restore => kind,
        _ => Kind::Failed,
    };
    let message = "could not be drilled here, which does not mean that the backup is damaged";
    let not_drilled = Error::new(error.stage(), kind, error.subject(), message).because(error.chain());
    let hint = remedy(error, failures, place).or_else(|| error.remedy().map(str::to_owned));
    match hint.or_else(|| place.remedy()) {
        Some(hint) => not_drilled.hint(hint),
        None => not_drilled,
    }
}

/// Returns the remedy, if the cause is known.
fn remedy(error: &Error, failures: &[Failure], place: &Place) -> Option<String> {
    let codes = || failures.iter().map(|failure| failure.sqlstate).chain(error.sqlstate());
    let any = |wanted: SqlState| codes().any(|code| code == wanted);
    let hint = if any(SqlState::DISK_FULL) {
        ROOM
    } else if any(SqlState::OUT_OF_MEMORY) {
        MEMORY
    } else if !place.missing_roles.is_empty() {
        ROLES
    } else if error.sqlstate() == Some(SqlState::FOREIGN_KEY_VIOLATION) {
        FOREIGN_KEY
    } else if failures.iter().any(|failure| failure.command == "CREATE EXTENSION") {
        EXTENSION
    } else if any(SqlState::INSUFFICIENT_PRIVILEGE) || place.is_superuser == Some(false) && codes().next().is_none() {
        PRIVILEGES
    } else if place.is_superuser.is_none() || codes().any(|code| matches!(code.class(), "08" | "53" | "57" | "58")) {
        LOG
    } else {
        return None;
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(command: &str, code: &str) -> Failure {
        Failure { sqlstate: SqlState::parse(code).unwrap(), command: command.to_owned() }
    }

    fn judged(place: &Place, failures: &[Failure]) -> Verdict {
        verdict(
            &Error::new(Stage::Restore, Kind::Failed, "app", "pg_restore ended with exit status 1"),
            failures,
            place,
        )
    }

    #[test]
    fn rows_and_constraints_that_fail_speak_against_a_backup() {
        for (command, code) in [
            ("COPY", "22P02"),
            ("COPY", "22P04"),
            ("INSERT", "22003"),
            ("COPY", "23502"),
            ("ALTER TABLE", "23505"),
            ("CREATE INDEX", "23505"),
            ("ALTER TABLE", "23503"),
            ("ALTER TABLE", "23P01"),
        ] {
            let aftermath = [failed("COPY", "57P01"), failed(command, code)];
            assert_eq!(judged(&Place::like_source(), &aftermath), Verdict::Damaged, "{command} {code}");
        }
    }

    #[test]
    fn all_other_failures_leave_a_backup_not_drilled() {
        for (command, code) in [
            ("COPY", "53100"),
            ("REFRESH MATERIALIZED VIEW", "22012"),
            ("REFRESH MATERIALIZED VIEW", "23505"),
            ("CREATE EXTENSION", "0A000"),
            ("CREATE FUNCTION", "42883"),
            ("ALTER TABLE", "42704"),
            ("SELECT", "22P02"),
            ("ALTER TABLE", "42501"),
            ("COPY", "57014"),
        ] {
            assert_eq!(
                judged(&Place::like_source(), &[failed(command, code)]),
                Verdict::NotDrilled,
                "{command} {code}"
            );
        }
        assert_eq!(judged(&Place::like_source(), &[]), Verdict::NotDrilled, "a failure of unknown cause");
        let two = [failed("COPY", "22P02"), failed("CREATE INDEX", "53100")];
        assert_eq!(judged(&Place::like_source(), &two), Verdict::NotDrilled, "one of two failures is the server's");
    }

    #[test]
    fn a_foreign_key_that_the_source_broke_is_no_damage() {
        let broken = |kind: &str, code: &str| LeftOut {
            line: format!("9; 2606 1 {kind} public pets pets_owner_fkey app"),
            nature: Nature::Structural,
            why: String::new(),
            sqlstate: Some(code.to_owned()),
            command: String::new(),
        };
        let compared = |subject: &str, aspect: &str, outcome: Compared| Comparison {
            subject: subject.to_owned(),
            aspect: aspect.to_owned(),
            expected: None,
            found: None,
            outcome,
        };
        let same = [
            compared("table", "number", Compared::Different),
            compared("table public.pets", "rows", Compared::Same),
            compared("FK CONSTRAINT public pets pets_owner_fkey", "restore", Compared::Not(String::new())),
        ];
        let foreign_key = broken("FK CONSTRAINT", "23503");
        assert!(failures(std::slice::from_ref(&foreign_key), &same).is_empty());
        assert_eq!(failures(&[broken("CONSTRAINT", "23505")], &same).len(), 1);
        for outcome in [Compared::Different, Compared::Not("dumped as INSERT statements".to_owned())] {
            let comparisons = [compared("table public.pets", "content", outcome)];
            assert_eq!(failures(std::slice::from_ref(&foreign_key), &comparisons).len(), 1);
        }
        assert_eq!(failures(&[foreign_key], &[]).len(), 1);
    }

    #[test]
    fn a_place_unlike_the_source_may_be_the_reason() {
        let elsewhere = Place { differences: vec!["extension hstore".to_owned()], ..Place::like_source() };
        let unknown = Place { is_self_contained: false, ..Place::like_source() };
        for place in [elsewhere, unknown] {
            assert_eq!(judged(&place, &[failed("COPY", "22P02")]), Verdict::NotDrilled);
            assert_eq!(judged(&place, &[failed("COPY", "22P04")]), Verdict::Damaged, "no release accepts this");
        }
        let partial = Place { is_complete: false, ..Place::like_source() };
        assert_eq!(judged(&partial, &[failed("ALTER TABLE", "23503")]), Verdict::NotDrilled);
    }
}
