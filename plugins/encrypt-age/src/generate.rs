//! A new identity.

use chrono::{Local, SecondsFormat};
use secrecy::{ExposeSecret, SecretString};

/// An identity that was just generated and is not stored yet.
pub struct NewIdentity {
    /// The text of an identity file, as `age-keygen` writes it. Decrypts everything encrypted for
    /// the recipient.
    pub file: SecretString,
    /// The recipient of the identity, for the configuration.
    pub recipient: String,
}

/// Generates an X25519 identity.
pub fn generate() -> NewIdentity {
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    let created = Local::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    let comments = format!("# created: {created}\n# public key: {recipient}\n");
    let secret = identity.to_string();
    // Allocated in its exact size: a reallocation would leave a copy of the secret in memory.
    let mut text = String::with_capacity(comments.len() + secret.expose_secret().len() + 1);
    text.push_str(&comments);
    text.push_str(secret.expose_secret());
    text.push('\n');
    NewIdentity { file: SecretString::from(text), recipient }
}
