//! `[serve]`: the settings of the service.

mod auth;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use longshore_core::unit::TimeSpan;
use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

pub use self::auth::{Auth, Credentials, Proxies, ProxyAddress, Role, Tls, TokenFile};
use crate::error::{ConfigError, quote_unless_secret};
use crate::table::{look_up, read};
use crate::wal::WalArchive;

/// The default port, on the loopback interface.
const DEFAULT_PORT: u16 = 8470;
/// The default time between two reads of the destinations.
const REFRESH: TimeSpan = TimeSpan::new(Duration::from_secs(300));
/// The default time that a stop waits for tasks in progress.
const STOP_TIMEOUT: TimeSpan = TimeSpan::new(Duration::from_secs(60));

/// The settings of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeSettings {
    /// The address or socket of the service.
    pub listen: Listen,
    /// The authentication of requests.
    pub auth: Auth,
    /// The certificate of the service; `None` for HTTP without TLS.
    pub tls: Option<Tls>,
    /// The proxies whose headers are believed.
    pub proxies: Proxies,
    /// The host names by which browsers reach the service, besides `localhost` and addresses.
    pub hosts: Vec<String>,
    /// The changes that requests may make.
    pub allow: Vec<Permission>,
    /// True if the service runs jobs by their schedules.
    pub schedule: bool,
    /// The clusters whose WAL the service receives.
    pub wal_receive: BTreeSet<String>,
    /// The number of tasks that run at once.
    pub runs_at_once: usize,
    /// The time between two reads of the destinations.
    pub refresh: TimeSpan,
    /// The time that a stop waits for tasks in progress before it ends them.
    pub stop_timeout: TimeSpan,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            auth: Auth::Loopback,
            tls: None,
            proxies: Proxies::default(),
            hosts: Vec::new(),
            allow: Vec::new(),
            schedule: false,
            wal_receive: BTreeSet::new(),
            runs_at_once: 1,
            refresh: REFRESH,
            stop_timeout: STOP_TIMEOUT,
        }
    }
}

/// The address or socket of the service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub enum Listen {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a socket.
    Unix(PathBuf),
}

impl Default for Listen {
    fn default() -> Self {
        Self::Tcp(SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT)))
    }
}

impl Listen {
    /// Returns true if only this host can reach the service.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(PathBuf::from(path))),
            Some(_) => Err(format!("\"{text}\" is not the path of a socket: write unix:/run/longshore/serve.sock")),
            None => text.parse().map(Self::Tcp).map_err(|_| {
                format!("\"{text}\" is not an address: write ADDRESS:PORT, such as 127.0.0.1:8470, or unix:PATH")
            }),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A change that requests may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// Start jobs.
    Run,
}

/// `[serve]`: the settings of `longshore serve`.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    /// The address and port, such as `"127.0.0.1:8470"`, or the socket, such as
    /// `"unix:/run/longshore/serve.sock"`.
    #[serde(default)]
    listen: Listen,
    /// Permits requests without a token from other hosts.
    auth: Option<AuthWord>,
    /// The tokens that permit requests.
    #[schemars(length(min = 1))]
    tokens: Option<Vec<TokenFile>>,
    /// The file with the certificate of the service and its issuers: the service then answers
    /// HTTPS only.
    tls_cert: Option<PathBuf>,
    /// The file with the private key of the certificate.
    tls_key: Option<PathBuf>,
    /// The file with the authorities of client certificates.
    client_ca: Option<PathBuf>,
    /// The users that a client certificate or a proxy names, with their roles.
    #[serde(default)]
    users: Vec<auth::User>,
    /// The addresses of proxies whose headers are believed; `"unix"` for clients of the socket.
    #[serde(default)]
    proxies: Vec<ProxyAddress>,
    /// The header in which a proxy names the user, such as `"X-Remote-User"`.
    proxy_user_header: Option<String>,
    /// The header in which a proxy names the client, by default `"X-Forwarded-For"`.
    proxy_client_header: Option<String>,
    /// The host names by which browsers reach the service, besides `localhost` and addresses.
    #[serde(default)]
    hosts: Vec<String>,
    /// The changes that requests may make.
    #[serde(default)]
    allow: Vec<Permission>,
    /// True if the service runs jobs by their schedules.
    #[serde(default)]
    schedule: bool,
    /// The clusters whose WAL the service receives: true for all with an archive, or a list.
    #[schemars(with = "Option<WrittenReceive>")]
    wal_receive: Option<Spanned<WrittenReceive>>,
    /// The maximum number of jobs that run at a time, by default 1.
    #[schemars(range(min = 1, max = 64))]
    runs_at_once: Option<usize>,
    /// The time between two reads of the destinations, by default `"5m"`.
    refresh: Option<TimeSpan>,
    /// The time that a stop waits for jobs in progress before it ends them, by default `"60s"`.
    stop_timeout: Option<TimeSpan>,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthWord {
    /// None; another program or network protects the service.
    None,
}

/// The clusters whose WAL the service receives, as written.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "WalReceive")]
pub(crate) enum WrittenReceive {
    /// All clusters with an archive, or none.
    All(bool),
    /// These clusters.
    Clusters(BTreeSet<String>),
    /// A mistake whose error shows the right form.
    #[schemars(skip)]
    Name(String),
}

/// Reads the table, and returns also the clusters whose WAL the service receives, as written.
pub(crate) fn settings(
    value: Spanned<DeValue<'_>>,
) -> Result<(ServeSettings, Option<Spanned<WrittenReceive>>), ConfigError> {
    let span = value.span();
    let written: Written = read(value)?;
    let Written { listen, hosts, allow, schedule, wal_receive, runs_at_once, refresh, stop_timeout, .. } = written;
    let refuse = |message: &str| Err(ConfigError::at(span.clone(), message));
    let auth = auth::Written {
        is_none: written.auth.is_some(),
        tokens: written.tokens,
        users: written.users,
        tls_cert: written.tls_cert,
        tls_key: written.tls_key,
        client_ca: written.client_ca,
        proxies: written.proxies,
        proxy_user_header: written.proxy_user_header,
        proxy_client_header: written.proxy_client_header,
    };
    let invalid = |message: String| ConfigError::at(span.clone(), format!("serve: {message}"));
    let (auth, tls, proxies) = auth.resolve().map_err(invalid)?;
    let runs_at_once = runs_at_once.unwrap_or(1);
    if !(1..=64).contains(&runs_at_once) {
        return refuse("serve: runs_at_once must be from 1 to 64");
    }
    let refresh = refresh.unwrap_or(REFRESH);
    if refresh.duration() < Duration::from_secs(1) {
        return refuse("serve: refresh must be at least \"1s\"");
    }
    let stop_timeout = stop_timeout.unwrap_or(STOP_TIMEOUT);
    let settings = ServeSettings {
        listen,
        auth,
        tls,
        proxies,
        hosts,
        allow,
        schedule,
        wal_receive: BTreeSet::new(),
        runs_at_once,
        refresh,
        stop_timeout,
    };
    Ok((settings, wal_receive))
}

/// Returns the clusters whose WAL the service receives.
pub(crate) fn received_clusters(
    written: Spanned<WrittenReceive>,
    archives: &BTreeMap<String, WalArchive>,
) -> Result<BTreeSet<String>, ConfigError> {
    let span = written.span();
    let invalid = |message: String| ConfigError::at(span.clone(), format!("serve: wal_receive: {message}"));
    match written.into_inner() {
        WrittenReceive::All(false) => Ok(BTreeSet::new()),
        WrittenReceive::Name(name) => {
            Err(invalid(format!("must be true, or a list of clusters such as [{}]", quote_unless_secret(&name))))
        }
        WrittenReceive::All(true) if archives.is_empty() => {
            Err(invalid("no cluster has an archive: add a table [cluster.NAME.wal]".to_owned()))
        }
        WrittenReceive::All(true) => Ok(archives.keys().cloned().collect()),
        WrittenReceive::Clusters(names) => {
            for name in &names {
                look_up(archives, name, "cluster with an archive").map_err(invalid)?;
            }
            Ok(names)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(lines: &str) -> Result<ServeSettings, String> {
        let table = toml::de::DeTable::parse(lines).unwrap();
        let value = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
        settings(value).map(|(settings, _)| settings).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn contradictory_authentication_is_refused() {
        let users = "users = [{ name = 'alice', role = 'run' }]\n";
        let tls = "tls_cert = 'a'\ntls_key = 'b'\n";
        for (lines, expected) in [
            ("tls_cert = 'a'".to_owned(), "needs tls_key"),
            ("tls_key = 'a'".to_owned(), "needs tls_cert"),
            (format!("client_ca = 'c'\n{users}"), "client_ca needs tls_cert"),
            (format!("{tls}client_ca = 'c'"), "users is missing"),
            (users.to_owned(), "users need client_ca"),
            (format!("proxy_user_header = 'X-User'\n{users}"), "proxy_user_header needs proxies"),
            (format!("proxies = ['unix']\nproxy_user_header = 'Cookie'\n{users}"), "not a header of a proxy"),
            ("proxies = ['proxy.example']".to_owned(), "not the address of a proxy"),
            (format!("{tls}client_ca = 'c'\nauth = 'none'\n{users}"), "both auth = \"none\" and users"),
            ("auth = 'none'\ntokens = []".to_owned(), "both auth = \"none\" and tokens"),
            ("tokens = []".to_owned(), "tokens is empty"),
        ] {
            let message = auth(&lines).unwrap_err();
            assert!(message.contains(expected), "{lines}: {message}");
        }
        let settings =
            auth(&format!("proxies = ['127.0.0.1', 'unix']\nproxy_user_header = 'X-User'\n{users}")).unwrap();
        let Auth::Required(credentials) = settings.auth else { panic!("{:?}", settings.auth) };
        assert_eq!((credentials.user_header.as_deref(), credentials.users["alice"]), (Some("x-user"), Role::Run));
        let proxies = settings.proxies;
        let contains = |address: &str| proxies.contains(Some(address.parse().unwrap()));
        assert!(proxies.contains(None) && contains("127.0.0.1") && contains("::ffff:127.0.0.1"));
        assert!(!contains("127.0.0.2") && !contains("::1") && !Proxies::default().contains(None));
        assert_eq!(auth(tls).unwrap().auth, Auth::Loopback);
    }

    #[test]
    fn addresses_and_sockets_are_parsed() {
        let listen = |text: &str| text.parse::<Listen>();
        assert!(listen("127.0.0.1:80").unwrap().is_local() && listen("[::1]:80").unwrap().is_local());
        assert!(listen("unix:/run/x.sock").unwrap().is_local() && !listen("0.0.0.0:80").unwrap().is_local());
        for wrong in ["", "8470", "localhost:80", "unix:x.sock", "127.0.0.1"] {
            assert!(listen(wrong).is_err(), "{wrong}");
        }
        assert_eq!(listen("unix:/run/x.sock").unwrap().to_string(), "unix:/run/x.sock");
    }
}
