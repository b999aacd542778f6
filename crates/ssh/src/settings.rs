//! How a host is reached: settings that all plugins of this kind have.

use std::path::PathBuf;
use std::time::Duration;

use longshore_core::{Error, Kind, Result, Stage};

/// Makes a plugin's settings: its own, and those that say how the host is reached, which [`reach`](Reach) brings together.
#[macro_export]
macro_rules! settings {
    ($(#[$about:meta])* pub struct $name:ident { $($own:tt)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// The host: a name of `~/.ssh/config`, or `user@host`.
            pub host: String,
            /// Its port; without it ssh decides.
            pub port: Option<u16>,
            /// The private key, and no other; without it ssh's usual ones, agents included.
            pub identity_file: Option<std::path::PathBuf>,
            /// The host keys that are trusted; without it those that ssh trusts. Unknown ones never are.
            pub known_hosts_file: Option<std::path::PathBuf>,
            /// ssh's configuration; without it the user's and the system's.
            pub config_file: Option<std::path::PathBuf>,
            /// Hosts on the way, as ssh's ProxyJump takes them.
            #[serde(default)]
            pub jump: Vec<String>,
            /// How long connecting may take, such as `"10s"`, which it is by default.
            pub connect_timeout: Option<longshore_core::quantity::Span>,
            $($own)*
        }

        impl $name {
            /// How the host is reached, if that can work.
            pub(crate) fn reach(&self) -> longshore_core::Result<$crate::settings::Reach> {
                let reach = $crate::settings::Reach {
                    host: self.host.clone(),
                    port: self.port,
                    identity_file: longshore_core::credential::optional(self.identity_file.as_ref())?,
                    known_hosts_file: longshore_core::credential::optional(self.known_hosts_file.as_ref())?,
                    config_file: longshore_core::credential::optional(self.config_file.as_ref())?,
                    jump: self.jump.clone(),
                    connect_timeout: self.connect_timeout.map_or($crate::settings::CONNECT_TIMEOUT, |span| span.duration()),
                    stall_timeout: longshore_core::berth::STALL_TIMEOUT,
                };
                reach.sound()
            }
        }
    };
}

/// How long connecting may take where nothing is said.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How a host is reached.
#[derive(Debug, Clone)]
pub struct Reach {
    /// A name of `~/.ssh/config`, or `user@host`.
    pub host: String,
    /// Its port.
    pub port: Option<u16>,
    /// The private key, and no other.
    pub identity_file: Option<PathBuf>,
    /// The host keys that are trusted.
    pub known_hosts_file: Option<PathBuf>,
    /// ssh's configuration.
    pub config_file: Option<PathBuf>,
    /// Hosts on the way.
    pub jump: Vec<String>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// The time that the host may be silent where an answer is due. The connection ends then, and all that waits for it.
    pub stall_timeout: Duration,
}

impl Reach {
    /// Says what cannot work. A host that began with a dash would be an option of ssh.
    #[doc(hidden)]
    pub fn sound(self) -> Result<Self> {
        let name = |text: &str| {
            let odd = |char: char| char.is_whitespace() || char.is_control() || char == ',';
            !text.is_empty() && !text.starts_with('-') && !text.contains(odd)
        };
        for (setting, host) in [("host", &self.host)].into_iter().chain(self.jump.iter().map(|host| ("jump", host))) {
            if !name(host) || host.contains("://") {
                let message = format!("\"{host}\" is not a host");
                return Err(usage(
                    setting,
                    message,
                    "write a name of ~/.ssh/config, or user@host; the port is a setting of its own",
                ));
            }
        }
        if self.connect_timeout.is_zero() {
            return Err(usage(
                "connect_timeout",
                "no connection is made in no time",
                "write how long it may take, such as \"10s\"",
            ));
        }
        if self.known_hosts_file.as_ref().is_some_and(|file| file.to_string_lossy().contains(char::is_whitespace)) {
            let message = "ssh takes a blank in it for the end of the name";
            return Err(usage("known_hosts_file", message, "give the file a name without blanks"));
        }
        Ok(self)
    }
}

/// A directory on a host, written from its root, without anything that could lead elsewhere.
pub fn root(path: &str) -> Result<String> {
    let odd = |part: &str| part == ".." || part.contains(char::is_control);
    if !path.starts_with('/') || path.split('/').any(odd) {
        let message = format!("\"{path}\" is not an absolute path without \"..\"");
        return Err(usage("path", message, "write it from the root of that host, such as \"/srv/backups\""));
    }
    let path = path.trim_end_matches('/');
    Ok(if path.is_empty() { "/".to_owned() } else { path.to_owned() })
}

fn usage(setting: &str, message: impl Into<String>, hint: &str) -> Error {
    Error::new(Stage::Config, Kind::Usage, setting, message).hint(hint)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    settings! {
        /// Settings of nobody.
        #[allow(unreachable_pub)] // as a plugin has them
        pub struct Nobody {
            /// Its own.
            pub own: Option<String>,
        }
    }

    fn read(settings: Value) -> Result<Nobody, String> {
        serde_json::from_value(settings).map_err(|error| error.to_string())
    }

    #[test]
    fn an_unknown_setting_is_an_error_that_names_the_known_ones() {
        let error = read(json!({ "host": "backup1", "password": "x" })).unwrap_err();
        for name in ["password", "identity_file", "connect_timeout", "own"] {
            assert!(error.contains(name), "{error}");
        }
        assert_eq!(read(json!({ "host": "backup1", "own": "x" })).unwrap().own.unwrap(), "x");
    }

    #[test]
    fn a_host_is_never_an_option_nor_two_words() {
        for bad in ["", "-oProxyCommand=id", "a b", "a\nb", "ssh://a", "a,b"] {
            let error = read(json!({ "host": bad })).unwrap().reach().unwrap_err();
            assert_eq!((error.kind(), error.subject()), (Kind::Usage, "host"), "{bad:?}");
            let error = read(json!({ "host": "a", "jump": ["b", bad] })).unwrap().reach().unwrap_err();
            assert_eq!((error.kind(), error.subject()), (Kind::Usage, "jump"), "{bad:?}");
        }
        let error = read(json!({ "host": "a", "known_hosts_file": "/a b" })).unwrap().reach().unwrap_err();
        assert_eq!(error.subject(), "known_hosts_file");
        assert!(
            read(json!({ "host": "backup@backup1.example.net", "jump": ["bastion:2222"] })).unwrap().reach().is_ok()
        );
    }

    #[test]
    fn connecting_takes_ten_seconds_at_most_unless_it_is_said_otherwise() {
        let timeout = |settings| read(settings).unwrap().reach().map(|reach| reach.connect_timeout.as_secs());
        assert_eq!(timeout(json!({ "host": "a" })).unwrap(), 10);
        assert_eq!(timeout(json!({ "host": "a", "connect_timeout": "2m" })).unwrap(), 120);
        assert_eq!(timeout(json!({ "host": "a", "connect_timeout": "0s" })).unwrap_err().subject(), "connect_timeout");
    }

    #[test]
    fn a_directory_is_written_from_the_root() {
        assert_eq!(root("/srv/backups/").unwrap(), "/srv/backups");
        assert_eq!(root("/").unwrap(), "/");
        for bad in ["", "backups", "~/backups", "/srv/../etc", "/srv\n"] {
            assert_eq!(root(bad).unwrap_err().subject(), "path", "{bad:?}");
        }
    }
}
