//! Statements that may fail: each on its own, its outcome told by the server's error code.
//!
//! psql takes no text of the archive for a command of its own: `\gexec` hands what a query returns to the server as it is.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use longshore_core::stream;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::child::{Pipes, Running, feed};
use longshore_pg_client::client::Client;
use longshore_pg_client::server::literal;
use tokio::io::AsyncReadExt;

use crate::patience::{self, Taken};

/// Settings of the session that runs statements of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    /// Those of pg_restore: no schema is searched but PostgreSQL's own.
    AsPgRestore,
    /// Those of the database and the role.
    Own,
}

/// The settings that pg_restore begins a session with.
const AS_PG_RESTORE: &str = "set standard_conforming_strings = on;
set check_function_bodies = false;
set xmloption = content;
set client_min_messages = warning;
set row_security = off;
select pg_catalog.set_config('search_path', '', false);
";

/// What became of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attempted {
    /// It was executed.
    Done,
    /// It failed.
    Failed(Failure),
}

/// The server's answer to a statement that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) sqlstate: String,
    pub(crate) message: String,
}

/// Executes statements of an archive one after another, whatever becomes of each. An error is a session that ended, or that did nothing
/// for `limit`.
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
        let message = format!("{} of {} statements were answered", attempted.len(), statements.len());
        return Err(Error::new(Stage::Restore, Kind::Failed, subject, message));
    }
    Ok(attempted)
}

/// Executes a statement of an archive and, in the same session, SQL of our own if the statement succeeds, whatever becomes of that.
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
    attempted.ok_or_else(|| Error::new(Stage::Restore, Kind::Failed, subject, "the statement was not answered"))
}

/// Runs a script, and returns what became of each of its statements that is followed by the mark.
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
                read.map_err(|error| Error::io(Stage::Restore, subject, "cannot read psql's answers", error))?;
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

/// A line that no server answers by chance.
fn mark() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("longshore-{}-{}", std::process::id(), now.as_nanos())
}

/// The script for psql.
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

/// Takes psql's answers apart: a line with the mark and the error code, and the last error's message.
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
