//! Who keeps a name from being taken twice: the store, or we.
//!
//! A store that knows create-only requests (`If-None-Match: *` and its like) refuses a name that is taken, also when two writers race. Some
//! stores answer 200 and overwrite. Nobody can see that from an answer, so one small hidden object is written over itself, once for each
//! [`Bucket`](crate::Bucket), before the first body is trusted to such a request.

use std::fmt;

use bytes::Bytes;
use longshore_core::{Kind, Result};
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload};
use tokio::sync::OnceCell;

use crate::bucket::Backend;

/// The object that is tried. It begins with a dot, so it is no key, and nobody lists it.
const TRIAL: &str = ".longshore-create-only";
/// What is in it.
const TRIAL_TEXT: &str =
    "Longshore writes this to learn whether the store overwrites what is there. It may be removed.\n";

/// Who keeps a name from being taken twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// The store refuses it.
    Store,
    /// We look before and after: of two who write one name in the same moment, the later one's stays.
    Look,
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "the store",
            Self::Look => "a look before and after",
        })
    }
}

/// Who guards what is sent in one request, and what is sent in parts; tried out where it is not known.
#[derive(Debug)]
pub struct Guards {
    put: OnceCell<Guard>,
    parts: OnceCell<Guard>,
}

impl Guards {
    /// It is to be tried out.
    pub fn unknown() -> Self {
        Self { put: OnceCell::new(), parts: OnceCell::new() }
    }

    /// It is known of this kind of store.
    pub fn known(put: Guard, parts: Guard) -> Self {
        Self { put: OnceCell::new_with(Some(put)), parts: OnceCell::new_with(Some(parts)) }
    }
}

impl Backend {
    /// Who guards what is sent in one request.
    pub(crate) async fn guard_of_put(&self) -> Result<Guard> {
        self.guards.put.get_or_try_init(|| self.try_put()).await.copied()
    }

    /// Who guards what is sent in parts.
    pub(crate) async fn guard_of_parts(&self) -> Result<Guard> {
        self.guards.parts.get_or_try_init(|| self.try_parts()).await.copied()
    }

    async fn try_put(&self) -> Result<Guard> {
        let trial = self.place.hidden(TRIAL)?;
        // Refused at once if it is there from the last time; and if the first was let through, the second must not be.
        for _ in 0..2 {
            let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let done = self.store.put_opts(&trial, PutPayload::from_static(TRIAL_TEXT.as_bytes()), create).await;
            if self.refused(&trial, done.map(drop))? {
                return Ok(Guard::Store);
            }
        }
        // Where versions are kept, each trial would add some.
        self.remove(&trial).await.ok();
        Ok(Guard::Look)
    }

    async fn try_parts(&self) -> Result<Guard> {
        // A store that cannot do it in one request cannot do it in parts either; and the object to try it on is there.
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
            // What is refused may stay an upload; what was ended so already is no error.
            upload.abort().await.ok();
        }
        Ok(if refused? { Guard::Store } else { Guard::Look })
    }

    /// Whether the store refused to write over what is there.
    fn refused(&self, path: &Path, done: object_store::Result<()>) -> Result<bool> {
        match done.map_err(|error| {
            self.failure(path, "cannot write the object by which it is tried out whether the store overwrites", error)
        }) {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == Kind::AlreadyExists => Ok(true),
            Err(error) => Err(error),
        }
    }
}
