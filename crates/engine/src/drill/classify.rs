//! The verdict on a failed restore: the backup is damaged, or it was not drilled.
//!
//! Few failures prove damage: the bytes cannot be decrypted or decoded, the rows are not valid
//! data, or a constraint of the dump does not hold, each only if no other cause than the backup is
//! possible. All other failures have, or may have, their cause in the scratch server.

use longshore_catalog::copy::is_damage;
use longshore_core::drill::{Comparison, ComparisonOutcome, Verdict};
use longshore_core::left_out::{LeftOut, Nature};
use longshore_core::sqlstate::Failure;
use longshore_core::{Error, Kind, SqlState, Stage};

use super::compatibility::Compatibility;

/// The remedy for a role without the privileges that the restore needs.
const PRIVILEGES: &str = "drill as a superuser of the server, or with scratch = { type = \"initdb\" }";
const MORE_SPACE: &str = "use a folder with more space: --scratch-dir DIR";
const MEMORY: &str = "raise the limits of the server: scratch = { type = \"initdb\", settings = { max_locks_per_transaction = \"…\" } }, or drill on \
                      a host with more memory";
const EXTENSION: &str = "install the requirements of the extension on the scratch server, and set its parameters: \
                         scratch = { type = \"initdb\", settings = { shared_preload_libraries = \"…\" } }";
const ROLES: &str = "create the roles on the server first: `longshore restore globals --to …`";
const FOREIGN_KEY: &str = "rows of the source violate the foreign key: fix them there, or declare the key NOT VALID; a restore restores the rows \
                           and reports the key";
const LIBRARY: &str = "install the extensions of the source on this host, and preload their libraries as there: scratch = { type = \"initdb\", \
                       settings = { shared_preload_libraries = \"…\" } }";
const LOCALE: &str = "install the locales of the source on this host (Debian: dpkg-reconfigure locales)";
const PREPARED: &str =
    "a prepared transaction of the source holds a lock: commit it or roll it back there, and back up again";
const LOG: &str = "check the server's log, disk space and memory";

/// Returns the verdict for an error of a restore and the commands that failed during it.
pub(super) fn verdict(error: &Error, failures: &[Failure], compatibility: &Compatibility) -> Verdict {
    let mut causes = failures.iter().filter(|failure| !is_consequence(failure)).peekable();
    let data_failed = causes.peek().is_some() && causes.all(|failure| proves_damage(failure, compatibility));
    if is_damage(error) || data_failed { Verdict::Damaged } else { Verdict::NotDrilled }
}

/// Returns the failures of entries that were left out. If the restored rows equal the dumped rows,
/// a violated foreign key was already violated in the source, whose triggers may be disabled: it
/// does not count against the backup.
pub(super) fn failures(left_out: &[LeftOut], comparisons: &[Comparison]) -> Vec<Failure> {
    let is_of_source =
        |failure: &Failure| failure.sqlstate == SqlState::FOREIGN_KEY_VIOLATION && rows_are_equal(comparisons);
    left_out.iter().filter_map(failure).filter(|failure| !is_of_source(failure)).collect()
}

/// Returns true if the rows of all tables were compared and are equal.
fn rows_are_equal(comparisons: &[Comparison]) -> bool {
    let mut of_rows = comparisons
        .iter()
        .filter(|comparison| comparison.subject.starts_with("table ") && comparison.aspect != "number")
        .peekable();
    of_rows.peek().is_some() && of_rows.all(|comparison| comparison.outcome == ComparisonOutcome::Same)
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
fn is_consequence(failure: &Failure) -> bool {
    matches!(failure.sqlstate.class(), "08" | "57") || failure.sqlstate.as_str() == "25P02"
}

/// Returns true if only damage of the backup can explain a failure.
fn proves_damage(failure: &Failure, compatibility: &Compatibility) -> bool {
    let loads_rows = matches!(failure.command.as_str(), "COPY" | "INSERT");
    let adds_constraint = matches!(failure.command.as_str(), "ALTER TABLE" | "CREATE INDEX");
    match (failure.sqlstate.as_str(), failure.sqlstate.class()) {
        // Malformed lines of COPY are damage on any server.
        ("22P04", _) => loads_rows,
        _ if !compatibility.is_like_source() => false,
        // Rows of another table may be missing because the settings exclude the table.
        ("23503", _) => (loads_rows || adds_constraint) && compatibility.is_complete,
        (_, "22") => loads_rows,
        (_, "23") => loads_rows || adds_constraint,
        _ => false,
    }
}

/// Returns true if only damage of its files can explain a failure of a cluster restored from them.
/// Its server has the release of the source, and reads with the source's own encodings.
pub(super) fn proves_damaged_files(failure: &Failure) -> bool {
    let reads_rows = failure.command == "COPY";
    match (failure.sqlstate.as_str(), failure.sqlstate.class()) {
        // Damaged data, damaged index.
        ("XX001" | "XX002", _) => true,
        ("XX000", _) | (_, "22") => reads_rows,
        _ => false,
    }
}

/// Returns the verdict for a base backup that could not be unpacked or started.
pub(super) fn verdict_of_files(error: &Error) -> Verdict {
    let failure = error.sqlstate().map(|sqlstate| Failure { sqlstate, command: String::new() });
    let is_damaged = is_damage(error) || failure.is_some_and(|failure| proves_damaged_files(&failure));
    if is_damaged { Verdict::Damaged } else { Verdict::NotDrilled }
}

/// Wraps an error as a failure of the scratch server of a base backup, with the remedy.
pub(super) fn files_not_drilled(error: &Error, failures: &[Failure]) -> Error {
    let codes = || failures.iter().map(|failure| failure.sqlstate).chain(error.sqlstate());
    let hint = codes().find_map(|code| {
        Some(match (code, code.class()) {
            (SqlState::DISK_FULL, _) => MORE_SPACE,
            (SqlState::OUT_OF_MEMORY, _) => MEMORY,
            (SqlState::LOCK_NOT_AVAILABLE, _) => PREPARED,
            // A missing file, function or library, and a library that is not preloaded.
            (SqlState::UNDEFINED_FILE, _) => LIBRARY,
            _ if matches!(code.as_str(), "42883" | "55000") => LIBRARY,
            _ if code.as_str() == "22023" => LOCALE,
            _ => return None,
        })
    });
    // The hints of failed dumps concern the source.
    let remedy = error.remedy().filter(|_| error.stage() != Stage::Verify);
    let hint = hint.or(remedy).unwrap_or(LOG).to_owned();
    unproven(error).hint(hint)
}

/// Wraps an error as a failure of the scratch server, with the remedy.
pub(super) fn not_drilled(error: &Error, failures: &[Failure], compatibility: &Compatibility) -> Error {
    let hint = remedy(error, failures, compatibility).or_else(|| error.remedy().map(str::to_owned));
    match hint.or_else(|| compatibility.remedy()) {
        Some(hint) => unproven(error).hint(hint),
        None => unproven(error),
    }
}

/// Wraps an error that proves nothing about the backup.
fn unproven(error: &Error) -> Error {
    let kind = match error.kind() {
        // Errors that the operator must fix, and errors that may be temporary.
        kind @ (Kind::Usage | Kind::Denied | Kind::Unavailable) if error.stage() != Stage::Restore => kind,
        _ => Kind::Failed,
    };
    let message = "could not be drilled here, which does not mean that the backup is damaged";
    Error::new(error.stage(), kind, error.subject(), message).because(error.chain())
}

/// Returns the remedy, if the cause is known.
fn remedy(error: &Error, failures: &[Failure], compatibility: &Compatibility) -> Option<String> {
    let codes = || failures.iter().map(|failure| failure.sqlstate).chain(error.sqlstate());
    let any = |wanted: SqlState| codes().any(|code| code == wanted);
    let hint = if any(SqlState::DISK_FULL) {
        MORE_SPACE
    } else if any(SqlState::OUT_OF_MEMORY) {
        MEMORY
    } else if !compatibility.missing_roles.is_empty() {
        ROLES
    } else if error.sqlstate() == Some(SqlState::FOREIGN_KEY_VIOLATION) {
        FOREIGN_KEY
    } else if failures.iter().any(|failure| failure.command == "CREATE EXTENSION") {
        EXTENSION
    } else if any(SqlState::INSUFFICIENT_PRIVILEGE)
        || compatibility.is_superuser == Some(false) && codes().next().is_none()
    {
        PRIVILEGES
    } else if compatibility.is_superuser.is_none()
        || codes().any(|code| matches!(code.class(), "08" | "53" | "57" | "58"))
    {
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

    fn classify(compatibility: &Compatibility, failures: &[Failure]) -> Verdict {
        verdict(
            &Error::new(Stage::Restore, Kind::Failed, "app", "pg_restore ended with exit status 1"),
            failures,
            compatibility,
        )
    }

    #[test]
    fn row_and_constraint_failures_prove_damage() {
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
            assert_eq!(classify(&Compatibility::full(), &aftermath), Verdict::Damaged, "{command} {code}");
        }
    }

    #[test]
    fn other_failures_leave_backup_not_drilled() {
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
                classify(&Compatibility::full(), &[failed(command, code)]),
                Verdict::NotDrilled,
                "{command} {code}"
            );
        }
        assert_eq!(classify(&Compatibility::full(), &[]), Verdict::NotDrilled, "a failure of unknown cause");
        let two = [failed("COPY", "22P02"), failed("CREATE INDEX", "53100")];
        assert_eq!(classify(&Compatibility::full(), &two), Verdict::NotDrilled, "one of two failures is the server's");
    }

    #[test]
    fn damaged_files_differ_from_missing_libraries() {
        for (command, code) in
            [("COPY", "XX001"), ("SELECT", "XX002"), ("", "XX001"), ("COPY", "XX000"), ("COPY", "22021")]
        {
            assert!(proves_damaged_files(&failed(command, code)), "{command} {code}");
        }
        for (command, code) in
            [("COPY", "58P01"), ("SELECT", "XX000"), ("", "22023"), ("COPY", "55P03"), ("COPY", "57P02")]
        {
            assert!(!proves_damaged_files(&failed(command, code)), "{command} {code}");
        }
        let error = |code: &str| {
            Error::new(Stage::Drill, Kind::Failed, "scratch", "ended").code(SqlState::parse(code).unwrap())
        };
        assert_eq!(verdict_of_files(&error("XX001")), Verdict::Damaged);
        assert_eq!(verdict_of_files(&error("58P01")), Verdict::NotDrilled);
        assert_eq!(verdict_of_files(&Error::new(Stage::Verify, Kind::Corrupt, "base", "a page")), Verdict::Damaged);
        assert_eq!(files_not_drilled(&error("58P01"), &[]).remedy(), Some(LIBRARY));
        assert_eq!(files_not_drilled(&error("XX000"), &[failed("COPY", "53100")]).remedy(), Some(MORE_SPACE));
    }

    #[test]
    fn foreign_key_violated_in_source_is_no_damage() {
        let broken = |kind: &str, code: &str| LeftOut {
            line: format!("9; 2606 1 {kind} public pets pets_owner_fkey app"),
            nature: Nature::Structural,
            why: String::new(),
            sqlstate: Some(code.to_owned()),
            command: String::new(),
        };
        let compared = |subject: &str, aspect: &str, outcome: ComparisonOutcome| Comparison {
            subject: subject.to_owned(),
            aspect: aspect.to_owned(),
            expected: None,
            found: None,
            outcome,
        };
        let same = [
            compared("table", "number", ComparisonOutcome::Different),
            compared("table public.pets", "rows", ComparisonOutcome::Same),
            compared("FK CONSTRAINT public pets pets_owner_fkey", "restore", ComparisonOutcome::Not(String::new())),
        ];
        let foreign_key = broken("FK CONSTRAINT", "23503");
        assert!(failures(std::slice::from_ref(&foreign_key), &same).is_empty());
        assert_eq!(failures(&[broken("CONSTRAINT", "23505")], &same).len(), 1);
        for outcome in [ComparisonOutcome::Different, ComparisonOutcome::Not("dumped as INSERT statements".to_owned())]
        {
            let comparisons = [compared("table public.pets", "content", outcome)];
            assert_eq!(failures(std::slice::from_ref(&foreign_key), &comparisons).len(), 1);
        }
        assert_eq!(failures(&[foreign_key], &[]).len(), 1);
    }

    #[test]
    fn incompatible_server_does_not_prove_damage() {
        let incompatible = Compatibility { differences: vec!["extension hstore".to_owned()], ..Compatibility::full() };
        let unknown = Compatibility { is_self_contained: false, ..Compatibility::full() };
        for compatibility in [incompatible, unknown] {
            assert_eq!(classify(&compatibility, &[failed("COPY", "22P02")]), Verdict::NotDrilled);
            assert_eq!(
                classify(&compatibility, &[failed("COPY", "22P04")]),
                Verdict::Damaged,
                "no release accepts this"
            );
        }
        let partial = Compatibility { is_complete: false, ..Compatibility::full() };
        assert_eq!(classify(&partial, &[failed("ALTER TABLE", "23503")]), Verdict::NotDrilled);
    }
}
