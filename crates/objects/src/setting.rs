//! Settings that all object stores have: sizes, times, files of secrets and certificates.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use longshore_core::quantity::{Size, Span};
use longshore_core::{Error, Kind, Result, Stage};
use object_store::{Certificate, ClientOptions, RetryConfig};
use secrecy::SecretString;

/// The most bytes that a file of secrets or certificates may have.
const LIMIT_BYTES: u64 = 1 << 20;

/// Reads a secret from a file that not everybody may read; the end of its line is not part of it.
pub fn secret(path: &Path) -> Result<SecretString> {
    let unfit = |kind, message: &str, hint: &str| {
        Err(Error::new(Stage::Config, kind, path.display().to_string(), message).hint(hint))
    };
    let unread = |error| Error::io(Stage::Config, path.display().to_string(), "cannot read the file of secrets", error);
    let file = File::open(path).map_err(unread)?;
    if file.metadata().map_err(unread)?.permissions().mode() & 0o007 != 0 {
        return unfit(Kind::Refused, "everybody on this host may read these secrets", "take that away: chmod o= FILE");
    }
    let mut text = String::new();
    file.take(LIMIT_BYTES).read_to_string(&mut text).map_err(unread)?;
    match text.trim_end() {
        "" => unfit(Kind::Usage, "the file of secrets is empty", "write the secret into it, and nothing else"),
        secret => Ok(SecretString::from(secret)),
    }
}

/// Says what cannot work, of the settings that all have.
pub fn expect_sound(
    part_size: Size,
    parts_at_once: usize,
    min_rate: Size,
    timeout: Span,
    endpoint: Option<&str>,
    allow_http: bool,
) -> Result<()> {
    let wrong = |subject: &str, message: &str, hint: &str| {
        Err(Error::new(Stage::Config, Kind::Usage, subject, message).hint(hint))
    };
    if !(5 << 20..=4000 << 20).contains(&part_size.bytes()) {
        let hint = "leave it out, or set it to such as \"64MiB\"";
        return wrong("part_size", "stores take parts of 5 MiB to 4,000 MiB", hint);
    }
    if !(1..=64).contains(&parts_at_once) {
        return wrong("parts_at_once", "1 to 64 parts may be sent at once", "leave it out, and 4 are");
    }
    if min_rate.bytes() == 0 || timeout.duration().is_zero() {
        return wrong(
            "min_rate, timeout",
            "no upload ends in no time",
            "leave them out, or set them to more than nothing",
        );
    }
    match endpoint {
        Some(endpoint) if endpoint.starts_with("http://") && !allow_http => {
            let message = "would send everything unencrypted, the names of backups among it";
            wrong(endpoint, message, "use https://, or say allow_http = true")
        }
        Some(endpoint) if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") => {
            wrong(endpoint, "not an address", "write it with https:// before it")
        }
        _ => Ok(()),
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

/// How requests are sent again: so often, with growing waits. The time it took before is no reason to give up.
pub fn retries(count: usize) -> RetryConfig {
    RetryConfig { max_retries: count, retry_timeout: Duration::from_secs(86_400), ..RetryConfig::default() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_line_of_a_file_that_not_everybody_may_read() {
        let folder = std::env::temp_dir().join(format!("longshore-secret-{}", std::process::id()));
        fs::write(&folder, "hush\n").unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(secrecy::ExposeSecret::expose_secret(&secret(&folder).unwrap()), "hush");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o644)).unwrap();
        let error = secret(&folder).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(!error.chain().contains("hush"));
        fs::remove_file(&folder).unwrap();
        assert_eq!(secret(&folder).unwrap_err().kind(), Kind::NotFound);
    }
}
