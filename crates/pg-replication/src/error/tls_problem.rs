//! The reasons why TLS was not established.

use std::fmt;

/// The reason why TLS was not established.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsProblem {
    /// The server does not offer TLS.
    NotOffered,
    /// The server did not confirm the protocol name that direct TLS requires.
    NoProtocolName,
    /// The server answered the request for TLS with a byte that the protocol does not allow.
    UnknownAnswer(u8),
    /// No root signed the server's certificate.
    UnknownIssuer,
    /// The server's certificate is for other names.
    OtherName {
        /// The name of the host, as the connection parameters give it.
        host: String,
        /// The names in the certificate.
        names: Vec<String>,
    },
    /// The server's certificate is expired, or not valid yet.
    NotValidNow,
    /// The server's certificate is revoked, or no revocation list covers it.
    Revoked,
    /// The server's certificate fails another check of its chain.
    InvalidCertificate,
    /// The handshake failed, or the connection was lost in it.
    Handshake,
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOffered => write!(f, "the server does not offer it"),
            Self::NoProtocolName => write!(f, "the server did not confirm the protocol \"postgresql\""),
            Self::UnknownAnswer(byte) => write!(f, "the server answered the request with byte {byte:#04x}"),
            Self::UnknownIssuer => write!(f, "no trusted root signed the server's certificate"),
            Self::OtherName { host, names } => {
                write!(f, "the server's certificate is for {names:?}, not for {host:?}")
            }
            Self::NotValidNow => write!(f, "the server's certificate is expired or not valid yet"),
            Self::Revoked => write!(f, "the server's certificate is revoked or its status is unknown"),
            Self::InvalidCertificate => write!(f, "the server's certificate is invalid"),
            Self::Handshake => write!(f, "the handshake failed"),
        }
    }
}
