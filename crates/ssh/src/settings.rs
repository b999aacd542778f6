//! The connection settings of all plugins that use SSH.

use std::path::PathBuf;
use std::time::Duration;

use longshore_core::{Error, Kind, Result, Stage};

/// Defines a plugin's settings: its own, and the connection settings, which become a
/// [`ConnectOptions`](ConnectOptions).
#[macro_export]
macro_rules! settings {
    ($(#[$about:meta])* pub struct $name:ident { $($own:tt)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// The host: a name from `~/.ssh/config`, or `user@host`.
            pub host: String,
            /// The port. By default ssh decides.
            pub port: Option<u16>,
            /// The only private key to use. By default ssh uses its usual keys, including agents.
            pub identity_file: Option<std::path::PathBuf>,
            /// The file of trusted host keys. By default ssh's own. Unknown host keys are always
            /// rejected.
            pub known_hosts_file: Option<std::path::PathBuf>,
            /// The configuration file of ssh. By default the user's and the system's.
            pub config_file: Option<std::path::PathBuf>,
            /// The jump hosts, in the syntax of ssh's ProxyJump.
            #[serde(default)]
            pub jump: Vec<String>,
            /// The time limit for connecting, by default `"10s"`.
            pub connect_timeout: Option<longshore_core::unit::TimeSpan>,
            $($own)*
        }

        impl $name {
            /// Returns the connection settings, with the time without an answer after which the
            /// connection ends. Fails if they are invalid.
            pub(crate) fn connect_options(&self, stall_timeout: std::time::Duration) -> longshore_core::Result<$crate::settings::ConnectOptions> {
                let options = $crate::settings::ConnectOptions {
                    host: self.host.clone(),
                    port: self.port,
                    identity_file: longshore_core::credential::optional(self.identity_file.as_ref())?,
                    known_hosts_file: longshore_core::credential::optional(self.known_hosts_file.as_ref())?,
                    config_file: longshore_core::credential::optional(self.config_file.as_ref())?,
                    jump: self.jump.clone(),
                    connect_timeout: self.connect_timeout.map_or($crate::settings::CONNECT_TIMEOUT, |span| span.duration()),
                    stall_timeout,
                };
                options.validated()
            }
        }
    };
}

/// The default time limit for connecting.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The connection settings of a host.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// A name from `~/.ssh/config`, or `user@host`.
    pub host: String,
    /// The port.
    pub port: Option<u16>,
    /// The only private key to use.
    pub identity_file: Option<PathBuf>,
    /// The file of trusted host keys.
    pub known_hosts_file: Option<PathBuf>,
    /// The configuration file of ssh.
    pub config_file: Option<PathBuf>,
    /// The jump hosts.
    pub jump: Vec<String>,
    /// The time limit for connecting.
    pub connect_timeout: Duration,
    /// The time without an answer after which the connection ends.
    pub stall_timeout: Duration,
}

impl ConnectOptions {
    /// Validates the settings. A host that begins with a dash would be an option of ssh.
    #[doc(hidden)]
    pub fn validated(self) -> Result<Self> {
        let is_valid_host = |text: &str| {
            let is_invalid = |char: char| char.is_whitespace() || char.is_control() || char == ',';
            !text.is_empty() && !text.starts_with('-') && !text.contains(is_invalid)
        };
        for (setting, host) in [("host", &self.host)].into_iter().chain(self.jump.iter().map(|host| ("jump", host))) {
            if !is_valid_host(host) || host.contains("://") {
                let message = format!("invalid host \"{host}\"");
                return Err(usage(
                    setting,
                    message,
                    "use a name from ~/.ssh/config, or user@host; set the port with port",
                ));
            }
        }
        if self.connect_timeout.is_zero() {
            return Err(usage("connect_timeout", "must be more than zero", "use a duration such as \"10s\""));
        }
        if self.known_hosts_file.as_ref().is_some_and(|file| file.to_string_lossy().contains(char::is_whitespace)) {
            let message = "ssh does not accept blanks in the path";
            return Err(usage("known_hosts_file", message, "use a path without blanks"));
        }
        Ok(self)
    }
}

/// Validates the path of a directory on a host: absolute and without `..`.
pub fn absolute_path(path: &str) -> Result<String> {
    let is_invalid = |part: &str| part == ".." || part.contains(char::is_control);
    if !path.starts_with('/') || path.split('/').any(is_invalid) {
        let message = format!("\"{path}\" is not an absolute path without \"..\"");
        return Err(usage("path", message, "use an absolute path on that host, such as \"/srv/backups\""));
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
        /// The settings of a test.
        #[allow(unreachable_pub)] // as a plugin has them
        pub struct TestSettings {
            /// Its own.
            pub own: Option<String>,
        }
    }

    fn read(settings: Value) -> Result<TestSettings, String> {
        serde_json::from_value(settings).map_err(|error| error.to_string())
    }

    #[test]
    fn unknown_setting_error_lists_known_settings() {
        let error = read(json!({ "host": "backup1", "password": "x" })).unwrap_err();
        for name in ["password", "identity_file", "connect_timeout", "own"] {
            assert!(error.contains(name), "{error}");
        }
        assert_eq!(read(json!({ "host": "backup1", "own": "x" })).unwrap().own.unwrap(), "x");
    }

    #[test]
    fn rejects_hosts_that_are_options_or_have_blanks() {
        for bad in ["", "-oProxyCommand=id", "a b", "a\nb", "ssh://a", "a,b"] {
            let error =
                read(json!({ "host": bad })).unwrap().connect_options(std::time::Duration::from_secs(600)).unwrap_err();
            assert_eq!((error.kind(), error.subject()), (Kind::Usage, "host"), "{bad:?}");
            let error = read(json!({ "host": "a", "jump": ["b", bad] }))
                .unwrap()
                .connect_options(std::time::Duration::from_secs(600))
                .unwrap_err();
            assert_eq!((error.kind(), error.subject()), (Kind::Usage, "jump"), "{bad:?}");
        }
        let error = read(json!({ "host": "a", "known_hosts_file": "/a b" }))
            .unwrap()
            .connect_options(std::time::Duration::from_secs(600))
            .unwrap_err();
        assert_eq!(error.subject(), "known_hosts_file");
        assert!(
            read(json!({ "host": "backup@backup1.example.net", "jump": ["bastion:2222"] }))
                .unwrap()
                .connect_options(std::time::Duration::from_secs(600))
                .is_ok()
        );
    }

    #[test]
    fn connect_timeout_defaults_to_ten_seconds() {
        let timeout = |settings| {
            read(settings)
                .unwrap()
                .connect_options(std::time::Duration::from_secs(600))
                .map(|options| options.connect_timeout.as_secs())
        };
        assert_eq!(timeout(json!({ "host": "a" })).unwrap(), 10);
        assert_eq!(timeout(json!({ "host": "a", "connect_timeout": "2m" })).unwrap(), 120);
        assert_eq!(timeout(json!({ "host": "a", "connect_timeout": "0s" })).unwrap_err().subject(), "connect_timeout");
    }

    #[test]
    fn accepts_only_absolute_paths() {
        assert_eq!(absolute_path("/srv/backups/").unwrap(), "/srv/backups");
        assert_eq!(absolute_path("/").unwrap(), "/");
        for bad in ["", "backups", "~/backups", "/srv/../etc", "/srv\n"] {
            assert_eq!(absolute_path(bad).unwrap_err().subject(), "path", "{bad:?}");
        }
    }
}
