//! The decryption of files, by the name of their encryption.

use longshore_core::plugin::{Identities, decryption_hint};
use longshore_core::stage::Decrypt;
use longshore_core::{Error, Kind, Result, Stage};

use super::Registry;

impl Registry {
    /// Returns true if there is a program for this encryption, or if there are identities for it.
    pub fn can_decrypt(&self, encryption: &str, identities: &Identities) -> bool {
        identities.programs.contains_key(encryption)
            || (!identities.is_empty() && self.decrypt.readers.contains_key(encryption))
    }

    /// Builds the decryption of files with this encryption: by a program of the configuration, or
    /// by the identities.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Usage`] if nothing decrypts such files.
    pub fn decryption(&self, encryption: &str, identities: &Identities) -> Result<Box<dyn Decrypt>> {
        match identities.programs.get(encryption) {
            Some(program) => program(identities),
            None if self.decrypt.readers.contains_key(encryption) => self.decrypt.build(encryption, identities),
            None => Err(self.missing_decryption(encryption, None, encryption)),
        }
    }

    /// Returns the error of a file that nothing decrypts here. `by_hand` is the way in the manifest
    /// of a backup that a program encrypted.
    pub fn missing_decryption(&self, encryption: &str, by_hand: Option<&str>, subject: &str) -> Error {
        let (what, by_hand) = match self.decrypt.readers.contains_key(encryption) {
            true => ("there is no identity", None),
            false => ("no program decrypts it", by_hand.or(Some("see `decryption` in the manifest"))),
        };
        let message = format!("encrypted with {encryption}, and {what}");
        Error::new(Stage::Decrypt, Kind::Usage, subject, message).hint(decryption_hint(encryption, by_hand))
    }
}
