//! Tests with Ceph, which supports create-only requests in one part, keeps versions, and enforces
//! Object Lock.

use std::time::Duration;

use chrono::Utc;
use futures_util::StreamExt;
use longshore_core::Kind;
use longshore_core::check::Outcome;
use longshore_core::quantity::Span;
use longshore_core::stage::Store;
use longshore_core::stream::from_bytes;
use longshore_testkit::ceph::{Ceph, KEY, Keeps, REGION, SECRET};
use longshore_testkit::conformance::{self, Fixture, Race, Scale};
use longshore_testkit::proxy::Proxy;
use longshore_testkit::stream::random;
use serde_json::{Value, json};

use crate::client::s3;
use crate::key;

/// The MD5 of the body that sets a hold, which the store requires.
const ON: &str = "oK1+ndJbG6HuGA87LDxznw==";

/// The MD5 of the body that lifts a hold, which the store requires.
const OFF: &str = "An8G3mv4SfhAibzslQjGDw==";

/// Starts a store with bucket `acme`.
async fn ceph(keeps: Keeps) -> Ceph {
    let start = move || {
        let ceph = Ceph::start();
        ceph.bucket("acme", keeps);
        ceph
    };
    tokio::task::spawn_blocking(start).await.unwrap()
}

/// Returns the destination in the bucket.
fn store(ceph: &Ceph, more: Value) -> Box<dyn Store> {
    let mut settings = json!({ "region": REGION });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    s3(ceph.address(), KEY, SECRET, settings)
}

/// Runs the conformance tests of every destination.
async fn conforms(keeps: Keeps, race: Race) {
    let ceph = ceph(keeps).await;
    let store = store(&ceph, json!({ "prefix": "postgresql" }));
    let scale = Scale { many_keys: 1100, ..Scale::default() };
    conformance::store(&Fixture::new(store, ceph).scaled(scale).racing(race)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_real_store_does_what_every_destination_must() {
    conforms(Keeps::Nothing, Race::One).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_does_where_it_keeps_versions() {
    conforms(Keeps::Versions, Race::Latest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_locked_is_kept_until_the_lock_is_over_and_is_then_gone_with_every_version() {
    let ceph = ceph(Keeps::Locks).await;
    for mode in ["governance", "compliance"] {
        let [small, large] = ["small", "large"].map(|size| key(&format!("main/{mode}/a%2Fb/{size}.dump")));
        let store = store(&ceph, json!({ "prefix": "p", "object_lock": { "mode": mode, "retain": "6s" } }));
        let begun = Utc::now();
        store.ship(&small, from_bytes("x")).await.unwrap();
        store.ship(&large, random(1, 9 << 20)).await.unwrap();
        for key in [&small, &large] {
            let until = store.locks().unwrap().locked_until(key).await.unwrap().unwrap();
            assert!((4..=8).contains(&(until - begun).num_seconds()), "{until} after {begun}");
            let error = store.remove(key).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Refused, "{}", error.chain());
            assert!(error.to_string().contains("locked until 20"), "{error}");
        }
        assert_eq!(ceph.versions("acme"), (2, 0), "an object was hidden or removed");
        tokio::time::sleep(Duration::from_secs(8)).await;
        for key in [&small, &large] {
            assert_eq!(store.locks().unwrap().locked_until(key).await.unwrap(), None);
            store.remove(key).await.unwrap();
            store.remove(key).await.unwrap();
        }
        assert_eq!(ceph.versions("acme"), (0, 0), "versions still take space");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_hid_or_wrote_over_goes_with_the_rest_and_nothing_else_does() {
    let ceph = ceph(Keeps::Versions).await;
    let store = store(&ceph, json!({}));
    for name in ["main/x.dump", "main/x.dump.age", "main/x", "main/X.dump"] {
        store.ship(&key(name), from_bytes("x")).await.unwrap();
    }
    for (method, status) in [("PUT", 200), ("DELETE", 204), ("PUT", 200), ("DELETE", 204)] {
        let answer = ceph.ask(method, "acme/main/x.dump", "", "", &[]);
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(ceph.versions("acme"), (6, 2));
    store.remove(&key("main/x.dump")).await.unwrap();
    assert_eq!(ceph.versions("acme"), (3, 0));
    store.fetch(&key("main/x.dump.age"), None).await.map(drop).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_forgets_create_only_where_it_keeps_versions_is_looked_at_instead() {
    let ceph = ceph(Keeps::Locks).await;
    let store = store(&ceph, json!({}));
    // The store itself permits overwriting.
    for _ in 0..2 {
        assert_eq!(ceph.ask("PUT", "acme/theirs", "", "x", &[("if-none-match", "*")]).status, 200);
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
async fn a_lock_that_holds_is_found_to_and_its_trial_is_gone() {
    let ceph = ceph(Keeps::Locks).await;
    for (retain, told) in [("30d", "30d from each upload"), ("policy", "retention policy")] {
        let findings = store(&ceph, json!({ "object_lock": { "mode": "governance", "retain": retain } })).check().await;
        let lock = findings.iter().find(|finding| finding.message.contains("Object Lock")).unwrap();
        assert_eq!(lock.outcome, Outcome::Good, "{lock:?}");
        assert!(lock.message.contains("governance") && lock.message.contains(told), "{lock:?}");
        assert_eq!(ceph.versions("acme"), (0, 0), "a test object was left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_locks_is_found_out() {
    let ceph = ceph(Keeps::Versions).await;
    let findings = store(&ceph, json!({ "object_lock": { "mode": "governance", "retain": "30d" } })).check().await;
    let lock = findings.iter().find(|finding| finding.outcome == Outcome::Failed).unwrap();
    assert!(lock.message.contains("object_lock"), "{lock:?}");
    assert!(lock.remedy.as_ref().unwrap().contains("bucket with Object Lock"), "{lock:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_follows_the_policy_waits_for_it() {
    let ceph = ceph(Keeps::Locks).await;
    let store = store(&ceph, json!({ "object_lock": { "mode": "governance", "retain": "policy" } }));
    let day = Span::new(Duration::from_secs(86_400));
    store.ship(&key("main/free.dump"), from_bytes("x")).await.unwrap();
    let retaining = store.retaining(day).unwrap();
    retaining.ship(&key("main/kept.dump"), from_bytes("x")).await.unwrap();
    let locks = store.locks().unwrap();
    assert_eq!(locks.locked_until(&key("main/free.dump")).await.unwrap(), None);
    let until = locks.locked_until(&key("main/kept.dump")).await.unwrap().unwrap();
    assert_eq!((until - Utc::now()).num_hours(), 23);
    assert_eq!(locks.locked_until(&key("main/none.dump")).await.unwrap_err().kind(), Kind::NotFound);
    store.remove(&key("main/free.dump")).await.unwrap();
    assert_eq!(retaining.remove(&key("main/kept.dump")).await.unwrap_err().kind(), Kind::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_lasts_until_it_is_lifted() {
    let ceph = ceph(Keeps::Locks).await;
    let (store, name) = (store(&ceph, json!({})), key("main/x.dump"));
    store.ship(&name, from_bytes("x")).await.unwrap();
    let hold = |status: &str| {
        let body = format!("<LegalHold><Status>{status}</Status></LegalHold>");
        let digest = [("content-md5", if status == "ON" { ON } else { OFF })];
        ceph.ask("PUT", "acme/main/x.dump", "legal-hold=", &body, &digest)
    };
    assert_eq!(hold("ON").status, 200);
    assert_eq!(store.locks().unwrap().locked_until(&name).await.unwrap(), Some(chrono::DateTime::<Utc>::MAX_UTC));
    let error = store.remove(&name).await.unwrap_err();
    assert!(error.to_string().contains("until its hold is lifted"), "{error}");
    assert_eq!(hold("OFF").status, 200);
    store.remove(&name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_another_real_store_saw_turned_is_sent_again() {
    let ceph = ceph(Keeps::Nothing).await;
    let proxy = Proxy::start(ceph.address()).await;
    let store = s3(proxy.address(), KEY, SECRET, json!({ "region": REGION }));
    crate::network::a_turned_bit_is_sent_again(&proxy, &*store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_hides_a_locked_version_is_listed() {
    let ceph = ceph(Keeps::Locks).await;
    let plain = store(&ceph, json!({ "prefix": "p" }));
    let lock = json!({ "mode": "governance", "retain": "60s" });
    let locking = store(&ceph, json!({ "prefix": "p", "object_lock": lock }));
    let [locked, free, seen] = ["locked", "free", "seen"].map(|name| key(&format!("main/app/{name}.dump")));
    locking.ship(&locked, from_bytes("x")).await.unwrap();
    locking.ship(&seen, from_bytes("x")).await.unwrap();
    plain.ship(&free, from_bytes("x")).await.unwrap();
    assert_eq!(plain.locks().unwrap().hidden().await.unwrap(), []);
    for key in [&locked, &free] {
        ceph.ask("DELETE", &format!("acme/p/{key}"), "", "", &[]);
    }
    let left: Vec<_> = plain.list().await.unwrap().map(|entry| entry.unwrap().key).collect().await;
    assert_eq!(left, [seen]);
    assert_eq!(plain.locks().unwrap().hidden().await.unwrap(), [locked]);
}
