//! Executes statements that may fail, each separately, with the server's error code as the result.
//!
//! psql never interprets text of the archive as a psql command: `\gexec` sends the result of a
//! query to the server unchanged.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use longshore_core::stream;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::child::{Pipes, Running, feed};
use longshore_pg_client::client::Client;
use longshore_pg_client::server::literal;
use tokio::io::AsyncReadExt;

use crate::patience::{self, Taken};

/// The settings of the session that executes statements of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    /// The settings of pg_restore: only PostgreSQL's own schemas are searched.
    AsPgRestore,
    /// The settings of the database and the role.
    Own,
}

/// The settings with which pg_restore starts a session.
const AS_PG_RESTORE: &str = "set standard_conforming_strings = on;
set check_function_bodies = false;
set xmloption = content;
set client_min_messages = warning;
set row_security = off;
select pg_catalog.set_config('search_path', '', false);
";

/// The outcome of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attempted {
    /// The statement was executed.
    Done,
    /// The statement failed.
    Failed(Failure),
}

/// The server's error for a failed statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) sqlstate: String,
    pub(crate) message: String,
}

/// Executes statements of an archive one after another, regardless of failures. Fails if the
/// session ends, or makes no progress for `limit`.
pub(crate) async fn attempt(
    limit: Duration,
    client: &Client,
    subject: &str,
    session: Session,
    encoding: &str,
    statements: &[Vec<u8>],
) -> Result<Vec<Attempted>> {
    if statements.is_empty() {
        return Ok(Vec::new());
    }
    let mark = mark();
    let script = script(session, encoding, statements, &mark);
    let attempted = execute(limit, client, subject, script, &mark).await?;
    if attempted.len() != statements.len() {
        let message = format!("only {} of {} statements were executed", attempted.len(), statements.len());
        return Err(Error::new(Stage::Restore, Kind::Failed, subject, message));
    }
    Ok(attempted)
}

/// Executes a statement of an archive and, if it succeeds, our own SQL in the same session,
/// ignoring errors of the latter.
pub(crate) async fn attempt_then(
    limit: Duration,
    client: &Client,
    subject: &str,
    encoding: &str,
    statement: Vec<u8>,
    then: &str,
) -> Result<Attempted> {
    let mark = mark();
    let mut script = script(Session::Own, encoding, &[statement], &mark);
    script += &format!("\\if :ERROR\n\\q\n\\endif\n{then};\n");
    let attempted = execute(limit, client, subject, script, &mark).await?.into_iter().next();
    attempted.ok_or_else(|| Error::new(Stage::Restore, Kind::Failed, subject, "the statement was not executed"))
}

/// Runs a script, and returns the outcome of each statement that is followed by the mark.
async fn execute(
    limit: Duration,
    client: &Client,
    subject: &str,
    script: String,
    mark: &str,
) -> Result<Vec<Attempted>> {
    let mut command = client.psql().await?;
    command.args(["--output=/dev/null", "--file=-"]).env("PGCLIENTENCODING", "UTF8");
    let work = async {
        let mut running = Running::start(command, "psql", Pipes::Both)?;
        let (mut stdin, mut stdout) = (running.stdin.take(), running.stdout.take());
        let answers = async {
            let mut answers = Vec::new();
            if let Some(stdout) = &mut stdout {
                let read = stdout.read_to_end(&mut answers).await;
                read.map_err(|error| Error::io(Stage::Restore, subject, "cannot read the output of psql", error))?;
            }
            Ok(answers)
        };
        let mut script = stream::from_bytes(script);
        let (answers, ()) = tokio::try_join!(answers, feed(&mut stdin, &mut script, None))?;
        Ok((running.wait().await?, answers))
    };
    let (ended, answers) = patience::wait(client, subject, limit, &Taken::default(), work).await?;
    if !ended.status.success() {
        return Err(client.refusal(Stage::Restore, subject, &ended).await);
    }
    Ok(outcomes(&String::from_utf8_lossy(&answers), mark))
}

/// Returns a line that no server prints by chance.
fn mark() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("longshore-{}-{}", std::process::id(), now.as_nanos())
}

/// Returns the script for psql.
fn script(session: Session, encoding: &str, statements: &[Vec<u8>], mark: &str) -> String {
    let mut script = String::from("\\set ON_ERROR_STOP off\n");
    if session == Session::AsPgRestore {
        script += AS_PG_RESTORE;
    }
    let encoding = literal(if encoding.is_empty() { "UTF8" } else { encoding });
    for statement in statements {
        script += "select pg_catalog.convert_from(pg_catalog.decode('";
        for byte in statement {
            // Writing to a string cannot fail.
            write!(script, "{byte:02x}").ok();
        }
        script += &format!("', 'hex'), {encoding}) \\gexec\n\\echo {mark} :SQLSTATE\n\\echo :LAST_ERROR_MESSAGE\n");
    }
    script
}

/// Parses the output of psql: a line with the mark and the error code, and the message of the last
/// error.
fn outcomes(answers: &str, mark: &str) -> Vec<Attempted> {
    let begins = format!("{mark} ");
    let answers = answers.split(&begins).skip(1);
    let outcome = |answer: &str| {
        let (sqlstate, message) = answer.split_once('\n').unwrap_or((answer, ""));
        match sqlstate.trim() {
            "00000" => Attempted::Done,
            sqlstate => {
                Attempted::Failed(Failure { sqlstate: sqlstate.to_owned(), message: message.trim_end().to_owned() })
            }
        }
    };
    answers.map(outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_statement_reaches_psql_as_it_is() {
        let script = script(Session::Own, "LATIN1", &[b"comment on table t is '\n\\! id\n'".to_vec()], "m");
        assert!(!script.contains("\\!") && script.contains("5c2120"), "{script}");
        assert!(script.contains("'hex'), 'LATIN1') \\gexec"), "{script}");
    }

    #[test]
    fn each_statement_has_its_own_outcome() {
        let answers = "m 00000\n\nm 22012\ndivision by zero\nm 42P07\na\nb\n";
        let failed = |sqlstate: &str, message: &str| {
            Attempted::Failed(Failure { sqlstate: sqlstate.to_owned(), message: message.to_owned() })
        };
        let expected = [Attempted::Done, failed("22012", "division by zero"), failed("42P07", "a\nb")];
        assert_eq!(outcomes(answers, "m"), expected);
    }
}
