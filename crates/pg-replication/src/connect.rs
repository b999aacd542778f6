//! Connections: hosts in turn, until one accepts the connection and has the wanted state.
//!
//! | file | contents |
//! | --- | --- |
//! | `address.rs` | the addresses of a host, in the order of the attempts |
//! | `attempt.rs` | one address: the socket, TLS, the session |
//! | `session_state.rs` | the states that `target_session_attrs` distinguishes |
//!
//! Source: `PQconnectPoll` in `fe-connect.c`. As in libpq, the next address follows a refused
//! connection or a timeout, the next host follows a server that is starting or has another state,
//! and a failed authentication or certificate check ends the search.

mod address;
mod attempt;
mod session_state;

use std::time::Duration;

use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::parameters::{Host, Parameters, TargetSessionAttrs};

use session_state::Wanted;

/// SQLSTATE `cannot_connect_now`: the server starts, stops or recovers.
const CANNOT_CONNECT_NOW: &str = "57P03";

/// Connects for replication commands to the first host that accepts the connection and has the
/// state that `target_session_attrs` demands.
///
/// `connect_timeout` limits each attempt, but not the resolution of the host's name.
///
/// # Errors
/// If several addresses failed, [`Error::Hosts`] with all failures. A failed authentication is
/// [`Error::Server`], such as SQLSTATE 28P01 for a wrong password.
pub async fn connect(parameters: &Parameters) -> Result<Connection> {
    let wanted: &[Wanted] = match parameters.target_session_attrs {
        TargetSessionAttrs::Any => &[Wanted::Any],
        TargetSessionAttrs::ReadWrite => &[Wanted::ReadWrite],
        TargetSessionAttrs::ReadOnly => &[Wanted::ReadOnly],
        TargetSessionAttrs::Primary => &[Wanted::Primary],
        TargetSessionAttrs::Standby => &[Wanted::Standby],
        TargetSessionAttrs::PreferStandby => &[Wanted::Standby, Wanted::Any],
    };
    let mut attempts = Vec::new();
    for wanted in wanted {
        for host in address::hosts(parameters) {
            match connect_host(parameters, host, *wanted, &mut attempts).await {
                Search::Found(connection) => return Ok(*connection),
                Search::NextHost => {}
                Search::End => return Err(combined(attempts)),
            }
        }
    }
    Err(combined(attempts))
}

/// The result of trying a host.
enum Search {
    Found(Box<Connection>),
    NextHost,
    End,
}

async fn connect_host(parameters: &Parameters, host: &Host, wanted: Wanted, attempts: &mut Vec<Error>) -> Search {
    let addresses = match address::addresses(parameters, host).await {
        Ok(addresses) => addresses,
        Err(error) => {
            attempts.push(error);
            return Search::NextHost;
        }
    };
    for address in addresses {
        let label = address.label(host);
        let connected =
            within(parameters.connect_timeout, &label, attempt::connect(parameters, host, &address, &label));
        let error = match connected.await {
            Ok(connection) => match wanted.accept(&connection, &label) {
                Ok(()) => return Search::Found(Box::new(connection)),
                Err(error) => {
                    attempts.push(error);
                    return Search::NextHost;
                }
            },
            Err(error) => error,
        };
        let is_starting = error.server().is_some_and(|error| error.sqlstate == CANNOT_CONNECT_NOW);
        let is_unreachable = matches!(error, Error::Connect { .. } | Error::Timeout { .. });
        attempts.push(error);
        if is_starting {
            return Search::NextHost;
        }
        if !is_unreachable {
            return Search::End;
        }
    }
    Search::NextHost
}

/// Limits the time of an attempt.
async fn within(
    limit: Option<Duration>,
    label: &str,
    attempt: impl Future<Output = Result<Connection>>,
) -> Result<Connection> {
    match limit {
        None => attempt.await,
        Some(limit) => match tokio::time::timeout(limit, attempt).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout { host: label.to_owned(), limit }),
        },
    }
}

/// Returns the error of all attempts.
fn combined(mut attempts: Vec<Error>) -> Error {
    match attempts.pop() {
        Some(only) if attempts.is_empty() => only,
        last => {
            attempts.extend(last);
            Error::Hosts { attempts }
        }
    }
}
