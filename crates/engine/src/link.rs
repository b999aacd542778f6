//! The plaintexts of an incremental base backup and of those that it continues, as one stream.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use longshore_catalog::catalog::Backup;
use longshore_config::registry::Registry;
use longshore_core::Result;
use longshore_core::event::{Event, Observer, ignore};
use longshore_core::manifest::Manifest;
use longshore_core::pipeline::{Source, decode, open_from};
use longshore_core::stage::{Decrypt, Verify};
use longshore_core::stream::ByteStream;

use crate::local_file;
use crate::origin::OriginCheck;
use crate::stages::site_without_server;

/// One backup of a chain, whose bytes are read when its turn comes.
pub(crate) struct Link {
    bytes: LinkBytes,
    manifest: Manifest,
    decryptor: Option<Box<dyn Decrypt>>,
    origin: OriginCheck,
    verifier: Box<dyn Verify>,
    observer: Arc<dyn Observer>,
}

/// The stored bytes of a link.
pub(crate) enum LinkBytes {
    /// Destinations, in order.
    Stored(Vec<Source>),
    /// A file on this host.
    Fetched(PathBuf),
}

impl Link {
    /// Prepares the reading of a backup. The observer learns of destinations that fail.
    pub(crate) fn new(
        registry: &Registry,
        decryptor: Option<Box<dyn Decrypt>>,
        backup: &Backup,
        bytes: LinkBytes,
        observer: &Arc<dyn Observer>,
    ) -> Result<Self> {
        let manifest = Manifest::clone(&backup.manifest);
        Ok(Self {
            bytes,
            decryptor,
            origin: OriginCheck::new(registry, &manifest)?,
            verifier: registry.default_verifier(&manifest.artifact.format, &site_without_server())?,
            observer: Arc::clone(observer),
            manifest,
        })
    }

    /// Opens the plaintext. Its digests are enforced, and its contents verified.
    async fn open(self) -> Result<ByteStream> {
        let Self { bytes, manifest, decryptor, origin, verifier, observer } = self;
        let plaintext = match bytes {
            LinkBytes::Stored(sources) => {
                let on_source_failed =
                    move |error: &_, to: &Source| observer.event(&Event::SourceFailed { error, next: &to.name });
                open_from(&sources, &manifest, decryptor.as_deref(), on_source_failed).await?
            }
            LinkBytes::Fetched(path) => decode(local_file::read(path), &manifest, decryptor.as_deref()).await?,
        };
        let format = manifest.artifact.format.clone();
        Ok(verifier.verify(&manifest.subject, format, origin.checked(plaintext), &ignore()).stream)
    }
}

/// Returns the plaintexts of a chain, from the full backup on. Opens each one after the end of the
/// one before it. `position` is the index of the link that is being read.
pub(crate) fn concatenate(links: Vec<Link>, position: Arc<AtomicUsize>) -> ByteStream {
    let stream = async_stream::try_stream! {
        for (index, link) in links.into_iter().enumerate() {
            position.store(index, Ordering::Relaxed);
            let mut plaintext = link.open().await?;
            while let Some(chunk) = plaintext.next().await {
                yield chunk?;
            }
        }
    };
    stream.boxed()
}
