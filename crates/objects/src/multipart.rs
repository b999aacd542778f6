//! The multipart upload of a large body, aborted on failure.

use std::sync::Arc;

use longshore_core::cleanup::{run_cleanup, shield, spawn_cleanup};
use longshore_core::retry::{Retries, brief};
use longshore_core::{Error, Kind, Result, Stage};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, PutMultipartOptions};
use tokio::task::{JoinError, JoinSet};
use tracing::Instrument;

use crate::bucket::Backend;
use crate::create_only::CreateOnly;
use crate::head::{ObjectState, UploadToken};
use crate::part_buffer::{Part, PartBuffer};
use crate::part_size::MAX_PARTS;
use crate::pending_object::PendingObject;

/// Uploads a body whose first part is already read.
pub(crate) async fn upload(
    backend: &Arc<Backend>,
    path: &Path,
    first: Part,
    mut body: PartBuffer,
) -> Result<PendingObject> {
    let create_only = backend.create_only_of_multipart().await?;
    let token = UploadToken::new();
    // Checked before the body is sent in vain. The store or Longshore checks again at the
    // end, for uploads that race.
    if matches!(backend.head(path, &token).await?, ObjectState::Ours(_) | ObjectState::Other) {
        return Err(backend.already_exists(path));
    }
    // Starts on its own task: if the caller is cancelled, the task drops and so aborts the upload.
    let mut upload = shield(Upload::begin(Arc::clone(backend), path.clone(), token)).await?;
    match upload.send_all(first, &mut body).await {
        Ok(()) => shield(upload.complete(create_only)).await,
        Err(error) => {
            upload.abort().await;
            Err(error)
        }
    }
}

/// An upload in progress. Dropping it aborts it.
struct Upload {
    backend: Arc<Backend>,
    path: Path,
    token: UploadToken,
    /// `None` after the upload has ended.
    upload: Option<Box<dyn MultipartUpload>>,
    /// The parts in flight. Each returns its size in bytes.
    parts: JoinSet<object_store::Result<u64>>,
    in_flight_bytes: u64,
    sent_bytes: u64,
    sent_parts: u64,
}

impl Upload {
    async fn begin(backend: Arc<Backend>, path: Path, token: UploadToken) -> Result<Self> {
        let options = PutMultipartOptions {
            tags: backend.tags.clone(),
            attributes: token.attach(&backend.attributes),
            extensions: backend.extensions(),
        };
        let created = backend.store.put_multipart_opts(&path, options).await;
        let upload = created.map_err(|error| backend.convert_error(&path, "cannot start an upload", error))?;
        let (parts, upload) = (JoinSet::new(), Some(upload));
        Ok(Self { backend, path, token, upload, parts, in_flight_bytes: 0, sent_bytes: 0, sent_parts: 0 })
    }

    /// Sends the whole body, several parts at a time.
    async fn send_all(&mut self, first: Part, body: &mut PartBuffer) -> Result<()> {
        let mut part = first;
        loop {
            let last = part.last;
            if part.bytes > 0 {
                self.send_part(part).await?;
            }
            if last {
                break;
            }
            part = self.next_part(body).await?;
        }
        while let Some(done) = self.parts.join_next().await {
            self.record_sent(done)?;
        }
        Ok(())
    }

    /// Returns the next part of the body. Fails if a part in flight fails meanwhile.
    async fn next_part(&mut self, body: &mut PartBuffer) -> Result<Part> {
        let size = self.backend.transfer.part_size.next(self.sent_bytes);
        while !self.backend.transfer.may_buffer(self.in_flight_bytes, size) {
            if let Some(done) = self.parts.join_next().await {
                self.record_sent(done)?;
            }
        }
        loop {
            tokio::select! {
                part = body.next_part(size) => return part,
                Some(done) = self.parts.join_next() => self.record_sent(done)?,
            }
        }
    }

    /// Starts to send a part, after waiting for a free slot.
    async fn send_part(&mut self, part: Part) -> Result<()> {
        if self.sent_parts == MAX_PARTS {
            let message = format!("too large: the limit is {MAX_PARTS} parts, here {} bytes", self.sent_bytes);
            let error = Error::new(Stage::Ship, Kind::Usage, self.backend.location.object_url(&self.path), message);
            return Err(error.hint("raise part_size, or let parts grow (equal_parts = false)"));
        }
        while !self.backend.transfer.may_send(self.parts.len()) {
            if let Some(done) = self.parts.join_next().await {
                self.record_sent(done)?;
            }
        }
        let Some(upload) = &mut self.upload else {
            return Ok(());
        };
        let sending = upload.put_part(part.payload);
        self.parts.spawn(async move { sending.await.map(|()| part.bytes) }.in_current_span());
        self.in_flight_bytes += part.bytes;
        self.sent_bytes += part.bytes;
        self.sent_parts += 1;
        Ok(())
    }

    fn record_sent(&mut self, done: Result<object_store::Result<u64>, JoinError>) -> Result<()> {
        let cancelled =
            |error| Error::new(Stage::Ship, Kind::Failed, "", "a task that sent a part was cancelled").because(error);
        let bytes = done.map_err(cancelled)?;
        self.in_flight_bytes -=
            bytes.map_err(|error| self.backend.convert_error(&self.path, "cannot upload a part", error))?;
        Ok(())
    }

    /// Completes the upload, and verifies that the object is whole and has this upload's token.
    async fn complete(mut self, create_only: CreateOnly) -> Result<PendingObject> {
        let Some(mut upload) = self.upload.take() else {
            return Err(self.backend.missing_after_upload(&self.path));
        };
        let done = upload.complete().await;
        let state = self.backend.head(&self.path, &self.token).await;
        let pending = || PendingObject::new(&self.backend, &self.path);
        let error = match (done, state) {
            (_, Ok(ObjectState::Ours(bytes))) if bytes == self.sent_bytes => return Ok(pending()),
            (_, Ok(ObjectState::Ours(bytes))) => {
                drop(pending());
                let message = format!("has {bytes} bytes after the upload of {} bytes", self.sent_bytes);
                return Err(Error::new(
                    Stage::Ship,
                    Kind::Corrupt,
                    self.backend.location.object_url(&self.path),
                    message,
                ));
            }
            (Ok(_), Ok(ObjectState::Missing)) => return Err(self.backend.missing_after_upload(&self.path)),
            (Ok(_), Ok(ObjectState::Other)) if create_only == CreateOnly::ByChecks => {
                return Err(self.backend.already_exists(&self.path));
            }
            (Ok(_), _) => return Ok(pending()),
            (Err(_), Ok(ObjectState::Other)) => self.backend.already_exists(&self.path),
            (Err(error), _) => self.backend.convert_error(&self.path, "cannot complete the upload", error),
        };
        self.upload = Some(upload);
        self.abort().await;
        Err(error)
    }

    /// Aborts the upload and waits for the result.
    async fn abort(mut self) {
        if let Some(cleanup) = self.cleanup() {
            run_cleanup(cleanup).await;
        }
    }

    /// Returns the cleanup of an upload that has not ended. It first stops the parts in flight, so
    /// that none arrives after the abort.
    fn cleanup(&mut self) -> Option<impl Future<Output = Result<()>> + Send + 'static> {
        let (mut parts, upload) = (std::mem::take(&mut self.parts), self.upload.take()?);
        let (backend, path) = (Arc::clone(&self.backend), self.path.clone());
        Some(async move {
            parts.shutdown().await;
            backend.abort(&path, upload).await
        })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(cleanup) = self.cleanup() {
            spawn_cleanup(cleanup);
        }
    }
}

impl Backend {
    /// Aborts an upload, with retries unless it is refused: a part may still be in transit. An
    /// upload that remains is invisible, and a later sweep removes it.
    async fn abort(&self, path: &Path, mut upload: Box<dyn MultipartUpload>) -> Result<()> {
        let mut retries = Retries::new(self.location.object_url(path), brief());
        loop {
            let aborted = self.abort_result(path, upload.abort().await);
            let Err(error) = &aborted else { return aborted };
            let is_permanent = matches!(error.kind(), Kind::Denied | Kind::Refused | Kind::Usage);
            if is_permanent || !retries.pause(error).await {
                return aborted;
            }
        }
    }
}
