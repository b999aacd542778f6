//! The hosts that a connection tries in turn. Source: `pqConnectOptions2` in `fe-connect.c`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::error::ParameterError;
use super::passfile::Password;
use super::settings::Settings;

/// The directories of server sockets: Debian's, and PostgreSQL's default. libpq is built with one
/// of them.
pub(super) const SOCKET_DIRS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

const DEFAULT_PORT: u16 = 5432;

/// One of the hosts that a connection tries in turn.
#[derive(Debug, Clone)]
pub struct Host {
    /// The host name, or the directory of a socket (`/run/postgresql`), or `@` and the directory
    /// of an abstract socket. The name that the server's certificate is compared with.
    pub name: String,
    /// The IP address from `hostaddr`, if given. A connection to it needs no name resolution.
    pub address: Option<String>,
    /// The TCP port, or the number in the name of the socket.
    pub port: u16,
    /// The password for this host.
    pub password: Option<Password>,
}

impl Host {
    /// Returns true if the host is a Unix-domain socket.
    pub fn is_socket(&self) -> bool {
        self.address.is_none() && self.name.starts_with(['/', '@'])
    }

    /// Returns the path of the socket. The path of an abstract socket begins with a zero byte, as
    /// `tokio::net::UnixStream::connect` expects.
    pub fn socket_path(&self) -> Option<PathBuf> {
        if !self.is_socket() {
            return None;
        }
        let path = format!("{}/.s.PGSQL.{}", self.name, self.port);
        Some(PathBuf::from(match path.strip_prefix('@') {
            Some(name) => format!("\0{name}"),
            None => path,
        }))
    }
}

/// Returns the hosts, without passwords. An empty host is the socket of this machine, an empty port
/// the default port.
pub(super) fn resolve(settings: &Settings) -> Result<Vec<Host>, ParameterError> {
    let list = |keyword| settings.text(keyword).map(|text| text.split(',').collect::<Vec<_>>());
    let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = addresses.as_ref().or(names.as_ref()).map_or(1, Vec::len);
    check_length("host", names.as_ref(), count)?;
    // One port is the port of all hosts.
    if ports.as_ref().is_none_or(|ports| ports.len() != 1) {
        check_length("port", ports.as_ref(), count)?;
    }
    let item = |list: &Option<Vec<&str>>, index: usize| {
        list.as_ref().and_then(|list| list.get(index)).filter(|item| !item.is_empty()).map(|item| (*item).to_owned())
    };
    let mut hosts = Vec::new();
    for index in 0..count {
        let port = match &ports {
            Some(ports) if ports.len() == 1 => ports.first(),
            Some(ports) => ports.get(index),
            None => None,
        };
        let port = match port.filter(|port| !port.is_empty()) {
            Some(port) => {
                parse_port(port).ok_or_else(|| settings.invalid("port", "a port is not within 1 to 65535"))?
            }
            None => DEFAULT_PORT,
        };
        let address = item(&addresses, index);
        if address.as_deref().is_some_and(|address| !is_ip_address(address)) {
            return Err(settings.invalid("hostaddr", "not an IP address"));
        }
        let name = item(&names, index).or_else(|| address.clone()).unwrap_or_else(|| socket_dir(&SOCKET_DIRS));
        hosts.push(Host { name, address, port, password: None });
    }
    Ok(hosts)
}

fn check_length(keyword: &'static str, list: Option<&Vec<&str>>, hosts: usize) -> Result<(), ParameterError> {
    match list.map(Vec::len) {
        Some(count) if count != hosts => Err(ParameterError::ListLength { keyword, count, hosts }),
        _ => Ok(()),
    }
}

fn parse_port(text: &str) -> Option<u16> {
    text.trim().parse().ok().filter(|port| *port != 0)
}

/// Returns true for an IP address, which may have a zone (`fe80::1%eth0`).
fn is_ip_address(text: &str) -> bool {
    match text.split_once('%') {
        Some((address, zone)) => address.parse().is_ok_and(|address: IpAddr| address.is_ipv6()) && !zone.is_empty(),
        None => text.parse::<IpAddr>().is_ok(),
    }
}

/// Returns the first directory if it exists, also while its server is stopped: every local user can
/// create a socket in the second one.
fn socket_dir(dirs: &[&str; 2]) -> String {
    let [first, second] = dirs;
    if Path::new(first).is_dir() { (*first).to_owned() } else { (*second).to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(keywords: &[(&str, &str)]) -> Result<Vec<(String, Option<String>, u16)>, ParameterError> {
        let keywords = keywords.iter().map(|(keyword, value)| ((*keyword).to_owned(), (*value).to_owned()));
        let hosts = resolve(&Settings::merge(keywords, &|_| None)?)?;
        Ok(hosts.into_iter().map(|host| (host.name, host.address, host.port)).collect())
    }

    fn host(name: &str, address: Option<&str>, port: u16) -> (String, Option<String>, u16) {
        (name.to_owned(), address.map(str::to_owned), port)
    }

    #[test]
    fn lists_are_matched_by_position() {
        assert_eq!(
            hosts(&[("host", "db1,/run/pg,@abs"), ("port", "5433,, 6000 ")]).unwrap(),
            [host("db1", None, 5433), host("/run/pg", None, 5432), host("@abs", None, 6000)]
        );
        assert_eq!(
            hosts(&[("host", "db1,,db3"), ("hostaddr", "10.0.0.1,::1,"), ("port", "7")]).unwrap(),
            [host("db1", Some("10.0.0.1"), 7), host("::1", Some("::1"), 7), host("db3", None, 7)]
        );
        assert_eq!(hosts(&[("hostaddr", "fe80::1%eth0")]).unwrap()[0].1.as_deref(), Some("fe80::1%eth0"));
    }

    #[test]
    fn lists_of_other_lengths_are_rejected() {
        for keywords in [
            [("host", "a,b"), ("hostaddr", "10.0.0.1")],
            [("host", "a"), ("hostaddr", "10.0.0.1,10.0.0.2")],
            [("host", "a,b"), ("port", "1,2,3")],
            [("host", ""), ("port", "1,2")],
        ] {
            assert!(matches!(hosts(&keywords), Err(ParameterError::ListLength { .. })), "{keywords:?}");
        }
    }

    #[test]
    fn malformed_ports_and_addresses_are_rejected() {
        for (keyword, value) in [
            ("port", "many"),
            ("port", "0"),
            ("port", "65536"),
            ("port", "-1"),
            ("hostaddr", "db1"),
            ("hostaddr", "/run/pg"),
            ("hostaddr", "10.0.0.1%eth0"),
        ] {
            let result = hosts(&[(keyword, value)]);
            assert!(matches!(result, Err(ParameterError::Invalid { .. })), "{keyword}={value}");
        }
    }

    #[test]
    fn socket_of_another_user_is_not_the_default_host() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dirs = [first.path().to_str().unwrap(), second.path().to_str().unwrap()];
        std::fs::write(second.path().join(".s.PGSQL.5432"), "").unwrap();
        assert_eq!(socket_dir(&dirs), dirs[0], "the server is stopped");
        assert_eq!(socket_dir(&["/missing", dirs[1]]), dirs[1]);
    }

    #[test]
    fn socket_path_follows_the_name() {
        let host = |name: &str, address: Option<&str>| Host {
            name: name.to_owned(),
            address: address.map(str::to_owned),
            port: 5433,
            password: None,
        };
        assert_eq!(host("/run/pg", None).socket_path().unwrap(), Path::new("/run/pg/.s.PGSQL.5433"));
        assert_eq!(host("@pg", None).socket_path().unwrap(), Path::new("\0pg/.s.PGSQL.5433"));
        assert!(host("db1", None).socket_path().is_none());
        assert!(!host("/run/pg", Some("127.0.0.1")).is_socket());
    }
}
