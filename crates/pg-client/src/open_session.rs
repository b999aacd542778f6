//! A session that stays open between its statements, for work that ends with its session, such as a
//! backup that the server has started.
//!
//! The session is a psql that reads statements from a pipe, so it connects as libpq does. Each
//! statement returns one line of JSON, in which no byte of a text is lost.

use std::io;

use longshore_core::{Error, Kind, Result, Stage};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::ChildStdout;

use crate::child::{Pipes, Process};
use crate::client::Client;

/// An open session. Dropping it ends psql, and with it the session.
#[derive(Debug)]
pub struct OpenSession {
    client: Client,
    /// The process, until it has ended.
    psql: Option<Process>,
    answers: BufReader<ChildStdout>,
}

impl OpenSession {
    /// Opens a session for SQL whose names are all PostgreSQL's own.
    pub async fn open(client: &Client) -> Result<Self> {
        let mut command = client.psql_for_queries().await?;
        command.args(["--no-align", "--tuples-only"]);
        let mut psql = Process::start(command, "psql", Pipes::Both)?;
        let answers = psql.stdout.take().map(BufReader::new);
        let answers = answers.ok_or_else(|| Error::new(Stage::Connect, Kind::Failed, "psql", "has no output"))?;
        Ok(Self { client: client.clone(), psql: Some(psql), answers })
    }

    /// Returns the answer to a query that returns one JSON value without line feeds. An error ends
    /// the session.
    pub async fn query<T: DeserializeOwned>(&mut self, query: &str) -> Result<T> {
        let name = self.client.name();
        let failed = |message: &str| Error::new(Stage::Connect, Kind::Unavailable, name, message);
        let mut psql = self.psql.take().ok_or_else(|| failed("the session has ended"))?;
        let mut line = String::new();
        let sent = send(&mut psql, query).await;
        // Without an answer, psql has ended and reports the cause.
        let answered = matches!(self.answers.read_line(&mut line).await, Ok(bytes) if bytes > 0);
        if sent.is_err() || !answered {
            let exit = psql.wait().await?;
            return Err(self.client.sql_error(Stage::Connect, name, &exit).await);
        }
        self.psql = Some(psql);
        serde_json::from_str(&line).map_err(|error| {
            Error::new(Stage::Connect, Kind::Failed, name, "the server's answer has an unexpected form").because(error)
        })
    }

    /// Ends the session in an orderly manner.
    pub async fn close(mut self) -> Result<()> {
        match self.psql.take() {
            Some(psql) => psql.wait().await.map(drop),
            None => Ok(()),
        }
    }
}

/// Sends a statement.
async fn send(psql: &mut Process, query: &str) -> io::Result<()> {
    let Some(stdin) = &mut psql.stdin else { return Ok(()) };
    stdin.write_all(format!("{query};\n").as_bytes()).await?;
    stdin.flush().await
}
