//! Decryption by the headers that `longshore rekey` stores beside encrypted files.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::Utc;
use futures_util::{StreamExt, TryStreamExt, stream};
use longshore_catalog::catalog::Backup;
use longshore_config::registry::Registry;
use longshore_core::header::{HeaderName, MAX_HEADER_BYTES};
use longshore_core::key::Key;
use longshore_core::pipeline::Source;
use longshore_core::plugin::Identities;
use longshore_core::stage::{Decrypt, FileKey, OpenHeader, Store};
use longshore_core::stream::{ByteStream, collect};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_retention::CLOCK_TOLERANCE;

use crate::stages;

/// The number of headers of one file that are fetched and tried together.
const BATCH: usize = 64;

/// The number of headers fetched concurrently.
const FETCHES: usize = 16;

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
pub(crate) async fn with_headers<'a>(
    own: Box<dyn Decrypt>,
    names: impl Iterator<Item = &'a HeaderName>,
    stores: &[&dyn Store],
) -> Box<dyn Decrypt> {
    // Headers dated in the future are tried last: anyone who can write chooses the time in a name.
    let limit = Utc::now() + CLOCK_TOLERANCE;
    let (past, future): (Vec<_>, Vec<_>) = names.partition(|name| name.time.time() <= limit);
    let names: Vec<&HeaderName> = past.into_iter().chain(future).collect();
    let (headers, unread) = match (names.first(), own.headers()) {
        // Anyone who can write can store thousands of headers.
        (Some(first), Some(open)) if names.len() > BATCH => {
            match first_usable(open, stores, &first.sealed, &names).await {
                Ok(headers) => (headers, None),
                Err(error) => (Vec::new(), Some(error)),
            }
        }
        _ => fetch_all(&names, stores).await,
    };
    if headers.is_empty() && unread.is_none() {
        return own;
    }
    Box::new(WithHeaders { own, headers, unread })
}

/// Fetches headers. Returns also the error of one that could not be fetched.
async fn fetch_all(names: &[&HeaderName], stores: &[&dyn Store]) -> (Vec<Bytes>, Option<Error>) {
    let (mut headers, mut unread) = (Vec::new(), None);
    let mut fetched = stream::iter(names).map(|name| fetch(name, stores)).buffered(FETCHES);
    while let Some(header) = fetched.next().await {
        match header {
            Ok(header) => headers.push(header),
            // A prune deletes headers with their backup.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => unread = unread.or(Some(error)),
        }
    }
    (headers, unread)
}

/// Returns the headers of the first batch, the newest first, that has one which the identities
/// open; none if no header is.
async fn first_usable(
    open: &dyn OpenHeader,
    stores: &[&dyn Store],
    file: &Key,
    names: &[&HeaderName],
) -> Result<Vec<Bytes>> {
    let mut read = Err(Error::new(Stage::Decrypt, Kind::NotFound, file.as_str(), "no destination has this file"));
    for store in stores {
        read = header_of(open, *store, file, None).await;
        if read.is_ok() {
            break;
        }
    }
    let found = first_opened(open, stores, (&read?, file), names).await?;
    Ok(found.map(|(_, headers)| headers).unwrap_or_default())
}

/// Returns the key of a file from the newest header beside it that the identities open, and the
/// batch of headers that has it. A batch is fetched only if no newer one suffices.
///
/// # Errors
///
/// Fails if no header is opened, and some could not be fetched.
pub(crate) async fn first_opened(
    open: &dyn OpenHeader,
    stores: &[&dyn Store],
    (own, file): (&Bytes, &Key),
    names: &[&HeaderName],
) -> Result<Option<(FileKey, Vec<Bytes>)>> {
    let mut failed = None;
    for batch in names.chunks(BATCH) {
        let (headers, unread) = fetch_all(batch, stores).await;
        failed = failed.or(unread);
        match open.file_key(own.clone(), headers.clone(), file.as_str()).await {
            Ok(key) => return Ok(Some((key, headers))),
            Err(error) if error.kind() == Kind::Denied => {}
            // Such as a forged header that needs a passphrase, or a plugin.
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(None), Err)
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

    fn is_authenticated(&self) -> bool {
        self.own.is_authenticated()
    }
}
