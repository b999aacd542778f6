//! A TCP proxy on the loopback interface that cuts, stalls, throttles and corrupts connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The direction of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// A fault of new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is cut after this number of bytes.
    Cut(u64),
    /// The connection stays silent after this number of bytes, without an error.
    Stall(u64),
    /// The connection passes this number of bytes per second.
    Throttle(u64),
    /// The connection flips the lowest bit of the byte at this position.
    Corrupt(u64),
}

/// A proxy. Dropping it cuts its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    listening: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    fault: Mutex<Option<(Direction, Fault)>>,
    /// The number of connections that still get the fault.
    left: AtomicU64,
    /// Notified when existing connections are to be cut.
    cut: Notify,
    connections: AtomicU64,
    up_bytes: AtomicU64,
}

impl Proxy {
    /// Starts a proxy for the server at `server`.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::new(State::default()));
        let listening = tokio::spawn(listen(listener, server, Arc::clone(&state)));
        Self { address, state, listening }
    }

    /// Returns the address of the proxy.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets a fault for all new connections.
    pub fn fault(&self, direction: Direction, fault: Fault) {
        self.fault_times(direction, fault, u64::MAX);
    }

    /// Sets a fault for the next `times` connections.
    pub fn fault_times(&self, direction: Direction, fault: Fault, times: u64) {
        *self.state.fault.lock().unwrap() = Some((direction, fault));
        self.state.left.store(times, Ordering::SeqCst);
    }

    /// Removes the fault for new connections.
    pub fn heal(&self) {
        *self.state.fault.lock().unwrap() = None;
    }

    /// Cuts the existing connections. New connections get the fault that is set when they are made.
    pub fn cut(&self) {
        self.state.cut.notify_waiters();
    }

    /// Returns the number of connections so far.
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Returns the number of bytes sent to the server.
    pub fn up_bytes(&self) -> u64 {
        self.state.up_bytes.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl State {
    /// Returns the fault of the next connection.
    fn take(&self) -> Option<(Direction, Fault)> {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let fault = (*self.fault.lock().unwrap())?;
        let take = |left: u64| left.checked_sub(1);
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok().then_some(fault)
    }
}

async fn listen(listener: TcpListener, server: SocketAddr, state: Arc<State>) {
    // The connections are cut when this task is dropped.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (fault, state) = (state.take(), Arc::clone(&state));
        connections.spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else {
                return;
            };
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            let fault_in = |direction| fault.filter(|(position, _)| *position == direction).map(|(_, fault)| fault);
            // If one direction ends or is cut, the other is cut as well.
            tokio::select! {
                () = pass(from_client, to_server, fault_in(Direction::Up), Some(&state.up_bytes)) => {}
                () = pass(from_server, to_client, fault_in(Direction::Down), None) => {}
                () = state.cut.notified() => {}
            }
        });
    }
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    fault: Option<Fault>,
    count: Option<&AtomicU64>,
) {
    let (mut passed, mut buffer) = (0, vec![0; 16 * 1024]);
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let (mut length, end) = (length, passed + length as u64);
        match fault {
            Some(Fault::Cut(after) | Fault::Stall(after)) if end > after => length = (after - passed) as usize,
            Some(Fault::Corrupt(position)) if (passed..end).contains(&position) => {
                buffer[(position - passed) as usize] ^= 1
            }
            Some(Fault::Throttle(rate)) => {
                tokio::time::sleep(Duration::from_secs_f64(length as f64 / rate as f64)).await
            }
            _ => {}
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
        passed += length as u64;
        if let Some(count) = count {
            count.fetch_add(length as u64, Ordering::SeqCst);
        }
        match fault {
            Some(Fault::Cut(after)) if passed >= after => return,
            Some(Fault::Stall(after)) if passed >= after => std::future::pending().await,
            _ => {}
        }
    }
}
