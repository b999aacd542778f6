//! Reads of an object or of a range of it, which resume after lost connections.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use longshore_core::stream::{ByteStream, from_bytes};
use longshore_core::{Error, Kind, Result, Stage};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore};

use crate::bucket::Backend;

/// The longest wait before a retry.
const MAX_BACKOFF: Duration = Duration::from_secs(15);

/// A read in progress. It ends cleanly only after the last byte.
struct Reading {
    backend: Arc<Backend>,
    path: Path,
    /// The version of the object that is read. A read without it cannot resume.
    e_tag: Option<String>,
    body: BoxStream<'static, object_store::Result<Bytes>>,
    /// The range that is still to be read.
    remaining: Range<u64>,
    /// The number of attempts since the last byte.
    attempts: usize,
}

/// Starts to read an object. Fails if the object does not contain the whole range.
pub(crate) async fn fetch(backend: Arc<Backend>, path: Path, range: Option<Range<u64>>) -> Result<ByteStream> {
    // An empty range cannot be requested, but a HEAD request still checks that it is within the
    // object.
    let is_empty = range.as_ref().is_some_and(|range| range.is_empty());
    let options = GetOptions {
        range: range.clone().filter(|_| !is_empty).map(GetRange::Bounded),
        head: is_empty,
        ..GetOptions::default()
    };
    let truncated = |message: String| {
        Error::new(Stage::Ship, Kind::Corrupt, backend.location.object_url(&path), message)
            .hint("the object was truncated: run `longshore verify` to find damaged backups")
    };
    let object = match backend.store.get_opts(&path, options).await {
        Ok(object) => object,
        Err(error) => {
            let error = backend.convert_error(&path, "cannot read the object", error);
            // Stores report a range past the end in many ways, so the object's size decides.
            return Err(match (range, error.kind()) {
                (Some(range), Kind::Corrupt | Kind::Failed) => match size(&backend, &path).await {
                    Ok(size) if range.end > size => truncated(range_message(&range, size)).because(error),
                    _ => error,
                },
                _ => error,
            });
        }
    };
    let range = range.unwrap_or(0..object.meta.size);
    if range.start > range.end || range.end > object.meta.size {
        return Err(truncated(range_message(&range, object.meta.size)));
    }
    if is_empty {
        return Ok(from_bytes(""));
    }
    let reading = Reading {
        e_tag: object.meta.e_tag.clone(),
        body: object.into_stream(),
        remaining: range,
        attempts: 0,
        backend: Arc::clone(&backend),
        path: path.clone(),
    };
    Ok(stream::try_unfold(reading, Reading::next).boxed())
}

/// Returns the size of an object, in bytes.
pub(crate) async fn stat(backend: &Backend, path: &Path) -> Result<u64> {
    let checked = size(backend, path).await;
    checked.map_err(|error| backend.convert_error(path, "cannot check whether the object exists", error))
}

async fn size(backend: &Backend, path: &Path) -> object_store::Result<u64> {
    let options = GetOptions { head: true, ..GetOptions::default() };
    Ok(backend.store.get_opts(path, options).await?.meta.size)
}

fn range_message(Range { start, end }: &Range<u64>, size: u64) -> String {
    format!("has {size} bytes, but bytes {start} to {end} were requested")
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        while self.remaining.start < self.remaining.end {
            match self.body.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => {
                    self.remaining.start += chunk.len() as u64;
                    self.attempts = 0;
                    if self.remaining.start > self.remaining.end {
                        return Err(self.error(Kind::Corrupt, "received more bytes than the object has"));
                    }
                    return Ok(Some((chunk, self)));
                }
                Some(Err(error)) => self.resume(Some(error)).await?,
                // A body that ends early was cut off, even if the connection closed cleanly.
                None => self.resume(None).await?,
            }
        }
        Ok(None)
    }

    /// Requests the rest of the same object, if retries are left.
    async fn resume(&mut self, error: Option<object_store::Error>) -> Result<()> {
        let error = match error {
            Some(error) => self.backend.convert_error(&self.path, "cannot read the rest of the object", error),
            None => self.error(Kind::Unavailable, "the connection closed before the end of the object"),
        };
        if self.e_tag.is_none() || self.attempts == self.backend.transfer.retries {
            return Err(error);
        }
        tokio::time::sleep((Duration::from_millis(200) * (1 << self.attempts.min(10))).min(MAX_BACKOFF)).await;
        self.attempts += 1;
        let options = GetOptions {
            range: Some(GetRange::Bounded(self.remaining.clone())),
            if_match: self.e_tag.clone(),
            ..GetOptions::default()
        };
        match self.backend.store.get_opts(&self.path, options).await {
            Ok(object) if object.range == self.remaining => {
                self.body = object.into_stream();
                Ok(())
            }
            Ok(_) => Err(self.error(Kind::Corrupt, "became shorter while it was read")),
            Err(error) => match self.backend.convert_error(&self.path, "cannot read the rest of the object", error) {
                error if error.kind() == Kind::AlreadyExists => {
                    Err(self.error(Kind::Corrupt, "was replaced while it was read").because(error))
                }
                // The next call retries.
                error if error.kind() == Kind::Unavailable => {
                    self.body = stream::empty().boxed();
                    if self.attempts == self.backend.transfer.retries { Err(error) } else { Ok(()) }
                }
                error => Err(error),
            },
        }
    }

    fn error(&self, kind: Kind, message: &str) -> Error {
        Error::new(Stage::Ship, kind, self.backend.location.object_url(&self.path), message)
    }
}
