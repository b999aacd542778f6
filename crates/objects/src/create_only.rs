//! Protection against overwriting: by the store, or by checks before and after an upload.
//!
//! A store that supports create-only requests (such as `If-None-Match: *`) refuses to overwrite an
//! object, even if two writers race. Some stores answer 200 and overwrite. A response does not
//! show the difference, so each [`Bucket`](crate::Bucket) writes a small hidden object twice before
//! it relies on create-only requests.

use std::fmt;

use bytes::Bytes;
use longshore_core::{Kind, Result};
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload};
use tokio::sync::OnceCell;

use crate::bucket::Backend;

/// The name of the probe object. The leading dot keeps it out of listings.
const PROBE: &str = ".longshore-create-only";
/// The content of the probe object.
const PROBE_TEXT: &str =
    "Longshore writes this object to test whether the store overwrites objects. It can be deleted.\n";

/// The way in which overwriting is prevented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateOnly {
    /// The store refuses to overwrite.
    ByStore,
    /// Longshore checks before and after. If two hosts write the same key at once, the last write
    /// wins.
    ByChecks,
}

impl fmt::Display for CreateOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ByStore => "the store",
            Self::ByChecks => "checks before and after",
        })
    }
}

/// The ways for simple and for multipart uploads, each found by a probe if it is not known.
#[derive(Debug)]
pub struct CreateOnlyModes {
    put: OnceCell<CreateOnly>,
    multipart: OnceCell<CreateOnly>,
}

impl CreateOnlyModes {
    /// Returns modes that are found by a probe.
    pub fn unknown() -> Self {
        Self { put: OnceCell::new(), multipart: OnceCell::new() }
    }

    /// Returns the known modes of a kind of store.
    pub fn known(put: CreateOnly, multipart: CreateOnly) -> Self {
        Self { put: OnceCell::new_with(Some(put)), multipart: OnceCell::new_with(Some(multipart)) }
    }
}

impl Backend {
    /// Returns the way in which overwriting by simple uploads is prevented.
    pub(crate) async fn create_only_of_put(&self) -> Result<CreateOnly> {
        self.create_only.put.get_or_try_init(|| self.probe_put()).await.copied()
    }

    /// Returns the way in which overwriting by multipart uploads is prevented.
    pub(crate) async fn create_only_of_multipart(&self) -> Result<CreateOnly> {
        self.create_only.multipart.get_or_try_init(|| self.probe_multipart()).await.copied()
    }

    async fn probe_put(&self) -> Result<CreateOnly> {
        let probe = self.location.raw_path(PROBE)?;
        // The first write is refused if an earlier probe left the object. Otherwise the second
        // write must be refused.
        for _ in 0..2 {
            let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let done = self.store.put_opts(&probe, PutPayload::from_static(PROBE_TEXT.as_bytes()), create).await;
            if self.is_refused(&probe, done.map(drop))? {
                return Ok(CreateOnly::ByStore);
            }
        }
        // In a bucket with versioning, each probe would add versions.
        self.remove(&probe).await.ok();
        Ok(CreateOnly::ByChecks)
    }

    async fn probe_multipart(&self) -> Result<CreateOnly> {
        // A store that overwrites in simple uploads overwrites in multipart uploads, too. A refused
        // simple upload has left the probe object in place.
        if self.create_only_of_put().await? == CreateOnly::ByChecks {
            return Ok(CreateOnly::ByChecks);
        }
        let probe = self.location.raw_path(PROBE)?;
        let created = self.store.put_multipart_opts(&probe, PutMultipartOptions::default()).await;
        let mut upload = created.map_err(|error| self.convert_error(&probe, "cannot begin an upload", error))?;
        let part = upload.put_part(PutPayload::from_bytes(Bytes::from_static(PROBE_TEXT.as_bytes()))).await;
        let done = match part {
            Ok(()) => upload.complete().await.map(drop),
            Err(error) => Err(error),
        };
        let refused = self.is_refused(&probe, done);
        if !matches!(refused, Ok(false)) {
            // A refused upload may stay unfinished; aborting a finished upload is harmless.
            upload.abort().await.ok();
        }
        Ok(if refused? { CreateOnly::ByStore } else { CreateOnly::ByChecks })
    }

    /// Returns true if the store refused to overwrite the object.
    fn is_refused(&self, path: &Path, done: object_store::Result<()>) -> Result<bool> {
        match done.map_err(|error| {
            self.convert_error(path, "cannot write the object that tests whether the store overwrites", error)
        }) {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == Kind::AlreadyExists => Ok(true),
            Err(error) => Err(error),
        }
    }
}
