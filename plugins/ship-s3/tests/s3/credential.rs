//! The search for credentials, and errors for insufficient ones.

use std::fs;

use futures_util::StreamExt;
use longshore_core::Kind;
use longshore_core::check::Outcome;
use longshore_core::stream::from_bytes;
use longshore_testkit::stream::random;
use serde_json::json;

use crate::client::{s3, try_s3};
use crate::key;
use crate::server::{OWNER, Server, WRITER};

#[tokio::test(flavor = "multi_thread")]
async fn denies_wrong_credentials_without_quoting_the_secret() {
    let server = Server::start().await;
    for (id, secret) in [(OWNER.0, "hush-hush"), ("AKNOBODY", "hush-hush")] {
        let store = s3(server.address, id, secret, json!({}));
        let key = key("main/x.dump");
        let errors = [
            store.ship(&key, from_bytes("x")).await.unwrap_err(),
            store.ship(&key, random(1, 9 << 20)).await.unwrap_err(),
            store.fetch(&key, None).await.map(drop).unwrap_err(),
            store.remove(&key).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), Kind::Denied, "{}", error.chain());
            assert!(error.remedy().unwrap().contains("AWS_"), "{error:?}");
            assert!(!error.chain().contains("hush") && error.chain().len() < 300, "{}", error.chain());
        }
        let findings = store.check().await;
        assert!(findings.iter().any(|finding| finding.outcome == Outcome::Failed), "{findings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_a_missing_bucket() {
    let server = Server::start().await;
    let store = server.s3(json!({ "bucket": "nowhere" }));
    let key = key("main/x.dump");
    for error in [
        store.ship(&key, from_bytes("x")).await.unwrap_err(),
        store.ship(&key, random(1, 9 << 20)).await.unwrap_err(),
        store.list(None).await.unwrap().next().await.unwrap().unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::NotFound, "{}", error.chain());
        assert!(error.to_string().contains("there is no bucket \"nowhere\""), "{error}");
        assert!(error.remedy().unwrap().contains("correct bucket"), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn write_only_credentials_can_ship_but_not_read() {
    let server = Server::start().await;
    let store = s3(server.address, WRITER.0, WRITER.1, json!({}));
    let [small, large] = ["main/small.dump", "main/large.dump"].map(key);
    store.ship(&small, from_bytes("x")).await.unwrap();
    store.ship(&large, random(1, 20 << 20)).await.unwrap();
    // Existing objects are protected even with write-only credentials.
    for key in [&small, &large] {
        let error = store.ship(key, random(2, 20 << 20)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists, "{}", error.chain());
    }
    for error in [
        store.fetch(&small, None).await.map(drop).unwrap_err(),
        store.remove(&small).await.unwrap_err(),
        store.list(None).await.unwrap().next().await.unwrap().unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::Denied);
        assert!(error.to_string().contains("not permitted"), "{error}");
    }
    let findings = store.check().await;
    assert!(findings.iter().all(|finding| finding.outcome == Outcome::Good), "{findings:?}");
    assert!(findings.iter().any(|finding| finding.message.contains("may not list")), "{findings:?}");
    assert_eq!(server.unfinished_parts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_credentials_from_a_profile() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    fs::write(&file, format!("[backup]\naws_access_key_id = {}\naws_secret_access_key = {}\n", OWNER.0, OWNER.1))
        .unwrap();
    let mut settings = json!({ "access_key_id": null, "secret_access_key_file": null, "credentials_file": file });
    settings["profile"] = "backup".into();
    s3(server.address, "", "", settings.clone()).ship(&key("main/x.dump"), from_bytes("x")).await.unwrap();
    settings["profile"] = "other".into();
    let error = try_s3(server.address, "", "", settings).map(drop).unwrap_err();
    assert_eq!((error.kind(), error.subject()), (Kind::Usage, "other"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_invalid_settings() {
    let address = "127.0.0.1:1".parse().unwrap();
    for (settings, subject) in [
        (json!({ "allow_http": false }), "http://127.0.0.1:1"),
        (json!({ "endpoint": "s3.example.net" }), "s3.example.net"),
        (json!({ "secret_access_key_file": null }), "access_key_id"),
        (json!({ "part_size": "1MiB" }), "part_size"),
        (json!({ "parts_at_once": 0 }), "parts_at_once"),
        (json!({ "prefix": "../x" }), "../x"),
        (json!({ "bucket": "a/b" }), "a/b"),
    ] {
        let error = try_s3(address, "AK", "hush", settings).map(drop).unwrap_err();
        assert_eq!((error.kind(), error.subject()), (Kind::Usage, subject));
        assert!(error.remedy().is_some(), "{error}");
    }
}
