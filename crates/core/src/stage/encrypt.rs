//! Encryption and decryption of bytes.

use async_trait::async_trait;

use crate::check::Check;
use crate::error::Result;
use crate::stage::{OpenHeader, WriteHeader};
use crate::stream::ByteStream;

/// Encrypts bytes. Holds recipients only.
pub trait Encrypt: Check {
    /// Returns the name for the manifest, such as `age`.
    fn name(&self) -> &str;

    /// Returns the suffix of an encrypted file's name: a dot and the name, such as `.age`.
    fn extension(&self) -> &str;

    /// Returns the way to decrypt a file by hand, for the manifest, unless the name alone describes
    /// it.
    fn undo(&self) -> Option<&str> {
        None
    }

    /// Returns a fingerprint of each recipient, by which to find the matching identity.
    fn recipients(&self) -> Vec<String>;

    /// Returns fingerprints of all that decides who can decrypt, by default the recipients. If they
    /// change, the readers of new files may be unable to decrypt older ones.
    fn reader_fingerprints(&self) -> Vec<String> {
        self.recipients()
    }

    /// Encrypts a stream. `subject` is for errors.
    fn encrypt(&self, plaintext: ByteStream, subject: &str) -> ByteStream;

    /// Returns the access to headers, if a file's header can be written apart from the file.
    fn headers(&self) -> Option<&dyn WriteHeader> {
        None
    }
}

/// Decrypts bytes. Holds identities.
#[async_trait]
pub trait Decrypt: Send + Sync {
    /// Decrypts a stream. A truncated or modified stream ends in an error. `subject` is for errors.
    async fn decrypt(&self, ciphertext: ByteStream, subject: &str) -> Result<ByteStream>;

    /// Returns true if a clean end of the plaintext proves that these bytes were encrypted. A
    /// program of the operator may return other bytes, which prove no damage.
    fn is_authenticated(&self) -> bool {
        true
    }

    /// Returns the access to headers, if a file's header can be read apart from the file.
    fn headers(&self) -> Option<&dyn OpenHeader> {
        None
    }
}
