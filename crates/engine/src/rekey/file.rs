//! Rekeying of one file: its header is read, its key is unwrapped and wrapped for the new
//! recipients, and the new header is stored beside the file.

use bytes::{Bytes, BytesMut};
use longshore_core::header::{HeaderName, MAX_HEADER_BYTES, RecipientSet};
use longshore_core::key::{Key, Timestamp};
use longshore_core::stage::{Decrypt, Encrypt, FileKey, OpenHeader, Store};
use longshore_core::stream::{collect, from_bytes};
use longshore_core::{Error, Kind, Result, Stage};

use crate::headers::fetch;
use crate::mode::Mode;

/// An encrypted file in a destination.
pub(super) struct SealedFile<'a> {
    pub(super) key: &'a Key,
    /// The size in bytes, if known.
    pub(super) bytes: Option<u64>,
    /// The headers beside the file, the newest first.
    pub(super) headers: Vec<&'a HeaderName>,
}

/// Rekeys files for one set of recipients.
pub(super) struct FileRekeyer<'a> {
    pub(super) decrypt: Box<dyn Decrypt>,
    pub(super) encrypt: &'a dyn Encrypt,
    pub(super) set: RecipientSet,
    pub(super) time: Timestamp,
    pub(super) mode: Mode,
}

impl FileRekeyer<'_> {
    /// Writes a header beside a file, unless the file has one for the same recipients. Returns the
    /// new header's key.
    pub(super) async fn rekey(&self, store: &dyn Store, file: &SealedFile<'_>) -> Result<Option<Key>> {
        if file.headers.iter().any(|header| header.recipients == self.set) {
            return Ok(None);
        }
        let name = HeaderName { sealed: file.key.clone(), time: self.time, recipients: self.set.clone() };
        let key = name.key()?;
        if self.mode == Mode::DryRun {
            return Ok(Some(key));
        }
        let (Some(open), Some(write)) = (self.decrypt.headers(), self.encrypt.headers()) else {
            let message = format!("files of \"{}\" have no header that can be written apart", self.encrypt.name());
            return Err(Error::new(Stage::Encrypt, Kind::Refused, file.key.as_str(), message));
        };
        let file_key = self.file_key(open, store, file).await?;
        let header = write.header(file_key, file.key.as_str()).await?;
        match store.ship(&key, from_bytes(header)).await {
            // Another rekey was faster.
            Err(error) if error.kind() == Kind::AlreadyExists => Ok(None),
            shipped => shipped.map(|()| Some(key)),
        }
    }

    /// Returns false if the identities decrypt no header of a file. A file that cannot be read, or
    /// whose encryption has no headers, counts as decrypted.
    pub(super) async fn opens(&self, store: &dyn Store, file: &SealedFile<'_>) -> bool {
        let Some(open) = self.decrypt.headers() else { return true };
        match self.file_key(open, store, file).await {
            Ok(_) => true,
            Err(error) => error.kind() != Kind::Denied || error.stage() != Stage::Decrypt,
        }
    }

    /// Returns the key of a file from its own header, or from one beside it.
    async fn file_key(&self, open: &dyn OpenHeader, store: &dyn Store, file: &SealedFile<'_>) -> Result<FileKey> {
        let subject = file.key.as_str();
        let own = header_of(open, store, file.key, file.bytes).await?;
        match open.file_key(own.clone(), Vec::new(), subject).await {
            Err(error) if error.kind() == Kind::Denied && !file.headers.is_empty() => {
                let mut others = Vec::new();
                for header in &file.headers {
                    others.push(fetch(header, &[store]).await?);
                }
                open.file_key(own, others, subject).await
            }
            found => found,
        }
    }
}

/// Reads exactly the header of a file, in as many requests as that takes.
pub(crate) async fn header_of(
    open: &dyn OpenHeader,
    store: &dyn Store,
    file: &Key,
    bytes: Option<u64>,
) -> Result<Bytes> {
    let subject = file.as_str();
    let mut header = BytesMut::new();
    loop {
        let begin = header.len();
        let missing = open.missing_bytes(&header, subject)?;
        if missing == 0 {
            return Ok(header.freeze());
        }
        let end = begin + missing;
        if end > MAX_HEADER_BYTES || bytes.is_some_and(|bytes| end as u64 > bytes) {
            let message = "truncated or modified: its header has no end";
            return Err(Error::new(Stage::Decrypt, Kind::Corrupt, subject, message));
        }
        let part = store.fetch(file, Some(begin as u64..end as u64)).await?;
        header.extend_from_slice(&collect(part, missing, Stage::Decrypt, subject).await?);
    }
}
