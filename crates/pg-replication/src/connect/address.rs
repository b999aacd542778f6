//! The addresses of a host, in the order of the attempts.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::parameters::{Host, LoadBalanceHosts, Parameters};

/// One address of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket, as `tokio::net::UnixStream::connect` expects.
    Unix(PathBuf),
}

impl Address {
    /// Returns the name of the address for errors.
    pub(super) fn label(&self, host: &Host) -> String {
        match self {
            Self::Unix(path) => format!("socket {:?}", path.display().to_string().replace('\0', "@")),
            Self::Tcp(address) if host.name == address.ip().to_string() => format!("host {:?}", address.to_string()),
            Self::Tcp(address) => format!("host {:?} ({address})", host.name),
        }
    }
}

/// Returns the hosts in the order of the attempts.
pub(super) fn hosts(parameters: &Parameters) -> Vec<&Host> {
    let mut hosts: Vec<&Host> = parameters.hosts.iter().collect();
    if parameters.load_balance_hosts == LoadBalanceHosts::Random {
        shuffle(&mut hosts);
    }
    hosts
}

/// Returns the addresses of a host, at least one.
pub(super) async fn addresses(parameters: &Parameters, host: &Host) -> Result<Vec<Address>> {
    if let Some(path) = host.socket_path() {
        return Ok(vec![Address::Unix(path)]);
    }
    let name = host.address.as_ref().unwrap_or(&host.name);
    let unknown = |source| Error::UnknownHost { host: name.clone(), source };
    let found = tokio::net::lookup_host((name.as_str(), host.port)).await.map_err(|error| unknown(Some(error)))?;
    let mut addresses: Vec<Address> = found.map(Address::Tcp).collect();
    if addresses.is_empty() {
        return Err(unknown(None));
    }
    if parameters.load_balance_hosts == LoadBalanceHosts::Random {
        shuffle(&mut addresses);
    }
    Ok(addresses)
}

/// Puts values into a random order.
fn shuffle<T>(values: &mut [T]) {
    let mut rng = fastrand::Rng::new();
    rng.shuffle(values);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_name_host_and_address() {
        let host = |name: &str| Host { name: name.to_owned(), address: None, port: 5432, password: None };
        let address = Address::Tcp("10.0.0.1:5432".parse().unwrap());
        assert_eq!(address.label(&host("db1")), "host \"db1\" (10.0.0.1:5432)");
        assert_eq!(address.label(&host("10.0.0.1")), "host \"10.0.0.1:5432\"");
        let socket = host("@pg");
        let address = Address::Unix(socket.socket_path().unwrap());
        assert_eq!(address.label(&socket), "socket \"@pg/.s.PGSQL.5432\"");
    }
}
