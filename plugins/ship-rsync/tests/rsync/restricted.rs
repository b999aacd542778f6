//! Accounts restricted by rrsync: a run works, and forbidden operations are reported.

use std::fs;

use futures_util::TryStreamExt;
use longshore_core::Kind;
use longshore_core::check::Outcome;
use longshore_core::stage::{Leftover, Store};
use longshore_core::stream::from_bytes;
use longshore_testkit::conformance::{self, Fixture, Race, Scale};
use longshore_testkit::sshd::{Account, Sshd};
use longshore_testkit::stream::{digest, fails_after, random};
use serde_json::json;

use crate::{files, key, rsync};

fn restricted(sshd: &Sshd, account: Account) -> Box<dyn Store> {
    rsync(sshd, account, json!({ "account": "rrsync", "path": "/" }))
}

#[tokio::test(flavor = "multi_thread")]
async fn write_only_account_never_overwrites() {
    let sshd = Sshd::start();
    let store = restricted(&sshd, Account::RsyncWriteOnly);
    let key = key("main/appdb/x.dump");
    store.ship(&key, from_bytes("first")).await.unwrap();
    for body in ["second", "first", ""] {
        let error = store.ship(&key, from_bytes(body)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists, "{}", error.chain());
    }
    assert_eq!(fs::read(sshd.backups().join("main/appdb/x.dump")).unwrap(), b"first");
    store.ship(&crate::key("main/y.dump"), fails_after(1000)).await.unwrap_err();
    store.ship(&crate::key("main/empty.dump"), from_bytes("")).await.unwrap();
    assert_eq!(files(&sshd.backups()).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn write_only_account_reports_denied_operations() {
    let sshd = Sshd::start();
    let store = restricted(&sshd, Account::RsyncWriteOnly);
    let key = key("main/x.dump");
    store.ship(&key, from_bytes("x")).await.unwrap();
    let errors = [
        store.list(None).await.map(drop).unwrap_err(),
        store.fetch(&key, None).await.map(drop).unwrap_err(),
        store.remove(&key).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), Kind::Denied, "{}", error.chain());
        assert!(error.to_string().contains("not permitted"), "{error}");
        assert!(error.remedy().is_some(), "{error}");
    }
    assert!(store.capabilities().free_space.is_none());
    let findings = store.check().await;
    let outcomes: Vec<_> = findings.iter().map(|finding| finding.outcome).collect();
    assert_eq!(outcomes, [Outcome::Good, Outcome::Warning], "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn read_write_account_lists_fetches_and_removes() {
    let sshd = Sshd::start();
    let store = restricted(&sshd, Account::Rsync);
    let keys = ["main/appdb/x.dump", "main/appdb/x.dump.age", "main/y.dump"].map(key);
    for (key, n) in keys.iter().zip(0..) {
        store.ship(key, random(n, 300_000)).await.unwrap();
    }
    for name in ["with space", "main/.hidden", "main/\u{e9}", "main/a\nb"] {
        fs::write(sshd.backups().join(name), "x").unwrap();
    }
    let listed = async || {
        store.list(None).await.unwrap().map_ok(|entry| entry.key.to_string()).try_collect::<Vec<_>>().await.unwrap()
    };
    let [x, encrypted, y] = keys.each_ref().map(|key| key.to_string());
    assert_eq!(listed().await, [x, encrypted, y, "with space".to_owned()]);
    let fetched = digest(store.fetch(&keys[1], None).await.unwrap()).await.unwrap();
    assert_eq!(fetched, digest(random(1, 300_000)).await.unwrap());
    assert_eq!(digest(store.fetch(&keys[1], Some(5..17)).await.unwrap()).await.unwrap().bytes, 12);
    let error = store.fetch(&keys[1], Some(0..300_001)).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    for _ in 0..2 {
        store.remove(&keys[0]).await.unwrap();
    }
    assert_eq!(listed().await, ["main/appdb/x.dump.age", "main/y.dump", "with space"]);
    let error = store.fetch(&keys[0], None).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{}", error.chain());
}

/// rrsync permits one call at a time, so the calls of one run are serialized.
#[tokio::test(flavor = "multi_thread")]
async fn read_write_account_conforms_except_for_publishing() {
    let sshd = Sshd::start();
    let (store, folder) = (restricted(&sshd, Account::Rsync), sshd.backups());
    assert_eq!(store.limits().uploads, Some(1));
    let scale = Scale { many_keys: 2000, ..Scale::default() };
    let fixture = Fixture::new(store, sshd).in_folder(folder).scaled(scale).racing(Race::Latest);
    conformance::stores_empty_bodies(&fixture).await;
    conformance::separates_keys_with_a_common_prefix(&fixture).await;
    conformance::supports_concurrent_uploads(&fixture).await;
    conformance::missing_keys_are_not_found(&fixture).await;
    conformance::rejects_ranges_past_the_end(&fixture).await;
    conformance::removal_leaves_keys_with_a_common_prefix(&fixture).await;
    conformance::removing_a_missing_key_succeeds(&fixture).await;
    conformance::lists_all_keys_in_order(&fixture).await;
}

/// The host cannot report free space or temporary files; the local spool can.
#[tokio::test(flavor = "multi_thread")]
async fn limits_match_the_warning_of_check() {
    let sshd = Sshd::start();
    let store = restricted(&sshd, Account::Rsync);
    fs::create_dir_all(sshd.backups().join("main/.longshore-parts")).unwrap();
    fs::write(sshd.backups().join("main/.longshore-parts/x.dump"), "half").unwrap();
    fs::write(sshd.backups().join("main/.longshore-0a.partial"), "half").unwrap();
    assert!(store.capabilities().free_space.is_none());
    let sweep = store.capabilities().incomplete_uploads.unwrap();
    assert_eq!(sweep.leftovers().await.unwrap(), []);
    let remote_leftover =
        Leftover { name: "main/.longshore-0a.partial".into(), bytes: None, since: chrono::Utc::now() };
    let error = sweep.discard(&remote_leftover).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "{}", error.chain());
    assert!(error.remedy().unwrap().contains("shell"), "{error:?}");
    let findings = store.check().await;
    let limits = findings.iter().find(|finding| finding.outcome == Outcome::Warning).unwrap();
    for limit in ["the later wins", "free space", "interrupted writers"] {
        assert!(limits.message.contains(limit), "{limits:?}");
    }
}
