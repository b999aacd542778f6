//! Captures the key of a file between the age crate and its recipients and identities.

use std::cell::RefCell;
use std::collections::HashSet;

use age_core::format::{FileKey, Stanza};
use age_core::secrecy::ExposeSecret;

/// The key of one file, once captured.
#[derive(Default)]
pub(crate) struct CapturedKey(RefCell<Option<FileKey>>);

impl CapturedKey {
    fn set(&self, key: &FileKey) {
        *self.0.borrow_mut() = Some(FileKey::init_with_mut(|copy| copy.copy_from_slice(key.expose_secret())));
    }

    /// Returns the key, if it was captured.
    pub(crate) fn key(self) -> Option<FileKey> {
        self.0.into_inner()
    }
}

/// A recipient that delegates to another and captures the key to wrap.
pub(crate) struct CapturingRecipient<'a> {
    pub(crate) recipient: &'a dyn age::Recipient,
    pub(crate) captured: &'a CapturedKey,
}

impl age::Recipient for CapturingRecipient<'_> {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        self.captured.set(file_key);
        self.recipient.wrap_file_key(file_key)
    }
}

/// An identity that delegates to another and captures the key that it finds.
pub(crate) struct CapturingIdentity<'a> {
    pub(crate) identity: &'a dyn age::Identity,
    pub(crate) captured: &'a CapturedKey,
}

impl age::Identity for CapturingIdentity<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        let found = self.identity.unwrap_stanza(stanza);
        if let Some(Ok(key)) = &found {
            self.captured.set(key);
        }
        found
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, age::DecryptError>> {
        let found = self.identity.unwrap_stanzas(stanzas);
        if let Some(Ok(key)) = &found {
            self.captured.set(key);
        }
        found
    }
}
