//! Finds the cluster to back up: by connection string, environment or local socket.

use std::io::IsTerminal;

use longshore_core::{Error, Kind, Result, Stage};

use crate::ask;
use crate::output::Output;
use crate::plugins::{Found, connection_of_environment, local_sockets, look};

/// A server of this host, and the result of a connection attempt.
struct Seen {
    place: String,
    found: Result<Found>,
}

/// Finds the cluster of `connection`, else of the environment, else of a local socket.
pub(super) async fn find(connection: Option<&str>, output: Output) -> Result<Found> {
    if let Some(connection) = connection {
        return look(connection).await;
    }
    let environment = connection_of_environment();
    let named = if environment.is_empty() { None } else { look(&environment).await.ok() };
    let mut seen = see().await;
    if let Some(found) = named {
        seen.retain(|seen| !seen.found.as_ref().is_ok_and(|other| other.start == found.start));
        tell(output, &seen, &found);
        return Ok(found);
    }
    let mut answering = Vec::new();
    let mut others = Vec::new();
    for seen in seen {
        match seen.found {
            Ok(found) => answering.push(found),
            Err(_) => others.push(seen),
        }
    }
    let taken = match answering.len() {
        0 => return none(others).await,
        1 => answering.remove(0),
        _ => answering.remove(choose(output, &answering)?),
    };
    others.extend(answering.into_iter().map(|found| Seen { place: found.connection.clone(), found: Ok(found) }));
    tell(output, &others, &taken);
    Ok(taken)
}

/// Connects to every local socket. Counts a server with two sockets once.
async fn see() -> Vec<Seen> {
    let mut all: Vec<Seen> = Vec::new();
    for (place, ways) in local_sockets() {
        let mut found = Err(nothing());
        for way in &ways {
            let looked = look(way).await;
            if looked.is_ok() || found.as_ref().is_err_and(|error: &Error| error.subject().is_empty()) {
                found = looked;
            }
            if found.is_ok() {
                break;
            }
        }
        let start = |seen: &Seen| seen.found.as_ref().ok().map(|found| found.start.clone());
        let is_known =
            found.as_ref().is_ok_and(|found| all.iter().any(|seen| start(seen) == Some(found.start.clone())));
        if !is_known {
            all.push(Seen { place, found });
        }
    }
    all
}

/// Returns the initial error of a socket, before any connection attempt.
fn nothing() -> Error {
    Error::new(Stage::Config, Kind::NotFound, "", "no PostgreSQL server answers on this host")
}

/// Tries libpq's default connection if no socket answers. Otherwise returns the error of the first
/// socket.
async fn none(others: Vec<Seen>) -> Result<Found> {
    let by_default = look("").await;
    match (by_default, others.into_iter().next().map(|seen| (seen.place, seen.found))) {
        (Ok(found), _) => Ok(found),
        (Err(_), Some((place, Err(error)))) => Err(match error.remedy() {
            Some(_) => error,
            None => error.hint(format!("pass the connection: longshore init --connection \"{place} user=…\"")),
        }),
        (Err(error), _) if error.kind() == Kind::Usage => Err(error),
        _ => Err(Error::new(Stage::Config, Kind::NotFound, "cluster", "no PostgreSQL server answers on this host")
            .hint("pass the connection: longshore init --connection \"host=db1 user=backup\"")),
    }
}

/// Prompts for one of several servers. Without a terminal, fails with their names.
fn choose(output: Output, answering: &[Found]) -> Result<usize> {
    let lines: Vec<_> = answering
        .iter()
        .map(|found| format!("{} ({}: {})", found.connection, found.server, found.databases.join(", ")))
        .collect();
    if std::io::stdin().is_terminal() {
        for (number, line) in (1..).zip(&lines) {
            output.line(format_args!("{number}  {line}"));
        }
        if let Some(number) = ask::number("server to back up", answering.len()) {
            return Ok(number - 1);
        }
    }
    let message = format!("{} PostgreSQL servers answer on this host: {}", answering.len(), lines.join("; "));
    Err(Error::new(Stage::Config, Kind::Usage, "cluster", message)
        .hint(format!("choose one: longshore init --connection \"{}\"", answering[0].connection)))
}

/// Prints the chosen server, and the other servers with the reason.
fn tell(output: Output, others: &[Seen], taken: &Found) {
    let connection = if taken.connection.is_empty() { "the default of libpq" } else { &taken.connection };
    output.note(format_args!("using {connection}; choose another with --connection"));
    for Seen { place, found } in others {
        match found {
            Ok(found) => output.note(format_args!("skipped {place} ({}): not chosen", found.server)),
            Err(error) => output.note(format_args!("skipped {place}: {}", error.chain().replace('\n', " "))),
        }
    }
}
