//! Decryption by the headers that `longshore rekey` stores beside encrypted files.

use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use futures_util::{StreamExt, TryStreamExt};
use longshore_catalog::catalog::Backup;
use longshore_config::registry::Registry;
use longshore_core::header::{HeaderName, MAX_HEADER_BYTES};
use longshore_core::key::Key;
use longshore_core::pipeline::Source;
use longshore_core::plugin::Identities;
use longshore_core::stage::{Decrypt, Store};
use longshore_core::stream::{ByteStream, collect};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_retention::CLOCK_TOLERANCE;

use crate::stages;

/// The number of headers of one file that are tried, the newest first.
const TRIED_HEADERS: usize = 256;

/// Returns the decryption of a file of a backup, if the backup is encrypted and there are
/// identities. Reads each header beside the file from the first of the stores that has it.
pub(crate) async fn decryptor(
    registry: &Registry,
    identities: &Identities,
    backup: &Backup,
    file: &Key,
    stores: &[&dyn Store],
) -> Result<Option<Box<dyn Decrypt>>> {
    let Some(own) = stages::decryptor(registry, identities, backup)? else { return Ok(None) };
    Ok(Some(with_headers(own, backup.headers_of(file), stores).await))
}

/// Returns the decryption of the artifact of a backup at several destinations.
pub(crate) async fn artifact_decryptor(
    registry: &Registry,
    identities: &Identities,
    backup: &Backup,
    sources: &[Source],
) -> Result<Option<Box<dyn Decrypt>>> {
    let stores: Vec<&dyn Store> = sources.iter().map(|source| &*source.store).collect();
    decryptor(registry, identities, backup, &backup.manifest.artifact.key, &stores).await
}

/// Returns a decryption that tries headers, the newest first, before a file's own.
pub(crate) async fn with_headers(
    own: Box<dyn Decrypt>,
    names: impl Iterator<Item = &HeaderName>,
    stores: &[&dyn Store],
) -> Box<dyn Decrypt> {
    let (mut headers, mut unread) = (Vec::new(), None);
    // Those of the future last: anyone who can write chooses the time in a name.
    let limit = Utc::now() + CLOCK_TOLERANCE;
    let (past, future): (Vec<_>, Vec<_>) = names.partition(|name| name.time.time() <= limit);
    for name in past.into_iter().chain(future).take(TRIED_HEADERS) {
        match fetch(name, stores).await {
            Ok(header) => headers.push(header),
            // A prune deletes headers with their backup.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => unread = unread.or(Some(error)),
        }
    }
    if headers.is_empty() && unread.is_none() {
        return own;
    }
    Box::new(WithHeaders { own, headers, unread })
}

/// Returns the content of a header from the first store that has it.
pub(crate) async fn fetch(name: &HeaderName, stores: &[&dyn Store]) -> Result<Bytes> {
    let key = name.key()?;
    let mut failed = None;
    for store in stores {
        let read =
            async { collect(store.fetch(&key, None).await?, MAX_HEADER_BYTES, Stage::Decrypt, key.as_str()).await };
        match read.await {
            Ok(header) => return Ok(header),
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    let missing = || Error::new(Stage::Decrypt, Kind::NotFound, key.as_str(), "no destination has this header");
    Err(failed.unwrap_or_else(missing))
}

/// A decryption by the headers beside a file, or by the file's own.
struct WithHeaders {
    own: Box<dyn Decrypt>,
    /// The headers, the newest first.
    headers: Vec<Bytes>,
    /// The error of a header that could not be read, and that the identity may open.
    unread: Option<Error>,
}

#[async_trait]
impl Decrypt for WithHeaders {
    async fn decrypt(&self, ciphertext: ByteStream, subject: &str) -> Result<ByteStream> {
        let plaintext = match self.own.headers() {
            Some(headers) => headers.decrypt_with(self.headers.clone(), ciphertext, subject).await?,
            None => self.own.decrypt(ciphertext, subject).await?,
        };
        let unread = self.unread.clone();
        let cause = move |error: Error| match &unread {
            Some(unread) if error.kind() == Kind::Denied => unread.clone(),
            _ => error,
        };
        Ok(plaintext.map_err(cause).boxed())
    }
}
