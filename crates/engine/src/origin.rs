//! Comparison of the origin in a dump's header with the manifest, before the first byte
//! is passed on.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use futures_util::StreamExt;
use longshore_config::registry::Registry;
use longshore_core::Result;
use longshore_core::check::{Check, Finding};
use longshore_core::event::Observer;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::stage::{HEADER_BYTES, Verified, Verify};
use longshore_core::stream::{ByteStream, OnEnd};
use longshore_core::subject::Subject;

use crate::stages::site_without_server;

/// A check of a dump's header against the manifest of its backup.
pub(crate) struct OriginCheck {
    manifest: Arc<Manifest>,
    reader: Arc<dyn Verify>,
}

impl OriginCheck {
    /// Creates a check that reads headers with the default verifier of the backup's format. A
    /// backup in another program's format may be a dump whose manifest was changed.
    pub(crate) fn new(registry: &Registry, manifest: &Manifest) -> Result<Self> {
        let format = match &manifest.artifact.format {
            Format::Other(_) => &Format::Custom,
            own => own,
        };
        let reader = Arc::from(registry.default_verifier(format, &site_without_server())?);
        Ok(Self { manifest: Arc::new(manifest.clone()), reader })
    }

    /// Passes plaintext on. The stream fails before its first byte if the header names
    /// another backup.
    pub(crate) fn checked(&self, mut plaintext: ByteStream) -> ByteStream {
        let (manifest, reader) = (Arc::clone(&self.manifest), Arc::clone(&self.reader));
        let stream = async_stream::try_stream! {
            let mut head = BytesMut::new();
            while head.len() < HEADER_BYTES {
                let Some(chunk) = plaintext.next().await else { break };
                head.extend_from_slice(&chunk?);
            }
            // The manifest may have been changed, so the bytes themselves show that they are a dump
            // with a header.
            if manifest.artifact.format.is_dump() || Format::detect(&head) == Format::Custom {
                reader.origin(&manifest.subject, &head)?.expect(&manifest)?;
            }
            if !head.is_empty() {
                yield head.freeze();
            }
            while let Some(chunk) = plaintext.next().await {
                yield chunk?;
            }
        };
        stream.boxed()
    }
}

#[async_trait]
impl Check for OriginCheck {
    async fn check(&self) -> Vec<Finding> {
        self.reader.check().await
    }
}

impl Verify for OriginCheck {
    fn verifies(&self, _: &Format) -> bool {
        true
    }

    fn verify(&self, _: &Subject, _: Format, plaintext: ByteStream, _: &Arc<dyn Observer>) -> Verified {
        // No findings: the verifiers beside this one report them.
        Verified { stream: self.checked(plaintext), report: OnEnd::new() }
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::provenance::Origin;
    use longshore_core::stream::{collect, failed, from_bytes};
    use longshore_core::{Error, Kind, Stage};

    use super::*;
    use crate::fixture::manifest;

    /// A verifier that takes the first bytes for the name of the database.
    struct DatabaseNameReader;

    #[async_trait]
    impl Check for DatabaseNameReader {
        async fn check(&self) -> Vec<Finding> {
            Vec::new()
        }
    }

    impl Verify for DatabaseNameReader {
        fn verifies(&self, _: &Format) -> bool {
            true
        }

        fn verify(&self, _: &Subject, _: Format, stream: ByteStream, _: &Arc<dyn Observer>) -> Verified {
            Verified { stream, report: OnEnd::new() }
        }

        fn origin(&self, _: &Subject, head: &[u8]) -> Result<Origin> {
            let database = head.get(..5).map(|name| String::from_utf8_lossy(name).into_owned());
            Ok(Origin { database, ..Origin::default() })
        }
    }

    async fn checked(plaintext: ByteStream) -> Result<bytes::Bytes> {
        let check = OriginCheck { manifest: Arc::new(manifest()), reader: Arc::new(DatabaseNameReader) };
        collect(check.checked(plaintext), 1 << 20, Stage::Verify, "").await
    }

    #[tokio::test]
    async fn header_of_another_backup_fails_before_first_byte() {
        let large = [b"appdb".as_slice(), &[7; 2 * HEADER_BYTES]].concat();
        for whole in [&b"appdb"[..], b"", b"app", &large[..]] {
            let chunks: Vec<_> = whole.chunks(1000).map(|chunk| Ok(bytes::Bytes::copy_from_slice(chunk))).collect();
            assert_eq!(checked(futures_util::stream::iter(chunks).boxed()).await.unwrap(), whole);
        }
        let error = checked(from_bytes("crmdb")).await.unwrap_err();
        assert_eq!((error.kind(), error.stage()), (Kind::Corrupt, Stage::Verify));
        let lost = Error::new(Stage::Ship, Kind::Unavailable, "", "connection lost");
        assert_eq!(checked(failed(lost)).await.unwrap_err().kind(), Kind::Unavailable);
    }

    #[tokio::test]
    async fn header_of_another_format_is_not_read() {
        let mut base = manifest();
        base.artifact.format = Format::Base;
        let check = OriginCheck { manifest: Arc::new(base), reader: Arc::new(DatabaseNameReader) };
        assert_eq!(collect(check.checked(from_bytes("crmdb")), 1 << 20, Stage::Verify, "").await.unwrap(), "crmdb");
    }
}
