//! Sockets, and the limits of connections.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use listenfd::ListenFd;
use longshore_config::serve::Listen;
use longshore_core::error::printable;
use longshore_core::{Error, Kind, Stage};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::guard::{Note, client_name};
use crate::routes::Peer;
use crate::state::Shared;
use crate::tls::names;

/// The maximum number of connections.
const MAX_CONNECTIONS: usize = 256;
/// The maximum number of connections of one address.
const MAX_CONNECTIONS_OF_PEER: usize = 128;
/// The time limit for the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum size of a request's headers in bytes.
const MAX_HEADER_BYTES: usize = 16 << 10;
/// The time limit for a connection. Browsers connect again.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(900);
/// The pause after a failure to accept a connection, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A socket that is listened on.
pub(crate) enum Listener {
    /// A TCP socket.
    Tcp(TcpListener),
    /// A socket of this host, with its path if this process made it.
    Unix(UnixListener, Option<PathBuf>),
}

impl Listener {
    /// Returns the socket that the service manager has opened, or opens the configured one.
    pub(crate) fn open(listen: &Listen) -> longshore_core::Result<Self> {
        let failed = |error| {
            Error::io(Stage::Config, listen.to_string(), "cannot listen on it", error)
                .hint("set listen in [serve], or pass --listen ADDRESS:PORT")
        };
        if let Some(inherited) = Self::inherited().map_err(failed)? {
            return Ok(inherited);
        }
        match listen {
            Listen::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address).map_err(failed)?;
                Self::from_tcp(listener).map_err(failed)
            }
            Listen::Unix(path) => {
                remove_stale_socket(path).map_err(failed)?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                // The folder decides who reaches the socket.
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
                Ok(Self::Unix(listener, Some(path.clone())))
            }
        }
    }

    fn inherited() -> io::Result<Option<Self>> {
        let mut sockets = ListenFd::from_env();
        if sockets.len() == 0 {
            return Ok(None);
        }
        if let Ok(Some(listener)) = sockets.take_tcp_listener(0) {
            return Self::from_tcp(listener).map(Some);
        }
        match sockets.take_unix_listener(0)? {
            None => Ok(None),
            Some(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Some(Self::Unix(UnixListener::from_std(listener)?, None)))
            }
        }
    }

    fn from_tcp(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self::Tcp(TcpListener::from_std(listener)?))
    }

    /// Returns the address that the socket has, with the port that the system chose.
    pub(crate) fn listen(&self) -> io::Result<Listen> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
            Self::Unix(listener, _) => {
                let address = listener.local_addr()?;
                Ok(Listen::Unix(address.as_pathname().map(Path::to_owned).unwrap_or_default()))
            }
        }
    }

    /// Serves connections until `stop`, each in its own task.
    pub(crate) async fn serve(self, router: Router, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let peers = Peers::default();
        loop {
            // A full service accepts no connection; the kernel queues a few.
            let next = async {
                let permit = Arc::clone(&connections).acquire_owned().await;
                (permit, self.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                next = next => next,
                () = stopped(&mut stop) => break,
            };
            let Ok((stream, peer)) = accepted else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Some(counted) = peers.count(peer) else { continue };
            let (router, stop, shared) = (router.clone(), stop.clone(), Arc::clone(&shared));
            // A socket of this host is not encrypted: its folder decides who reaches it.
            let tls = peer.and_then(|_| shared.view().tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => serve_connection(stream, Peer::new(peer, Vec::new()), router, stop).await,
                    Some(tls) => match shake_hands(stream, tls).await {
                        Ok((stream, names)) => serve_connection(stream, Peer::new(peer, names), router, stop).await,
                        Err(reason) => {
                            shared.note_client(peer, Note::Handshake, || {
                                format!("{}: no TLS connection: {reason}", client_name(peer))
                            });
                        }
                    },
                }
                drop((permit, counted));
            });
        }
        if let Self::Unix(_, Some(path)) = &self {
            // The next start removes a socket that remains.
            std::fs::remove_file(path).ok();
        }
    }

    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Box::new(stream), Some(address.ip())))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), None))
            }
        }
    }
}

/// Waits until the service stops, or has ended.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    stop.wait_for(|stop| *stop).await.map(drop).unwrap_or_default();
}

/// A connection.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Begins TLS. Returns the names of the client's certificate, if it has one. The error is the
/// reason for the log.
async fn shake_hands(
    stream: Box<dyn Stream>,
    tls: Arc<ServerConfig>,
) -> Result<(Box<dyn Stream>, Vec<String>), String> {
    let accepted = timeout(HEADER_TIMEOUT, TlsAcceptor::from(tls).accept(stream)).await;
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(printable(&error.to_string())),
        Err(_) => return Err(format!("no handshake within {} s", HEADER_TIMEOUT.as_secs())),
    };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let names = certificates.first().map(names).unwrap_or_default();
    Ok((Box::new(stream), names))
}

async fn serve_connection(stream: Box<dyn Stream>, peer: Peer, router: Router, mut stop: watch::Receiver<bool>) {
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer.clone());
        router.clone().oneshot(request.map(axum::body::Body::new) as Request)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEADER_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = async {
        tokio::select! {
            served = &mut connection => served,
            () = stopped(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    // A client that ends its connection early is no problem of the service.
    match timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Err(error)) => tracing::debug!("a connection failed: {error}"),
        Ok(Ok(())) => {}
        Err(_) => tracing::debug!("a connection ended after its time limit"),
    }
}

/// The number of connections of each address.
#[derive(Clone, Default)]
struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A counted connection, until it is dropped.
struct Counted {
    peers: Peers,
    peer: Option<IpAddr>,
}

impl Peers {
    /// Counts a connection, unless its address has too many.
    fn count(&self, peer: Option<IpAddr>) -> Option<Counted> {
        if let Some(address) = peer {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let count = all.entry(address).or_default();
            if *count >= MAX_CONNECTIONS_OF_PEER {
                return None;
            }
            *count += 1;
        }
        Some(Counted { peers: self.clone(), peer })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(address) = self.peer else { return };
        let mut all = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                all.remove(&address);
            }
        }
    }
}

/// Removes the socket of a service that has ended. Fails if another process listens on it, or if
/// the path is another file.
fn remove_stale_socket(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
            Err(_) => std::fs::remove_file(path),
        },
    }
}

/// Fails if other hosts reach an address without a token.
pub(crate) fn expect_protected(listen: &Listen, auth: &longshore_config::serve::Auth) -> longshore_core::Result<()> {
    if *auth != longshore_config::serve::Auth::Loopback || listen.is_local() {
        return Ok(());
    }
    let message = "other hosts reach this address, and requests need no token";
    Err(Error::new(Stage::Config, Kind::Usage, listen.to_string(), message).hint(
        "set tokens, or client_ca with users, in [serve], or auth = \"none\" if another program protects the service",
    ))
}
