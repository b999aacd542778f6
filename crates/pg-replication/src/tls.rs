//! TLS by libpq's rules, with rustls and the provider aws-lc-rs, which is always named.
//!
//! | file | contents |
//! | --- | --- |
//! | `config.rs` | the configuration: versions, roots, revocation lists, the client's certificate |
//! | `file.rs` | files of certificates, keys and revocation lists |
//! | `verifier.rs` | the checks of the server's certificate |
//! | `version_1.rs` | certificates of version 1, which rustls does not accept |
//! | `name.rs` | libpq's comparison of a certificate's names with the host name |
//! | `endpoint_hash.rs` | the hash of the server's certificate, for channel binding |
//!
//! Source: `fe-secure-openssl.c` and `fe-secure-common.c`.

mod config;
mod endpoint_hash;
mod file;
mod name;
mod verifier;
mod version_1;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, Error as RustlsError};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{Error, Result, TlsProblem};
use crate::parameters::{Host, Ssl, SslNegotiation};

pub(crate) use endpoint_hash::endpoint_hash;

/// The name of PostgreSQL's protocol in TLS (ALPN).
const PROTOCOL: &[u8] = b"postgresql";

/// Establishes TLS on a connected socket whose server has agreed to it.
///
/// `label` names the server in errors.
pub(crate) async fn handshake(
    socket: TcpStream,
    ssl: &Ssl,
    host: &Host,
    peer: IpAddr,
    label: &str,
) -> Result<TlsStream<TcpStream>> {
    let config = config::config(ssl, host).await?;
    // rustls sends no name for an address. A name that no server could have is not sent either.
    let name = ServerName::try_from(host.name.clone()).unwrap_or_else(|_| ServerName::from(peer));
    let connected = TlsConnector::from(Arc::new(config)).connect(name, socket).await;
    let stream = connected.map_err(|source| failed(source, host, label))?;
    let (_, session) = stream.get_ref();
    if ssl.negotiation == SslNegotiation::Direct && session.alpn_protocol() != Some(PROTOCOL) {
        return Err(Error::Tls { host: label.to_owned(), problem: TlsProblem::NoProtocolName, source: None });
    }
    Ok(stream)
}

fn failed(source: io::Error, host: &Host, label: &str) -> Error {
    let rustls = source.get_ref().and_then(|error| error.downcast_ref::<RustlsError>());
    let problem = match rustls {
        Some(RustlsError::InvalidCertificate(error)) => certificate_problem(error, host),
        Some(RustlsError::InvalidCertRevocationList(_)) => TlsProblem::Revoked,
        _ => TlsProblem::Handshake,
    };
    Error::Tls { host: label.to_owned(), problem, source: Some(source) }
}

fn certificate_problem(error: &CertificateError, host: &Host) -> TlsProblem {
    use CertificateError as Cause;
    match error {
        Cause::UnknownIssuer | Cause::BadSignature => TlsProblem::UnknownIssuer,
        Cause::Expired | Cause::ExpiredContext { .. } | Cause::NotValidYet | Cause::NotValidYetContext { .. } => {
            TlsProblem::NotValidNow
        }
        Cause::Revoked
        | Cause::UnknownRevocationStatus
        | Cause::ExpiredRevocationList
        | Cause::ExpiredRevocationListContext { .. } => TlsProblem::Revoked,
        Cause::NotValidForNameContext { presented, .. } => {
            TlsProblem::OtherName { host: host.name.clone(), names: presented.clone() }
        }
        _ => TlsProblem::InvalidCertificate,
    }
}
