//! Headers of encrypted files, apart from their payload: a header contains the key of its file,
//! encrypted for each recipient.

use async_trait::async_trait;
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretSlice};

use crate::error::Result;
use crate::stream::ByteStream;

/// The secret key of one encrypted file, which its header contains.
pub struct FileKey(SecretSlice<u8>);

impl FileKey {
    /// Creates a key of these bytes.
    pub fn new(bytes: SecretSlice<u8>) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

/// Writes headers. Holds recipients only.
#[async_trait]
pub trait WriteHeader: Send + Sync {
    /// Returns a new header by which the recipients can decrypt the file with this key. `subject`
    /// is for errors.
    async fn header(&self, key: &FileKey, subject: &str) -> Result<Bytes>;
}

/// Reads headers. Holds identities.
///
/// Anyone who can write to a destination can store a header there. A header apart from its file is
/// used only if its key also authenticates the file's own header.
#[async_trait]
pub trait OpenHeader: Send + Sync {
    /// Returns the fingerprints of the recipients of the identities, as far as they can be derived.
    fn recipients(&self) -> Vec<String>;

    /// Returns the number of bytes by which a header that begins with `begin` certainly continues,
    /// or 0 if it is complete. A reader who requests only these bytes reads no payload. Fails with
    /// [`Corrupt`](crate::error::Kind::Corrupt) if `begin` is not the beginning of a header.
    fn missing_bytes(&self, begin: &[u8], subject: &str) -> Result<usize>;

    /// Returns the key of a file, given its own header and further ones, the most preferred first.
    /// Fails with [`Denied`](crate::error::Kind::Denied) if no identity opens any of them.
    async fn file_key(&self, own: Bytes, others: Vec<Bytes>, subject: &str) -> Result<FileKey>;

    /// Returns true if a file's key authenticates a header, which then is one of this file.
    fn is_authentic(&self, header: &[u8], key: &FileKey) -> bool;

    /// Decrypts a stream by the first of these headers that an identity opens, or by the stream's
    /// own header.
    async fn decrypt_with(&self, headers: Vec<Bytes>, ciphertext: ByteStream, subject: &str) -> Result<ByteStream>;
}
