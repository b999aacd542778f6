//! `[serve]`: the settings of the service.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use longshore_core::unit::TimeSpan;
use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use crate::error::ConfigError;
use crate::table::read;

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
    /// The host names by which browsers reach the service, besides `localhost` and addresses.
    pub hosts: Vec<String>,
    /// The changes that requests may make.
    pub allow: Vec<Permission>,
    /// True if the service runs jobs by their schedules.
    pub schedule: bool,
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
            hosts: Vec::new(),
            allow: Vec::new(),
            schedule: false,
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

/// The authentication of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// None; the service listens only where other hosts cannot reach it.
    Loopback,
    /// None; another program or network protects the service.
    None,
    /// Each request has one of these tokens.
    Tokens(Vec<TokenFile>),
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
    /// The host names by which browsers reach the service, besides `localhost` and addresses.
    #[serde(default)]
    hosts: Vec<String>,
    /// The changes that requests may make.
    #[serde(default)]
    allow: Vec<Permission>,
    /// True if the service runs jobs by their schedules.
    #[serde(default)]
    schedule: bool,
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

/// Reads the table.
pub(crate) fn settings(value: Spanned<DeValue<'_>>) -> Result<ServeSettings, ConfigError> {
    let span = value.span();
    let Written { listen, auth, tokens, hosts, allow, schedule, runs_at_once, refresh, stop_timeout } = read(value)?;
    let refuse = |message: &str| Err(ConfigError::at(span.clone(), message));
    let auth = match (auth, tokens) {
        (Some(AuthWord::None), Some(_)) => return refuse("serve: has both auth = \"none\" and tokens: remove one"),
        (None, Some(tokens)) if tokens.is_empty() => {
            return refuse("serve: tokens is empty: add a token, or remove it");
        }
        (Some(AuthWord::None), None) => Auth::None,
        (None, Some(tokens)) => Auth::Tokens(tokens),
        (None, None) => Auth::Loopback,
    };
    let runs_at_once = runs_at_once.unwrap_or(1);
    if !(1..=64).contains(&runs_at_once) {
        return refuse("serve: runs_at_once must be from 1 to 64");
    }
    let refresh = refresh.unwrap_or(REFRESH);
    if refresh.duration() < Duration::from_secs(1) {
        return refuse("serve: refresh must be at least \"1s\"");
    }
    let stop_timeout = stop_timeout.unwrap_or(STOP_TIMEOUT);
    Ok(ServeSettings { listen, auth, hosts, allow, schedule, runs_at_once, refresh, stop_timeout })
}

#[cfg(test)]
mod tests {
    use super::*;

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
