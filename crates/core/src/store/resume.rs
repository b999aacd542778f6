//! Resumption of a fetch after a lost connection.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::time::Instant;

use crate::check::{Check, Finding};
use crate::error::{Error, Kind, Result};
use crate::key::Key;
use crate::retry::{Retries, patient};
use crate::stage::{Capabilities, Entry, Limits, Ship, Store};
use crate::stream::{ByteStream, from_bytes};

/// A destination whose fetches continue after a lost connection.
pub struct Resume {
    store: Arc<dyn Store>,
    limit: Duration,
}

impl Resume {
    /// Wraps a destination. An attempt to continue that took as long as `limit` is the last.
    pub fn new(store: Arc<dyn Store>, limit: Duration) -> Self {
        Self { store, limit }
    }
}

#[async_trait]
impl Check for Resume {
    async fn check(&self) -> Vec<Finding> {
        self.store.check().await
    }
}

#[async_trait]
impl Ship for Resume {
    async fn ship(&self, key: &Key, body: ByteStream) -> Result<()> {
        self.store.ship(key, body).await
    }

    fn limits(&self) -> Limits {
        self.store.limits()
    }

    fn capabilities(&self) -> Capabilities<'_> {
        self.store.capabilities()
    }
}

#[async_trait]
impl Store for Resume {
    async fn list(&self, under: Option<&Key>) -> Result<BoxStream<'static, Result<Entry>>> {
        self.store.list(under).await
    }

    async fn list_backups(&self) -> Result<BoxStream<'static, Result<Entry>>> {
        self.store.list_backups().await
    }

    async fn stat(&self, key: &Key) -> Result<Entry> {
        self.store.stat(key).await
    }

    async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
        let bytes = self.store.fetch(key, range.clone()).await?;
        let retries = Retries::new(key.as_str(), patient());
        let fetch = Fetch { store: Arc::clone(&self.store), key: key.clone(), range, limit: self.limit, retries };
        Ok(fetch.into_stream(bytes))
    }

    async fn remove(&self, key: &Key) -> Result<()> {
        self.store.remove(key).await
    }
}

/// A fetch in progress.
struct Fetch {
    store: Arc<dyn Store>,
    key: Key,
    /// The range to fetch; the whole object if absent.
    range: Option<Range<u64>>,
    /// The duration of an attempt after which no other follows.
    limit: Duration,
    retries: Retries,
}

impl Fetch {
    /// Passes on `bytes`. If the stream ends because the store is unavailable, requests the
    /// remaining range until the retries are used up. The caller's digest verifies that all bytes
    /// belong to the same file.
    fn into_stream(mut self, mut bytes: ByteStream) -> ByteStream {
        let stream = async_stream::try_stream! {
            let mut offset = self.range.as_ref().map_or(0, |range| range.start);
            loop {
                match bytes.next().await {
                    None => break,
                    Some(Ok(chunk)) => {
                        offset += chunk.len() as u64;
                        self.retries.reset();
                        yield chunk;
                    }
                    Some(Err(error)) if error.kind() == Kind::Unavailable => {
                        bytes = self.fetch_rest(offset, error).await?;
                    }
                    Some(Err(error)) => Err(error)?,
                }
            }
        };
        stream.boxed()
    }

    /// Fetches the bytes from `offset` on. Returns the original error if the retries are used up.
    async fn fetch_rest(&mut self, offset: u64, error: Error) -> Result<ByteStream> {
        while self.retries.pause(&error).await {
            let begun = Instant::now();
            match self.fetch_from(offset).await {
                // A store that does not even answer is not tried again.
                Err(failed) if failed.kind() == Kind::Unavailable && begun.elapsed() >= self.limit => break,
                Err(failed) if failed.kind() == Kind::Unavailable => {}
                fetched => return fetched,
            }
        }
        Err(error)
    }

    async fn fetch_from(&self, offset: u64) -> Result<ByteStream> {
        let end = match &self.range {
            Some(range) => range.end,
            None => self.store.stat(&self.key).await?.bytes,
        };
        if offset >= end {
            // The connection was lost after the last byte.
            return Ok(from_bytes(""));
        }
        self.store.fetch(&self.key, Some(offset..end)).await
    }
}
