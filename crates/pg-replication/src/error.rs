//! The errors of this crate. No error contains a password.

mod tls_problem;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::parameters::ParameterError;
use crate::server_error::ServerError;

pub use tls_problem::TlsProblem;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a connection, a command or a base backup failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The connection parameters are invalid, or not supported.
    Parameters(ParameterError),
    /// A file of certificates, keys or revocation lists cannot be used.
    File {
        /// The path.
        path: PathBuf,
        /// The reason.
        message: String,
        /// The error of the operating system, if there was one.
        source: Option<io::Error>,
    },
    /// A host name has no address.
    UnknownHost {
        /// The host name.
        host: String,
        /// The resolver's error, if it reported one.
        source: Option<io::Error>,
    },
    /// A host or socket refuses connections.
    Connect {
        /// The host and port, or the path of the socket.
        host: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A host does not answer within `connect_timeout`.
    Timeout {
        /// The host and port, or the path of the socket.
        host: String,
        /// The limit.
        limit: Duration,
    },
    /// TLS could not be established, or the server's certificate was rejected.
    Tls {
        /// The host and port.
        host: String,
        /// The reason.
        problem: TlsProblem,
        /// The error of the TLS library, if there was one.
        source: Option<io::Error>,
    },
    /// The client refuses to authenticate, or the server failed to prove its identity.
    Authentication {
        /// The reason.
        message: String,
    },
    /// The server demands an authentication method that this crate does not support.
    /// `pg_basebackup` may.
    UnsupportedAuthentication {
        /// The method, such as `GSSAPI`.
        method: String,
    },
    /// The server requires a password, and no password is set.
    NoPassword {
        /// The host and port, or the path of the socket.
        host: String,
        /// The user.
        user: String,
    },
    /// A server accepted the connection, but does not have the state that `target_session_attrs`
    /// demands.
    SessionState {
        /// The host and port, or the path of the socket.
        host: String,
        /// The reason, such as `the server is a standby`.
        message: String,
    },
    /// Several hosts or addresses were tried, and each failed.
    Hosts {
        /// The failures, in the order of the attempts.
        attempts: Vec<Error>,
    },
    /// The server reported an error.
    Server(Box<ServerError>),
    /// The server ended a base backup, a command or a connection in a way that the protocol does
    /// not allow, or sent a message that cannot be decoded.
    Protocol {
        /// The command or message.
        subject: String,
        /// The violation.
        message: String,
    },
    /// The connection was lost.
    Lost {
        /// The error of the operating system or of TLS.
        source: io::Error,
    },
    /// An argument of a command cannot be sent, or the server's version does not know it.
    Argument {
        /// The command or option.
        subject: String,
        /// The reason.
        message: String,
    },
    /// A manifest that was to be uploaded could not be read.
    Read {
        /// The error of the reader.
        source: io::Error,
    },
}

impl Error {
    /// Returns an error of a message that violates the protocol.
    pub(crate) fn protocol(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Protocol { subject: subject.into(), message: message.into() }
    }

    /// Returns an error of authentication.
    pub(crate) fn authentication(message: impl Into<String>) -> Self {
        Self::Authentication { message: message.into() }
    }

    /// Returns the error that the server reported, if there is one. Of several hosts, the last
    /// that reported an error counts.
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            Self::Server(error) => Some(error),
            Self::Hosts { attempts } => attempts.iter().rev().find_map(Self::server),
            _ => None,
        }
    }

    /// Returns a remedy, if there is one for this kind of error.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Parameters(ParameterError::Unsupported { .. }) | Self::UnsupportedAuthentication { .. } => {
                Some("use pg_basebackup, which supports everything that libpq does")
            }
            Self::NoPassword { .. } => Some("put the password into a password file (.pgpass) or PGPASSWORD"),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameters(error) => error.fmt(f),
            Self::File { path, message, .. } => write!(f, "file {}: {message}", path.display()),
            Self::UnknownHost { host, .. } => write!(f, "host {host:?}: the name has no address"),
            Self::Connect { host, .. } => write!(f, "{host}: cannot connect"),
            Self::Timeout { host, limit } => write!(f, "{host}: no answer within {} s", limit.as_secs()),
            Self::Tls { host, problem, .. } => write!(f, "TLS with {host}: {problem}"),
            Self::Authentication { message } => write!(f, "authentication: {message}"),
            Self::UnsupportedAuthentication { method } => {
                write!(f, "authentication: the server demands {method}, which is not supported")
            }
            Self::NoPassword { host, user } => {
                write!(f, "authentication: {host} requires a password for user {user:?}, and none is set")
            }
            Self::SessionState { host, message } => write!(f, "{host}: {message}"),
            Self::Hosts { attempts } => {
                write!(f, "hosts: all {} attempts failed", attempts.len())?;
                attempts.iter().try_for_each(|attempt| write!(f, "; {attempt}"))
            }
            Self::Server(error) => write!(f, "server: {error}"),
            Self::Protocol { subject, message } => write!(f, "{subject}: {message}"),
            Self::Lost { .. } => write!(f, "connection: lost"),
            Self::Argument { subject, message } => write!(f, "{subject}: {message}"),
            Self::Read { .. } => write!(f, "manifest: cannot be read"),
        }
    }
}

impl From<ParameterError> for Error {
    fn from(error: ParameterError) -> Self {
        Self::Parameters(error)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Parameters(error) => error.source(),
            Self::File { source, .. } | Self::UnknownHost { source, .. } | Self::Tls { source, .. } => {
                source.as_ref().map(|source| source as _)
            }
            Self::Connect { source, .. } | Self::Lost { source } | Self::Read { source } => Some(source),
            _ => None,
        }
    }
}
