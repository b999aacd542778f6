//! The authentication of requests: tokens, client certificates, and users that a proxy names.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

/// The header in which proxies name the client, by default.
const CLIENT_HEADER: &str = "x-forwarded-for";
/// The headers by which the service recognizes a browser, or that have a meaning of their own.
const RESERVED: [&str; 7] =
    ["authorization", "connection", "content-length", "cookie", "host", "origin", "sec-fetch-site"];

/// The authentication of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// None; the service listens only where other hosts cannot reach it.
    Loopback,
    /// None; another program or network protects the service.
    None,
    /// Each request has a token or a user.
    Required(Credentials),
}

/// The credentials that permit requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The tokens.
    pub tokens: Vec<TokenFile>,
    /// The roles of users that a certificate or a proxy names.
    pub users: BTreeMap<String, Role>,
    /// The file with the authorities of client certificates.
    pub client_ca: Option<PathBuf>,
    /// The header in which a proxy names the user, in lower case.
    pub user_header: Option<String>,
}

/// The certificate of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The file with the certificate and its issuers.
    pub cert: PathBuf,
    /// The file with the private key.
    pub key: PathBuf,
}

/// The proxies whose headers are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// The proxies.
    pub all: Vec<ProxyAddress>,
    /// The header in which they name the client, in lower case.
    pub client_header: String,
}

impl Proxies {
    /// Returns true if a client is a proxy. `None` is a client of a socket of this host.
    pub fn contains(&self, client: Option<IpAddr>) -> bool {
        self.all.iter().any(|proxy| match (proxy, client) {
            (ProxyAddress::Unix, None) => true,
            (ProxyAddress::Ip(proxy), Some(client)) => *proxy == client.to_canonical(),
            _ => false,
        })
    }
}

/// The address from which a proxy connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub enum ProxyAddress {
    /// The socket of this host.
    Unix,
    /// An address.
    Ip(IpAddr),
}

impl FromStr for ProxyAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "unix" => Ok(Self::Unix),
            _ => text.parse().map(|address: IpAddr| Self::Ip(address.to_canonical())).map_err(|_| {
                format!(
                    "\"{text}\" is not the address of a proxy: write an IP address such as \"192.0.2.7\", or \"unix\""
                )
            }),
        }
    }
}

impl TryFrom<String> for ProxyAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix => f.write_str("unix"),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// A token and the requests that it permits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenFile {
    /// The file with the token.
    pub file: PathBuf,
    /// The requests.
    pub role: Role,
}

/// A user and the requests that it may send.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct User {
    /// The common name of a client certificate's subject, one of its alternative names (DNS,
    /// e-mail or URI), or the name that a proxy sends.
    #[schemars(length(min = 1))]
    name: String,
    /// The requests.
    role: Role,
}

/// The requests that a token permits. Each role includes the previous ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Metrics.
    Metrics,
    /// All pages.
    Read,
    /// Also the start of jobs.
    Run,
}

/// The settings as written.
pub(super) struct Written {
    pub(super) is_none: bool,
    pub(super) tokens: Option<Vec<TokenFile>>,
    pub(super) users: Vec<User>,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) proxies: Vec<ProxyAddress>,
    pub(super) proxy_user_header: Option<String>,
    pub(super) proxy_client_header: Option<String>,
}

impl Written {
    /// Resolves the settings, or returns the error message.
    pub(super) fn resolve(self) -> Result<(Auth, Option<Tls>, Proxies), String> {
        let tls = match (self.tls_cert, self.tls_key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(Tls { cert, key }),
            (Some(_), None) => return Err("tls_cert needs tls_key, the file with its private key".to_owned()),
            (None, Some(_)) => return Err("tls_key needs tls_cert, the file with the certificate".to_owned()),
        };
        if self.client_ca.is_some() && tls.is_none() {
            return Err("client_ca needs tls_cert and tls_key: clients send certificates over TLS only".to_owned());
        }
        if self.proxies.is_empty() {
            let header =
                [("proxy_user_header", &self.proxy_user_header), ("proxy_client_header", &self.proxy_client_header)];
            if let Some((setting, _)) = header.iter().find(|(_, header)| header.is_some()) {
                return Err(format!(
                    "{setting} needs proxies, such as proxies = [\"127.0.0.1\"]: others could forge it"
                ));
            }
        }
        let user_header = self.proxy_user_header.map(|name| header("proxy_user_header", &name)).transpose()?;
        let client_header = self.proxy_client_header.map(|name| header("proxy_client_header", &name)).transpose()?;
        let client_header = client_header.unwrap_or_else(|| CLIENT_HEADER.to_owned());
        let names_users = self.client_ca.is_some() || user_header.is_some();
        match (names_users, self.users.is_empty()) {
            (true, true) => {
                return Err("users is missing: add users = [{ name = \"alice\", role = \"read\" }], the users that a \
                            certificate or a proxy names"
                    .to_owned());
            }
            (false, false) => {
                return Err(
                    "users need client_ca, or proxies with proxy_user_header: else no request names one".to_owned()
                );
            }
            _ => {}
        }
        let mut users = BTreeMap::new();
        for User { name, role } in self.users {
            if name.is_empty() {
                return Err("users: a name is empty".to_owned());
            }
            if users.insert(name.clone(), role).is_some() {
                return Err(format!("users: \"{name}\" has two roles"));
            }
        }
        let auth = match (self.is_none, self.tokens) {
            (true, Some(_)) => return Err("has both auth = \"none\" and tokens: remove one".to_owned()),
            (true, None) if names_users => return Err("has both auth = \"none\" and users: remove one".to_owned()),
            (_, Some(tokens)) if tokens.is_empty() => {
                return Err("tokens is empty: add a token, or remove it".to_owned());
            }
            (true, None) => Auth::None,
            (false, None) if !names_users => Auth::Loopback,
            (false, tokens) => Auth::Required(Credentials {
                tokens: tokens.unwrap_or_default(),
                users,
                client_ca: self.client_ca,
                user_header,
            }),
        };
        Ok((auth, tls, Proxies { all: self.proxies, client_header }))
    }
}

/// Returns the name of a header in lower case.
fn header(setting: &str, name: &str) -> Result<String, String> {
    let lower = name.to_ascii_lowercase();
    let is_name = !lower.is_empty() && lower.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    match is_name && !RESERVED.contains(&lower.as_str()) {
        true => Ok(lower),
        false => {
            Err(format!("{setting}: \"{name}\" is not a header of a proxy: write a name such as \"X-Remote-User\""))
        }
    }
}
