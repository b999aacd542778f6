//! Executes statements that may fail, each separately, with the server's error code as the result.
//!
//! psql never interprets text of the archive as a psql command: `\gexec` sends the result of a
//! query to the server unchanged.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use longshore_core::stream;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::child::{Pipes, Process, feed};
use longshore_pg_client::client::Client;
use longshore_pg_client::server::literal;
use tokio::io::AsyncReadExt;

use crate::stall::{self, ReadCounter};

/// The settings of the session that executes statements of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    /// The settings of pg_restore: only PostgreSQL's own schemas are searched.
    AsPgRestore,
    /// The settings of the database and the role.
    Own,
}

/// The settings with which pg_restore starts a session.
const PG_RESTORE_SETTINGS: &str = "set standard_conforming_strings = on;
set check_function_bodies = false;
set xmloption = content;
set client_min_messages = warning;
set row_security = off;
select pg_catalog.set_config('search_path', '', false);
";

/// The outcome of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StatementResult {
    /// The statement was executed.
    Success,
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
pub(crate) async fn execute_each(
    limit: Duration,
    client: &Client,
    subject: &str,
    session: Session,
    encoding: &str,
    statements: &[Vec<u8>],
) -> Result<Vec<StatementResult>> {
    if statements.is_empty() {
        return Ok(Vec::new());
    }
    let delimiter = delimiter();
    let script = script(session, encoding, statements, &delimiter);
    let results = run_script(limit, client, subject, script, &delimiter).await?;
    if results.len() != statements.len() {
        let message = format!("only {} of {} statements were executed", results.len(), statements.len());
        return Err(Error::new(Stage::Restore, Kind::Failed, subject, message));
    }
    Ok(results)
}

/// Executes a statement of an archive and, if it succeeds, our own SQL in the same session,
/// ignoring errors of the latter.
pub(crate) async fn execute_then(
    limit: Duration,
    client: &Client,
    subject: &str,
    encoding: &str,
    statement: Vec<u8>,
    then: &str,
) -> Result<StatementResult> {
    let delimiter = delimiter();
    let mut script = script(Session::Own, encoding, &[statement], &delimiter);
    script += &format!("\\if :ERROR\n\\q\n\\endif\n{then};\n");
    let result = run_script(limit, client, subject, script, &delimiter).await?.into_iter().next();
    result.ok_or_else(|| Error::new(Stage::Restore, Kind::Failed, subject, "the statement was not executed"))
}

/// Runs a script, and returns the outcome of each statement that the delimiter follows.
async fn run_script(
    limit: Duration,
    client: &Client,
    subject: &str,
    script: String,
    delimiter: &str,
) -> Result<Vec<StatementResult>> {
    let mut command = client.psql().await?;
    command.args(["--output=/dev/null", "--file=-"]).env("PGCLIENTENCODING", "UTF8");
    let work = async {
        let mut process = Process::start(command, "psql", Pipes::Both)?;
        let (mut stdin, mut stdout) = (process.stdin.take(), process.stdout.take());
        let output = async {
            let mut output = Vec::new();
            if let Some(stdout) = &mut stdout {
                let read = stdout.read_to_end(&mut output).await;
                read.map_err(|error| Error::io(Stage::Restore, subject, "cannot read the output of psql", error))?;
            }
            Ok(output)
        };
        let mut script = stream::from_bytes(script);
        let (output, ()) = tokio::try_join!(output, feed(&mut stdin, &mut script, None))?;
        Ok((process.wait().await?, output))
    };
    let (exit, output) = stall::wait(client, subject, limit, &ReadCounter::default(), work).await?;
    if !exit.status.success() {
        return Err(client.sql_error(Stage::Restore, subject, &exit).await);
    }
    Ok(parse_results(&String::from_utf8_lossy(&output), delimiter))
}

/// Returns a line that no server prints by chance.
fn delimiter() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("longshore-{}-{}", std::process::id(), now.as_nanos())
}

/// Returns the script for psql.
fn script(session: Session, encoding: &str, statements: &[Vec<u8>], delimiter: &str) -> String {
    let mut script = String::from("\\set ON_ERROR_STOP off\n");
    if session == Session::AsPgRestore {
        script += PG_RESTORE_SETTINGS;
    }
    let encoding = literal(if encoding.is_empty() { "UTF8" } else { encoding });
    for statement in statements {
        script += "select pg_catalog.convert_from(pg_catalog.decode('";
        for byte in statement {
            // Writing to a string cannot fail.
            write!(script, "{byte:02x}").ok();
        }
        script +=
            &format!("', 'hex'), {encoding}) \\gexec\n\\echo {delimiter} :SQLSTATE\n\\echo :LAST_ERROR_MESSAGE\n");
    }
    script
}

/// Parses the output of psql: a line with the delimiter and the error code, and the message of the
/// last error.
fn parse_results(output: &str, delimiter: &str) -> Vec<StatementResult> {
    let prefix = format!("{delimiter} ");
    let output = output.split(&prefix).skip(1);
    let outcome = |answer: &str| {
        let (sqlstate, message) = answer.split_once('\n').unwrap_or((answer, ""));
        match sqlstate.trim() {
            "00000" => StatementResult::Success,
            sqlstate => StatementResult::Failed(Failure {
                sqlstate: sqlstate.to_owned(),
                message: message.trim_end().to_owned(),
            }),
        }
    };
    output.map(outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_encodes_statements_in_hex() {
        let script = script(Session::Own, "LATIN1", &[b"comment on table t is '\n\\! id\n'".to_vec()], "m");
        assert!(!script.contains("\\!") && script.contains("5c2120"), "{script}");
        assert!(script.contains("'hex'), 'LATIN1') \\gexec"), "{script}");
    }

    #[test]
    fn each_statement_has_a_result() {
        let output = "m 00000\n\nm 22012\ndivision by zero\nm 42P07\na\nb\n";
        let failed = |sqlstate: &str, message: &str| {
            StatementResult::Failed(Failure { sqlstate: sqlstate.to_owned(), message: message.to_owned() })
        };
        let expected = [StatementResult::Success, failed("22012", "division by zero"), failed("42P07", "a\nb")];
        assert_eq!(parse_results(output, "m"), expected);
    }
}
