//! Tests with Ceph, which supports create-only requests in one part, keeps versions, and enforces
//! Object Lock.

use std::time::Duration;

use chrono::Utc;
use futures_util::StreamExt;
use longshore_core::Kind;
use longshore_core::check::Outcome;
use longshore_core::plugin::{MinimumRetention, StoreContext};
use longshore_core::stage::Store;
use longshore_core::stream::from_bytes;
use longshore_core::unit::TimeSpan;
use longshore_testkit::ceph::{Ceph, KEY, Protection, REGION, SECRET};
use longshore_testkit::conformance::{self, Fixture, Race, Scale};
use longshore_testkit::proxy::Proxy;
use longshore_testkit::stream::random;
use serde_json::{Value, json};

use crate::client::{s3, s3_with};
use crate::key;

/// The MD5 of the body that sets a hold, which the store requires.
const HOLD_ON_MD5: &str = "oK1+ndJbG6HuGA87LDxznw==";

/// The MD5 of the body that lifts a hold, which the store requires.
const HOLD_OFF_MD5: &str = "An8G3mv4SfhAibzslQjGDw==";

/// Starts a store with bucket `acme`.
async fn ceph(protection: Protection) -> Ceph {
    let start = move || {
        let ceph = Ceph::start();
        ceph.bucket("acme", protection);
        ceph
    };
    tokio::task::spawn_blocking(start).await.unwrap()
}

/// Returns the destination in the bucket.
fn store(ceph: &Ceph, more: Value) -> Box<dyn Store> {
    store_with(ceph, more, &StoreContext::default())
}

/// Returns the destination in the bucket, opened with a context.
fn store_with(ceph: &Ceph, more: Value, context: &StoreContext) -> Box<dyn Store> {
    let mut settings = json!({ "region": REGION });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    s3_with(ceph.address(), KEY, SECRET, settings, context)
}

/// Runs the conformance tests of every destination.
async fn conforms(protection: Protection, race: Race) {
    let ceph = ceph(protection).await;
    let store = store(&ceph, json!({ "prefix": "postgresql" }));
    let scale = Scale { many_keys: 1100, ..Scale::default() };
    conformance::store(&Fixture::new(store, ceph).scaled(scale).racing(race)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_without_versioning() {
    conforms(Protection::Off, Race::One).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_with_versioning() {
    conforms(Protection::Versioning, Race::Latest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_objects_cannot_be_removed_before_the_lock_ends() {
    let ceph = ceph(Protection::ObjectLock).await;
    for mode in ["governance", "compliance"] {
        let [small, large] = ["small", "large"].map(|size| key(&format!("main/{mode}/a%2Fb/{size}.dump")));
        let store = store(&ceph, json!({ "prefix": "p", "object_lock": { "mode": mode, "retain": "6s" } }));
        let start = Utc::now();
        store.ship(&small, from_bytes("x")).await.unwrap();
        store.ship(&large, random(1, 9 << 20)).await.unwrap();
        for key in [&small, &large] {
            let until = store.capabilities().object_locks.unwrap().locked_until(key).await.unwrap().unwrap();
            assert!((4..=8).contains(&(until - start).num_seconds()), "{until} after {start}");
            let error = store.remove(key).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Refused, "{}", error.chain());
            assert!(error.to_string().contains("locked until 20"), "{error}");
        }
        assert_eq!(ceph.versions("acme"), (2, 0), "an object was hidden or removed");
        tokio::time::sleep(Duration::from_secs(8)).await;
        for key in [&small, &large] {
            assert_eq!(store.capabilities().object_locks.unwrap().locked_until(key).await.unwrap(), None);
            store.remove(key).await.unwrap();
            store.remove(key).await.unwrap();
        }
        assert_eq!(ceph.versions("acme"), (0, 0), "versions still take space");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn removes_all_versions_of_one_object_only() {
    let ceph = ceph(Protection::Versioning).await;
    let store = store(&ceph, json!({}));
    for name in ["main/x.dump", "main/x.dump.age", "main/x", "main/X.dump"] {
        store.ship(&key(name), from_bytes("x")).await.unwrap();
    }
    for (method, status) in [("PUT", 200), ("DELETE", 204), ("PUT", 200), ("DELETE", 204)] {
        let response = ceph.request(method, "acme/main/x.dump", "", "", &[]);
        assert_eq!(response.status, status, "{response:?}");
    }
    assert_eq!(ceph.versions("acme"), (6, 2));
    store.remove(&key("main/x.dump")).await.unwrap();
    assert_eq!(ceph.versions("acme"), (3, 0));
    store.fetch(&key("main/x.dump.age"), None).await.map(drop).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_before_and_after_uploads_to_versioned_buckets() {
    let ceph = ceph(Protection::ObjectLock).await;
    let store = store(&ceph, json!({}));
    // The store itself permits overwriting.
    for _ in 0..2 {
        assert_eq!(ceph.request("PUT", "acme/theirs", "", "x", &[("if-none-match", "*")]).status, 200);
    }
    for (name, length) in [("main/small.dump", 1000), ("main/large.dump", 9 << 20)] {
        store.ship(&key(name), random(1, length)).await.unwrap();
        let error = store.ship(&key(name), random(2, length)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists, "{}", error.chain());
    }
    assert_eq!(ceph.versions("acme"), (4, 0), "a second version was created");
    let findings = store.check().await;
    assert!(
        findings.iter().any(|finding| finding.outcome == Outcome::Warning && finding.message.contains("overwrite"))
    );
    assert!(findings.iter().any(|finding| finding.message.contains("keeps versions")), "{findings:?}");
    assert_eq!(ceph.versions("acme"), (4, 0), "test objects were left");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_confirms_object_lock_and_removes_its_probe() {
    let ceph = ceph(Protection::ObjectLock).await;
    for (retain, text) in [("30d", "30d from each upload"), ("policy", "retention policy")] {
        let findings = store(&ceph, json!({ "object_lock": { "mode": "governance", "retain": retain } })).check().await;
        let lock = findings.iter().find(|finding| finding.message.contains("Object Lock")).unwrap();
        assert_eq!(lock.outcome, Outcome::Good, "{lock:?}");
        assert!(lock.message.contains("governance") && lock.message.contains(text), "{lock:?}");
        assert_eq!(ceph.versions("acme"), (0, 0), "a test object was left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_fails_without_object_lock() {
    let ceph = ceph(Protection::Versioning).await;
    let findings = store(&ceph, json!({ "object_lock": { "mode": "governance", "retain": "30d" } })).check().await;
    let lock = findings.iter().find(|finding| finding.outcome == Outcome::Failed).unwrap();
    assert!(lock.message.contains("object_lock"), "{lock:?}");
    assert!(lock.remedy.as_ref().unwrap().contains("bucket with Object Lock"), "{lock:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_only_for_the_duration_of_the_policy() {
    let ceph = ceph(Protection::ObjectLock).await;
    let settings = json!({ "object_lock": { "mode": "governance", "retain": "policy" } });
    let store = store(&ceph, settings.clone());
    let day = TimeSpan::new(Duration::from_secs(86_400));
    store.ship(&key("main/free.dump"), from_bytes("x")).await.unwrap();
    let context = StoreContext { retention: MinimumRetention::For(day), ..StoreContext::default() };
    let retaining = store_with(&ceph, settings, &context);
    retaining.ship(&key("main/kept.dump"), from_bytes("x")).await.unwrap();
    let locks = store.capabilities().object_locks.unwrap();
    assert_eq!(locks.locked_until(&key("main/free.dump")).await.unwrap(), None);
    let until = locks.locked_until(&key("main/kept.dump")).await.unwrap().unwrap();
    assert_eq!((until - Utc::now()).num_hours(), 23);
    assert_eq!(locks.locked_until(&key("main/none.dump")).await.unwrap_err().kind(), Kind::NotFound);
    store.remove(&key("main/free.dump")).await.unwrap();
    assert_eq!(retaining.remove(&key("main/kept.dump")).await.unwrap_err().kind(), Kind::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn legal_holds_prevent_removal_until_lifted() {
    let ceph = ceph(Protection::ObjectLock).await;
    let (store, name) = (store(&ceph, json!({})), key("main/x.dump"));
    store.ship(&name, from_bytes("x")).await.unwrap();
    let hold = |status: &str| {
        let body = format!("<LegalHold><Status>{status}</Status></LegalHold>");
        let digest = [("content-md5", if status == "ON" { HOLD_ON_MD5 } else { HOLD_OFF_MD5 })];
        ceph.request("PUT", "acme/main/x.dump", "legal-hold=", &body, &digest)
    };
    assert_eq!(hold("ON").status, 200);
    assert_eq!(
        store.capabilities().object_locks.unwrap().locked_until(&name).await.unwrap(),
        Some(chrono::DateTime::<Utc>::MAX_UTC)
    );
    let error = store.remove(&name).await.unwrap_err();
    assert!(error.to_string().contains("until its hold is lifted"), "{error}");
    assert_eq!(hold("OFF").status, 200);
    store.remove(&name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_corrupted_uploads() {
    let ceph = ceph(Protection::Off).await;
    let proxy = Proxy::start(ceph.address()).await;
    let store = s3(proxy.address(), KEY, SECRET, json!({ "region": REGION }));
    crate::network::check_retry_after_corruption(&proxy, &*store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_locked_versions_hidden_by_a_deletion() {
    let ceph = ceph(Protection::ObjectLock).await;
    let plain = store(&ceph, json!({ "prefix": "p" }));
    let lock = json!({ "mode": "governance", "retain": "60s" });
    let locking = store(&ceph, json!({ "prefix": "p", "object_lock": lock }));
    let [locked, free, visible] = ["locked", "free", "visible"].map(|name| key(&format!("main/app/{name}.dump")));
    locking.ship(&locked, from_bytes("x")).await.unwrap();
    locking.ship(&visible, from_bytes("x")).await.unwrap();
    plain.ship(&free, from_bytes("x")).await.unwrap();
    assert_eq!(plain.capabilities().object_locks.unwrap().hidden().await.unwrap(), []);
    for key in [&locked, &free] {
        ceph.request("DELETE", &format!("acme/p/{key}"), "", "", &[]);
    }
    let listed: Vec<_> = plain.list(None).await.unwrap().map(|entry| entry.unwrap().key).collect().await;
    assert_eq!(listed, [visible]);
    assert_eq!(plain.capabilities().object_locks.unwrap().hidden().await.unwrap(), [locked]);
}
