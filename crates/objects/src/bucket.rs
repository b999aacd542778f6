//! A destination in a bucket: the implementation of the storage traits.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use longshore_core::cleanup::shield;
use longshore_core::key::Key;
use longshore_core::stage::{Capabilities, Entry, IncompleteUploads, Limits, Ship, Store};
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};
use object_store::path::Path;
use object_store::{Attribute, Attributes, Extensions, ObjectStore, TagSet};

use crate::create_only::CreateOnlyModes;
use crate::error::convert_error;
use crate::list::Contents;
use crate::location::Location;
use crate::object_lock::{LockHeaders, LockRequest};
use crate::part_buffer::PartBuffer;
use crate::pending_object::PendingObject;
use crate::transfer::Transfer;
use crate::unfinished_upload::Uploads;
use crate::version::Versions;
use crate::{list, multipart, read};

/// A store's client and its configuration. Clones share the client.
#[derive(Clone)]
pub struct Backend {
    /// The client.
    pub store: Arc<dyn ObjectStore>,
    /// The destination's address.
    pub location: Location,
    /// The part sizes and parallelism of uploads.
    pub transfer: Transfer,
    /// The protection against overwriting, for simple and for multipart uploads.
    pub create_only: Arc<CreateOnlyModes>,
    /// The attributes of new objects, such as a storage class.
    pub attributes: Attributes,
    /// The tags of new objects.
    pub tags: TagSet,
    /// The lock requested for new objects, if configured.
    pub lock: Option<LockRequest>,
    /// The headers in which the store reports locks.
    pub lock_headers: LockHeaders,
    /// Access to object versions, if the store may keep them.
    pub versions: Option<Versions>,
    /// Access to unfinished uploads, if the store lists them.
    pub uploads: Option<Uploads>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("location", &self.location)
            .field("transfer", &self.transfer)
            .finish_non_exhaustive()
    }
}

impl Backend {
    /// Returns a backend with only the features that every store has. Callers set the other fields.
    pub fn new(store: Arc<dyn ObjectStore>, location: Location, transfer: Transfer, lock_headers: LockHeaders) -> Self {
        Self {
            store,
            location,
            transfer,
            lock_headers,
            create_only: Arc::new(CreateOnlyModes::unknown()),
            attributes: Attributes::new(),
            tags: TagSet::default(),
            lock: None,
            versions: None,
            uploads: None,
        }
    }

    /// Sets the storage class of new objects.
    #[must_use]
    pub fn with_storage_class(mut self, class: Option<&String>) -> Self {
        if let Some(class) = class {
            self.attributes.insert(Attribute::StorageClass, class.clone().into());
        }
        self
    }

    /// Converts a client's error about an object.
    pub(crate) fn convert_error(&self, path: &Path, message: &str, error: object_store::Error) -> Error {
        convert_error(&self.location, &self.location.object_url(path), message, error)
    }

    /// Returns the request extensions for new objects, such as Object Lock headers.
    pub(crate) fn extensions(&self) -> Extensions {
        self.lock.as_ref().map(LockRequest::extensions).unwrap_or_default()
    }

    /// Converts the result of aborting an upload. Aborting an upload that no longer exists
    /// succeeds.
    pub(crate) fn abort_result(&self, path: &Path, result: object_store::Result<()>) -> Result<()> {
        match result.map_err(|error| self.convert_error(path, "cannot abort the upload", error)) {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Returns the error for an object that is missing although the store confirmed it.
    pub(crate) fn missing_after_upload(&self, path: &Path) -> Error {
        let message = "the object is missing although the store confirmed the upload";
        Error::new(Stage::Ship, Kind::Failed, self.location.object_url(path), message)
    }
}

/// A destination in a bucket.
#[derive(Debug)]
pub struct Bucket {
    pub(crate) backend: Arc<Backend>,
}

impl Bucket {
    /// Returns the destination that `backend` reaches.
    pub fn new(backend: Backend) -> Self {
        Self { backend: Arc::new(backend) }
    }
}

#[async_trait]
impl Ship for Bucket {
    async fn ship(&self, key: &Key, body: ByteStream) -> Result<()> {
        let path = self.backend.location.path(key)?;
        let mut body = PartBuffer::new(body);
        let first = body.next_part(self.backend.transfer.part_size.next(0)).await?;
        let object = if first.last {
            let (backend, path) = (Arc::clone(&self.backend), path.clone());
            let put =
                async move { backend.put(&path, first.payload).await.map(|()| PendingObject::new(&backend, &path)) };
            shield(put).await?
        } else {
            multipart::upload(&self.backend, &path, first, body).await?
        };
        if let Err(error) = self.backend.ensure_locked(&path).await {
            object.roll_back().await;
            return Err(error);
        }
        object.commit();
        Ok(())
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn capabilities(&self) -> Capabilities<'_> {
        let incomplete_uploads = self.backend.uploads.is_some().then_some(self as &dyn IncompleteUploads);
        Capabilities { incomplete_uploads, object_locks: Some(self), ..Capabilities::default() }
    }
}

#[async_trait]
impl Store for Bucket {
    async fn list(&self, under: Option<&Key>) -> Result<BoxStream<'static, Result<Entry>>> {
        let folder = match under {
            Some(folder) => Some(self.backend.location.path(folder)?),
            None => self.backend.location.folder(),
        };
        Ok(list::entries(Arc::clone(&self.backend), folder, Contents::All))
    }

    async fn list_backups(&self) -> Result<BoxStream<'static, Result<Entry>>> {
        Ok(list::entries(Arc::clone(&self.backend), self.backend.location.folder(), Contents::WithoutWal))
    }

    async fn stat(&self, key: &Key) -> Result<Entry> {
        let bytes = read::stat(&self.backend, &self.backend.location.path(key)?).await?;
        Ok(Entry::new(key.clone(), bytes))
    }

    async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
        read::fetch(Arc::clone(&self.backend), self.backend.location.path(key)?, range).await
    }

    async fn remove(&self, key: &Key) -> Result<()> {
        self.backend.remove(&self.backend.location.path(key)?).await
    }
}
