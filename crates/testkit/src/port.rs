//! Ports of servers under test. Each port is reserved for one test when it is chosen, before a
//! server listens on it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, PoisonError};

/// The range is below Linux's default range for client ports (`net.ipv4.ip_local_port_range`, from
/// 32768): a client could take a port of that range before the server does.
const PORTS: Range<u16> = 10_000..32_000;

/// The reservations of ports. A name in the abstract namespace belongs to one socket of all
/// processes, and is released when its process ends.
static HELD: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// Returns a free port on the loopback interface, and reserves it while this process lives.
///
/// # Panics
/// If no port is free.
pub fn free_port() -> u16 {
    let count = PORTS.len() as u64;
    let start = RandomState::new().hash_one("a port") % count;
    let mut ports = (start..start + count).map(|nth| PORTS.start + (nth % count) as u16);
    ports.find(|&port| hold(port) && is_free(port)).expect("a port is free")
}

/// Reserves a port. Returns false if another test has reserved it.
fn hold(port: u16) -> bool {
    let name = SocketAddr::from_abstract_name(format!("longshore-test-port-{port}")).expect("a short name");
    match UnixListener::bind_addr(&name) {
        Ok(socket) => HELD.lock().unwrap_or_else(PoisonError::into_inner).push(socket),
        Err(error) if error.kind() == ErrorKind::AddrInUse => return false,
        Err(error) => panic!("cannot reserve a port: {error}"),
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
    fn each_port_is_reserved_once() {
        let mut ports: Vec<u16> = (0..100).map(|_| free_port()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 100);
        assert!(ports.iter().all(|&port| is_free(port)), "a server listens on a port");
        assert!(ports.iter().all(|&port| !hold(port)), "a port was reserved twice");
    }
}
