//! Tests a bucket of GCS as a destination.
//!
//! The emulator checks no credentials, so wrong ones are not covered.

// Allows unwrap in helpers: a failure there fails the test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use longshore_core::Kind;
use longshore_core::check::Outcome;
use longshore_core::key::Key;
use longshore_core::plugin::{Plugin, StoreContext};
use longshore_core::stage::Store;
use longshore_core::stream::from_bytes;
use longshore_ship_gcs::Gcs;
use longshore_testkit::conformance::{self, Fixture, HUGE_TIME_LIMIT, Scale};
use longshore_testkit::gcs::FakeGcs;
use longshore_testkit::stream::{fails_after, is_failure, random, stalls_after};
use serde_json::{Value, json};

/// The store that all tests of one process share; each test has its own bucket.
static STORE: LazyLock<FakeGcs> = LazyLock::new(FakeGcs::start);

fn gcs(bucket: &str, more: Value) -> Box<dyn Store> {
    let key = tempfile::NamedTempFile::new().unwrap();
    let account = json!({ "disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": "" });
    fs::write(key.path(), account.to_string()).unwrap();
    let mut settings = json!({
        "bucket": bucket,
        "service_account_file": key.path(),
        "endpoint": format!("http://{}", STORE.address()),
        "allow_http": true,
        "retries": 2,
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value::<Gcs>(settings).unwrap().build(&StoreContext::default()).unwrap()
}

/// Returns a destination in a new bucket.
fn new_bucket(more: Value) -> Box<dyn Store> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let bucket = format!("acme-{}", COUNT.fetch_add(1, Ordering::SeqCst));
    STORE.bucket(&bucket);
    gcs(&bucket, more)
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    let store = new_bucket(json!({ "prefix": "post/gresql" }));
    let scale = Scale { many_keys: 100, ..Scale::default() };
    conformance::store(&Fixture::new(store, ()).scaled(scale)).await;
}

/// The emulator needs six times the size of a body in memory, even with a disk: this size fits an
/// ordinary machine.
async fn huge() -> Fixture {
    let scale = Scale { huge_bytes: 512 << 20, time_limit: HUGE_TIME_LIMIT, ..Scale::default() };
    Fixture::new(new_bucket(json!({})), ()).scaled(scale)
}

/// More than two pages; more keys would take the emulator minutes.
async fn many() -> Fixture {
    Fixture::new(new_bucket(json!({})), ()).scaled(Scale { many_keys: 2100, ..Scale::default() })
}

longshore_testkit::huge_conformance!(huge);
longshore_testkit::many_conformance!(many);

#[tokio::test(flavor = "multi_thread")]
async fn multipart_uploads_do_not_overwrite_and_check_warns() {
    let store = new_bucket(json!({}));
    let name = key("main/large.dump");
    store.ship(&name, random(1, 20 << 20)).await.unwrap();
    let error = store.ship(&name, random(2, 20 << 20)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists, "{}", error.chain());
    let findings = store.check().await;
    let warning = findings.iter().find(|finding| finding.outcome == Outcome::Warning).unwrap();
    assert!(warning.message.contains("uploads in parts"), "{warning:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_a_missing_bucket() {
    let error = gcs("nowhere", json!({})).ship(&key("main/x.dump"), from_bytes("x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{}", error.chain());
    assert!(error.to_string().contains("there is no bucket \"nowhere\""), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn aborts_failed_uploads_and_discards_unfinished_ones() {
    let store = new_bucket(json!({ "prefix": "p" }));
    let error = store.ship(&key("main/x.dump"), fails_after(20 << 20)).await.unwrap_err();
    assert!(is_failure(&error));
    let sweep = store.capabilities().incomplete_uploads.unwrap();
    assert_eq!(sweep.leftovers().await.unwrap(), []);

    let name = key("main/a%2Fb.dump");
    let ship = store.ship(&name, stalls_after(20 << 20));
    tokio::pin!(ship);
    // The upload is still in progress: only its age distinguishes it from an abandoned one.
    let (mut leftovers, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(30));
    while leftovers.is_empty() {
        assert!(Instant::now() < deadline, "the upload is not listed");
        tokio::time::timeout(Duration::from_millis(100), &mut ship).await.unwrap_err();
        leftovers = sweep.leftovers().await.unwrap();
    }
    assert!(leftovers.len() == 1 && leftovers[0].name.starts_with("main/a%2Fb.dump?uploadId="), "{leftovers:?}");
    for _ in 0..2 {
        sweep.discard(&leftovers[0]).await.unwrap();
    }
    assert_eq!(sweep.leftovers().await.unwrap(), []);
}
