//! Hosts, keys and directories that are refused.

use longshore_core::Kind;
use longshore_core::check::Outcome;
use longshore_core::stream::from_bytes;
use longshore_testkit::sshd::{Account, Sshd};
use serde_json::json;

use crate::{files, key, rsync};

#[tokio::test(flavor = "multi_thread")]
async fn reports_refusals_of_ssh() {
    let sshd = Sshd::start();
    for (account, settings, kind) in [
        (Account::UnknownKey, json!({}), Kind::Denied),
        (Account::Shell, json!({ "known_hosts_file": "/dev/null" }), Kind::Denied),
        (Account::Shell, json!({ "port": 9 }), Kind::Unavailable),
        (Account::Shell, json!({ "path": sshd.backups().join("not-mounted") }), Kind::Refused),
        (Account::Rsync, json!({}), Kind::Denied),
    ] {
        let store = rsync(&sshd, account, settings.clone());
        let error = store.ship(&key("main/x.dump"), from_bytes("x")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{settings}: {}", error.chain());
        assert!(error.remedy().is_some(), "{error}");
        let findings = store.check().await;
        assert!(findings.iter().any(|finding| finding.outcome == Outcome::Failed), "{findings:?}");
    }
    assert!(files(&sshd.backups()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_keys_are_not_retried_by_rsync() {
    let sshd = Sshd::start();
    let store = rsync(&sshd, Account::UnknownKey, json!({ "account": "rrsync", "path": "/" }));
    let error = store.ship(&key("main/x.dump"), from_bytes("x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "{}", error.chain());
}
