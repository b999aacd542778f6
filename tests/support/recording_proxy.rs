//! A proxy that records the HTTP requests to a store.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A proxy for a server, until the end of the test process.
pub(crate) struct RecordingProxy {
    address: SocketAddr,
    /// The bytes of each connection from the client to the server.
    connections: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A recorded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The requested bytes, without the last one.
    pub(crate) range: Option<(u64, u64)>,
}

impl RecordingProxy {
    /// Starts a proxy for the server at `server`.
    pub(crate) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let all = Arc::clone(&connections);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
                let (from_server, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let number = {
                    let mut all = all.lock().unwrap();
                    all.push(Vec::new());
                    all.len() - 1
                };
                let all = Arc::clone(&all);
                thread::spawn(move || {
                    pass(client, server, |bytes| all.lock().unwrap()[number].extend_from_slice(bytes))
                });
                thread::spawn(move || pass(from_server, to_client, |_| {}));
            }
        });
        Self { address, connections }
    }

    /// Returns the address of the proxy.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the requests since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let mut requests = Vec::new();
        for connection in self.connections.lock().unwrap().iter_mut() {
            let text = String::from_utf8_lossy(connection).into_owned();
            connection.clear();
            requests.extend(text.split("\r\n\r\n").filter_map(request));
        }
        requests
    }
}

/// Parses the head of a request, which may follow the body of the one before it.
fn request(text: &str) -> Option<Request> {
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.iter().position(|line| line.ends_with(" HTTP/1.1"))?;
    let mut words = lines[first].trim_end_matches(" HTTP/1.1").rsplitn(2, ' ');
    let path = words.next()?.to_owned();
    // A body without a line feed at its end precedes the method.
    let method = words.next()?;
    let method = ["GET", "PUT", "HEAD", "DELETE", "POST"].into_iter().find(|known| method.ends_with(known))?;
    let range = lines[first..].iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let range = value.trim().strip_prefix("bytes=")?;
        let (begin, end) = range.split_once('-').filter(|_| name.eq_ignore_ascii_case("range"))?;
        Some((begin.parse().ok()?, end.parse::<u64>().ok()? + 1))
    });
    Some(Request { method: method.to_owned(), path, range })
}

/// Passes bytes on until one side ends.
fn pass(mut from: TcpStream, mut to: TcpStream, record: impl Fn(&[u8])) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        record(&buffer[..bytes]);
        if to.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    // The other side may be closed already.
    to.shutdown(Shutdown::Both).ok();
    from.shutdown(Shutdown::Both).ok();
}
