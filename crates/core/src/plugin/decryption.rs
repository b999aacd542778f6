//! The identities and programs that decrypt a backup, by the name of its encryption.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::SecretString;

use super::{Ask, Identities, Passphrase};
use crate::error::{Result, printable};
use crate::stage::Decrypt;

/// Builds the decryption by a program of the operator.
pub type DecryptProgram = Arc<dyn Fn(&Identities) -> Result<Box<dyn Decrypt>> + Send + Sync>;

/// The hint of errors about a missing identity.
pub const IDENTITY_HINT: &str =
    "pass an identity that decrypts it: --identity FILE, or [identity] in the configuration";

impl Identities {
    /// Returns no identities, with a prompt that cannot be answered.
    pub fn none() -> Self {
        Self {
            files: Vec::new(),
            texts: Vec::new(),
            passphrase: Passphrase::Unused,
            ask: Arc::new(NoAnswer),
            programs: BTreeMap::new(),
        }
    }

    /// Returns true if no identity and no passphrase are available.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.texts.is_empty() && self.passphrase == Passphrase::Unused
    }
}

/// Returns the hint of errors about a file that cannot be decrypted here. `by_hand` is the way in
/// the manifest of a backup that a program encrypted.
pub fn decryption_hint(encryption: &str, by_hand: Option<&str>) -> String {
    match by_hand {
        None => IDENTITY_HINT.to_owned(),
        Some(by_hand) => format!(
            "add a table [decrypt.{}] with the program that decrypts it to the configuration; by hand: {}",
            printable(encryption),
            printable(by_hand)
        ),
    }
}

/// A prompt that cannot be answered.
struct NoAnswer;

impl Ask for NoAnswer {
    fn secret(&self, _: &str) -> Option<SecretString> {
        None
    }
}
