//! Small files that record a backup, and the stored files that a manifest names.

use bytes::Bytes;

use crate::digest::Digest;
use crate::error::{Error, Kind, Result, Stage};
use crate::key::Key;
use crate::manifest::SealedFile;
use crate::meter::expect;
use crate::retry::while_unavailable;
use crate::signature::signature_key;
use crate::stage::{Ship, Store};
use crate::stream::{self, ByteStream, drain};

/// Uploads a small file, and retries while the destination is unavailable. Succeeds if the file
/// already exists with the same bytes: an earlier attempt may have arrived without an answer.
pub async fn ship_record(store: &dyn Store, key: &Key, bytes: Bytes) -> Result<()> {
    let shipped = while_unavailable(key.as_str(), || store.ship(key, stream::from_bytes(bytes.clone()))).await;
    match shipped {
        Err(error) if error.kind() == Kind::AlreadyExists => {
            let file = SealedFile { key: key.clone(), sealed: Digest::of(&bytes) };
            if has_file(store, &file).await { Ok(()) } else { Err(error) }
        }
        shipped => shipped,
    }
}

/// Returns the signature of a record with its key, if this host signs records.
///
/// # Errors
///
/// Fails if the record cannot be signed, or with [`Kind::Refused`] if this host requires signatures
/// but signs none: the record would not count.
pub async fn sign_record(store: &(impl Ship + ?Sized), key: &Key, record: &[u8]) -> Result<Option<(Key, Bytes)>> {
    let Some(signatures) = store.capabilities().signatures else { return Ok(None) };
    match signatures.sign(key, record).await? {
        Some(signature) => Ok(Some((signature_key(key)?, signature))),
        None if signatures.are_required() => {
            let message = "this host requires signed records, but signs none";
            Err(Error::new(Stage::Ship, Kind::Refused, key.as_str(), message)
                .hint("set key in [signing], or act on the host that has the key"))
        }
        None => Ok(None),
    }
}

/// Returns true if a file exists with the expected bytes.
pub async fn has_file(store: &dyn Store, file: &SealedFile) -> bool {
    match stored_bytes(store, file).await {
        Ok(bytes) => drain(bytes).await.is_ok(),
        Err(_) => false,
    }
}

/// Fetches a file, and compares its bytes with its digest.
pub async fn stored_bytes(store: &dyn Store, file: &SealedFile) -> Result<ByteStream> {
    let bytes = store.fetch(&file.key, None).await?;
    Ok(expect(bytes, file.sealed.clone(), file.key.to_string()))
}
