//! Identity files: age's own and its plugins', and SSH private keys; each of them optionally
//! protected by a passphrase.
//!
//! No error quotes the content of an identity file.

use std::iter;
use std::path::Path;
use std::slice;
use std::sync::Arc;

use age::armor::ArmoredReader;
use age::ssh::UnsupportedKey;
use longshore_core::plugin::{Ask, IdentityText};
use longshore_core::{Error, Kind, Result, Stage, credential};
use secrecy::{ExposeSecret, SecretBox};

use crate::ask::{self, PromptCallbacks};
use crate::passphrase;
use crate::recipient::fingerprint;
use crate::secret_file::{self, Readers};

/// An identity that was read.
pub(crate) struct Identity {
    /// The program that performs its operations.
    pub(crate) worker: Worker,
    /// The identity as a type of the age crate.
    pub(crate) key: Box<dyn age::Identity + Send + Sync>,
    /// The fingerprint of its recipient, if it can be derived.
    pub(crate) fingerprint: Option<String>,
}

/// The program that performs the operations of an identity, in the order in which to try them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Worker {
    /// This process.
    Native,
    /// The program `age-plugin-NAME`.
    Plugin,
}

/// Reads the identities in a file, prompting for its passphrase if it is protected.
pub(crate) fn read_file(path: &Path, ask: &Arc<dyn Ask>) -> Result<Vec<Identity>> {
    let path = &*credential::file(path)?;
    let file = File { name: path.display().to_string(), ask };
    let content = secret_file::read(path, Readers::Any)
        .map_err(|error| Error::io(Stage::Decrypt, &file.name, "cannot read the identity file", error))?;
    file.read(content.expose_secret())
}

/// Reads the identities in a text that is not a file, prompting for its passphrase if it is
/// protected.
pub(crate) fn read_text(text: &IdentityText, ask: &Arc<dyn Ask>) -> Result<Vec<Identity>> {
    let file = File { name: text.name.clone(), ask };
    file.read(text.text.expose_secret().as_bytes())
}

/// An identity file that is being parsed.
struct File<'a> {
    name: String,
    ask: &'a Arc<dyn Ask>,
}

impl File<'_> {
    fn read(&self, bytes: &[u8]) -> Result<Vec<Identity>> {
        if bytes.starts_with(b"age-encryption.org/") || bytes.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") {
            let content = self.decrypt_file(bytes)?;
            return self.parse(content.expose_secret());
        }
        self.parse(bytes)
    }

    fn decrypt_file(&self, bytes: &[u8]) -> Result<SecretBox<Vec<u8>>> {
        let damaged =
            |error| self.error(Kind::Corrupt, "truncated or modified: not a complete age file").because(error);
        let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(bytes)).map_err(damaged)?;
        if !decryptor.is_scrypt() {
            let message = "an age file, but not an identity file protected by a passphrase";
            return Err(self.error(Kind::Usage, message));
        }
        let passphrase = passphrase::identity(ask::passphrase(&**self.ask, &self.name)?);
        let plaintext = match decryptor.decrypt(iter::once(&passphrase as &dyn age::Identity)) {
            Ok(plaintext) => plaintext,
            Err(age::DecryptError::DecryptionFailed) => return Err(self.wrong_passphrase()),
            Err(error) => return Err(damaged(error)),
        };
        secret_file::drain(plaintext, bytes.len() as u64).map_err(|error| damaged(error.into()))
    }

    fn parse(&self, bytes: &[u8]) -> Result<Vec<Identity>> {
        let text =
            std::str::from_utf8(bytes).map_err(|_| self.error(Kind::Usage, "not an identity file").hint(EXAMPLES))?;
        if text.starts_with("-----BEGIN ") {
            return Ok(vec![self.ssh(text)?]);
        }
        let lines = (1..).zip(text.lines().map(str::trim));
        let identities = lines
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .map(|(number, line)| self.line(number, line))
            .collect::<Result<Vec<_>>>()?;
        if identities.is_empty() {
            return Err(self.error(Kind::Usage, "no identity in this file").hint(EXAMPLES));
        }
        Ok(identities)
    }

    fn line(&self, number: usize, line: &str) -> Result<Identity> {
        if let Ok(identity) = line.parse::<age::x25519::Identity>() {
            let fingerprint = Some(fingerprint(&identity.to_public().to_string()));
            let key = Box::new(identity);
            return Ok(Identity { worker: Worker::Native, key, fingerprint });
        }
        if let Ok(identity) = line.parse::<age::plugin::Identity>() {
            let callbacks = PromptCallbacks(Arc::clone(self.ask));
            let plugin = age::plugin::IdentityPluginV1::new(identity.plugin(), slice::from_ref(&identity), callbacks);
            let plugin = plugin.map_err(|_| {
                let message = format!("line {number} needs age-plugin-{}, but it is not installed", identity.plugin());
                let hint = "install it in the PATH of this process";
                self.error(Kind::Usage, message).hint(hint)
            })?;
            return Ok(Identity { worker: Worker::Plugin, key: Box::new(plugin), fingerprint: None });
        }
        let (what, hint) = if line.starts_with("age1") || line.starts_with("ssh-") {
            ("a recipient, which encrypts but does not decrypt", EXAMPLES)
        } else if line.starts_with("AGE-SECRET-KEY-PQ-1") {
            let hint = "`age-plugin-pq -identity FILE` converts it to an identity of that plugin";
            ("a post-quantum identity of age 1.3", hint)
        } else if line.starts_with("AGE-") {
            ("an identity that was mistyped or truncated", EXAMPLES)
        } else {
            ("not an identity", EXAMPLES)
        };
        Err(self.error(Kind::Usage, format!("line {number} is {what}")).hint(hint))
    }

    fn ssh(&self, text: &str) -> Result<Identity> {
        let identity = match age::ssh::Identity::from_buffer(text.as_bytes(), None) {
            Ok(age::ssh::Identity::Encrypted(key)) => {
                let passphrase = ask::passphrase(&**self.ask, &self.name)?;
                let key = key.decrypt(passphrase).map_err(|_| self.wrong_passphrase())?;
                age::ssh::Identity::Unencrypted(key)
            }
            Ok(age::ssh::Identity::Unsupported(reason)) => return Err(self.unsupported(reason)),
            Ok(identity) => identity,
            Err(_) => {
                let message = "unreadable private key: truncated, modified or in another format";
                let hint = "`ssh-keygen -p -f FILE` rewrites a key in OpenSSH's own format";
                return Err(self.error(Kind::Usage, message).hint(hint));
            }
        };
        let recipient = age::ssh::Recipient::try_from(identity.clone()).ok();
        Ok(Identity {
            worker: Worker::Native,
            key: Box::new(identity),
            fingerprint: recipient.map(|recipient| fingerprint(&recipient.to_string())),
        })
    }

    fn unsupported(&self, reason: UnsupportedKey) -> Error {
        match reason {
            UnsupportedKey::EncryptedPem => self
                .error(Kind::Usage, "a private key protected by a passphrase in the old PEM format")
                .hint("`ssh-keygen -p -f FILE` rewrites it in OpenSSH's own format"),
            UnsupportedKey::EncryptedSsh(cipher) => {
                self.error(Kind::Usage, format!("a private key encrypted with {cipher}, which is not supported"))
            }
            UnsupportedKey::Hardware(kind) | UnsupportedKey::Type(kind) => self
                .error(Kind::Usage, format!("an SSH key of type {kind}, which age does not support"))
                .hint("use an SSH key of type ssh-ed25519 or ssh-rsa"),
        }
    }

    fn wrong_passphrase(&self) -> Error {
        self.error(Kind::Denied, "wrong passphrase for this file")
    }

    fn error(&self, kind: Kind, message: impl Into<String>) -> Error {
        Error::new(Stage::Decrypt, kind, &self.name, message)
    }
}

/// The content of identity files, for hints.
const EXAMPLES: &str =
    "an identity file contains lines like AGE-SECRET-KEY-1… or AGE-PLUGIN-…, or is an SSH private key";
