//! fetch → digest → Decrypt → decompress → digest: a backup is read back and verified again.

use std::ops::Range;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};

use crate::compress::decompress;
use crate::difference::reconstruct;
use crate::error::{Error, Kind, Result, Stage};
use crate::event::{Event, Observer};
use crate::key::Key;
use crate::manifest::Manifest;
use crate::meter::expect;
use crate::pipeline::decrypt_stored;
use crate::plugin::decryption_hint;
use crate::stage::{Decrypt, Store, Verify, VerifyReport, verifiers_of};
use crate::stream::{ByteStream, drain};

/// The depth of a read-back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// The stored bytes match their digest. They could not be decrypted here.
    Sealed,
    /// The plaintext matches its digest, and the verifiers found no damage.
    Decoded,
}

/// Opens the plaintext of a backup. Both digests of the manifest are enforced: other bytes are an
/// error of kind [`Kind::Corrupt`].
///
/// # Errors
///
/// Fails with [`Kind::Refused`] for a difference, which is no plaintext: see [`open_content`].
pub async fn open(store: &dyn Store, manifest: &Manifest, decrypt: Option<&dyn Decrypt>) -> Result<ByteStream> {
    if manifest.is_difference() {
        return Err(not_alone(manifest));
    }
    open_content(store, manifest, decrypt).await
}

/// Opens the content of an artifact as [`open`] does: the plaintext of a backup, or its difference
/// from a full one, for [`reconstruct`].
pub async fn open_content(store: &dyn Store, manifest: &Manifest, decrypt: Option<&dyn Decrypt>) -> Result<ByteStream> {
    decode(fetch(store, manifest).await?, manifest, decrypt).await
}

/// A destination that contains a backup.
#[derive(Clone)]
pub struct Source {
    /// The destination's name in the configuration.
    pub name: String,
    /// The store.
    pub store: Arc<dyn Store>,
}

/// Opens a backup as [`open_content`] does, from the first of several destinations with the same
/// stored bytes. If a destination fails midway, continues from the next one at the same offset.
/// Calls `on_switch` with the error and the next destination.
pub async fn open_from(
    sources: &[Source],
    manifest: &Manifest,
    decrypt: Option<&dyn Decrypt>,
    on_switch: impl Fn(&Error, &Source) + Send + Sync + 'static,
) -> Result<ByteStream> {
    let artifact = manifest.artifact.clone();
    let mut sources = Vec::from(sources).into_iter();
    let not_found =
        || Error::new(Stage::Ship, Kind::NotFound, artifact.key.as_str(), "no destination contains this backup");
    let mut source = sources.next().ok_or_else(not_found)?;
    let mut failed = None;
    // The first destination that answers. A stream that cannot begin is an error here, and not in
    // its first item.
    let mut body = loop {
        match source.store.fetch(&artifact.key, None).await {
            Ok(body) => break body,
            Err(error) => match sources.next() {
                Some(next) => {
                    on_switch(&error, &next);
                    failed.get_or_insert(error);
                    source = next;
                }
                None => return Err(failed.unwrap_or(error)),
            },
        }
    };
    let (key, bytes) = (artifact.key.clone(), artifact.sealed.bytes);
    let stream = async_stream::try_stream! {
        let mut offset = 0;
        loop {
            let Some(chunk) = body.next().await else { break };
            match chunk {
                Ok(chunk) => {
                    offset += chunk.len() as u64;
                    yield chunk;
                }
                Err(error) if offset < bytes => body = fetch_rest(&mut sources, &key, offset..bytes, error, &on_switch).await?,
                Err(error) => Err(error)?,
            }
        }
    };
    let sealed = expect(stream.boxed(), artifact.sealed, artifact.key.to_string());
    decode(sealed, manifest, decrypt).await
}

/// Returns the rest of a file from the first destination that contains it, or `error` if none does.
async fn fetch_rest(
    sources: &mut std::vec::IntoIter<Source>,
    key: &Key,
    rest: Range<u64>,
    error: Error,
    on_switch: &(impl Fn(&Error, &Source) + Sync),
) -> Result<ByteStream> {
    for source in sources {
        on_switch(&error, &source);
        if let Ok(body) = source.store.fetch(key, Some(rest.clone())).await {
            return Ok(body);
        }
    }
    Err(error)
}

/// Decrypts and decompresses the stored bytes of a backup. Those of a difference need
/// [`reconstruct`].
pub async fn decode(sealed: ByteStream, manifest: &Manifest, decrypt: Option<&dyn Decrypt>) -> Result<ByteStream> {
    let artifact = &manifest.artifact;
    let key = artifact.key.as_str();
    let mut cause = None;
    let decrypted = match (&artifact.encryption, decrypt) {
        (None, _) => sealed,
        (Some(_), Some(decrypt)) => {
            let (decrypted, of_errors) = decrypt_stored(decrypt, sealed, key).await?;
            cause = Some(of_errors);
            decrypted
        }
        (Some(encryption), None) => {
            let error = Error::new(Stage::Decrypt, Kind::Usage, key, format!("encrypted with {encryption}"));
            return Err(error.hint(decryption_hint(encryption, artifact.decryption.as_deref())));
        }
    };
    let plain = match artifact.compression.as_deref() {
        None => decrypted,
        Some("zstd") => decompress(decrypted, key),
        Some(other) => {
            let message = format!("unknown compression \"{other}\"");
            return Err(Error::new(Stage::Compress, Kind::Refused, key, message));
        }
    };
    let content = artifact.difference.as_ref().map_or(&artifact.plaintext, |difference| &difference.encoded);
    let plain = expect(plain, content.clone(), key.to_owned());
    Ok(match cause {
        Some(cause) => plain.map_err(move |error| cause.of(error)).boxed(),
        None => plain,
    })
}

/// The result of a read-back.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadBack {
    /// The depth of the read-back.
    pub depth: Depth,
    /// The reports of the verifiers.
    pub reports: Vec<VerifyReport>,
}

/// A full backup at the same destination, from which a backup is a difference.
#[derive(Clone, Copy)]
pub struct FullBackup<'a> {
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// Its decryption.
    pub decrypt: Option<&'a dyn Decrypt>,
}

/// Reads a backup to its end. Checks sizes and digests, and runs all of `verify` if the backup can
/// be decrypted.
pub async fn read_back(
    store: &dyn Store,
    manifest: &Manifest,
    decrypt: Option<&dyn Decrypt>,
    verify: &[Arc<dyn Verify>],
    observer: &Arc<dyn Observer>,
) -> Result<ReadBack> {
    read_back_with(store, (manifest, decrypt), None, verify, observer).await
}

/// Reads a backup back like [`read_back`]. A difference is merged with the full backup.
pub async fn read_back_with(
    store: &dyn Store,
    (manifest, decrypt): (&Manifest, Option<&dyn Decrypt>),
    full: Option<FullBackup<'_>>,
    verify: &[Arc<dyn Verify>],
    observer: &Arc<dyn Observer>,
) -> Result<ReadBack> {
    let sealed = manifest.artifact.encryption.is_some() && decrypt.is_none();
    let mut reports = Vec::new();
    let (mut stream, depth) = if sealed {
        (fetch(store, manifest).await?, Depth::Sealed)
    } else {
        let mut plain = open_content(store, manifest, decrypt).await?;
        if manifest.is_difference() {
            let full = full.ok_or_else(|| not_alone(manifest))?;
            plain = reconstruct(open(store, full.manifest, full.decrypt).await?, plain, manifest)?;
        }
        let verified_stream =
            verifiers_of(verify, &manifest.artifact.format).into_iter().fold(plain, |plain, verify| {
                let verified = verify.verify(&manifest.subject, manifest.artifact.format.clone(), plain, observer);
                reports.push(verified.report);
                verified.stream
            });
        (verified_stream, Depth::Decoded)
    };
    while let Some(chunk) = stream.next().await {
        observer.event(&Event::BytesRead(chunk?.len() as u64));
    }
    if let Some(details) = &manifest.details {
        drain(expect(store.fetch(&details.key, None).await?, details.sealed.clone(), details.key.to_string())).await?;
    }
    Ok(ReadBack { depth, reports: reports.iter().filter_map(|report| report.get().cloned()).collect() })
}

/// Fetches the stored bytes of a backup, and compares them with their digest.
pub async fn fetch(store: &dyn Store, manifest: &Manifest) -> Result<ByteStream> {
    let artifact = &manifest.artifact;
    let sealed = store.fetch(&artifact.key, None).await?;
    Ok(expect(sealed, artifact.sealed.clone(), artifact.key.to_string()))
}

fn not_alone(manifest: &Manifest) -> Error {
    let message = "is a difference, and can only be read with its full backup";
    Error::new(Stage::Catalog, Kind::Refused, manifest.artifact.key.as_str(), message)
}
