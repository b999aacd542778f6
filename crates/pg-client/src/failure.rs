//! What follows from a failed command: the error's kind, by which callers decide, and the way out.
//!
//! No sentence decides, since each server speaks its own language. SQL of our own runs in psql, which prints the server's SQLSTATE: see
//! [`report`](crate::report). A connection that was refused is diagnosed by another one, and of a program that only gives text the server is
//! asked afterwards what stood in its way.

use longshore_core::{Error, Kind, SqlState, Stage};

use crate::child::Ended;
use crate::client::Client;
use crate::diagnosis::{Advice, Refusal, diagnose};
use crate::obstacle;
use crate::report::Report;

impl Client {
    /// The error of a psql that connected here, ran SQL and failed.
    pub async fn refusal(&self, stage: Stage, subject: &str, ended: &Ended) -> Error {
        match ended.words.report() {
            Some(report) => self.bounded(refused(stage, subject, ended, report)),
            None => self.failure(stage, subject, ended).await,
        }
    }

    /// The error of a program that connected here and failed, such as pg_dump.
    pub async fn failure(&self, stage: Stage, subject: &str, ended: &Ended) -> Error {
        if ended.status.code().is_none() {
            // It was killed, and the server has no part in that.
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

    /// The same error, with a hint where options of the user may be the reason and nothing else is known.
    fn bounded(&self, error: Error) -> Error {
        match error.remedy() {
            None if self.session().is_bounded_by_user() => error.hint(BOUNDED),
            _ => error,
        }
    }

    /// Why a connection is refused now, if it is.
    async fn diagnose(&self) -> Option<Refusal> {
        // Any program would do: only its settings are looked at.
        let psql = self.psql_to_ask().await.ok()?;
        diagnose(psql.as_std()).await
    }
}

/// The way out where a timeout of the user may have ended a session.
const BOUNDED: &str =
    "if a timeout ended it: take that out of `options` of the connection string, the service file or PGOPTIONS";

fn with_hint(error: Error, hint: Option<&str>) -> Error {
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// The error that a server reported.
fn refused(stage: Stage, subject: &str, ended: &Ended, report: &Report) -> Error {
    let kind = kind(report.sqlstate);
    let error = Error::new(stage, kind, subject, ended.in_words()).because(report.message.clone());
    with_hint(error.code(report.sqlstate), hint(report, stage))
}

/// What a caller may decide by.
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

/// The way out, where the code alone tells it.
fn hint(report: &Report, stage: Stage) -> Option<&'static str> {
    Some(match report.sqlstate {
        SqlState::LOCK_NOT_AVAILABLE => {
            "another session holds a lock for longer than lock_timeout: run at another time, or raise it"
        }
        SqlState::DISK_FULL => "make room where the server keeps its data",
        SqlState::OUT_OF_MEMORY if report.routine.as_deref().is_some_and(is_of_locks) => {
            "raise max_locks_per_transaction on the server"
        }
        SqlState::INSUFFICIENT_PRIVILEGE if stage == Stage::Restore => {
            "restore as a superuser, or as a role that may act for the owners of what the backup holds"
        }
        _ => return None,
    })
}

/// Whether a function of the server's is one of its lock manager.
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
