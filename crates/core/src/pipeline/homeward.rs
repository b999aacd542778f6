//! fetch → digest → Decrypt → decompress → digest: a backup brought home, and judged again.

use std::sync::Arc;

use futures_util::StreamExt;

use crate::compress::decompress;
use crate::error::{Error, Kind, Result, Stage};
use crate::manifest::Manifest;
use crate::meter::expect;
use crate::progress::Progress;
use crate::stage::{Decrypt, Findings, Store, Verify};
use crate::stream::{ByteStream, drain};

/// How deep a read-back went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// The sealed bytes are those that were shipped. Nobody could open them here.
    Sealed,
    /// The plaintext is what was dumped, and those who judge found it sound.
    Decoded,
}

/// The plaintext of a backup. Both digests of its manifest are enforced: other bytes end in an error of kind [`Kind::Corrupt`].
pub async fn open(store: &dyn Store, manifest: &Manifest, decrypt: Option<&dyn Decrypt>) -> Result<ByteStream> {
    undo(fetch(store, manifest).await?, manifest, decrypt).await
}

/// Undoes what was done to the plaintext of a backup, whose sealed bytes are at hand.
pub async fn undo(sealed: ByteStream, manifest: &Manifest, decrypt: Option<&dyn Decrypt>) -> Result<ByteStream> {
    let artifact = &manifest.artifact;
    let key = artifact.key.as_str();
    let opened = match (&artifact.encryption, decrypt) {
        (None, _) => sealed,
        (Some(_), Some(decrypt)) => decrypt.decrypt(sealed, key).await?,
        (Some(encryption), None) => {
            let error = Error::new(Stage::Decrypt, Kind::Usage, key, format!("sealed with {encryption}"));
            return Err(error.hint("give an identity that opens it: --identity FILE"));
        }
    };
    let plain = match artifact.compression.as_deref() {
        None => opened,
        Some("zstd") => decompress(opened, key),
        Some(other) => {
            let message = format!("compressed with \"{other}\", which this program does not know");
            return Err(Error::new(Stage::Compress, Kind::Refused, key, message));
        }
    };
    Ok(expect(plain, artifact.plaintext.clone(), key.to_owned()))
}

/// What a read-back found.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadBack {
    /// How deep it went.
    pub depth: Depth,
    /// What those found who judged the plaintext.
    pub findings: Vec<Findings>,
}

/// Reads a backup back to its end: sizes, digests, and, where it can be opened, every check of `verify`.
pub async fn read_back(
    store: &dyn Store,
    manifest: &Manifest,
    decrypt: Option<&dyn Decrypt>,
    verify: &[Arc<dyn Verify>],
    progress: &Arc<dyn Progress>,
) -> Result<ReadBack> {
    let sealed = manifest.artifact.encryption.is_some() && decrypt.is_none();
    let mut findings = Vec::new();
    let (mut stream, depth) = if sealed {
        (fetch(store, manifest).await?, Depth::Sealed)
    } else {
        let plain = open(store, manifest, decrypt).await?;
        let judged = verify.iter().fold(plain, |plain, verify| {
            let verified = verify.verify(&manifest.subject, manifest.artifact.format, plain, progress);
            findings.push(verified.findings);
            verified.stream
        });
        (judged, Depth::Decoded)
    };
    while let Some(chunk) = stream.next().await {
        progress.read(chunk?.len() as u64);
    }
    if let Some(details) = &manifest.details {
        drain(expect(store.fetch(&details.key, None).await?, details.sealed.clone(), details.key.to_string())).await?;
    }
    Ok(ReadBack { depth, findings: findings.iter().filter_map(|found| found.get().cloned()).collect() })
}

/// The sealed bytes of a backup, held against their digest.
pub async fn fetch(store: &dyn Store, manifest: &Manifest) -> Result<ByteStream> {
    let artifact = &manifest.artifact;
    let sealed = store.fetch(&artifact.key, None).await?;
    Ok(expect(sealed, artifact.sealed.clone(), artifact.key.to_string()))
}
