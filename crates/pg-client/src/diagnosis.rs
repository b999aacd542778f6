//! The cause of a refused connection. libpq reports only the server's message, in the server's
//! language. A second connection, made by this process, receives the SQLSTATE and the server
//! function that refused.
//!
//! The second connection uses the same settings and is made only after a PostgreSQL program has
//! failed, and never where it cannot follow libpq.
//!
//! | file | contents |
//! | --- | --- |
//! | `parameters.rs` | the parameters that libpq would use |
//! | `passfile.rs` | `.pgpass` |
//! | `tls.rs` | TLS as libpq uses it by default: without verifying the certificate |
//! | `advice.rs` | the error kind and the hint for each refusal |

mod advice;
mod parameters;
mod passfile;
mod tls;

use std::error::Error as StdError;
use std::io;
use std::process::Command;
use std::time::Duration;

use longshore_core::SqlState;
use secrecy::ExposeSecret;
use tokio_postgres::config::Config;

pub(crate) use self::advice::Advice;
use self::parameters::{Host, Parameters};

/// The time limit of the second connection. A host that answers at all answers soon.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The reason for a refused connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A refusal by the server.
    Server {
        /// The SQLSTATE.
        sqlstate: SqlState,
        /// The server function that refused, which distinguishes refusals with the same code.
        routine: String,
        /// True if the connection used a socket of this machine.
        is_local: bool,
    },
    /// The host has no address.
    UnknownHost,
    /// No server listens on the port.
    NotListening,
    /// Access to the socket or its directory is denied.
    SocketDenied,
    /// The host does not answer.
    Unreachable,
    /// The server requires a password, and no password is set.
    NoPassword,
}

/// Connects as the command would, and returns the reason for a refusal. Returns `None` if the
/// connection succeeds, or if the second connection cannot follow libpq.
pub(crate) async fn diagnose(command: &Command) -> Option<Refusal> {
    let parameters = Parameters::of(command)?;
    let mut last = None;
    for host in &parameters.hosts {
        match tokio::time::timeout(TIMEOUT, try_connect(&parameters, host))
            .await
            .unwrap_or(Err(Some(Refusal::Unreachable)))
        {
            Ok(()) => return None,
            // A server's refusal is more specific than a host without a server.
            Err(Some(refusal @ (Refusal::Server { .. } | Refusal::NoPassword))) => return Some(refusal),
            Err(refusal) => last = refusal,
        }
    }
    last
}

/// Tries one host. `Err(None)` is an error that allows no conclusion.
async fn try_connect(parameters: &Parameters, host: &Host) -> Result<(), Option<Refusal>> {
    let mut config = Config::new();
    config.user(&parameters.user).dbname(&parameters.database).application_name("longshore").connect_timeout(TIMEOUT);
    if !parameters.options.is_empty() {
        config.options(&parameters.options);
    }
    let password = parameters.password(host);
    if let Some(password) = &password {
        config.password(password.expose_secret());
    }
    config.port(host.port).ssl_mode(host.ssl_mode(parameters.ssl_mode));
    let is_local = host.is_local();
    match &host.name {
        name if is_local => config.host_path(name),
        name => {
            let address = host.address.as_deref().unwrap_or(name);
            let mut addresses =
                tokio::net::lookup_host((address, host.port)).await.map_err(|_| Some(Refusal::UnknownHost))?;
            let Some(address) = addresses.next() else { return Err(Some(Refusal::UnknownHost)) };
            config.host(name).hostaddr(address.ip())
        }
    };
    let connected = config.connect(tls::connector().ok_or(None)?).await;
    match connected {
        Ok(_) => Ok(()),
        Err(error) => Err(refusal(&error, is_local, password.is_some())),
    }
}

/// Returns the refusal that an error of the second connection shows.
fn refusal(error: &tokio_postgres::Error, is_local: bool, has_password: bool) -> Option<Refusal> {
    if let Some(server) = error.as_db_error() {
        let sqlstate = SqlState::parse(server.code().code())?;
        let routine = server.routine().unwrap_or_default().to_owned();
        return Some(Refusal::Server { sqlstate, routine, is_local });
    }
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match io.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => Some(Refusal::NotListening),
        Some(io::ErrorKind::PermissionDenied) => Some(Refusal::SocketDenied),
        Some(io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            Some(Refusal::Unreachable)
        }
        Some(_) => None,
        // With complete settings, the only refusal of the crate itself is a login without a
        // password.
        None => (!has_password).then_some(Refusal::NoPassword),
    }
}
