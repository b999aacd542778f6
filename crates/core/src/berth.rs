//! A destination with limits that its owner sets: a maximum rate of writes and a stall timeout.
//!
//! A [`Berth`] wraps another destination. The limits are transparent to callers.

mod pace;
mod patience;
mod resume;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use crate::check::{Check, Finding};
use crate::error::{Error, Kind, Result, Stage};
use crate::key::Key;
use crate::lock::{Holder, Lock};
use crate::quantity::Span;
use crate::stage::{Entry, Exclusive, Gather, Leftover, Locks, Room, Ship, Store, Sweep};
use crate::stream::ByteStream;

use resume::Wanted;

pub use pace::{MaxRate, Pace};

/// The limits of a destination, independent of its type.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The longest time without progress before a transfer fails.
    pub stall_timeout: Duration,
    /// The limit on the total rate of writes; unlimited by default.
    pub max_rate: Option<Arc<Pace>>,
}

/// The default stall timeout.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(600);

impl Default for Terms {
    fn default() -> Self {
        Self { stall_timeout: STALL_TIMEOUT, max_rate: None }
    }
}

/// A destination with limits.
pub struct Berth {
    name: String,
    store: Arc<dyn Store>,
    terms: Terms,
}

impl Berth {
    /// Wraps the destination `name` of the configuration.
    pub fn new(name: &str, store: Arc<dyn Store>, terms: Terms) -> Self {
        Self { name: name.to_owned(), store, terms }
    }

    fn stalled(&self, what: &str) -> Error {
        stalled(&self.name, what, self.terms.stall_timeout)
    }

    /// Waits for an answer for at most the stall timeout.
    async fn answer<T>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        tokio::time::timeout(self.terms.stall_timeout, work)
            .await
            .unwrap_or_else(|_| Err(self.stalled("did not answer")))
    }

    /// Waits for each item of a stream for at most the stall timeout.
    fn items<T: Send + 'static>(&self, stream: BoxStream<'static, Result<T>>) -> BoxStream<'static, Result<T>> {
        items(&self.name, self.terms.stall_timeout, stream)
    }
}

/// Waits for each item of a stream for at most `limit`.
fn items<T: Send + 'static>(
    name: &str,
    limit: Duration,
    stream: BoxStream<'static, Result<T>>,
) -> BoxStream<'static, Result<T>> {
    let name = name.to_owned();
    futures_util::stream::unfold(Some(stream), move |state| {
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

fn stalled(name: &str, what: &str, limit: Duration) -> Error {
    let message = format!("{what} for {} (stall_timeout)", Span::new(limit));
    Error::new(Stage::Ship, Kind::Unavailable, name, message)
        .hint("check the network and the destination, or raise stall_timeout of the destination")
}

#[async_trait]
impl Ship for Berth {
    async fn ship(&self, key: &Key, body: ByteStream) -> Result<()> {
        let body = match &self.terms.max_rate {
            Some(pace) => Arc::clone(pace).slow(body),
            None => body,
        };
        let (body, watch) = patience::watch(body);
        let settles = !self.store.spools();
        tokio::select! {
            done = self.store.ship(key, body) => done,
            // Dropping the upload leaves nothing, by the contract of Ship.
            what = watch.until_stalled(self.terms.stall_timeout, settles) => Err(self.stalled(what)),
        }
    }

    fn exclusive(&self) -> Option<&dyn Exclusive> {
        self.store.exclusive().map(|_| self as &dyn Exclusive)
    }

    fn room(&self) -> Option<&dyn Room> {
        self.store.room().map(|_| self as &dyn Room)
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        self.store.sweep().map(|_| self as &dyn Sweep)
    }

    fn spools(&self) -> bool {
        self.store.spools()
    }

    fn at_once(&self) -> Option<usize> {
        self.store.at_once()
    }

    fn folder(&self) -> Option<PathBuf> {
        self.store.folder()
    }
}

#[async_trait]
impl Store for Berth {
    async fn list(&self) -> Result<BoxStream<'static, Result<Entry>>> {
        self.answer(self.store.list()).await.map(|entries| self.items(entries))
    }

    async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
        let begun = self.answer(self.store.fetch(key, range.clone())).await?;
        let (name, limit) = (self.name.clone(), self.terms.stall_timeout);
        let wanted = Wanted { store: Arc::clone(&self.store), key: key.clone(), range, limit };
        Ok(wanted.follow(self.items(begun), move |bytes| items(&name, limit, bytes)))
    }

    async fn remove(&self, key: &Key) -> Result<()> {
        self.answer(self.store.remove(key)).await
    }

    fn gather(&self) -> Option<&dyn Gather> {
        self.store.gather().map(|_| self as &dyn Gather)
    }

    fn locks(&self) -> Option<&dyn Locks> {
        self.store.locks().map(|_| self as &dyn Locks)
    }

    fn retaining(&self, span: Span) -> Option<Arc<dyn Store>> {
        let store = self.store.retaining(span)?;
        Some(Arc::new(Self::new(&self.name, store, self.terms.clone())))
    }
}

#[async_trait]
impl Check for Berth {
    async fn check(&self) -> Vec<Finding> {
        let found = self.answer(async { Ok(self.store.check().await) }).await;
        found.unwrap_or_else(|error| vec![Finding::failed(&self.name, &error)])
    }
}

/// Returns the error of a missing capability. Callers never see it, since `Berth` then offers no
/// such capability.
fn not_offered(name: &str) -> Error {
    Error::new(Stage::Ship, Kind::Failed, name, "the destination does not support this")
}

#[async_trait]
impl Exclusive for Berth {
    async fn claim(&self, name: &str, holder: &Holder) -> Result<Lock> {
        let exclusive = self.store.exclusive().ok_or_else(|| not_offered(&self.name))?;
        self.answer(exclusive.claim(name, holder)).await
    }
}

#[async_trait]
impl Room for Berth {
    async fn free_bytes(&self) -> Result<u64> {
        let room = self.store.room().ok_or_else(|| not_offered(&self.name))?;
        self.answer(room.free_bytes()).await
    }
}

#[async_trait]
impl Gather for Berth {
    async fn fetch_all(&self, keys: Vec<Key>, max_bytes: usize) -> Result<Vec<Result<Bytes>>> {
        let gather = self.store.gather().ok_or_else(|| not_offered(&self.name))?;
        self.answer(gather.fetch_all(keys, max_bytes)).await
    }
}

#[async_trait]
impl Locks for Berth {
    async fn locked_until(&self, key: &Key) -> Result<Option<DateTime<Utc>>> {
        let locks = self.store.locks().ok_or_else(|| not_offered(&self.name))?;
        self.answer(locks.locked_until(key)).await
    }
}

#[async_trait]
impl Sweep for Berth {
    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        let sweep = self.store.sweep().ok_or_else(|| not_offered(&self.name))?;
        self.answer(sweep.leftovers()).await
    }

    async fn discard(&self, leftover: &Leftover) -> Result<()> {
        let sweep = self.store.sweep().ok_or_else(|| not_offered(&self.name))?;
        self.answer(sweep.discard(leftover)).await
    }
}
