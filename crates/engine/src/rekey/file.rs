//! Rekeying of one file: its header is read, its key is unwrapped and wrapped for the new
//! recipients, and the new header is stored beside the file.

use chrono::TimeDelta;
use longshore_core::header::{HeaderName, RecipientSet};
use longshore_core::key::{Key, Timestamp};
use longshore_core::stage::{Decrypt, Encrypt, FileKey, OpenHeader, Store};
use longshore_core::stream::from_bytes;
use longshore_core::{Error, Kind, Result, Stage};

use crate::headers::{fetch, first_opened, header_of};
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
    ///
    /// Anyone who can write to a destination can store a header under the name of the same
    /// recipients, so that header counts only if the file's key authenticates it. A dry run
    /// believes the name.
    pub(super) async fn rekey(&self, store: &dyn Store, file: &SealedFile<'_>) -> Result<Option<Key>> {
        let mut same = file.headers.iter().filter(|header| header.recipients == self.set).peekable();
        if self.mode == Mode::DryRun && same.peek().is_some() {
            return Ok(None);
        }
        let mut name = HeaderName { sealed: file.key.clone(), time: self.time, recipients: self.set.clone() };
        if self.mode == Mode::DryRun {
            return name.key().map(Some);
        }
        let (Some(open), Some(write)) = (self.decrypt.headers(), self.encrypt.headers()) else {
            let message = format!("files of \"{}\" have no header that can be written apart", self.encrypt.name());
            return Err(Error::new(Stage::Encrypt, Kind::Refused, file.key.as_str(), message));
        };
        let file_key = self.file_key(open, store, file).await?;
        for header in same {
            if is_authentic(open, store, header, &file_key).await? {
                return Ok(None);
            }
        }
        let header = write.header(&file_key, file.key.as_str()).await?;
        loop {
            let key = name.key()?;
            match store.ship(&key, from_bytes(header.clone())).await {
                // Another rekey was faster, or the header is forged.
                Err(error) if error.kind() == Kind::AlreadyExists => {
                    if is_authentic(open, store, &name, &file_key).await? {
                        return Ok(None);
                    }
                    name.time = Timestamp::new(name.time.time() + TimeDelta::seconds(1));
                }
                shipped => return shipped.map(|()| Some(key)),
            }
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
        let own = header_of(open, store, file.key, file.bytes).await?;
        match open.file_key(own.clone(), Vec::new(), file.key.as_str()).await {
            Err(error) if error.kind() == Kind::Denied => {
                let found = first_opened(open, &[store], (&own, file.key), &file.headers).await?;
                found.map(|(key, _)| key).ok_or(error)
            }
            found => found,
        }
    }
}

/// Returns true if a stored header is one of the file with this key.
async fn is_authentic(open: &dyn OpenHeader, store: &dyn Store, header: &HeaderName, key: &FileKey) -> Result<bool> {
    match fetch(header, &[store]).await {
        Ok(header) => Ok(open.is_authentic(&header, key)),
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Corrupt) => Ok(false),
        Err(error) => Err(error),
    }
}
