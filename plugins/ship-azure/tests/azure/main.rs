//! Tests a container of Azure as a destination.

// Allows unwrap in helpers: a failure there fails the test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use longshore_core::Kind;
use longshore_core::check::Outcome;
use longshore_core::key::Key;
use longshore_core::plugin::{Plugin, StoreContext};
use longshore_core::stage::Store;
use longshore_core::stream::{channel, from_bytes};
use longshore_ship_azure::Azure;
use longshore_testkit::azurite::{ACCOUNT, Azurite, KEY};
use longshore_testkit::conformance::{self, Fixture, HUGE_TIME_LIMIT, Scale};
use longshore_testkit::stream::{fails_after, is_failure, random, random_bytes};
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{ClientOptions, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};
use serde_json::{Value, json};

/// The store that all tests of one process share; each test has its own container.
static STORE: LazyLock<Azurite> = LazyLock::new(Azurite::start);

fn azure(container: &str, secret: &str, more: Value) -> Box<dyn Store> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("{secret}\n")).unwrap();
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
    let mut settings = json!({
        "account": ACCOUNT,
        "container": container,
        "access_key_file": file.path(),
        "endpoint": STORE.endpoint(),
        "allow_http": true,
        "retries": 2,
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value::<Azure>(settings).unwrap().build(&StoreContext::default()).unwrap()
}

/// Returns a destination in a new container.
async fn new_container(more: Value) -> Box<dyn Store> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let container = format!("acme-{}", COUNT.fetch_add(1, Ordering::SeqCst));
    create_container(&container).await;
    azure(&container, KEY, more)
}

/// Creates a container, which Longshore never does.
async fn create_container(container: &str) {
    let client = ReqwestConnector::default().connect(&ClientOptions::new().with_allow_http(true)).unwrap();
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = "PUT".parse().unwrap();
    *request.uri_mut() = format!("{}/{container}?restype=container", STORE.endpoint()).parse().unwrap();
    request.headers_mut().insert("content-length", "0".parse().unwrap());
    let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(KEY).unwrap());
    AzureAuthorizer::new(&credential, ACCOUNT).try_authorize(&mut request).unwrap();
    assert_eq!(client.execute(request).await.unwrap().status(), 201);
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    let store = new_container(json!({ "prefix": "post/gresql" })).await;
    let scale = Scale { many_keys: 100, ..Scale::default() };
    conformance::store(&Fixture::new(store, ()).scaled(scale)).await;
}

async fn huge() -> Fixture {
    let scale = Scale { time_limit: HUGE_TIME_LIMIT, ..Scale::default() };
    Fixture::new(new_container(json!({})).await, ()).scaled(scale)
}

/// More than one page of a listing, which has 5,000 keys.
async fn many() -> Fixture {
    let scale = Scale { many_keys: 5100, ..Scale::default() };
    Fixture::new(new_container(json!({})).await, ()).scaled(scale)
}

longshore_testkit::huge_conformance!(huge);

mod listing {
    mod slow {
        longshore_testkit::many_conformance!(super::super::many);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_uploads_have_one_winner() {
    let store = new_container(json!({})).await;
    let bodies = [1, 2].map(|seed| random_bytes(seed, 20 << 20));
    let (senders, streams): (Vec<_>, Vec<_>) = bodies.iter().map(|_| channel()).unzip();
    let name = key("main/x.dump");
    let feeding = async {
        // Both uploads start before either ends.
        for (sender, body) in senders.iter().zip(&bodies) {
            sender.send(body.slice(..18 << 20)).await.unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        for (sender, body) in senders.into_iter().zip(&bodies) {
            sender.send(body.slice(18 << 20..)).await.unwrap();
            sender.finish().await.unwrap();
        }
    };
    let [one, two] = <[_; 2]>::try_from(streams).map_err(drop).unwrap().map(|stream| store.ship(&name, stream));
    let (one, two, ()) = tokio::join!(one, two, feeding);
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    assert_eq!(one.and(two).unwrap_err().kind(), Kind::AlreadyExists);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_passes_and_errors_have_hints() {
    let name = key("main/x.dump");
    let store = new_container(json!({})).await;
    assert!(store.check().await.iter().all(|finding| finding.outcome == Outcome::Good));
    assert!(store.capabilities().incomplete_uploads.is_none(), "unfinished blocks cannot be listed");

    let error = azure("nowhere", KEY, json!({})).ship(&name, from_bytes("x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{}", error.chain());
    assert!(error.to_string().contains("there is no container \"nowhere\""), "{error}");

    let wrong_key = KEY.replacen("Eby8", "Eby9", 1);
    let error = azure("acme-0", &wrong_key, json!({})).ship(&name, from_bytes("x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "{}", error.chain());
    assert!(
        error.remedy().unwrap().contains("access_key_file") && !error.chain().contains(&wrong_key[..20]),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_large_uploads_leave_nothing() {
    let store = new_container(json!({})).await;
    let name = key("main/x.dump");
    let error = store.ship(&name, fails_after(20 << 20)).await.unwrap_err();
    assert!(is_failure(&error));
    let error = store.fetch(&name, None).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    store.ship(&name, random(1, 20 << 20)).await.unwrap();
}
