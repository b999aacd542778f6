//! Encryption with a passphrase instead of recipients, and the matching decryption.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use age::scrypt;
use age_core::format::{FileKey, Stanza};
use longshore_core::plugin::Ask;
use longshore_core::{Result, credential};
use secrecy::{ExposeSecret, SecretString};

use crate::ask;
use crate::recipient::config_error;
use crate::secret_file::{self, Readers};

/// The work factor for encryption, as a power of two, the same as in `age`. The crate's default
/// measures this host and decreases under load.
const WORK_FACTOR: u8 = 18;

/// The maximum work factor accepted for decryption, the same as in `age`.
const MAX_WORK_FACTOR: u8 = 22;

/// Reads the passphrase in a file: its first line.
pub(crate) fn read_file(path: &Path) -> Result<SecretString> {
    let path = &*credential::file(path)?;
    let name = path.display().to_string();
    let content = secret_file::read(path, Readers::NotOthers).map_err(|error| {
        let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
        let error = config_error(&name, "cannot use the passphrase file").because(error);
        if is_denied {
            let hint = format!("make the file private to the user that backs up: chown it, and chmod 600 {name}");
            return error.hint(hint);
        }
        error
    })?;
    let text =
        std::str::from_utf8(content.expose_secret()).map_err(|_| config_error(&name, "the passphrase is not UTF-8"))?;
    match text.lines().next() {
        None | Some("") => Err(config_error(&name, "the passphrase, the first line of the file, is empty")),
        Some(line) => Ok(SecretString::from(line)),
    }
}

/// Returns a recipient that encrypts with a passphrase.
pub(crate) fn recipient(passphrase: SecretString) -> scrypt::Recipient {
    let mut recipient = scrypt::Recipient::new(passphrase);
    recipient.set_work_factor(WORK_FACTOR);
    recipient
}

/// Returns an identity that decrypts with a passphrase.
pub(crate) fn identity(passphrase: SecretString) -> scrypt::Identity {
    let mut identity = scrypt::Identity::new(passphrase);
    identity.set_max_work_factor(MAX_WORK_FACTOR);
    identity
}

/// Prompts for the passphrases of backups, and remembers the last correct one: a restore of many
/// databases asks once.
pub(crate) struct Prompt {
    pub(crate) ask: Arc<dyn Ask>,
    known: Mutex<Option<SecretString>>,
}

impl Prompt {
    pub(crate) fn new(ask: Arc<dyn Ask>) -> Self {
        let known = Mutex::new(None);
        Self { ask, known }
    }
}

/// An identity that decrypts with a passphrase, and asks for the passphrase only if needed.
pub(crate) struct Prompted<'a> {
    pub(crate) prompt: &'a Prompt,
    pub(crate) subject: &'a str,
}

impl age::Identity for Prompted<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        if stanza.tag != "scrypt" {
            return None;
        }
        // The lock is held while asking and deriving: concurrent streams ask once, and the memory
        // of scrypt is needed once.
        let mut known = self.prompt.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(passphrase) = known.clone() {
            match identity(passphrase).unwrap_stanza(stanza) {
                Some(Err(age::DecryptError::DecryptionFailed)) => {}
                opened => return opened,
            }
        }
        let passphrase = match ask::passphrase(&*self.prompt.ask, self.subject) {
            Ok(passphrase) => passphrase,
            Err(error) => return Some(Err(age::DecryptError::Io(error.into()))),
        };
        let opened = identity(passphrase.clone()).unwrap_stanza(stanza);
        if let Some(Ok(_)) = opened {
            *known = Some(passphrase);
        }
        opened
    }
}
