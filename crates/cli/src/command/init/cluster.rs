//! The cluster to back up: the one that is named, or the one that there is.

use std::io::IsTerminal;

use longshore_core::{Error, Kind, Result, Stage};

use crate::ask;
use crate::output::Output;
use crate::plugins::{Found, connection_of_environment, local_sockets, look};

/// A server that was seen on this host, and how it was reached or why not.
struct Seen {
    place: String,
    found: Result<Found>,
}

/// Finds the cluster at `connection`, or else where the environment says, or else on a local socket.
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

/// Looks at every socket. A server that listens on two is one server.
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

/// The error of a socket that was not looked at yet.
fn nothing() -> Error {
    Error::new(Stage::Config, Kind::NotFound, "", "no PostgreSQL server answers here")
}

/// Where no socket answers: what libpq would say by itself, which may know of a host, or why the first socket refused.
async fn none(others: Vec<Seen>) -> Result<Found> {
    let by_default = look("").await;
    match (by_default, others.into_iter().next().map(|seen| (seen.place, seen.found))) {
        (Ok(found), _) => Ok(found),
        (Err(_), Some((place, Err(error)))) => Err(match error.remedy() {
            Some(_) => error,
            None => error.hint(format!("say how to reach it: longshore init --connection \"{place} user=…\"")),
        }),
        (Err(error), _) if error.kind() == Kind::Usage => Err(error),
        _ => Err(Error::new(Stage::Config, Kind::NotFound, "cluster", "no PostgreSQL server answers here")
            .hint("say how to reach it: longshore init --connection \"host=db1 user=backup\"")),
    }
}

/// Which of several a person means: asked for on a terminal, else an error that names them.
fn choose(output: Output, answering: &[Found]) -> Result<usize> {
    let lines: Vec<_> = answering
        .iter()
        .map(|found| format!("{} ({}: {})", found.connection, found.server, found.databases.join(", ")))
        .collect();
    if std::io::stdin().is_terminal() {
        for (number, line) in (1..).zip(&lines) {
            output.line(format_args!("{number}  {line}"));
        }
        if let Some(number) = ask::number("which of these is to be backed up", answering.len()) {
            return Ok(number - 1);
        }
    }
    let message = format!("{} PostgreSQL servers answer here: {}", answering.len(), lines.join("; "));
    Err(Error::new(Stage::Config, Kind::Usage, "cluster", message)
        .hint(format!("say which: longshore init --connection \"{}\"", answering[0].connection)))
}

/// Names what was seen, what is taken, and why others are not.
fn tell(output: Output, others: &[Seen], taken: &Found) {
    let connection = if taken.connection.is_empty() { "where libpq looks first" } else { &taken.connection };
    output.note(format_args!("taken: {connection}; --connection names another"));
    for Seen { place, found } in others {
        match found {
            Ok(found) => output.note(format_args!("not taken: {place} ({}), which was not chosen", found.server)),
            Err(error) => output.note(format_args!("not taken: {place}: {}", error.chain().replace('\n', " "))),
        }
    }
}
