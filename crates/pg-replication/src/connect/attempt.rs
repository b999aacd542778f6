//! One attempt: the socket of an address, TLS, and the start of the session.

use std::net::SocketAddr;
use std::path::Path;

use bytes::BytesMut;
use nix::unistd::User;
use postgres_protocol::message::frontend;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use super::address::Address;
use crate::connection::{Connection, lost};
use crate::error::{Error, Result, TlsProblem};
use crate::parameters::{Host, Keepalives, Parameters, SslMode, SslNegotiation, Tcp};
use crate::socket::Socket;
use crate::{startup, tls};

/// SQLSTATE `invalid_authorization_specification`: `pg_hba.conf` has no line for this connection,
/// which may depend on its encryption.
const NOT_PERMITTED: &str = "28000";

/// The use of TLS for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    /// No TLS.
    Plain,
    /// TLS if the server offers it.
    Offered,
    /// TLS.
    Required,
}

/// Connects to one address, and starts a session.
pub(super) async fn connect(
    parameters: &Parameters,
    host: &Host,
    address: &Address,
    label: &str,
) -> Result<Connection> {
    let address = match address {
        Address::Unix(path) => {
            let socket = connect_unix(parameters, path, label).await?;
            return startup::start(socket, parameters, host, label).await;
        }
        Address::Tcp(address) => *address,
    };
    let (first, second) = match parameters.ssl.mode {
        SslMode::Disable => (Encryption::Plain, None),
        SslMode::Allow => (Encryption::Plain, Some(Encryption::Required)),
        SslMode::Prefer => (Encryption::Offered, Some(Encryption::Plain)),
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => (Encryption::Required, None),
    };
    match (try_encryption(parameters, host, address, label, first).await, second) {
        (Err(error), Some(second)) if depends_on_encryption(&error) => {
            let again = try_encryption(parameters, host, address, label, second).await;
            again.map_err(|second| if depends_on_encryption(&second) { error } else { second })
        }
        (result, _) => result,
    }
}

/// Returns true if another encryption may lead to another result.
fn depends_on_encryption(error: &Error) -> bool {
    match error {
        Error::Tls { problem: TlsProblem::UnknownAnswer(_), .. } => false,
        Error::Tls { .. } => true,
        error => error.server().is_some_and(|error| error.sqlstate == NOT_PERMITTED),
    }
}

async fn try_encryption(
    parameters: &Parameters,
    host: &Host,
    address: SocketAddr,
    label: &str,
    encryption: Encryption,
) -> Result<Connection> {
    let stream = connect_tcp(&parameters.tcp, address).await;
    let mut stream = stream.map_err(|source| Error::Connect { host: label.to_owned(), source })?;
    let is_direct = parameters.ssl.negotiation == SslNegotiation::Direct;
    let uses_tls = match encryption {
        Encryption::Plain => false,
        Encryption::Offered | Encryption::Required if is_direct => true,
        Encryption::Offered => request_tls(&mut stream, label).await?,
        Encryption::Required if request_tls(&mut stream, label).await? => true,
        Encryption::Required => {
            return Err(Error::Tls { host: label.to_owned(), problem: TlsProblem::NotOffered, source: None });
        }
    };
    let socket = if uses_tls {
        let stream = tls::handshake(stream, &parameters.ssl, host, address.ip(), label).await?;
        Socket::Tls(Box::new(stream))
    } else {
        Socket::Tcp(stream)
    };
    startup::start(socket, parameters, host, label).await
}

/// Asks the server for TLS. Reads one byte exactly, so that bytes which an attacker adds in clear
/// text become part of the handshake, which then fails (CVE-2021-23222).
async fn request_tls(stream: &mut TcpStream, label: &str) -> Result<bool> {
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await.map_err(lost)?;
    match stream.read_u8().await.map_err(lost)? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        // An error message here is not authenticated, so it is not read (CVE-2024-10977).
        byte => {
            let problem = TlsProblem::UnknownAnswer(byte);
            Err(Error::Tls { host: label.to_owned(), problem, source: None })
        }
    }
}

async fn connect_tcp(tcp: &Tcp, address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    let options = SockRef::from(&socket);
    if let Keepalives::Enable { idle, interval, count } = tcp.keepalives {
        let mut keepalive = TcpKeepalive::new();
        if let Some(idle) = idle {
            keepalive = keepalive.with_time(idle);
        }
        if let Some(interval) = interval {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(count) = count {
            keepalive = keepalive.with_retries(count);
        }
        options.set_tcp_keepalive(&keepalive)?;
    }
    if tcp.user_timeout.is_some() {
        options.set_tcp_user_timeout(tcp.user_timeout)?;
    }
    socket.connect(address).await
}

/// Connects to a Unix socket, and compares the owner of the server with `requirepeer`.
async fn connect_unix(parameters: &Parameters, path: &Path, label: &str) -> Result<Socket> {
    let refused = |source| Error::Connect { host: label.to_owned(), source };
    let stream = UnixStream::connect(path).await.map_err(refused)?;
    if let Some(name) = &parameters.require_peer {
        let uid = stream.peer_cred().map_err(refused)?.uid();
        let required = User::from_name(name).map_err(|error| refused(error.into()))?;
        if required.is_none_or(|user| user.uid.as_raw() != uid) {
            let message = format!("requirepeer: the server at {label} runs as user id {uid}, not as {name:?}");
            return Err(Error::authentication(message));
        }
    }
    Ok(Socket::Unix(stream))
}
