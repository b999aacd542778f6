//! The error of a failed command: its kind, by which callers decide, and its hint.
//!
//! No decision depends on the text of a message, since servers use many languages. Our own SQL runs
//! in psql, which prints the server's SQLSTATE: see [`report`](crate::report). A refused connection
//! is diagnosed with a second connection. If a program prints only text, the server is queried
//! afterwards for the cause.

use longshore_core::{Error, Kind, SqlState, Stage};

use crate::child::Ended;
use crate::client::Client;
use crate::diagnosis::{Advice, Refusal, diagnose};
use crate::obstacle;
use crate::report::Report;

impl Client {
    /// Returns the error of a psql that connected to this cluster, ran SQL and failed.
    pub async fn refusal(&self, stage: Stage, subject: &str, ended: &Ended) -> Error {
        match ended.words.report() {
            Some(report) => self.bounded(refused(stage, subject, ended, report)),
            None => self.failure(stage, subject, ended).await,
        }
    }

    /// Returns the error of a program that connected to this cluster and failed, such as pg_dump.
    pub async fn failure(&self, stage: Stage, subject: &str, ended: &Ended) -> Error {
        if ended.status.code().is_none() {
            // The program was killed, so the server is not the cause.
            return ended.error(stage, Kind::Failed, subject);
        }
        if let Some(refusal) = self.diagnose().await {
            let Advice { kind, hint } = Advice::of(&refusal);
            let error = with_hint(ended.error(stage, kind, subject), hint);
            return match refusal {
                Refusal::Server { sqlstate, .. } => error.code(sqlstate),
                _ => error,
            };
        }
        match obstacle::find(self, stage, &ended.words.last_lines()).await {
            Some((kind, hint)) => ended.error(stage, kind, subject).hint(hint),
            None => self.bounded(ended.error(stage, Kind::Failed, subject)),
        }
    }

    /// Adds a hint to the error if timeouts in the user's options may be the cause and no other
    /// cause is known.
    fn bounded(&self, error: Error) -> Error {
        match error.remedy() {
            None if self.session().is_bounded_by_user() => error.hint(BOUNDED),
            _ => error,
        }
    }

    /// Returns the reason why the server refuses a connection now, if it does.
    async fn diagnose(&self) -> Option<Refusal> {
        // Any program serves: only its connection settings are read.
        let psql = self.psql_to_ask().await.ok()?;
        diagnose(psql.as_std()).await
    }
}

/// The hint if a timeout in the user's options may have ended a session.
const BOUNDED: &str =
    "if a timeout caused this, remove it from `options` in the connection string, the service file or PGOPTIONS";

fn with_hint(error: Error, hint: Option<&str>) -> Error {
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Returns the error that a server reported.
fn refused(stage: Stage, subject: &str, ended: &Ended, report: &Report) -> Error {
    let kind = kind(report.sqlstate);
    let error = Error::new(stage, kind, subject, ended.in_words()).because(report.message.clone());
    with_hint(error.code(report.sqlstate), hint(report, stage))
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
fn hint(report: &Report, stage: Stage) -> Option<&'static str> {
    Some(match report.sqlstate {
        SqlState::LOCK_NOT_AVAILABLE => {
            "another session holds a lock for longer than lock_timeout: run at another time, or raise lock_timeout"
        }
        SqlState::DISK_FULL => "free disk space on the file system of the server's data directory",
        SqlState::OUT_OF_MEMORY if report.routine.as_deref().is_some_and(is_of_locks) => {
            "raise max_locks_per_transaction on the server"
        }
        SqlState::INSUFFICIENT_PRIVILEGE if stage == Stage::Restore => {
            "restore as a superuser, or as a member of the roles that own the objects in the backup"
        }
        _ => return None,
    })
}

/// Returns true if a function of the server belongs to its lock manager.
fn is_of_locks(routine: &str) -> bool {
    routine.contains("Lock") || routine.contains("ShmemInit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_of_the_user_are_named() {
        use longshore_core::plugin::Cluster;
        let hint = |options: &str| {
            let connection = format!("host=db1 options='{options}'").into();
            let cluster = Cluster { name: "main".into(), connection, password: None, bin_dir: None };
            let error = Error::new(Stage::Dump, Kind::Unavailable, "app", "psql ended with exit status 1");
            Client::new(&cluster).unwrap().bounded(error).remedy().map(str::to_owned)
        };
        assert_eq!(hint("-c statement_timeout=5ms").as_deref(), Some(BOUNDED));
        assert_eq!(hint("-c work_mem=4MB"), None);
    }

    #[test]
    fn codes_decide_kinds() {
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
