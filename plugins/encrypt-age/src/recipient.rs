//! Recipients: their syntax, errors and fingerprints.
//!
//! A text in the place of a recipient may be a misplaced secret. Errors quote only texts that begin
//! like a public key.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use age::ssh::ParseRecipientKeyError;
use longshore_core::{Error, Kind, Result, Stage};
use sha2::{Digest, Sha256};

/// A recipient as a type of the age crate that streams can share.
pub(crate) type AgeRecipient = Box<dyn age::Recipient + Send + Sync>;

/// A recipient that was parsed.
pub(crate) struct Recipient {
    /// The recipient as age writes it: without comment and surrounding white space.
    pub(crate) text: String,
    /// Its kind, for reports, such as `X25519`.
    pub(crate) kind: String,
    /// The implementation that wraps a file's key for the recipient.
    pub(crate) implementation: Implementation,
}

/// The implementation that wraps a file's key for a recipient.
pub(crate) enum Implementation {
    /// This process.
    Native(AgeRecipient),
    /// The program `age-plugin-NAME`, one for all recipients of that name.
    Plugin(age::plugin::Recipient),
}

impl Recipient {
    fn native<T>(kind: &str, recipient: T) -> Self
    where
        T: age::Recipient + Display + Send + Sync + 'static,
    {
        Self {
            text: recipient.to_string(),
            kind: kind.to_owned(),
            implementation: Implementation::Native(Box::new(recipient)),
        }
    }

    /// Parses a recipient; `place` is its origin, for errors.
    pub(crate) fn parse(text: &str, place: &str) -> Result<Self> {
        let text = text.trim();
        if looks_secret(text) {
            let message = "a secret identity instead of a recipient, its public half";
            return Err(
                config_error(place, message).hint("`age-keygen -y IDENTITY_FILE` prints the recipient of an identity")
            );
        }
        if let Ok(recipient) = text.parse::<age::x25519::Recipient>() {
            return Ok(Self::native("X25519", recipient));
        }
        if let Ok(recipient) = text.parse::<age::tag::Recipient>() {
            return Ok(Self::native("tag", recipient));
        }
        if let Ok(recipient) = text.parse::<age::tagpq::Recipient>() {
            return Ok(Self::native("tagpq", recipient));
        }
        if let Ok(recipient) = text.parse::<age::plugin::Recipient>() {
            return Ok(Self {
                text: recipient.to_string(),
                kind: format!("age-plugin-{}", recipient.plugin()),
                implementation: Implementation::Plugin(recipient),
            });
        }
        Self::parse_ssh(text, place)
    }

    fn parse_ssh(text: &str, place: &str) -> Result<Self> {
        let bare = text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        match bare.parse::<age::ssh::Recipient>() {
            // The parser ignores trailing text: only an exact match is the intended key.
            Ok(recipient) if recipient.to_string() == bare => {
                let kind = match recipient {
                    age::ssh::Recipient::SshRsa(..) => "ssh-rsa",
                    age::ssh::Recipient::SshEd25519(..) => "ssh-ed25519",
                };
                Ok(Self::native(kind, recipient))
            }
            Err(ParseRecipientKeyError::RsaModulusTooSmall) => {
                let message = "an RSA key of less than 2048 bits is too weak for a recipient";
                Err(config_error(place, message)
                    .hint("use an ssh-ed25519 key, or generate an identity with age-keygen"))
            }
            Err(ParseRecipientKeyError::RsaModulusTooLarge) => {
                Err(config_error(place, "an RSA key of more than 4096 bits cannot be a recipient"))
            }
            Err(ParseRecipientKeyError::Unsupported(kind)) => {
                let message = format!("an SSH key of type {kind} cannot be a recipient");
                Err(config_error(place, message).hint("use an SSH key of type ssh-ed25519 or ssh-rsa"))
            }
            Ok(_) | Err(_) => Err(unknown(text, place)),
        }
    }

    /// Returns the fingerprint that identifies the recipient in a manifest.
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(&self.text)
    }
}

/// Reads a file with one recipient per line, as `age -R` does.
pub(crate) fn read_file(path: &Path) -> Result<Vec<Recipient>> {
    let path = &*longshore_core::credential::file(path)?;
    let name = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| config_error(&name.to_string(), "cannot read the recipients file").because(error))?;
    let lines = (1..).zip(text.lines().map(str::trim));
    let recipients = lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| Recipient::parse(line, &format!("{name}:{number}")))
        .collect::<Result<Vec<_>>>()?;
    if recipients.is_empty() {
        return Err(config_error(&name.to_string(), "no recipient in this file").hint(EXAMPLES));
    }
    Ok(recipients)
}

/// Returns the first 16 hexadecimal digits of the SHA-256 of a recipient's text.
pub(crate) fn fingerprint(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Examples of recipients, for hints.
pub(crate) const EXAMPLES: &str = "a recipient looks like age1…, ssh-ed25519 AAAA… or ssh-rsa AAAA…";

/// Returns a configuration error.
pub(crate) fn config_error(place: &str, message: impl Into<String>) -> Error {
    Error::new(Stage::Config, Kind::Usage, place, message)
}

/// Returns true if `text` contains an age identity or a PEM private key, or a part of one.
fn looks_secret(text: &str) -> bool {
    let text = text.to_ascii_uppercase();
    ["AGE-SECRET-KEY-", "AGE-PLUGIN-", "PRIVATE KEY"].iter().any(|mark| text.contains(mark))
}

fn unknown(text: &str, place: &str) -> Error {
    if text.is_empty() {
        return config_error(place, "empty recipient").hint(EXAMPLES);
    }
    if text.starts_with("age1") || text.starts_with("ssh-") {
        let start: String = text.chars().take(24).collect();
        let message = format!("\"{}…\" is not a recipient: mistyped or truncated", start.escape_debug());
        return config_error(place, message)
            .hint("copy the whole recipient again; `age-keygen -y IDENTITY_FILE` prints it");
    }
    config_error(place, "not a recipient").hint(EXAMPLES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const X25519: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    const TAG: &str = "age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e";
    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";

    fn refusal(text: &str) -> Error {
        match Recipient::parse(text, "here") {
            Ok(recipient) => panic!("{text} was parsed as {}", recipient.kind),
            Err(error) => error,
        }
    }

    #[test]
    fn fingerprint_ignores_comment() {
        // printf %s RECIPIENT | sha256sum | cut -c1-16
        let recipient = Recipient::parse(&format!("  {X25519}\n"), "").unwrap();
        assert_eq!(recipient.fingerprint(), "e669ae85e3185682");
        let commented = Recipient::parse(&format!("{ED25519}  alice@example.net (laptop)"), "").unwrap();
        assert_eq!(commented.fingerprint(), "86aad3b5232310e9");
    }

    #[test]
    fn recognises_kinds_of_recipients() {
        for (text, kind) in [(X25519, "X25519"), (TAG, "tag"), (ED25519, "ssh-ed25519")] {
            assert_eq!(Recipient::parse(text, "").unwrap().kind, kind);
        }
    }

    #[test]
    fn rejects_key_with_trailing_text() {
        for text in [format!("{X25519}x"), format!("{ED25519}x"), format!("{X25519} {X25519}")] {
            let error = refusal(&text);
            assert_eq!((error.stage(), error.kind()), (Stage::Config, Kind::Usage));
            assert!(error.to_string().contains("mistyped"), "{error}");
        }
    }

    #[test]
    fn errors_never_quote_secrets() {
        let identity = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
        for text in [
            identity.to_owned(),
            identity.to_lowercase(),
            format!("{X25519} {identity}"),
            "hunter2-GQ9778VQ".to_owned(),
        ] {
            let error = refusal(&text);
            assert!(!error.chain().to_uppercase().contains("GQ9778VQ"), "{error}");
            assert!(!error.remedy().unwrap().to_uppercase().contains("GQ9778VQ"));
        }
    }

    #[test]
    fn rejects_unsupported_ssh_key_by_type() {
        let key = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHFliOyIZs1gxGF3fmDxFykQhE88wy6AKDGFBfn0R6ZuvRmENABZQa9+pj9hMki+LX0qDJbmHTiWDbYv/cmFt/Q=";
        assert!(refusal(key).to_string().contains("ecdsa-sha2-nistp256"));
    }
}
