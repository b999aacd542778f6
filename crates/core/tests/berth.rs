//! Limits of a destination: a stalled destination times out, and a destination that waits for a
//! slow source does not.

// Failures in helpers fail the test, too.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use longshore_core::berth::{Berth, Terms};
use longshore_core::key::Key;
use longshore_core::pipeline::{Destination, Pipeline};
use longshore_core::progress::unwatched;
use longshore_core::quantity::Span;
use longshore_core::stage::{Gather, Locks, Ship, Store};
use longshore_core::stream::{ByteStream, CHUNK_BYTES, from_bytes};
use longshore_core::subject::Subject;
use longshore_core::{Kind, Result};
use longshore_testkit::fake_stage::{dumped, order, pipeline};
use longshore_testkit::memory::{Fault, MemoryStore, Operation};
use longshore_testkit::stream::random;
use tokio::time::{Instant, sleep, timeout};

const LIMIT: Duration = Duration::from_secs(60);

fn key() -> Key {
    Key::parse("main/appdb/appdb.dump").unwrap()
}

fn berth(store: impl Store + 'static) -> Berth {
    patient(store, LIMIT)
}

fn patient(store: impl Store + 'static, stall_timeout: Duration) -> Berth {
    Berth::new("far", Arc::new(store), Terms { stall_timeout, max_rate: None })
}

/// A destination that stops responding after a number of chunks.
struct Hangs {
    after_chunks: usize,
    spools: bool,
}

#[async_trait]
impl longshore_core::check::Check for Hangs {
    async fn check(&self) -> Vec<longshore_core::check::Finding> {
        std::future::pending().await
    }
}

#[async_trait]
impl Ship for Hangs {
    async fn ship(&self, _: &Key, mut body: ByteStream) -> Result<()> {
        for _ in 0..self.after_chunks {
            body.next().await;
        }
        std::future::pending().await
    }

    fn spools(&self) -> bool {
        self.spools
    }
}

#[async_trait]
impl Store for Hangs {
    async fn list(&self) -> Result<stream::BoxStream<'static, Result<longshore_core::stage::Entry>>> {
        Ok(stream::pending().boxed())
    }

    async fn fetch(&self, _: &Key, _: Option<std::ops::Range<u64>>) -> Result<ByteStream> {
        Ok(stream::iter([Ok(Bytes::from_static(b"half"))]).chain(stream::pending()).boxed())
    }

    async fn remove(&self, _: &Key) -> Result<()> {
        std::future::pending().await
    }

    fn gather(&self) -> Option<&dyn Gather> {
        self.spools.then_some(self)
    }

    fn locks(&self) -> Option<&dyn Locks> {
        self.spools.then_some(self)
    }

    fn retaining(&self, _: Span) -> Option<Arc<dyn Store>> {
        self.spools.then(|| Arc::new(Self { ..*self }) as _)
    }
}

#[async_trait]
impl Gather for Hangs {
    async fn fetch_all(&self, _: Vec<Key>, _: usize) -> Result<Vec<Result<Bytes>>> {
        std::future::pending().await
    }
}

#[async_trait]
impl Locks for Hangs {
    async fn locked_until(&self, _: &Key) -> Result<Option<chrono::DateTime<chrono::Utc>>> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_offered_where_the_destination_has_one_and_asked_for_under_the_same_terms() {
    let day = Span::new(Duration::from_secs(86_400));
    let without = berth(Hangs { after_chunks: 0, spools: false });
    assert!(without.locks().is_none() && without.retaining(day).is_none());
    let with = berth(Hangs { after_chunks: 0, spools: true });
    for store in [with.retaining(day).unwrap(), Arc::new(with)] {
        let error = store.locks().unwrap().locked_until(&key()).await.unwrap_err();
        assert_eq!((error.kind(), error.subject()), (Kind::Unavailable, "far"));
    }
}

#[tokio::test(start_paused = true)]
async fn many_are_read_together_where_the_destination_does_so_and_under_the_same_terms() {
    assert!(berth(Hangs { after_chunks: 0, spools: false }).gather().is_none());
    let berth = berth(Hangs { after_chunks: 0, spools: true });
    let error = berth.gather().unwrap().fetch_all(vec![key()], 1).await.unwrap_err();
    assert_eq!((error.kind(), error.subject()), (Kind::Unavailable, "far"));
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_nothing_any_more_is_given_up() {
    for after_chunks in [0, 1, 3] {
        let begun = Instant::now();
        let chunks = stream::iter((0..10).map(|_| Ok(Bytes::from_static(b"cargo"))));
        let error = berth(Hangs { after_chunks, spools: false }).ship(&key(), chunks.boxed()).await.unwrap_err();
        assert_eq!((error.kind(), error.subject()), (Kind::Unavailable, "far"));
        assert!(error.to_string().contains("accepted no data for 1m") && error.remedy().is_some(), "{}", error.chain());
        assert!(begun.elapsed() < LIMIT * 2, "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_never_settles_is_given_up_and_one_that_spools_is_waited_for() {
    let error = berth(Hangs { after_chunks: 9, spools: false }).ship(&key(), from_bytes("cargo")).await.unwrap_err();
    assert!(error.to_string().contains("did not complete the upload"), "{}", error.chain());
    let spooling = berth(Hangs { after_chunks: 9, spools: true });
    timeout(LIMIT * 100, spooling.ship(&key(), from_bytes("cargo"))).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn one_that_is_fed_slowly_is_not_given_up() {
    let store = MemoryStore::new();
    let chunks = stream::iter(0..3).then(|_| async {
        sleep(LIMIT * 10).await;
        Ok(Bytes::from_static(b"cargo"))
    });
    berth(store.clone()).ship(&key(), chunks.boxed()).await.unwrap();
    assert_eq!(store.get(&key()).unwrap(), "cargocargocargo");
}

#[tokio::test(start_paused = true)]
async fn one_that_answers_nothing_is_given_up_whatever_it_is_asked() {
    let berth = berth(Hangs { after_chunks: 0, spools: false });
    let listed = berth.list().await.unwrap().try_collect::<Vec<_>>().await.unwrap_err();
    let mut fetched = berth.fetch(&key(), None).await.unwrap();
    assert_eq!(fetched.next().await.unwrap().unwrap(), "half");
    let cut = fetched.next().await.unwrap().unwrap_err();
    assert!(fetched.next().await.is_none());
    let kept = berth.remove(&key()).await.unwrap_err();
    for error in [listed, cut, kept] {
        assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
    }
    let findings = longshore_core::check::Check::check(&berth).await;
    assert_eq!(findings[0].outcome, longshore_core::check::Outcome::Failed);
}

/// Each connection is lost after a number of bytes, and no byte is repeated.
#[tokio::test(start_paused = true)]
async fn a_fetch_that_is_cut_is_taken_up_again_where_it_was() {
    let store = MemoryStore::new();
    let bytes =
        longshore_core::stream::collect(random(1, 10_000), 1 << 20, longshore_core::Stage::Ship, "").await.unwrap();
    store.ship(&key(), from_bytes(bytes.clone())).await.unwrap();
    store.fault(Operation::Fetch, Fault::FailAfter(1500));
    let berth = berth(store.clone());
    for range in [None, Some(100..9_900)] {
        let fetched = berth.fetch(&key(), range.clone()).await.unwrap();
        let fetched = fetched.try_collect::<Vec<_>>().await.unwrap().concat();
        let wanted = range.unwrap_or(0..10_000);
        assert_eq!(fetched, bytes[wanted.start as usize..wanted.end as usize]);
    }
    // Without progress, the fetch fails.
    store.heal();
    store.fault(Operation::Fetch, Fault::FailAfter(0));
    let lost = berth.fetch(&key(), None).await.unwrap().try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(lost.kind(), Kind::Unavailable);
}

/// A stalled destination neither stops the dump nor affects the backup at other destinations. The
/// test uses the real clock: a paused clock does not advance while threads work, and a thread
/// digests the dump.
#[tokio::test]
async fn a_destination_that_hangs_hinders_no_other() {
    let near = MemoryStore::new();
    let Pipeline { verify, encrypt, mut destinations } = pipeline([("near", near.clone())]);
    let far = patient(Hangs { after_chunks: 2, spools: false }, Duration::from_secs(1));
    destinations.push(Destination { name: "far".to_owned(), store: Arc::new(far) });
    let pipeline = Pipeline { verify, encrypt, destinations };
    let order = order("nightly", &Subject::database("appdb"), "2026-06-07_091500");
    let dump = dumped(random(1, 24 * CHUNK_BYTES as u64));
    let shipped = pipeline.back_up(&order, dump, &unwatched()).await.unwrap();
    shipped.deliveries[0].result.as_ref().unwrap();
    assert_eq!(shipped.deliveries[1].result.as_ref().unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(near.keys().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_hangs_is_given_up_too() {
    let near = MemoryStore::new();
    near.fault_at(Operation::Ship, ".json", Fault::Block);
    let Pipeline { verify, encrypt, .. } = pipeline([("near", near.clone())]);
    let destinations = vec![Destination { name: "near".to_owned(), store: Arc::new(berth(near.clone())) }];
    let pipeline = Pipeline { verify, encrypt, destinations };
    let order = order("nightly", &Subject::database("appdb"), "2026-06-07_091500");
    let shipped = pipeline.back_up(&order, dumped(from_bytes("dump")), &unwatched()).await.unwrap();
    assert_eq!(shipped.deliveries[0].result.as_ref().unwrap_err().kind(), Kind::Unavailable);
}
