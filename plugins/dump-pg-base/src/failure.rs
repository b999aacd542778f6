//! Errors of the replication client and of the merge as errors of the stage: the kind, by which
//! callers decide, and the hint. No decision depends on the text of a message.

use longshore_core::error::printable;
use longshore_core::{Error, Kind, SqlState, Stage};
use longshore_pg_base::ErrorKind;
use longshore_pg_replication::notice::Notices;
use longshore_pg_replication::parameters::ParameterError;
use longshore_pg_replication::{Error as ClientError, ServerError};

/// SQLSTATE `data_corrupted`: pages with wrong checksums, if BASE_BACKUP reports it.
const DATA_CORRUPTED: &str = "XX001";

/// The number of notices that an error of damaged pages quotes.
const QUOTED_NOTICES: usize = 20;

/// The hint for connections that only libpq can make.
const OTHER_CLIENT: &str =
    "set client = \"pg_basebackup\" in the dump's settings: pg_basebackup supports everything that libpq does";

/// The hint for damaged pages.
const DAMAGED_PAGES: &str =
    "check the server's disk and repair the damaged files; damaged_pages = \"record\" backs the cluster up as it is";

/// Converts an error of the replication client.
pub(crate) fn convert(stage: Stage, subject: &str, message: &str, error: ClientError) -> Error {
    let converted = Error::new(stage, kind(&error), subject, message);
    let converted = match error.server().and_then(|server| SqlState::parse(&server.sqlstate)) {
        Some(sqlstate) => converted.code(sqlstate),
        None => converted,
    };
    let converted = match hint(&error) {
        Some(hint) => converted.hint(hint),
        None => converted,
    };
    converted.because(error)
}

/// Converts the error of a running base backup, of which the server has sent these notices.
pub(crate) fn of_backup(subject: &str, error: ClientError, notices: &Notices) -> Error {
    let has_damaged_pages = error.server().is_some_and(|server| server.sqlstate == DATA_CORRUPTED);
    if !has_damaged_pages {
        return convert(Stage::Dump, subject, "the base backup failed", error);
    }
    let mut lines: Vec<String> =
        notices.kept().iter().take(QUOTED_NOTICES).map(|notice| notice.message.clone()).collect();
    lines.push(error.to_string());
    convert(Stage::Dump, subject, "the server found pages with wrong checksums", error)
        .hint(DAMAGED_PAGES)
        .because(lines.join("; "))
}

/// Converts the error of a merge.
pub(crate) fn of_merge(subject: &str, error: longshore_pg_base::Error) -> Error {
    let kind = match error.kind {
        ErrorKind::Damaged => Kind::Corrupt,
        ErrorKind::Unsupported => Kind::Usage,
        ErrorKind::Io => Kind::Failed,
    };
    Error::new(Stage::Dump, kind, subject, "the server sent an invalid base backup")
        .because(printable(&error.to_string()))
}

/// Returns the text of the server's notices, for the operator.
pub(crate) fn warnings(notices: &Notices) -> Vec<String> {
    let mut warnings: Vec<String> = notices.kept().iter().map(ToString::to_string).collect();
    if notices.dropped_notices() > 0 {
        warnings.push(format!("{} more notices of the server", notices.dropped_notices()));
    }
    warnings
}

/// Returns the kind of an error.
fn kind(error: &ClientError) -> Kind {
    match error {
        ClientError::Server(server) => server_kind(server),
        ClientError::Hosts { attempts } => match (error.server(), attempts.last()) {
            (Some(server), _) => server_kind(server),
            (None, Some(last)) => kind(last),
            (None, None) => Kind::Failed,
        },
        ClientError::Connect { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => Kind::Denied,
        ClientError::UnknownHost { .. }
        | ClientError::Connect { .. }
        | ClientError::Timeout { .. }
        | ClientError::SessionState { .. }
        | ClientError::Lost { .. } => Kind::Unavailable,
        ClientError::Parameters(_) | ClientError::File { .. } | ClientError::Argument { .. } => Kind::Usage,
        ClientError::Tls { .. }
        | ClientError::Authentication { .. }
        | ClientError::UnsupportedAuthentication { .. }
        | ClientError::NoPassword { .. } => Kind::Denied,
        _ => Kind::Failed,
    }
}

/// Returns the kind of an error that a server reported, as `longshore-pg-client` maps them.
fn server_kind(server: &ServerError) -> Kind {
    if server.sqlstate == DATA_CORRUPTED {
        return Kind::Corrupt;
    }
    match SqlState::parse(&server.sqlstate) {
        Some(SqlState::INSUFFICIENT_PRIVILEGE) => Kind::Denied,
        // A slot is in use until the server notices the end of its former client.
        Some(SqlState::TOO_MANY_CONNECTIONS | SqlState::OBJECT_IN_USE) => Kind::Unavailable,
        Some(state) if matches!(state.class(), "28" | "0L" | "0P") => Kind::Denied,
        Some(state) if matches!(state.class(), "08" | "57") => Kind::Unavailable,
        _ => Kind::Failed,
    }
}

/// Returns the hint for an error, if one is known.
fn hint(error: &ClientError) -> Option<String> {
    if let Some(server) = error.server() {
        let routine = server.routine.as_deref().unwrap_or_default();
        return server_hint(&server.sqlstate, routine).map(str::to_owned).or_else(|| server.hint.clone());
    }
    let hint = match error {
        ClientError::Hosts { attempts } => return attempts.last().and_then(hint),
        ClientError::Parameters(ParameterError::Unsupported { .. }) | ClientError::UnsupportedAuthentication { .. } => {
            OTHER_CLIENT
        }
        ClientError::UnknownHost { .. } => "correct the host in the connection string: it has no address",
        ClientError::Connect { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            "run as a user with access to the server's socket directory, or connect by TCP"
        }
        ClientError::Connect { .. } => {
            "check that the server is running, and the host and port in the connection string"
        }
        ClientError::Timeout { .. } => "check the host and the network: the host does not answer",
        ClientError::NoPassword { .. } => {
            "put the password into ~/.pgpass (mode 600) or PGPASSWORD, or give --ask-password on a terminal"
        }
        _ => return error.remedy().map(str::to_owned),
    };
    Some(hint.to_owned())
}

/// Returns the hint for an error that a server reported, by its code and the function that reported
/// it, since several errors share a code.
fn server_hint(code: &str, routine: &str) -> Option<&'static str> {
    Some(match (code, routine) {
        ("42501", _) => "give the role the attribute REPLICATION: alter role … replication",
        ("28P01", _) => "check ~/.pgpass, PGPASSWORD and the connection string: the password is wrong",
        ("28000", "InitializeSessionUserId") => {
            "create the role, allow it to log in (alter role … login), or set another in the connection string: user=…"
        }
        ("28000", "ClientAuthentication") => {
            "add a line with the database `replication` to the server's pg_hba.conf, and reload it: lines of the database \
             `all` do not apply"
        }
        ("28000", _) => "check the authentication method of `replication` in the server's pg_hba.conf",
        ("53300", "InitializeSessionUserId") => "raise the role's connection limit: alter role … connection limit …",
        ("53300", _) => {
            "raise max_wal_senders on the server, or run when fewer standbys and backups are connected: a backup needs \
             two WAL senders"
        }
        ("53400", _) => "raise max_replication_slots on the server, or drop slots that no client uses",
        ("55000", "CheckSlotRequirements") => {
            "set wal_level = replica and max_replication_slots = 10 on the server, and restart it"
        }
        ("57P03", _) => {
            "wait until the server has started; if it is a standby, set hot_standby = on there, or connect to the primary"
        }
        ("55006", _) => "end the other client of the replication slot, such as a second receiver",
        // The code is that of the last failed system call, if any.
        (_, "CheckXLogRemoved") => {
            "raise max_slot_wal_keep_size on the server (wal_keep_size without a slot): the server removed WAL that the \
             backup needs"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use longshore_pg_replication::server_error::Severity;

    use super::*;

    fn server(code: &str, routine: &str) -> ClientError {
        ClientError::Server(Box::new(ServerError {
            severity: Severity::Error,
            sqlstate: code.to_owned(),
            message: "nicht möglich".to_owned(),
            detail: None,
            hint: Some("own hint of the server".to_owned()),
            routine: Some(routine.to_owned()),
        }))
    }

    #[test]
    fn errors_of_the_server_have_kind_code_and_hint() {
        for (code, routine, kind, hint) in [
            ("42501", "InitPostgres", Kind::Denied, "REPLICATION"),
            ("28P01", "auth_failed", Kind::Denied, "password"),
            ("28000", "ClientAuthentication", Kind::Denied, "pg_hba.conf"),
            ("53300", "InitWalSenderSlot", Kind::Unavailable, "max_wal_senders"),
            ("53300", "InitializeSessionUserId", Kind::Unavailable, "connection limit"),
            ("53400", "ReplicationSlotCreate", Kind::Failed, "max_replication_slots"),
            ("55000", "CheckSlotRequirements", Kind::Failed, "wal_level"),
            ("57P03", "ProcessStartupPacket", Kind::Unavailable, "started"),
            ("58P01", "CheckXLogRemoved", Kind::Failed, "max_slot_wal_keep_size"),
            ("XX000", "CheckXLogRemoved", Kind::Failed, "max_slot_wal_keep_size"),
            ("XX000", "f", Kind::Failed, "own hint of the server"),
        ] {
            let error = convert(Stage::Dump, "base", "failed", server(code, routine));
            assert_eq!((error.kind(), error.sqlstate()), (kind, SqlState::parse(code)), "{code} {routine}");
            assert!(error.remedy().is_some_and(|found| found.contains(hint)), "{code} {routine}: {error:?}");
            assert!(error.chain().contains("nicht möglich"), "{}", error.chain());
        }
    }

    #[test]
    fn last_host_decides_without_an_answer_of_a_server() {
        let unreachable = || ClientError::Connect {
            host: "db1:5432".to_owned(),
            source: std::io::ErrorKind::ConnectionRefused.into(),
        };
        let of = |attempts| convert(Stage::Connect, "main", "cannot connect", ClientError::Hosts { attempts });
        assert_eq!(of(vec![server("28P01", "auth_failed"), unreachable()]).kind(), Kind::Denied);
        let none = of(vec![unreachable(), unreachable()]);
        assert_eq!(none.kind(), Kind::Unavailable);
        assert!(none.remedy().is_some_and(|hint| hint.contains("is running")), "{none:?}");
    }

    #[test]
    fn authentication_without_support_leads_to_pg_basebackup() {
        let error = ClientError::UnsupportedAuthentication { method: "GSSAPI".to_owned() };
        let error = convert(Stage::Connect, "main", "cannot connect", error);
        assert_eq!((error.kind(), error.remedy()), (Kind::Denied, Some(OTHER_CLIENT)));
    }

    #[test]
    fn damaged_pages_are_corrupt() {
        let error = of_backup("base", server(DATA_CORRUPTED, "SendBaseBackup"), &Notices::default());
        assert_eq!((error.stage(), error.kind(), error.remedy()), (Stage::Dump, Kind::Corrupt, Some(DAMAGED_PAGES)));
        let other = of_backup("base", server("58P01", "CheckXLogRemoved"), &Notices::default());
        assert_eq!(other.kind(), Kind::Failed);
    }
}
