//! Finds the cluster to back up: by connection string, environment or local socket.

use std::io::IsTerminal;

use longshore_core::{Error, Kind, Result, Stage};

use crate::output::Output;
use crate::plugins::{ServerInfo, connection_of_environment, local_sockets, query_server};
use crate::prompt;

/// A server of this host, and the result of a connection attempt.
struct Candidate {
    socket: String,
    found: Result<ServerInfo>,
}

/// Finds the cluster of `connection`, else of the environment, else of a local socket.
pub(super) async fn find(connection: Option<&str>, output: Output) -> Result<ServerInfo> {
    if let Some(connection) = connection {
        return query_server(connection).await;
    }
    let environment = connection_of_environment();
    let named = if environment.is_empty() { None } else { query_server(&environment).await.ok() };
    let mut candidates = probe_sockets().await;
    if let Some(found) = named {
        candidates.retain(|candidate| !candidate.found.as_ref().is_ok_and(|other| other.start == found.start));
        print_choice(output, &candidates, &found);
        return Ok(found);
    }
    let mut answering = Vec::new();
    let mut others = Vec::new();
    for candidate in candidates {
        match candidate.found {
            Ok(found) => answering.push(found),
            Err(_) => others.push(candidate),
        }
    }
    let chosen = match answering.len() {
        0 => return try_default(others).await,
        1 => answering.remove(0),
        _ => answering.remove(choose(output, &answering)?),
    };
    others.extend(answering.into_iter().map(|found| Candidate { socket: found.connection.clone(), found: Ok(found) }));
    print_choice(output, &others, &chosen);
    Ok(chosen)
}

/// Connects to every local socket. Counts a server with two sockets once.
async fn probe_sockets() -> Vec<Candidate> {
    let mut all: Vec<Candidate> = Vec::new();
    for (socket, connections) in local_sockets() {
        let mut found = Err(no_server());
        for connection in &connections {
            let queried = query_server(connection).await;
            if queried.is_ok() || found.as_ref().is_err_and(|error: &Error| error.subject().is_empty()) {
                found = queried;
            }
            if found.is_ok() {
                break;
            }
        }
        let start = |candidate: &Candidate| candidate.found.as_ref().ok().map(|found| found.start.clone());
        let is_known =
            found.as_ref().is_ok_and(|found| all.iter().any(|candidate| start(candidate) == Some(found.start.clone())));
        if !is_known {
            all.push(Candidate { socket, found });
        }
    }
    all
}

/// Returns the initial error of a socket, before any connection attempt.
fn no_server() -> Error {
    Error::new(Stage::Config, Kind::NotFound, "", "no PostgreSQL server answers on this host")
}

/// Tries libpq's default connection if no socket answers. Otherwise returns the error of the first
/// socket.
async fn try_default(others: Vec<Candidate>) -> Result<ServerInfo> {
    let by_default = query_server("").await;
    match (by_default, others.into_iter().next().map(|candidate| (candidate.socket, candidate.found))) {
        (Ok(found), _) => Ok(found),
        (Err(_), Some((socket, Err(error)))) => Err(match error.remedy() {
            Some(_) if is_other_than_postgres() => {
                error.hint("run Longshore as the user of the server: runuser -u postgres -- longshore init")
            }
            Some(_) => error,
            None => error.hint(format!("pass the connection: longshore init --connection \"{socket} user=…\"")),
        }),
        (Err(error), _) if error.kind() == Kind::Usage => Err(error),
        _ => Err(Error::new(Stage::Config, Kind::NotFound, "cluster", "no PostgreSQL server answers on this host")
            .hint("pass the connection: longshore init --connection \"host=db1 user=backup\"")),
    }
}

/// Returns true for root on a host with the user `postgres`, as whom servers let only that user
/// connect.
fn is_other_than_postgres() -> bool {
    let has_user = || std::fs::read_to_string("/etc/passwd").is_ok_and(|text| text.contains("\npostgres:"));
    rustix::process::geteuid().is_root() && has_user()
}

/// Prompts for one of several servers. Without a terminal, fails with their names.
fn choose(output: Output, answering: &[ServerInfo]) -> Result<usize> {
    let lines: Vec<_> = answering
        .iter()
        .map(|found| format!("{} ({}: {})", found.connection, found.server, found.databases.join(", ")))
        .collect();
    if std::io::stdin().is_terminal() {
        for (number, line) in (1..).zip(&lines) {
            output.line(format_args!("{number}  {line}"));
        }
        if let Some(number) = prompt::number("server to back up", answering.len()) {
            return Ok(number - 1);
        }
    }
    let message = format!("{} PostgreSQL servers answer on this host: {}", answering.len(), lines.join("; "));
    Err(Error::new(Stage::Config, Kind::Usage, "cluster", message)
        .hint(format!("choose one: longshore init --connection \"{}\"", answering[0].connection)))
}

/// Prints the chosen server, and the other servers with the reason.
fn print_choice(output: Output, others: &[Candidate], chosen: &ServerInfo) {
    let connection = if chosen.connection.is_empty() { "the default of libpq" } else { &chosen.connection };
    output.note(format_args!("using {connection}; choose another with --connection"));
    for Candidate { socket, found } in others {
        match found {
            Ok(found) => output.note(format_args!("skipped {socket} ({}): not chosen", found.server)),
            Err(error) => output.note(format_args!("skipped {socket}: {}", error.chain().replace('\n', " "))),
        }
    }
}
