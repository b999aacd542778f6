//! The error of a failed command: its kind, by which callers decide, and its hint.
//!
//! No decision depends on the text of a message, since servers use many languages. Our own SQL runs
//! in psql, which prints the server's SQLSTATE: see [`server_error`](crate::server_error). A
//! refused connection is diagnosed with a second connection. If a program prints only text, the
//! server is queried afterwards for the cause.

use longshore_core::{Error, Kind, SqlState, Stage};

use crate::cause;
use crate::child::Exit;
use crate::client::Client;
use crate::diagnosis::{Advice, Refusal, diagnose};
use crate::server_error::ServerError;

impl Client {
    /// Returns the error of a psql that connected to this cluster, ran SQL and failed.
    pub async fn sql_error(&self, stage: Stage, subject: &str, exit: &Exit) -> Error {
        match exit.stderr.server_error() {
            Some(server_error) => self.with_timeout_hint(error_of(stage, subject, exit, server_error)),
            None => self.program_error(stage, subject, exit).await,
        }
    }

    /// Returns the error of a program that connected to this cluster and failed, such as pg_dump.
    pub async fn program_error(&self, stage: Stage, subject: &str, exit: &Exit) -> Error {
        if exit.status.code().is_none() {
            // The program was killed, so the server is not the cause.
            return exit.error(stage, Kind::Failed, subject);
        }
        if let Some(refusal) = self.diagnose().await {
            let Advice { kind, hint } = Advice::of(&refusal);
            let error = with_hint(exit.error(stage, kind, subject), hint);
            return match refusal {
                Refusal::Server { sqlstate, .. } => error.code(sqlstate),
                _ => error,
            };
        }
        match cause::find(self, stage, &exit.stderr.last_lines()).await {
            Some((kind, hint)) => exit.error(stage, kind, subject).hint(hint),
            None => self.with_timeout_hint(exit.error(stage, Kind::Failed, subject)),
        }
    }

    /// Adds a hint to the error if timeouts in the user's options may be the cause and no other
    /// cause is known.
    fn with_timeout_hint(&self, error: Error) -> Error {
        match error.remedy() {
            None if self.session().has_user_timeout() => error.hint(TIMEOUT_HINT),
            _ => error,
        }
    }

    /// Returns the reason why the server refuses a connection now, if it does.
    async fn diagnose(&self) -> Option<Refusal> {
        // Any program serves: only its connection settings are read.
        let psql = self.psql_for_queries().await.ok()?;
        diagnose(psql.as_std()).await
    }
}

/// The hint if a timeout in the user's options may have ended a session.
const TIMEOUT_HINT: &str =
    "if a timeout caused this, remove it from `options` in the connection string, the service file or PGOPTIONS";

fn with_hint(error: Error, hint: Option<&str>) -> Error {
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Returns the error that a server reported.
fn error_of(stage: Stage, subject: &str, exit: &Exit, server_error: &ServerError) -> Error {
    let kind = kind(server_error.sqlstate);
    let error = Error::new(stage, kind, subject, exit.description()).because(server_error.message.clone());
    with_hint(error.code(server_error.sqlstate), hint(server_error, stage))
}

/// Returns the error kind of an SQLSTATE.
pub(crate) fn kind(sqlstate: SqlState) -> Kind {
    match (sqlstate, sqlstate.class()) {
        (SqlState::INSUFFICIENT_PRIVILEGE, _) | (_, "28" | "0L" | "0P") => Kind::Denied,
        (SqlState::INVALID_CATALOG_NAME, _) => Kind::NotFound,
        (SqlState::TOO_MANY_CONNECTIONS | SqlState::LOCK_NOT_AVAILABLE, _) | (_, "08" | "40" | "57") => {
            Kind::Unavailable
        }
        _ => Kind::Failed,
    }
}

/// Returns the hint, if the SQLSTATE suffices to choose one.
fn hint(server_error: &ServerError, stage: Stage) -> Option<&'static str> {
    Some(match server_error.sqlstate {
        SqlState::LOCK_NOT_AVAILABLE => {
            "another session holds a lock for longer than lock_timeout: run at another time, or raise lock_timeout"
        }
        SqlState::DISK_FULL => "free disk space on the file system of the server's data directory",
        SqlState::OUT_OF_MEMORY if server_error.routine.as_deref().is_some_and(is_lock_manager) => {
            "raise max_locks_per_transaction on the server"
        }
        SqlState::INSUFFICIENT_PRIVILEGE if stage == Stage::Restore => {
            "restore as a superuser, or as a member of the roles that own the objects in the backup"
        }
        _ => return None,
    })
}

/// Returns true if a function of the server belongs to its lock manager.
fn is_lock_manager(routine: &str) -> bool {
    routine.contains("Lock") || routine.contains("ShmemInit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_timeout_gets_a_hint() {
        use longshore_core::plugin::Cluster;
        let hint = |options: &str| {
            let connection = format!("host=db1 options='{options}'").into();
            let cluster = Cluster { name: "main".into(), connection, password: None, bin_dir: None };
            let error = Error::new(Stage::Dump, Kind::Unavailable, "app", "psql ended with exit status 1");
            Client::new(&cluster).unwrap().with_timeout_hint(error).remedy().map(str::to_owned)
        };
        assert_eq!(hint("-c statement_timeout=5ms").as_deref(), Some(TIMEOUT_HINT));
        assert_eq!(hint("-c work_mem=4MB"), None);
    }

    #[test]
    fn sqlstates_map_to_kinds() {
        for (code, expected) in [
            ("42501", Kind::Denied),
            ("28P01", Kind::Denied),
            ("3D000", Kind::NotFound),
            ("57014", Kind::Unavailable),
            ("53300", Kind::Unavailable),
            ("53100", Kind::Failed),
            ("42601", Kind::Failed),
        ] {
            assert_eq!(kind(SqlState::parse(code).unwrap()), expected, "{code}");
        }
    }
}
