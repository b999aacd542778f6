//! Settings that all object stores have, and what they come to: a client, and how bodies are sent.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use longshore_core::quantity::{Size, Span};
use longshore_core::{Error, Kind, Result, Stage};
use object_store::{Certificate, ClientOptions, RetryConfig};

use crate::part::PartSize;
use crate::transfer::Transfer;
use crate::wire::{self, Dress, Wire};

/// Makes a plugin's settings: its own, and those that all object stores have, which [`reach`](Reach) brings together.
#[macro_export]
macro_rules! settings {
    ($(#[$about:meta])* pub struct $name:ident { $($own:tt)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($own)*
            /// A folder in it.
            pub prefix: Option<String>,
            /// The address, such as `https://s3.example.net`, where it is not the one that belongs to this type.
            pub endpoint: Option<String>,
            /// Whether an `http://` endpoint is good enough.
            #[serde(default)]
            pub allow_http: bool,
            /// Certificates to trust beside the system's, in PEM.
            pub ca_file: Option<std::path::PathBuf>,
            /// The size of the first parts of large bodies.
            #[serde(default = "longshore_objects::settings::default_part_size")]
            pub part_size: longshore_core::quantity::Size,
            /// How many parts are sent at once, while they are small.
            #[serde(default = "longshore_objects::settings::default_parts_at_once")]
            pub parts_at_once: usize,
            /// The slowest that an upload may be, in bytes a second: what takes longer has stalled, and is sent again.
            #[serde(default = "longshore_objects::settings::default_min_rate")]
            pub min_rate: longshore_core::quantity::Size,
            /// How long nothing may come where an answer is awaited.
            #[serde(default = "longshore_objects::settings::default_timeout")]
            pub timeout: longshore_core::quantity::Span,
            /// How often a request is sent again.
            #[serde(default = "longshore_objects::settings::default_retries")]
            pub retries: usize,
        }

        impl $name {
            /// How the store is reached, if that can work.
            pub(crate) fn reach(&self) -> longshore_core::Result<$crate::settings::Reach> {
                let reach = $crate::settings::Reach {
                    endpoint: self.endpoint.clone(),
                    allow_http: self.allow_http,
                    ca_file: self.ca_file.clone(),
                    part_size: self.part_size,
                    parts_at_once: self.parts_at_once,
                    min_rate: self.min_rate,
                    timeout: self.timeout,
                    retries: self.retries,
                };
                reach.sound()
            }
        }
    };
}

/// How a store is reached.
#[derive(Debug, Clone)]
pub struct Reach {
    /// Its address.
    pub endpoint: Option<String>,
    /// Whether it may be without TLS.
    pub allow_http: bool,
    /// Certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The size of the first parts of large bodies.
    pub part_size: Size,
    /// How many parts are sent at once, while they are small.
    pub parts_at_once: usize,
    /// The slowest that an upload may be, in bytes a second.
    pub min_rate: Size,
    /// How long nothing may come.
    pub timeout: Span,
    /// How often a request is sent again.
    pub retries: usize,
}

impl Reach {
    /// Says what cannot work.
    #[doc(hidden)]
    pub fn sound(self) -> Result<Self> {
        let wrong = |subject: &str, message: &str, hint: &str| {
            Err(Error::new(Stage::Config, Kind::Usage, subject, message).hint(hint))
        };
        if !(5 << 20..=4000 << 20).contains(&self.part_size.bytes()) {
            let hint = "leave it out, or set it to such as \"64MiB\"";
            return wrong("part_size", "stores take parts of 5 MiB to 4,000 MiB", hint);
        }
        if !(1..=64).contains(&self.parts_at_once) {
            return wrong("parts_at_once", "1 to 64 parts may be sent at once", "leave it out, and 4 are");
        }
        if self.min_rate.bytes() == 0 || self.timeout.duration().is_zero() {
            let hint = "leave them out, or set them to more than nothing";
            return wrong("min_rate, timeout", "no upload ends in no time", hint);
        }
        match self.endpoint.as_deref() {
            Some(endpoint) if endpoint.starts_with("http://") && !self.allow_http => {
                let message = "would send everything unencrypted, the names of backups among it";
                wrong(endpoint, message, "use https://, or say allow_http = true")
            }
            Some(endpoint) if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") => {
                wrong(endpoint, "not an address", "write it with https:// before it")
            }
            _ => Ok(self),
        }
    }

    /// What every client is made with.
    pub fn options(&self) -> Result<ClientOptions> {
        let options = wire::options(self.timeout.duration()).with_allow_http(self.allow_http);
        match longshore_core::credential::optional(self.ca_file.as_ref())? {
            Some(path) => trust(options, &path),
            None => Ok(options),
        }
    }

    /// Makes clients whose requests are dressed.
    pub fn wire(&self, dress: Arc<dyn Dress>) -> Wire {
        Wire { min_rate: self.min_rate.bytes(), silence: self.timeout.duration(), dress }
    }

    /// How requests are sent again: so often, with growing waits. The time it took before is no reason to give up.
    pub fn retry(&self) -> RetryConfig {
        let retry_timeout = Duration::from_secs(86_400);
        RetryConfig { max_retries: self.retries, retry_timeout, ..RetryConfig::default() }
    }

    /// How bodies are sent, in parts that grow.
    pub fn transfer(&self) -> Transfer {
        let part = PartSize::Growing(self.part_size.bytes());
        Transfer { part, parallel: self.parts_at_once, retries: self.retries }
    }
}

/// Trusts the certificates in a PEM file, too.
pub fn trust(options: ClientOptions, path: &Path) -> Result<ClientOptions> {
    let subject = || path.display().to_string();
    let text =
        fs::read(path).map_err(|error| Error::io(Stage::Config, subject(), "cannot read the certificates", error))?;
    let unfit = |message: &str| {
        Error::new(Stage::Config, Kind::Usage, subject(), message)
            .hint("write certificates in PEM: -----BEGIN CERTIFICATE-----")
    };
    let certificates = Certificate::from_pem_bundle(&text).map_err(|error| unfit("no certificates").because(error))?;
    if certificates.is_empty() {
        return Err(unfit("no certificates"));
    }
    Ok(certificates.into_iter().fold(options, ClientOptions::with_root_certificate))
}

/// How often a request is sent again where nobody says it: for about a minute.
pub fn default_retries() -> usize {
    8
}

/// How many parts are sent at once where nobody says it.
pub fn default_parts_at_once() -> usize {
    4
}

/// The size of the first parts where nobody says it.
pub fn default_part_size() -> Size {
    Size::new(8 << 20)
}

/// How long nothing may come, where nobody says it.
pub fn default_timeout() -> Span {
    Span::new(Duration::from_secs(60))
}

/// The slowest that an upload may be, in bytes a second, where nobody says it.
pub fn default_min_rate() -> Size {
    Size::new(16 << 10)
}
