//! Tests with Garage on three nodes, which ignores create-only requests and Object Lock, and lists
//! uploads in progress.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use longshore_core::Kind;
use longshore_core::check::Outcome;
use longshore_core::stage::Store;
use longshore_core::stream::{channel, from_bytes};
use longshore_testkit::conformance::{self, Fixture, HUGE_TIME_LIMIT, Race, Scale};
use longshore_testkit::garage::{Garage, Key, Permission};
use longshore_testkit::proxy::Proxy;
use longshore_testkit::stream::{digest, random, random_bytes, stalls_after};
use serde_json::{Value, json};

use crate::client::s3;
use crate::key;

/// The cluster that all tests of one process share; each test has its own bucket.
static GARAGE: LazyLock<Garage> = LazyLock::new(Garage::start);

/// The maximum delay of one node. A removal completes on two of the three nodes. A list queries two
/// nodes, and filters the names removed on each before it merges them: a delayed node makes the
/// name reappear. (A fetch compares first, and is correct.)
const LAG: Duration = Duration::from_secs(60);

/// Returns the name of a new bucket.
fn bucket() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("acme-{}", COUNT.fetch_add(1, Ordering::SeqCst))
}

fn store(garage: &Garage, permission: Permission, more: Value) -> Box<dyn Store> {
    let bucket = bucket();
    let key = garage.bucket(&bucket, permission);
    let mut settings = json!({ "bucket": bucket });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    s3(garage.address(0), &key.id, &key.secret, settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    let store = store(&GARAGE, Permission::Everything, json!({ "prefix": "postgresql" }));
    let scale = Scale { many_keys: 100, ..Scale::default() };
    let fixture = Fixture::new(store, ()).scaled(scale).racing(Race::Latest).with_listing_delay(LAG);
    conformance::store(&fixture).await;
}

async fn huge() -> Fixture {
    let store = store(&GARAGE, Permission::Everything, json!({}));
    let scale = Scale { time_limit: HUGE_TIME_LIMIT, ..Scale::default() };
    Fixture::new(store, ()).scaled(scale).with_listing_delay(LAG)
}

/// More than two pages of a listing.
async fn many() -> Fixture {
    let fixture = huge().await;
    let scale = Scale { many_keys: 2100, ..fixture.scale };
    fixture.scaled(scale)
}

// Garage compresses its data, so three copies of this body take almost no disk space.
longshore_testkit::huge_conformance!(huge);
longshore_testkit::many_conformance!(many);

#[tokio::test(flavor = "multi_thread")]
async fn check_warns_of_ignored_create_only_requests() {
    let store = store(&GARAGE, Permission::Everything, json!({}));
    let findings = store.check().await;
    let warning = findings.iter().find(|finding| finding.outcome == Outcome::Warning).unwrap();
    assert!(
        warning.message.contains("overwrite") && warning.remedy.as_ref().unwrap().contains("prefix"),
        "{warning:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fails_if_the_store_ignores_locks() {
    let store =
        store(&GARAGE, Permission::Everything, json!({ "object_lock": { "mode": "governance", "retain": "1d" } }));
    // The store accepts the headers and ignores them: objects without the requested lock must be
    // removed.
    for length in [1, 9 << 20] {
        let error = store.ship(&key("main/x.dump"), random(1, length)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{}", error.chain());
        assert!(error.to_string().contains("did not lock the object"), "{error}");
        assert_eq!(store.fetch(&key("main/x.dump"), None).await.map(drop).unwrap_err().kind(), Kind::NotFound);
    }
    let findings = store.check().await;
    let failed = findings.iter().find(|finding| finding.outcome == Outcome::Failed).unwrap();
    assert!(failed.message.contains("object_lock") && failed.message.contains("ignores it"), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_discards_unfinished_uploads() {
    let bucket = bucket();
    let owner = GARAGE.bucket(&bucket, Permission::Everything);
    let [ours, others] = ["ours", "ours-too"].map(|prefix| {
        abandon(&bucket, &owner, prefix);
        open(&bucket, &owner, prefix)
    });
    let sweep = ours.capabilities().incomplete_uploads.unwrap();
    let leftovers = sweep.leftovers().await.unwrap();
    assert_eq!(leftovers.len(), 1, "{leftovers:?}");
    assert!(leftovers[0].name.starts_with("main/a%2Fb/x.dump?uploadId="), "{leftovers:?}");
    assert!((chrono::Utc::now() - leftovers[0].since).num_seconds().abs() < 120);
    for _ in 0..2 {
        sweep.discard(&leftovers[0]).await.unwrap();
    }
    assert_eq!(sweep.leftovers().await.unwrap(), []);
    assert_eq!(
        others.capabilities().incomplete_uploads.unwrap().leftovers().await.unwrap().len(),
        1,
        "a foreign upload was removed"
    );
}

fn open(bucket: &str, owner: &Key, prefix: &str) -> Box<dyn Store> {
    s3(GARAGE.address(0), &owner.id, &owner.secret, json!({ "bucket": bucket, "prefix": prefix }))
}

/// Leaves an upload as a killed process does: its runtime ends, and with it the cleanup of the
/// upload.
fn abandon(bucket: &str, owner: &Key, prefix: &str) {
    let store = open(bucket, owner, prefix);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.spawn(async move { store.ship(&key("main/a%2Fb/x.dump"), stalls_after(20 << 20)).await });
    std::thread::sleep(Duration::from_secs(4));
    runtime.shutdown_background();
}

#[tokio::test(flavor = "multi_thread")]
async fn aborted_uploads_are_not_listed() {
    let store = store(&GARAGE, Permission::Everything, json!({}));
    let name = key("main/x.dump");
    let ship = store.ship(&name, stalls_after(20 << 20));
    tokio::time::timeout(Duration::from_secs(3), ship).await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(store.capabilities().incomplete_uploads.unwrap().leftovers().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn ships_with_write_only_permission() {
    let store = store(&GARAGE, Permission::Write, json!({}));
    store.ship(&key("main/small.dump"), from_bytes("x")).await.unwrap();
    store.ship(&key("main/large.dump"), random(1, 20 << 20)).await.unwrap();
    let error = store.fetch(&key("main/small.dump"), None).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "{}", error.chain());
    let findings = store.check().await;
    assert!(findings.iter().all(|finding| finding.outcome != Outcome::Failed), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_survive_the_loss_of_a_node() {
    let garage = tokio::task::spawn_blocking(Garage::start).await.unwrap();
    let store = store(&garage, Permission::Everything, json!({ "retries": 8 }));
    let (sender, body) = channel();
    let whole = random_bytes(1, 60 << 20);
    let feeding = async {
        for (number, chunk) in whole.chunks(1 << 20).enumerate() {
            if number == 30 {
                garage.kill(2);
            }
            sender.send(whole.slice_ref(chunk)).await.unwrap();
        }
        sender.finish().await.unwrap();
    };
    let name = key("main/x.dump");
    let (shipped, ()) = tokio::join!(store.ship(&name, body), feeding);
    shipped.unwrap();
    let fetched = digest(store.fetch(&name, None).await.unwrap()).await.unwrap();
    assert_eq!(fetched, digest(from_bytes(whole)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_corrupted_uploads() {
    let bucket = bucket();
    let owner = GARAGE.bucket(&bucket, Permission::Everything);
    let proxy = Proxy::start(GARAGE.address(0)).await;
    crate::network::check_retry_after_corruption(
        &proxy,
        &*s3(proxy.address(), &owner.id, &owner.secret, json!({ "bucket": bucket })),
    )
    .await;
}
