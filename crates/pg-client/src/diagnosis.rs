//! Why a connection was refused. libpq passes on only the server's sentence, in the server's language; a second connection, in the protocol
//! itself, gets the code and the function of the server that refused.
//!
//! It is made only after a program of PostgreSQL's has failed, with the same settings, and never where it cannot follow libpq.
//!
//! | file | holds |
//! | --- | --- |
//! | `route.rs` | the settings that libpq would use |
//! | `passfile.rs` | `.pgpass` |
//! | `tls.rs` | TLS as libpq uses it by default: without looking at the certificate |
//! | `advice.rs` | the kind of each refusal, and the way out |

mod advice;
mod passfile;
mod route;
mod tls;

use std::error::Error as StdError;
use std::io;
use std::process::Command;
use std::time::Duration;

use longshore_core::SqlState;
use secrecy::ExposeSecret;
use tokio_postgres::config::Config;

pub(crate) use self::advice::Advice;
use self::route::{Host, Route};

/// How long the second connection may take: whatever answers does so soon.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a connection was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// By the server.
    Server {
        /// Its code.
        sqlstate: SqlState,
        /// The function that refused, which tells refusals with one code apart.
        routine: String,
        /// Whether by a socket of this machine.
        is_local: bool,
    },
    /// The host has no address.
    UnknownHost,
    /// No server listens there.
    NotListening,
    /// The socket or its folder may not be used.
    SocketDenied,
    /// The host does not answer.
    Silent,
    /// The server wants a password, and there is none.
    NoPassword,
}

/// Connects as a command would, and tells why that is refused. Nothing where it is not, or where this connection cannot follow libpq.
pub(crate) async fn diagnose(command: &Command) -> Option<Refusal> {
    let route = Route::of(command)?;
    let mut last = None;
    for host in &route.hosts {
        match tokio::time::timeout(PATIENCE, knock(&route, host)).await.unwrap_or(Err(Some(Refusal::Silent))) {
            Ok(()) => return None,
            // A server that refuses tells more than a host without one.
            Err(Some(refusal @ (Refusal::Server { .. } | Refusal::NoPassword))) => return Some(refusal),
            Err(refusal) => last = refusal,
        }
    }
    last
}

/// Tries one host. An error without a refusal is one that tells nothing.
async fn knock(route: &Route, host: &Host) -> Result<(), Option<Refusal>> {
    let mut config = Config::new();
    config.user(&route.user).dbname(&route.database).application_name("longshore").connect_timeout(PATIENCE);
    if !route.options.is_empty() {
        config.options(&route.options);
    }
    let password = route.password(host);
    if let Some(password) = &password {
        config.password(password.expose_secret());
    }
    config.port(host.port).ssl_mode(host.ssl_mode(route.ssl_mode));
    let is_local = host.is_local();
    match &host.name {
        name if is_local => config.host_path(name),
        name => {
            let address = host.address.as_deref().unwrap_or(name);
            let mut found =
                tokio::net::lookup_host((address, host.port)).await.map_err(|_| Some(Refusal::UnknownHost))?;
            let Some(found) = found.next() else { return Err(Some(Refusal::UnknownHost)) };
            config.host(name).hostaddr(found.ip())
        }
    };
    let connected = config.connect(tls::connector().ok_or(None)?).await;
    match connected {
        Ok(_) => Ok(()),
        Err(error) => Err(refusal(&error, is_local, password.is_some())),
    }
}

/// What an error of the second connection tells.
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
            Some(Refusal::Silent)
        }
        Some(_) => None,
        // All that the crate itself refuses where its settings are complete is to log in without a password.
        None => (!has_password).then_some(Refusal::NoPassword),
    }
}
