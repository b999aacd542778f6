//! Limits of a destination: a stalled destination times out, and a destination that waits for a
//! slow source does not.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use longshore_core::event::ignore;
use longshore_core::key::Key;
use longshore_core::pipeline::{Destination, Pipeline};
use longshore_core::stage::{Capabilities, Entry, Limits, ObjectLocks, Ship, Store};
use longshore_core::store::{MaxRate, RateLimiter, StoreSettings, with_settings};
use longshore_core::stream::{ByteStream, CHUNK_BYTES, from_bytes};
use longshore_core::{Kind, Result};
use longshore_testkit::fake_stage::{dumped, pipeline};
use longshore_testkit::memory::{Fault, MemoryStore, Operation};
use longshore_testkit::stream::random;
use tokio::time::{Instant, sleep, timeout};

use crate::{artifact, order};

const LIMIT: Duration = Duration::from_secs(60);

fn limited(store: impl Store + 'static) -> Box<dyn Store> {
    limited_to(store, LIMIT)
}

fn limited_to(store: impl Store + 'static, stall_timeout: Duration) -> Box<dyn Store> {
    with_settings("far", Arc::new(store), &StoreSettings { stall_timeout, max_rate: None })
}

/// A destination that stops responding after a number of chunks.
struct HangingStore {
    after_chunks: usize,
    spools: bool,
}

#[async_trait]
impl longshore_core::check::Check for HangingStore {
    async fn check(&self) -> Vec<longshore_core::check::Finding> {
        std::future::pending().await
    }
}

#[async_trait]
impl Ship for HangingStore {
    async fn ship(&self, _: &Key, mut body: ByteStream) -> Result<()> {
        for _ in 0..self.after_chunks {
            body.next().await;
        }
        std::future::pending().await
    }

    fn limits(&self) -> Limits {
        Limits { uploads: Some(7), spools: self.spools }
    }

    fn capabilities(&self) -> Capabilities<'_> {
        Capabilities { object_locks: self.spools.then_some(self as &dyn ObjectLocks), ..Capabilities::default() }
    }
}

#[async_trait]
impl Store for HangingStore {
    async fn list(&self, _: Option<&Key>) -> Result<stream::BoxStream<'static, Result<Entry>>> {
        Ok(stream::pending().boxed())
    }

    async fn stat(&self, _: &Key) -> Result<Entry> {
        std::future::pending().await
    }

    async fn fetch(&self, _: &Key, _: Option<std::ops::Range<u64>>) -> Result<ByteStream> {
        Ok(stream::iter([Ok(Bytes::from_static(b"half"))]).chain(stream::pending()).boxed())
    }

    async fn remove(&self, _: &Key) -> Result<()> {
        std::future::pending().await
    }
}

#[async_trait]
impl ObjectLocks for HangingStore {
    async fn locked_until(&self, _: &Key) -> Result<Option<chrono::DateTime<chrono::Utc>>> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn capabilities_keep_to_the_stall_timeout() {
    assert!(limited(HangingStore { after_chunks: 0, spools: false }).capabilities().object_locks.is_none());
    let rate: MaxRate = serde_json::from_value("1GiB".into()).unwrap();
    let max_rate = Some(Arc::new(RateLimiter::new(rate)));
    let settings = StoreSettings { stall_timeout: LIMIT, max_rate };
    let hangs = || Arc::new(HangingStore { after_chunks: 0, spools: true });
    for store in [limited(HangingStore { after_chunks: 0, spools: true }), with_settings("far", hangs(), &settings)] {
        assert_eq!(store.limits(), Limits { uploads: Some(7), spools: true });
        let error = store.capabilities().object_locks.unwrap().locked_until(&artifact()).await.unwrap_err();
        assert_eq!((error.kind(), error.subject()), (Kind::Unavailable, "far"));
    }
}

#[tokio::test(start_paused = true)]
async fn upload_without_progress_times_out() {
    for after_chunks in [0, 1, 3] {
        let begun = Instant::now();
        let chunks = stream::iter((0..10).map(|_| Ok(Bytes::from_static(b"cargo"))));
        let error =
            limited(HangingStore { after_chunks, spools: false }).ship(&artifact(), chunks.boxed()).await.unwrap_err();
        assert_eq!((error.kind(), error.subject()), (Kind::Unavailable, "far"));
        assert!(error.to_string().contains("accepted no data for 1m") && error.remedy().is_some(), "{}", error.chain());
        assert!(begun.elapsed() < LIMIT * 2, "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn completion_times_out_unless_the_store_spools() {
    let error = limited(HangingStore { after_chunks: 9, spools: false })
        .ship(&artifact(), from_bytes("cargo"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("did not complete the upload"), "{}", error.chain());
    let spooling = limited(HangingStore { after_chunks: 9, spools: true });
    timeout(LIMIT * 100, spooling.ship(&artifact(), from_bytes("cargo"))).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn slow_source_does_not_time_out() {
    let store = MemoryStore::new();
    let chunks = stream::iter(0..3).then(|_| async {
        sleep(LIMIT * 10).await;
        Ok(Bytes::from_static(b"cargo"))
    });
    limited(store.clone()).ship(&artifact(), chunks.boxed()).await.unwrap();
    assert_eq!(store.get(&artifact()).unwrap(), "cargocargocargo");
}

#[tokio::test(start_paused = true)]
async fn every_request_times_out() {
    let store = limited(HangingStore { after_chunks: 0, spools: false });
    let listed = store.list(None).await.unwrap().try_collect::<Vec<_>>().await.unwrap_err();
    let mut fetched = store.fetch(&artifact(), None).await.unwrap();
    assert_eq!(fetched.next().await.unwrap().unwrap(), "half");
    let cut = fetched.next().await.unwrap().unwrap_err();
    assert!(fetched.next().await.is_none());
    let kept = store.remove(&artifact()).await.unwrap_err();
    for error in [listed, cut, kept] {
        assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
    }
    let findings = longshore_core::check::Check::check(&*store).await;
    assert_eq!(findings[0].outcome, longshore_core::check::Outcome::Failed);
}

/// Each connection is lost after a number of bytes, and no byte is repeated.
#[tokio::test(start_paused = true)]
async fn interrupted_fetch_resumes() {
    let store = MemoryStore::new();
    let bytes =
        longshore_core::stream::collect(random(1, 10_000), 1 << 20, longshore_core::Stage::Ship, "").await.unwrap();
    store.ship(&artifact(), from_bytes(bytes.clone())).await.unwrap();
    store.fault(Operation::Fetch, Fault::FailAfter(1500));
    let limited = limited(store.clone());
    for range in [None, Some(100..9_900)] {
        let fetched = limited.fetch(&artifact(), range.clone()).await.unwrap();
        let fetched = fetched.try_collect::<Vec<_>>().await.unwrap().concat();
        let wanted = range.unwrap_or(0..10_000);
        assert_eq!(fetched, bytes[wanted.start as usize..wanted.end as usize]);
    }
    // Without progress, the fetch fails.
    store.heal();
    store.fault(Operation::Fetch, Fault::FailAfter(0));
    let lost = limited.fetch(&artifact(), None).await.unwrap().try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(lost.kind(), Kind::Unavailable);
}

/// A stalled destination neither stops the dump nor affects the backup at other destinations. The
/// test uses the real clock: a paused clock does not advance while threads work, and a thread
/// digests the dump.
#[tokio::test]
async fn hanging_destination_does_not_block_others() {
    let near = MemoryStore::new();
    let Pipeline { verify, encrypt, mut destinations, .. } = pipeline([("near", near.clone())]);
    let far = limited_to(HangingStore { after_chunks: 2, spools: false }, Duration::from_secs(1));
    destinations.push(Destination { name: "far".to_owned(), store: Arc::from(far) });
    let pipeline = Pipeline { verify, encrypt, destinations, needed_wal: None };
    let dump = dumped(random(1, 24 * CHUNK_BYTES as u64));
    let shipped = pipeline.back_up(&order(), dump, &ignore()).await.unwrap();
    shipped.deliveries[0].result.as_ref().unwrap();
    assert_eq!(shipped.deliveries[1].result.as_ref().unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(near.keys().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn manifest_upload_times_out() {
    let near = MemoryStore::new();
    near.fault_at(Operation::Ship, ".json", Fault::Block);
    let Pipeline { verify, encrypt, .. } = pipeline([("near", near.clone())]);
    let destinations = vec![Destination { name: "near".to_owned(), store: Arc::from(limited(near.clone())) }];
    let pipeline = Pipeline { verify, encrypt, destinations, needed_wal: None };
    let shipped = pipeline.back_up(&order(), dumped(from_bytes("dump")), &ignore()).await.unwrap();
    assert_eq!(shipped.deliveries[0].result.as_ref().unwrap_err().kind(), Kind::Unavailable);
}
