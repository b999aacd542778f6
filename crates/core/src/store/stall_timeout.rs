//! A limit on the time that a destination makes no progress.
//!
//! A destination stalls if it does not answer, sends no data, or does not ask for more bytes of an
//! upload although it has received all that were ready. A slow source is not a stall.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use crate::check::{Check, Finding};
use crate::error::{Error, Kind, Result, Stage};
use crate::key::Key;
use crate::lock::{Holder, Lock};
use crate::stage::{
    Capabilities, Entry, ExclusiveLock, FreeSpace, IncompleteUploads, Leftover, Limits, ObjectLocks, Ship, Store,
};
use crate::stream::ByteStream;
use crate::unit::TimeSpan;

/// The default stall timeout.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(600);

/// A destination whose stalled operations fail.
pub struct StallTimeout {
    name: String,
    store: Arc<dyn Store>,
    limit: Duration,
}

impl StallTimeout {
    /// Wraps the destination `name` of the configuration.
    pub fn new(name: &str, store: Arc<dyn Store>, limit: Duration) -> Self {
        Self { name: name.to_owned(), store, limit }
    }

    /// Waits for an answer for at most the stall timeout.
    async fn with_timeout<T>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let answer = tokio::time::timeout(self.limit, work).await;
        answer.unwrap_or_else(|_| Err(stalled(&self.name, "did not answer", self.limit)))
    }

    /// Waits for each item of a stream for at most the stall timeout.
    fn with_item_timeouts<T: Send + 'static>(
        &self,
        stream: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        let (name, limit) = (self.name.clone(), self.limit);
        stream::unfold(Some(stream), move |state| {
            let name = name.clone();
            async move {
                let mut stream = state?;
                match tokio::time::timeout(limit, stream.next()).await {
                    Ok(Some(item)) => Some((item, Some(stream))),
                    Ok(None) => None,
                    Err(_) => Some((Err(stalled(&name, "sent no data", limit)), None)),
                }
            }
        })
        .boxed()
    }

    /// Returns the error of a missing capability. Callers never see it, since the decorator offers
    /// only the capabilities of its store.
    fn unsupported(&self) -> Error {
        Error::new(Stage::Ship, Kind::Failed, &self.name, "the destination does not support this")
    }
}

fn stalled(name: &str, problem: &str, limit: Duration) -> Error {
    let message = format!("{problem} for {} (stall_timeout)", TimeSpan::new(limit));
    Error::new(Stage::Ship, Kind::Unavailable, name, message)
        .hint("check the network and the destination, or raise stall_timeout of the destination")
}

#[async_trait]
impl Check for StallTimeout {
    async fn check(&self) -> Vec<Finding> {
        let found = self.with_timeout(async { Ok(self.store.check().await) }).await;
        found.unwrap_or_else(|error| vec![Finding::failed(&self.name, &error)])
    }
}

#[async_trait]
impl Ship for StallTimeout {
    async fn ship(&self, key: &Key, body: ByteStream) -> Result<()> {
        let (body, monitor) = monitor(body);
        tokio::select! {
            done = self.store.ship(key, body) => done,
            // Dropping the upload leaves nothing, by the contract of Ship.
            problem = monitor.until_stalled(self.limit, self.store.limits()) => {
                Err(stalled(&self.name, problem, self.limit))
            }
        }
    }

    fn limits(&self) -> Limits {
        self.store.limits()
    }

    fn capabilities(&self) -> Capabilities<'_> {
        let Capabilities { exclusive_lock, free_space, incomplete_uploads, object_locks, signatures, folder } =
            self.store.capabilities();
        Capabilities {
            exclusive_lock: exclusive_lock.map(|_| self as &dyn ExclusiveLock),
            free_space: free_space.map(|_| self as &dyn FreeSpace),
            incomplete_uploads: incomplete_uploads.map(|_| self as &dyn IncompleteUploads),
            object_locks: object_locks.map(|_| self as &dyn ObjectLocks),
            signatures,
            folder,
        }
    }
}

#[async_trait]
impl Store for StallTimeout {
    async fn list(&self, under: Option<&Key>) -> Result<BoxStream<'static, Result<Entry>>> {
        self.with_timeout(self.store.list(under)).await.map(|entries| self.with_item_timeouts(entries))
    }

    async fn list_backups(&self) -> Result<BoxStream<'static, Result<Entry>>> {
        self.with_timeout(self.store.list_backups()).await.map(|entries| self.with_item_timeouts(entries))
    }

    async fn stat(&self, key: &Key) -> Result<Entry> {
        self.with_timeout(self.store.stat(key)).await
    }

    async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
        self.with_timeout(self.store.fetch(key, range)).await.map(|bytes| self.with_item_timeouts(bytes))
    }

    async fn remove(&self, key: &Key) -> Result<()> {
        self.with_timeout(self.store.remove(key)).await
    }
}

#[async_trait]
impl ExclusiveLock for StallTimeout {
    async fn claim(&self, name: &str, holder: &Holder) -> Result<Lock> {
        let exclusive_lock = self.store.capabilities().exclusive_lock.ok_or_else(|| self.unsupported())?;
        self.with_timeout(exclusive_lock.claim(name, holder)).await
    }
}

#[async_trait]
impl FreeSpace for StallTimeout {
    async fn free_bytes(&self) -> Result<u64> {
        let free_space = self.store.capabilities().free_space.ok_or_else(|| self.unsupported())?;
        self.with_timeout(free_space.free_bytes()).await
    }
}

#[async_trait]
impl ObjectLocks for StallTimeout {
    async fn locked_until(&self, key: &Key) -> Result<Option<DateTime<Utc>>> {
        let object_locks = self.store.capabilities().object_locks.ok_or_else(|| self.unsupported())?;
        self.with_timeout(object_locks.locked_until(key)).await
    }

    async fn hidden(&self) -> Result<Vec<Key>> {
        let object_locks = self.store.capabilities().object_locks.ok_or_else(|| self.unsupported())?;
        self.with_timeout(object_locks.hidden()).await
    }
}

#[async_trait]
impl IncompleteUploads for StallTimeout {
    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        let incomplete_uploads = self.store.capabilities().incomplete_uploads.ok_or_else(|| self.unsupported())?;
        self.with_timeout(incomplete_uploads.leftovers()).await
    }

    async fn discard(&self, leftover: &Leftover) -> Result<()> {
        let incomplete_uploads = self.store.capabilities().incomplete_uploads.ok_or_else(|| self.unsupported())?;
        self.with_timeout(incomplete_uploads.discard(leftover)).await
    }
}

/// The minimum rate in bytes per second at which a destination makes an upload durable: that of a
/// slow, busy disk.
const COMPLETION_RATE: u64 = 1 << 20;

/// The side that an upload is waiting for.
#[derive(Debug, Clone, Copy)]
enum Waiting {
    /// The source, which was asked for bytes.
    Source,
    /// The destination, which was given its last chunk (or nothing yet) at this time.
    Destination(Instant),
    /// The destination, which received the end of the body at this time.
    Completion(Instant),
}

/// The monitor of an upload.
struct Monitor(Arc<Mutex<State>>);

struct State {
    waiting: Waiting,
    bytes: u64,
}

impl State {
    fn record(&mut self, waiting: Waiting, bytes: usize) {
        self.waiting = waiting;
        self.bytes += bytes as u64;
    }
}

/// Returns the same body, monitored.
fn monitor(mut body: ByteStream) -> (ByteStream, Monitor) {
    let state = Arc::new(Mutex::new(State { waiting: Waiting::Destination(Instant::now()), bytes: 0 }));
    let shared = Arc::clone(&state);
    let body = stream::poll_fn(move |context| {
        lock(&shared).waiting = Waiting::Source;
        let polled = body.poll_next_unpin(context);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(chunk))) => lock(&shared).record(Waiting::Destination(Instant::now()), chunk.len()),
            Poll::Ready(Some(Err(_)) | None) => lock(&shared).record(Waiting::Completion(Instant::now()), 0),
        }
        polled
    });
    (body.boxed(), Monitor(state))
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    // No panic can leave the state half updated, so a poisoned lock is safe to use.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Monitor {
    /// Waits until the destination has stalled for `limit`, and returns a description of the stall.
    /// With `limits.spools`, the destination begins its work after the end of the body, and the
    /// time after the end is not limited.
    async fn until_stalled(self, limit: Duration, limits: Limits) -> &'static str {
        loop {
            let now = Instant::now();
            let (since, limit, problem) = {
                let state = lock(&self.0);
                match state.waiting {
                    Waiting::Source => (now, limit, ""),
                    Waiting::Destination(since) => (since, limit, "accepted no data"),
                    Waiting::Completion(_) if limits.spools => (now, limit, ""),
                    Waiting::Completion(since) => (
                        since,
                        limit + Duration::from_secs(state.bytes / COMPLETION_RATE),
                        "did not complete the upload",
                    ),
                }
            };
            if now >= since + limit {
                return problem;
            }
            tokio::time::sleep_until(since + limit).await;
        }
    }
}
