//! Faulty networks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use longshore_core::Kind;
use longshore_core::meter::Digest;
use longshore_core::stage::Store;
use longshore_core::stream::from_bytes;
use longshore_testkit::proxy::{Direction, Fault, Proxy};
use longshore_testkit::stream::{digest, fails_after, is_failure, random, random_bytes, stalls_after};
use serde_json::{Value, json};

use crate::client::s3;
use crate::key;
use crate::server::{OWNER, Server};

/// Starts a server, a proxy, and a destination through the proxy.
async fn through_proxy(more: Value) -> (Server, Proxy, Box<dyn Store>) {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address).await;
    let store = s3(proxy.address(), OWNER.0, OWNER.1, more);
    (server, proxy, store)
}

async fn is_missing(store: &dyn Store, name: &str) -> bool {
    store.fetch(&key(name), None).await.is_err_and(|error| error.kind() == Kind::NotFound)
}

#[tokio::test(flavor = "multi_thread")]
async fn list_skips_foreign_names() {
    let server = Server::start().await;
    let store = server.s3(json!({ "prefix": "p" }));
    store.ship(&key("main/x.dump"), from_bytes("x")).await.unwrap();
    for name in ["p/a//b", "p/main//x.dump", "p//", "p/folder/", "p/../x", "p/z/./x"] {
        server.put_foreign(name);
    }
    let listed: Vec<_> = store.list(None).await.unwrap().map(|entry| entry.unwrap().key.to_string()).collect().await;
    assert_eq!(listed, ["main/x.dump"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_an_unreachable_store() {
    let store = s3("127.0.0.1:1".parse().unwrap(), OWNER.0, OWNER.1, json!({ "retries": 0 }));
    let error = store.ship(&key("main/x.dump"), from_bytes("x")).await.unwrap_err();
    assert!(error.to_string().ends_with("the store cannot be reached"), "{error}");
    assert!(!error.chain().contains("overwrite") && error.chain().contains("refused"), "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_connections_are_unavailable() {
    let store = s3("127.0.0.1:1".parse().unwrap(), OWNER.0, OWNER.1, json!({ "retries": 1 }));
    let key = key("main/x.dump");
    for error in [
        store.ship(&key, from_bytes("x")).await.unwrap_err(),
        store.ship(&key, random(1, 9 << 20)).await.unwrap_err(),
        store.fetch(&key, None).await.map(drop).unwrap_err(),
        store.remove(&key).await.unwrap_err(),
        store.list(None).await.unwrap().next().await.unwrap().unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
        assert!(error.chain().ends_with("Connection refused (os error 111)"), "{}", error.chain());
        assert!(error.remedy().unwrap().contains("endpoint"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_uploads_fail_and_leave_nothing() {
    for length in [1 << 20, 20 << 20] {
        let (server, proxy, store) = through_proxy(json!({ "timeout": "1s", "min_rate": "16MiB", "retries": 1 })).await;
        store.ship(&key("main/first.dump"), random(1, 9 << 20)).await.unwrap();
        proxy.cut();
        proxy.fault(Direction::Up, Fault::Stall(200_000));
        let start = Instant::now();
        let error = store.ship(&key("main/x.dump"), random(1, length)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
        assert!(error.chain().contains("stalled"), "{}", error.chain());
        assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
        let straight = server.s3(json!({}));
        assert!(is_missing(&*straight, "main/x.dump").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_uploads_do_not_time_out() {
    let (_server, proxy, store) = through_proxy(json!({ "timeout": "1s", "min_rate": "100kB" })).await;
    proxy.fault(Direction::Up, Fault::Throttle(300_000));
    // The upload takes three times as long as the timeout.
    store.ship(&key("main/x.dump"), random(1, 900_000)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_survive_lost_connections() {
    let (_server, proxy, store) = through_proxy(json!({ "retries": 8 })).await;
    proxy.fault_times(Direction::Up, Fault::Cut(3 << 20), 4);
    let key = key("main/x.dump");
    store.ship(&key, random(1, 40 << 20)).await.unwrap();
    let fetched = digest(store.fetch(&key, None).await.unwrap()).await.unwrap();
    assert_eq!(fetched, digest(random(1, 40 << 20)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_survive_lost_connections() {
    let (server, proxy, store) = through_proxy(json!({ "retries": 3 })).await;
    let key = key("main/x.dump");
    server.s3(json!({})).ship(&key, random(1, 3 << 20)).await.unwrap();
    proxy.fault(Direction::Down, Fault::Cut(300_000));
    let whole = random_bytes(1, 3 << 20);
    let fetched = digest(store.fetch(&key, None).await.unwrap()).await.unwrap();
    assert_eq!(fetched, Digest::of(&whole));
    assert!(proxy.connections() > 10, "more interruptions than the retries of one request");
    let range = 1_000_000..2_000_000;
    let fetched = digest(store.fetch(&key, Some(range)).await.unwrap()).await.unwrap();
    assert_eq!(fetched, Digest::of(&whole[1_000_000..2_000_000]));
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_fail_when_the_server_stalls() {
    let (server, proxy, store) = through_proxy(json!({ "timeout": "1s", "retries": 1 })).await;
    let key = key("main/x.dump");
    server.s3(json!({})).ship(&key, random(1, 3 << 20)).await.unwrap();
    proxy.fault(Direction::Down, Fault::Stall(0));
    let read = async { digest(store.fetch(&key, None).await?).await };
    let error = read.await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn corrupted_uploads_fail_and_leave_nothing() {
    for length in [1 << 20, 20 << 20] {
        let (server, proxy, store) = through_proxy(json!({ "retries": 0 })).await;
        store.ship(&key("main/first.dump"), random(1, 9 << 20)).await.unwrap();
        proxy.cut();
        proxy.fault(Direction::Up, Fault::Corrupt(500_000));
        let error = store.ship(&key("main/x.dump"), random(1, length)).await.unwrap_err();
        assert!(error.chain().contains("the store answered 400"), "{}", error.chain());
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(is_missing(&*server.s3(json!({})), "main/x.dump").await);
        assert_eq!(server.unfinished_parts(), 0);
    }
}

/// Corrupts a bit in each of two connections, and checks that the upload arrives intact.
pub(crate) async fn check_retry_after_corruption(proxy: &Proxy, store: &dyn Store) {
    for length in [1 << 20, 20 << 20] {
        store.ship(&key(&format!("main/first-{length}.dump")), random(1, 9 << 20)).await.unwrap();
        proxy.cut();
        proxy.fault_times(Direction::Up, Fault::Corrupt(500_000), 2);
        let (name, before) = (key(&format!("main/{length}.dump")), proxy.up_bytes());
        store.ship(&name, random(1, length)).await.unwrap();
        assert!(proxy.up_bytes() - before > length + 900_000, "nothing was sent again: no bit was corrupted");
        let fetched = digest(store.fetch(&name, None).await.unwrap()).await.unwrap();
        assert_eq!(fetched, digest(random(1, length)).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_corrupted_uploads() {
    let (_server, proxy, store) = through_proxy(json!({})).await;
    check_retry_after_corruption(&proxy, &*store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recognises_its_upload_after_a_lost_response() {
    let (_server, proxy, store) = through_proxy(json!({})).await;
    store.ship(&key("main/first.dump"), from_bytes("x")).await.unwrap();
    proxy.cut();
    // The store has the object, but the response is lost; the second attempt finds the name taken.
    proxy.fault_times(Direction::Down, Fault::Cut(0), 1);
    let key = key("main/x.dump");
    store.ship(&key, from_bytes("mine")).await.unwrap();
    let error = store.ship(&key, from_bytes("mine")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
}

#[tokio::test(flavor = "multi_thread")]
async fn aborts_uploads_of_failed_bodies() {
    let server = Server::start().await;
    let store = server.s3(json!({}));
    let error = store.ship(&key("main/x.dump"), fails_after(20 << 20)).await.unwrap_err();
    assert!(is_failure(&error));
    assert_eq!(server.unfinished_parts(), 0);
    assert_eq!(server.requests("AbortMultipartUpload").len(), 2, "one of the test upload, one of the body");
}

#[tokio::test(flavor = "multi_thread")]
async fn aborts_dropped_uploads() {
    let server = Server::start().await;
    let store = server.s3(json!({}));
    let name = key("main/x.dump");
    let ship = store.ship(&name, stalls_after(20 << 20));
    tokio::time::timeout(Duration::from_millis(1500), ship).await.unwrap_err();
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.unfinished_parts() > 0 || server.requests("AbortMultipartUpload").len() < 2 {
        assert!(Instant::now() < deadline, "parts were left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(is_missing(&*store, "main/x.dump").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_stores_do_not_increase_memory() {
    let (_server, proxy, store) = through_proxy(json!({})).await;
    store.ship(&key("main/first.dump"), random(1, 9 << 20)).await.unwrap();
    proxy.cut();
    proxy.fault(Direction::Up, Fault::Stall(1 << 20));
    let read = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&read);
    let body = random(1, 1 << 30).inspect(move |chunk| {
        counter.fetch_add(chunk.as_ref().unwrap().len() as u64, Ordering::SeqCst);
    });
    let name = key("main/x.dump");
    let ship = store.ship(&name, body.boxed());
    tokio::time::timeout(Duration::from_secs(5), ship).await.unwrap_err();
    let read = read.load(Ordering::SeqCst);
    // Four parts are being sent, and one is being buffered.
    assert!((30 << 20..=41 << 20).contains(&read), "{read} bytes were read");
}
