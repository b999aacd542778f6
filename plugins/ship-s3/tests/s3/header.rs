//! Headers of requests, received by a server that checks signatures.

use longshore_core::check::Outcome;
use longshore_core::stream::from_bytes;
use longshore_testkit::stream::random;
use serde_json::json;

use crate::key;
use crate::server::Server;

const MODE: &str = "x-amz-object-lock-mode";
const UNTIL: &str = "x-amz-object-lock-retain-until-date";

#[tokio::test(flavor = "multi_thread")]
async fn requests_a_lock_for_each_object() {
    let server = Server::start().await;
    let store = server.s3(json!({ "object_lock": { "mode": "compliance", "retain": "30d" } }));
    // This server ignores the lock, so uploads fail.
    store.ship(&key("main/small.dump"), from_bytes("x")).await.unwrap_err();
    store.ship(&key("main/large.dump"), random(1, 20 << 20)).await.unwrap_err();
    let objects = |operation: &str, name: &str| {
        let requests = server.requests(operation).into_iter();
        requests.filter(|request| request.path.ends_with(name)).collect::<Vec<_>>()
    };
    for request in [objects("PutObject", "small.dump"), objects("CreateMultipartUpload", "large.dump")].concat() {
        assert_eq!(request.header(MODE), Some("COMPLIANCE"));
        let until = chrono::DateTime::parse_from_rfc3339(request.header(UNTIL).unwrap()).unwrap();
        assert_eq!((until.to_utc() - chrono::Utc::now()).num_days(), 29);
    }
    let parts = server.requests("UploadPart");
    assert!(parts.len() >= 3 && parts.iter().all(|request| request.header(MODE).is_none()));
    // The store accepted the requests, but did not lock the objects.
    let findings = store.check().await;
    let lock = findings.iter().find(|finding| finding.message.contains("object_lock")).unwrap();
    assert_eq!(lock.outcome, Outcome::Failed, "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_every_object_with_if_none_match() {
    let server = Server::start().await;
    let store = server.s3(json!({}));
    store.ship(&key("main/small.dump"), from_bytes("x")).await.unwrap();
    store.ship(&key("main/large.dump"), random(1, 20 << 20)).await.unwrap();
    let requests = [server.requests("PutObject"), server.requests("CompleteMultipartUpload")].concat();
    assert!(requests.len() >= 4 && requests.iter().all(|request| request.header("if-none-match") == Some("*")));
}

#[tokio::test(flavor = "multi_thread")]
async fn encodes_keys_once() {
    let server = Server::start().await;
    server.s3(json!({ "prefix": "p" })).ship(&key("main/a%2Fb/x.dump"), from_bytes("x")).await.unwrap();
    let put = server.requests("PutObject").pop().unwrap();
    assert_eq!(put.path, "/acme/p/main/a%252Fb/x.dump");
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_attributes_of_small_and_large_objects() {
    let server = Server::start().await;
    let store = server.s3(json!({
        "storage_class": "REDUCED_REDUNDANCY", "tags": { "team": "db a", "kind": "backup" },
        "sse": "aws:kms", "kms_key_id": "key-1", "bucket_key": true, "checksum": "sha256",
    }));
    store.ship(&key("main/small.dump"), from_bytes("x")).await.unwrap();
    store.ship(&key("main/large.dump"), random(1, 9 << 20)).await.unwrap();
    for (operation, name) in [("PutObject", "small.dump"), ("CreateMultipartUpload", "large.dump")] {
        let requests = server.requests(operation);
        let request = requests.iter().find(|request| request.path.ends_with(name)).unwrap();
        for (header, value) in [
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-tagging", "kind=backup&team=db+a"),
            ("x-amz-server-side-encryption", "aws:kms"),
            ("x-amz-server-side-encryption-aws-kms-key-id", "key-1"),
            ("x-amz-server-side-encryption-bucket-key-enabled", "true"),
        ] {
            assert_eq!(request.header(header), Some(value), "{operation}");
        }
        assert!(request.header("x-amz-meta-writer").unwrap().starts_with("longshore-"));
    }
    assert!(server.requests("UploadPart").iter().all(|part| part.header("x-amz-checksum-sha256").is_some()));
}
