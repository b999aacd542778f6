//! The destination: its joints, put together.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use longshore_core::aftercare::see_through;
use longshore_core::key::Key;
use longshore_core::quantity::Span;
use longshore_core::stage::{Entry, Locks, Ship, Store, Sweep};
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};
use object_store::path::Path;
use object_store::{Attribute, Attributes, Extensions, ObjectStore, TagSet};

use crate::failure::failure;
use crate::gather::Gather;
use crate::guard::Guards;
use crate::leftover::Uploads;
use crate::lock::{Lock, LockHeaders};
use crate::place::Place;
use crate::published::Published;
use crate::transfer::Transfer;
use crate::version::Versions;
use crate::{list, read, upload};

/// A store's client, and what it takes to use it. Clones share it.
#[derive(Clone)]
pub struct Backend {
    /// The client.
    pub store: Arc<dyn ObjectStore>,
    /// Where it is.
    pub place: Place,
    /// How bodies are sent.
    pub transfer: Transfer,
    /// Who keeps names from being taken twice.
    pub guards: Arc<Guards>,
    /// What each object is to have, such as a storage class.
    pub attributes: Attributes,
    /// The tags that each object is to have.
    pub tags: TagSet,
    /// How objects are locked, where that is asked for.
    pub lock: Option<Lock>,
    /// How the store tells that an object is locked.
    pub lock_headers: LockHeaders,
    /// Versions of objects, where the store may keep them.
    pub versions: Option<Versions>,
    /// Uploads that nobody ended, where they can be found.
    pub uploads: Option<Uploads>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("place", &self.place).field("transfer", &self.transfer).finish_non_exhaustive()
    }
}

impl Backend {
    /// A store with nothing but what each has. What else one has is added to it.
    pub fn new(store: Arc<dyn ObjectStore>, place: Place, transfer: Transfer, lock_headers: LockHeaders) -> Self {
        Self {
            store,
            place,
            transfer,
            lock_headers,
            guards: Arc::new(Guards::unknown()),
            attributes: Attributes::new(),
            tags: TagSet::default(),
            lock: None,
            versions: None,
            uploads: None,
        }
    }

    /// The same, each object with this storage class.
    #[must_use]
    pub fn in_class(mut self, class: Option<&String>) -> Self {
        if let Some(class) = class {
            self.attributes.insert(Attribute::StorageClass, class.clone().into());
        }
        self
    }

    /// What an error about an object means.
    pub(crate) fn failure(&self, path: &Path, message: &str, error: object_store::Error) -> Error {
        failure(&self.place, &self.place.subject(path), message, error)
    }

    /// What the wire is to be told of an object that is made now.
    pub(crate) fn extensions(&self) -> Extensions {
        self.lock.as_ref().map(Lock::extensions).unwrap_or_default()
    }

    /// What came of asking an upload to end: one that is not there any more has.
    pub(crate) fn ended(&self, path: &Path, done: object_store::Result<()>) -> Result<()> {
        match done.map_err(|error| self.failure(path, "cannot end the upload", error)) {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            done => done,
        }
    }

    /// The store said that it had something, and does not.
    pub(crate) fn vanished(&self, path: &Path) -> Error {
        let message = "the store confirmed it, and does not have it";
        Error::new(Stage::Ship, Kind::Failed, self.place.subject(path), message)
    }
}

/// A destination in a bucket.
#[derive(Debug)]
pub struct Bucket {
    pub(crate) backend: Arc<Backend>,
}

impl Bucket {
    /// The destination that `backend` reaches.
    pub fn new(backend: Backend) -> Self {
        Self { backend: Arc::new(backend) }
    }
}

#[async_trait]
impl Ship for Bucket {
    async fn ship(&self, key: &Key, body: ByteStream) -> Result<()> {
        let path = self.backend.place.path(key)?;
        let mut body = Gather::new(body);
        let first = body.part(self.backend.transfer.part.next(0)).await?;
        let published = if first.last {
            let (backend, path) = (Arc::clone(&self.backend), path.clone());
            let put = async move { backend.put(&path, first.payload).await.map(|()| Published::new(&backend, &path)) };
            see_through(put).await?
        } else {
            upload::upload(&self.backend, &path, first, body).await?
        };
        if let Err(error) = self.backend.expect_locked(&path).await {
            published.take_back().await;
            return Err(error);
        }
        published.keep();
        Ok(())
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        self.backend.uploads.is_some().then_some(self)
    }
}

#[async_trait]
impl Store for Bucket {
    async fn list(&self) -> Result<BoxStream<'static, Result<Entry>>> {
        Ok(list::entries(Arc::clone(&self.backend)))
    }

    async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
        read::fetch(Arc::clone(&self.backend), self.backend.place.path(key)?, range).await
    }

    async fn remove(&self, key: &Key) -> Result<()> {
        self.backend.remove(&self.backend.place.path(key)?).await
    }

    fn locks(&self) -> Option<&dyn Locks> {
        Some(self)
    }

    fn retaining(&self, span: Span) -> Option<Arc<dyn Store>> {
        let lock = self.backend.lock.as_ref()?.retaining(span)?;
        Some(Arc::new(Self::new(Backend { lock: Some(lock), ..Backend::clone(&self.backend) })))
    }
}
