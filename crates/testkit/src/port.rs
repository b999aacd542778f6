//! Ports of servers under test: each belongs to one test from the moment it is chosen, before anybody listens there.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, PoisonError};

/// Below those that Linux, unless it was told otherwise, gives to whoever connects somewhere (`net.ipv4.ip_local_port_range`, from 32768
/// on): of these, one that is free now may be a client's by the time that a server asks for it.
const PORTS: Range<u16> = 10_000..32_000;

/// What says that a port is ours. A name in the abstract namespace belongs to one socket at a time, of all processes,
/// and ends with its process.
static HELD: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A port on the loopback interface on which nobody listens, and that no other test gets while this process lives.
///
/// # Panics
/// If there is none.
pub(crate) fn free_port() -> u16 {
    let count = PORTS.len() as u64;
    let start = RandomState::new().hash_one("a port") % count;
    let mut ports = (start..start + count).map(|nth| PORTS.start + (nth % count) as u16);
    ports.find(|&port| hold(port) && is_free(port)).expect("there is a free port")
}

/// Keeps other tests from a port, unless one of them keeps us from it.
fn hold(port: u16) -> bool {
    let name = SocketAddr::from_abstract_name(format!("longshore-test-port-{port}")).expect("a short name");
    match UnixListener::bind_addr(&name) {
        Ok(socket) => HELD.lock().unwrap_or_else(PoisonError::into_inner).push(socket),
        Err(error) if error.kind() == ErrorKind::AddrInUse => return false,
        Err(error) => panic!("cannot hold a port: {error}"),
    }
    true
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_once() {
        let mut ports: Vec<u16> = (0..100).map(|_| free_port()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 100);
        assert!(ports.iter().all(|&port| is_free(port)), "nobody listens there");
        assert!(ports.iter().all(|&port| !hold(port)), "nobody else gets one of them");
    }
}
