//! The multipart upload of a large body, aborted on failure.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::aftercare::{see_out, see_through, see_to};
use longshore_core::{Error, Kind, Result, Stage};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, PutMultipartOptions};
use tokio::task::{JoinError, JoinSet};

use crate::bucket::Backend;
use crate::gather::{Gather, Part};
use crate::guard::Guard;
use crate::look::{Found, Writer};
use crate::part::MAX_PARTS;
use crate::published::Published;

/// The number of attempts to abort an upload.
const ABORTS: u32 = 3;

/// Uploads a body whose first part is already read.
pub(crate) async fn upload(backend: &Arc<Backend>, path: &Path, first: Part, mut body: Gather) -> Result<Published> {
    let guard = backend.guard_of_parts().await?;
    let writer = Writer::new();
    // Checked before the body is sent in vain. The guard checks again at the end, for writers that
    // race.
    if matches!(backend.look(path, &writer).await?, Found::Ours(_) | Found::Anothers) {
        return Err(backend.taken(path));
    }
    // Starts on its own task: if the caller is cancelled, the task drops and so aborts the upload.
    let mut upload = see_through(Upload::begin(Arc::clone(backend), path.clone(), writer)).await?;
    match upload.send_all(first, &mut body).await {
        Ok(()) => see_through(upload.complete(guard)).await,
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
    writer: Writer,
    /// `None` after the upload has ended.
    upload: Option<Box<dyn MultipartUpload>>,
    /// The parts in flight. Each returns its size in bytes.
    parts: JoinSet<object_store::Result<u64>>,
    in_flight_bytes: u64,
    sent_bytes: u64,
    sent_parts: u64,
}

impl Upload {
    async fn begin(backend: Arc<Backend>, path: Path, writer: Writer) -> Result<Self> {
        let options = PutMultipartOptions {
            tags: backend.tags.clone(),
            attributes: writer.sign(&backend.attributes),
            extensions: backend.extensions(),
        };
        let begun = backend.store.put_multipart_opts(&path, options).await;
        let upload = begun.map_err(|error| backend.failure(&path, "cannot start an upload", error))?;
        let (parts, upload) = (JoinSet::new(), Some(upload));
        Ok(Self { backend, path, writer, upload, parts, in_flight_bytes: 0, sent_bytes: 0, sent_parts: 0 })
    }

    /// Sends the whole body, several parts at a time.
    async fn send_all(&mut self, first: Part, body: &mut Gather) -> Result<()> {
        let mut part = first;
        loop {
            let last = part.last;
            if part.bytes > 0 {
                self.send(part).await?;
            }
            if last {
                break;
            }
            part = self.next(body).await?;
        }
        while let Some(done) = self.parts.join_next().await {
            self.note(done)?;
        }
        Ok(())
    }

    /// Returns the next part of the body. Fails if a part in flight fails meanwhile.
    async fn next(&mut self, body: &mut Gather) -> Result<Part> {
        let size = self.backend.transfer.part.next(self.sent_bytes);
        while !self.backend.transfer.may_gather(self.in_flight_bytes, size) {
            if let Some(done) = self.parts.join_next().await {
                self.note(done)?;
            }
        }
        loop {
            tokio::select! {
                part = body.part(size) => return part,
                Some(done) = self.parts.join_next() => self.note(done)?,
            }
        }
    }

    /// Starts to send a part, after waiting for a free slot.
    async fn send(&mut self, part: Part) -> Result<()> {
        if self.sent_parts == MAX_PARTS {
            let message = format!("too large: the limit is {MAX_PARTS} parts, here {} bytes", self.sent_bytes);
            let error = Error::new(Stage::Ship, Kind::Usage, self.backend.place.subject(&self.path), message);
            return Err(error.hint("raise part_size, or let parts grow (equal_parts = false)"));
        }
        while !self.backend.transfer.may_send(self.parts.len()) {
            if let Some(done) = self.parts.join_next().await {
                self.note(done)?;
            }
        }
        let Some(upload) = &mut self.upload else {
            return Ok(());
        };
        let sending = upload.put_part(part.payload);
        self.parts.spawn(async move { sending.await.map(|()| part.bytes) });
        self.in_flight_bytes += part.bytes;
        self.sent_bytes += part.bytes;
        self.sent_parts += 1;
        Ok(())
    }

    fn note(&mut self, done: Result<object_store::Result<u64>, JoinError>) -> Result<()> {
        let cut =
            |error| Error::new(Stage::Ship, Kind::Failed, "", "a task that sent a part was cancelled").because(error);
        let bytes = done.map_err(cut)?;
        self.in_flight_bytes -=
            bytes.map_err(|error| self.backend.failure(&self.path, "cannot upload a part", error))?;
        Ok(())
    }

    /// Completes the upload, and verifies that the object is whole and this writer's.
    async fn complete(mut self, guard: Guard) -> Result<Published> {
        let Some(mut upload) = self.upload.take() else {
            return Err(self.backend.vanished(&self.path));
        };
        let done = upload.complete().await;
        let found = self.backend.look(&self.path, &self.writer).await;
        let published = || Published::new(&self.backend, &self.path);
        let error = match (done, found) {
            (_, Ok(Found::Ours(bytes))) if bytes == self.sent_bytes => return Ok(published()),
            (_, Ok(Found::Ours(bytes))) => {
                drop(published());
                let message = format!("has {bytes} bytes after the upload of {} bytes", self.sent_bytes);
                return Err(Error::new(Stage::Ship, Kind::Corrupt, self.backend.place.subject(&self.path), message));
            }
            (Ok(_), Ok(Found::Nothing)) => return Err(self.backend.vanished(&self.path)),
            (Ok(_), Ok(Found::Anothers)) if guard == Guard::Look => return Err(self.backend.taken(&self.path)),
            (Ok(_), _) => return Ok(published()),
            (Err(_), Ok(Found::Anothers)) => self.backend.taken(&self.path),
            (Err(error), _) => self.backend.failure(&self.path, "cannot complete the upload", error),
        };
        self.upload = Some(upload);
        self.abort().await;
        Err(error)
    }

    /// Aborts the upload and waits for the result.
    async fn abort(mut self) {
        if let Some(removal) = self.removal() {
            see_out(removal).await;
        }
    }

    /// Returns the cleanup of an upload that has not ended. It first stops the parts in flight, so
    /// that none arrives after the abort.
    fn removal(&mut self) -> Option<impl Future<Output = Result<()>> + Send + 'static> {
        let (mut parts, upload) = (std::mem::take(&mut self.parts), self.upload.take()?);
        let (backend, path) = (Arc::clone(&self.backend), self.path.clone());
        Some(async move {
            parts.shutdown().await;
            backend.ended(&path, abort(upload).await)
        })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(removal) = self.removal() {
            see_to(removal);
        }
    }
}

/// Aborts an upload, with retries. An upload that remains is invisible, and a later sweep removes
/// it.
async fn abort(mut upload: Box<dyn MultipartUpload>) -> object_store::Result<()> {
    let mut attempt = 1;
    loop {
        match upload.abort().await {
            Err(_) if attempt < ABORTS => tokio::time::sleep(Duration::from_millis(200) * attempt).await,
            done => return done,
        }
        attempt += 1;
    }
}
