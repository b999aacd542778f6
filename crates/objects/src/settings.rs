//! The settings of all object stores, and their conversion to a client and its uploads.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use longshore_core::unit::{ByteSize, TimeSpan};
use longshore_core::{Error, Kind, Result, Stage};
use object_store::{Certificate, ClientOptions, RetryConfig};

use crate::connector::{self, Connector, RequestHook};
use crate::part_size::PartSize;
use crate::transfer::Transfer;

/// Defines a plugin's settings: its own, and those of all object stores, which become a
/// [`ConnectionSettings`](ConnectionSettings).
#[macro_export]
macro_rules! settings {
    ($(#[$about:meta])* pub struct $name:ident { $($own:tt)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($own)*
            /// A folder in the bucket.
            pub prefix: Option<String>,
            /// The address, such as `https://s3.example.net`, if it is not the usual one of this
            /// type.
            pub endpoint: Option<String>,
            /// Permits an `http://` endpoint.
            #[serde(default)]
            pub allow_http: bool,
            /// Additional trusted certificates, in PEM.
            pub ca_file: Option<std::path::PathBuf>,
            /// The size of the first parts of large bodies.
            #[serde(default = "longshore_objects::settings::default_part_size")]
            pub part_size: longshore_core::unit::ByteSize,
            /// The number of parts that are sent at once, while they are small.
            #[serde(default = "longshore_objects::settings::default_parts_at_once")]
            pub parts_at_once: usize,
            /// The minimum rate of an upload, in bytes per second. A slower request has stalled and
            /// is retried.
            #[serde(default = "longshore_objects::settings::default_min_rate")]
            pub min_rate: longshore_core::unit::ByteSize,
            /// The time without data after which a request fails.
            #[serde(default = "longshore_objects::settings::default_timeout")]
            pub timeout: longshore_core::unit::TimeSpan,
            /// The number of retries of a request.
            #[serde(default = "longshore_objects::settings::default_retries")]
            pub retries: usize,
        }

        impl $name {
            /// Returns the connection settings. Fails if they are invalid.
            pub(crate) fn connection(&self) -> longshore_core::Result<$crate::settings::ConnectionSettings> {
                let connection = $crate::settings::ConnectionSettings {
                    endpoint: self.endpoint.clone(),
                    allow_http: self.allow_http,
                    ca_file: self.ca_file.clone(),
                    part_size: self.part_size,
                    parts_at_once: self.parts_at_once,
                    min_rate: self.min_rate,
                    timeout: self.timeout,
                    retries: self.retries,
                };
                connection.validate()
            }
        }
    };
}

/// The connection settings of a store.
#[derive(Debug, Clone)]
pub struct ConnectionSettings {
    /// The address of the store.
    pub endpoint: Option<String>,
    /// Permits connections without TLS.
    pub allow_http: bool,
    /// Additional trusted certificates.
    pub ca_file: Option<PathBuf>,
    /// The size of the first parts of large bodies.
    pub part_size: ByteSize,
    /// The number of parts that are sent at once, while they are small.
    pub parts_at_once: usize,
    /// The minimum rate of an upload, in bytes per second.
    pub min_rate: ByteSize,
    /// The time without data after which a request fails.
    pub timeout: TimeSpan,
    /// The number of retries of a request.
    pub retries: usize,
}

impl ConnectionSettings {
    /// Validates the settings.
    #[doc(hidden)]
    pub fn validate(self) -> Result<Self> {
        let invalid = |subject: &str, message: &str, hint: &str| {
            Err(Error::new(Stage::Config, Kind::Usage, subject, message).hint(hint))
        };
        if !(5 << 20..=4000 << 20).contains(&self.part_size.bytes()) {
            let hint = "omit it, or set it to a size such as \"64MiB\"";
            return invalid("part_size", "must be 5 MiB to 4,000 MiB", hint);
        }
        if !(1..=64).contains(&self.parts_at_once) {
            return invalid("parts_at_once", "must be 1 to 64", "omit it to use the default, 4");
        }
        if self.min_rate.bytes() == 0 || self.timeout.duration().is_zero() {
            let hint = "omit them, or set them to more than zero";
            return invalid("min_rate, timeout", "must be more than zero", hint);
        }
        match self.endpoint.as_deref() {
            Some(endpoint) if endpoint.starts_with("http://") && !self.allow_http => {
                let message = "requests would be unencrypted, including the names of backups";
                invalid(endpoint, message, "use https://, or set allow_http = true")
            }
            Some(endpoint) if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") => {
                invalid(endpoint, "not a URL", "start it with https://")
            }
            _ => Ok(self),
        }
    }

    /// Returns the options of every client.
    pub fn options(&self) -> Result<ClientOptions> {
        let options = connector::client_options(self.timeout.duration()).with_allow_http(self.allow_http);
        match longshore_core::credential::optional(self.ca_file.as_ref())? {
            Some(path) => add_certificates(options, &path),
            None => Ok(options),
        }
    }

    /// Returns a connector for clients that add headers to their requests.
    pub fn connector(&self, hook: Arc<dyn RequestHook>) -> Connector {
        Connector { min_rate: self.min_rate.bytes(), timeout: self.timeout.duration(), hook }
    }

    /// Returns the retry policy: a fixed number of retries with growing waits. The time that
    /// earlier attempts took does not reduce the number.
    pub fn retry(&self) -> RetryConfig {
        let retry_timeout = Duration::from_secs(86_400);
        RetryConfig { max_retries: self.retries, retry_timeout, ..RetryConfig::default() }
    }

    /// Returns the settings of uploads, with parts that grow.
    pub fn transfer(&self) -> Transfer {
        let part_size = PartSize::Growing(self.part_size.bytes());
        Transfer { part_size, parallel: self.parts_at_once, retries: self.retries }
    }
}

/// Adds the certificates in a PEM file to the trusted ones.
pub fn add_certificates(options: ClientOptions, path: &Path) -> Result<ClientOptions> {
    let subject = || path.display().to_string();
    let text =
        fs::read(path).map_err(|error| Error::io(Stage::Config, subject(), "cannot read the certificates", error))?;
    let invalid = |message: &str| {
        Error::new(Stage::Config, Kind::Usage, subject(), message)
            .hint("use PEM certificates: -----BEGIN CERTIFICATE-----")
    };
    let certificates =
        Certificate::from_pem_bundle(&text).map_err(|error| invalid("contains no certificates").because(error))?;
    if certificates.is_empty() {
        return Err(invalid("contains no certificates"));
    }
    Ok(certificates.into_iter().fold(options, ClientOptions::with_root_certificate))
}

/// The default number of retries, which take about a minute.
pub fn default_retries() -> usize {
    8
}

/// The default number of parts that are sent at once.
pub fn default_parts_at_once() -> usize {
    4
}

/// The default size of the first parts.
pub fn default_part_size() -> ByteSize {
    ByteSize::new(8 << 20)
}

/// The default time without data after which a request fails.
pub fn default_timeout() -> TimeSpan {
    TimeSpan::new(Duration::from_secs(60))
}

/// The default minimum rate of an upload, in bytes per second.
pub fn default_min_rate() -> ByteSize {
    ByteSize::new(16 << 10)
}
