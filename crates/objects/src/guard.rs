//! Protection against overwriting: by the store, or by checks before and after an upload.
//!
//! A store that supports create-only requests (such as `If-None-Match: *`) refuses to overwrite an
//! object, even if two writers race. Some stores answer 200 and overwrite. An answer does not show
//! the difference, so each [`Bucket`](crate::Bucket) writes a small hidden object twice before it
//! relies on create-only requests.

use std::fmt;

use bytes::Bytes;
use longshore_core::{Kind, Result};
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload};
use tokio::sync::OnceCell;

use crate::bucket::Backend;

/// The name of the trial object. The leading dot keeps it out of listings.
const TRIAL: &str = ".longshore-create-only";
/// The content of the trial object.
const TRIAL_TEXT: &str =
    "Longshore writes this object to test whether the store overwrites objects. It can be deleted.\n";

/// The party that prevents overwriting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// The store refuses to overwrite.
    Store,
    /// Longshore checks before and after. If two hosts write the same key at once, the last write
    /// wins.
    Look,
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "the store",
            Self::Look => "checks before and after",
        })
    }
}

/// The guards of simple and of multipart uploads, each found by a trial if it is not known.
#[derive(Debug)]
pub struct Guards {
    put: OnceCell<Guard>,
    parts: OnceCell<Guard>,
}

impl Guards {
    /// Returns guards that are found by a trial.
    pub fn unknown() -> Self {
        Self { put: OnceCell::new(), parts: OnceCell::new() }
    }

    /// Returns the known guards of a kind of store.
    pub fn known(put: Guard, parts: Guard) -> Self {
        Self { put: OnceCell::new_with(Some(put)), parts: OnceCell::new_with(Some(parts)) }
    }
}

impl Backend {
    /// Returns the guard of simple uploads.
    pub(crate) async fn guard_of_put(&self) -> Result<Guard> {
        self.guards.put.get_or_try_init(|| self.try_put()).await.copied()
    }

    /// Returns the guard of multipart uploads.
    pub(crate) async fn guard_of_parts(&self) -> Result<Guard> {
        self.guards.parts.get_or_try_init(|| self.try_parts()).await.copied()
    }

    async fn try_put(&self) -> Result<Guard> {
        let trial = self.place.hidden(TRIAL)?;
        // The first write is refused if an earlier trial left the object. Otherwise the second
        // write must be refused.
        for _ in 0..2 {
            let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let done = self.store.put_opts(&trial, PutPayload::from_static(TRIAL_TEXT.as_bytes()), create).await;
            if self.refused(&trial, done.map(drop))? {
                return Ok(Guard::Store);
            }
        }
        // In a bucket with versioning, each trial would add versions.
        self.remove(&trial).await.ok();
        Ok(Guard::Look)
    }

    async fn try_parts(&self) -> Result<Guard> {
        // A store that does not guard simple uploads does not guard multipart uploads either. A
        // guarded simple upload has left the trial object in place.
        if self.guard_of_put().await? == Guard::Look {
            return Ok(Guard::Look);
        }
        let trial = self.place.hidden(TRIAL)?;
        let begun = self.store.put_multipart_opts(&trial, PutMultipartOptions::default()).await;
        let mut upload = begun.map_err(|error| self.failure(&trial, "cannot begin an upload", error))?;
        let part = upload.put_part(PutPayload::from_bytes(Bytes::from_static(TRIAL_TEXT.as_bytes()))).await;
        let done = match part {
            Ok(()) => upload.complete().await.map(drop),
            Err(error) => Err(error),
        };
        let refused = self.refused(&trial, done);
        if !matches!(refused, Ok(false)) {
            // A refused upload may stay unfinished; aborting a finished upload is harmless.
            upload.abort().await.ok();
        }
        Ok(if refused? { Guard::Store } else { Guard::Look })
    }

    /// Returns true if the store refused to overwrite the object.
    fn refused(&self, path: &Path, done: object_store::Result<()>) -> Result<bool> {
        match done.map_err(|error| {
            self.failure(path, "cannot write the object that tests whether the store overwrites", error)
        }) {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == Kind::AlreadyExists => Ok(true),
            Err(error) => Err(error),
        }
    }
}
