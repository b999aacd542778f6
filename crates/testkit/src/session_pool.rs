//! A pool of server sessions that keeps the settings of startup packets, as Pgpool-II does: a
//! client gets a session that another client left if both startup packets are equal.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The codes of encryption requests, which precede a startup packet.
const ENCRYPTION: [u32; 2] = [80_877_103, 80_877_104];

/// An idle session, and the server's messages at its start.
type Idle = (TcpStream, Vec<u8>);

/// The idle sessions by startup packet.
type Pool = Arc<Mutex<HashMap<Vec<u8>, Vec<Idle>>>>;

/// A running pool. Dropping it stops the pool.
#[derive(Debug)]
pub struct SessionPool {
    address: SocketAddr,
    listening: JoinHandle<()>,
}

impl SessionPool {
    /// Starts a pool for the server at `server`, which must not require a password.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listening = tokio::spawn(async move {
            let pool = Pool::default();
            while let Ok((client, _)) = listener.accept().await {
                let pool = Arc::clone(&pool);
                // Clients that disconnect are ignored.
                tokio::spawn(async move { serve(client, server, &pool).await.ok() });
            }
        });
        Self { address, listening }
    }

    /// Returns the address of the pool.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for SessionPool {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn serve(mut client: TcpStream, server: SocketAddr, pool: &Pool) -> io::Result<()> {
    let startup = loop {
        let length = client.read_u32().await?;
        let mut packet = length.to_be_bytes().to_vec();
        packet.resize(length as usize, 0);
        client.read_exact(&mut packet[4..]).await?;
        if !ENCRYPTION.iter().any(|code| packet[4..8] == code.to_be_bytes()) {
            break packet;
        }
        client.write_all(b"N").await?;
    };
    let idle = pool.lock().unwrap().get_mut(&startup).and_then(Vec::pop);
    let (mut session, greeting) = match idle {
        Some(idle) => idle,
        None => begin(server, &startup).await?,
    };
    client.write_all(&greeting).await?;
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), session.split());
    let up = async {
        loop {
            let Ok(message) = message(&mut from_client).await else { return };
            if message[0] == b'X' || to_server.write_all(&message).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        ended = tokio::io::copy(&mut from_server, &mut to_client) => return ended.map(drop),
    }
    pool.lock().unwrap().entry(startup).or_default().push((session, greeting));
    Ok(())
}

/// Starts a session, and returns the server's messages until it accepts queries.
async fn begin(server: SocketAddr, startup: &[u8]) -> io::Result<Idle> {
    let mut session = TcpStream::connect(server).await?;
    session.write_all(startup).await?;
    let mut greeting = Vec::new();
    loop {
        let message = message(&mut session).await?;
        greeting.extend_from_slice(&message);
        // The server is ready, or has refused.
        if message[0] == b'Z' || message[0] == b'E' {
            return Ok((session, greeting));
        }
    }
}

/// Reads one message, including its kind and length.
async fn message(from: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Vec<u8>> {
    let kind = from.read_u8().await?;
    let length = from.read_u32().await?;
    let mut message = vec![kind];
    message.extend_from_slice(&length.to_be_bytes());
    message.resize(length as usize + 1, 0);
    from.read_exact(&mut message[5..]).await?;
    Ok(message)
}
