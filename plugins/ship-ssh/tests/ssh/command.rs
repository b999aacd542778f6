//! Behaviour of this plugin only: remote commands, and verification of received files on the host.

use std::fs;
use std::time::Duration;

use futures_util::TryStreamExt;
use longshore_core::Kind;
use longshore_core::cleanup::CleanupScope;
use longshore_core::stream::{channel, from_bytes};
use longshore_testkit::ssh_conformance::{eventually, files, key, refusal};
use longshore_testkit::sshd::{Account, Sshd};
use longshore_testkit::stream::{random_bytes, stalls_after};
use serde_json::json;

use crate::SSH;

#[tokio::test(flavor = "multi_thread")]
async fn reports_accounts_without_a_shell() {
    let (sshd, scope) = (Sshd::start(), CleanupScope::default());
    // An SFTP server waits for input and prints nothing: the plugin must not wait for it.
    for account in [Account::Sftp, Account::RsyncWriteOnly, Account::Rsync] {
        let store = SSH.store_as(&sshd, account, json!({}));
        let error = tokio::time::timeout(Duration::from_secs(20), scope.run(refusal(&*store))).await.unwrap();
        assert_eq!(error.kind(), Kind::Denied, "{}", error.chain());
        assert!(error.to_string().contains("no POSIX shell"), "{error}");
        assert!(error.remedy().unwrap().starts_with("use type = \"sftp\""), "{error:?}");
    }
    scope.wait().await;
    let errors = scope.failures();
    assert!(
        !errors.iter().any(|error| error.to_string().contains("no POSIX shell")),
        "a cleanup failed although nothing was created: {errors:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_hosts_that_allow_one_session() {
    let sshd = Sshd::with("MaxSessions 1");
    let store = SSH.store(&sshd, json!({}));
    let keys: Vec<_> = (0..4).map(|n| key(&format!("main/{n}.dump"))).collect();
    let ships = keys.iter().map(|key| store.ship(key, from_bytes("x")));
    for result in futures_util::future::join_all(ships).await {
        result.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_bodies_changed_in_transit() {
    let (sshd, store) = SSH.temporary();
    let key = key("main/appdb.dump");
    let (sender, body) = channel();
    let damage = async {
        sender.send(random_bytes(1, 100_000)).await.unwrap();
        eventually(|| {
            files(&sshd.backups()).iter().any(|file| file.metadata().is_ok_and(|file| file.len() == 100_000))
        })
        .await;
        let temp_file = files(&sshd.backups()).remove(0);
        let mut bytes = fs::read(&temp_file).unwrap();
        bytes[50_000] ^= 1;
        fs::write(&temp_file, bytes).unwrap();
        sender.finish().await.unwrap();
    };
    let (result, ()) = tokio::join!(store.ship(&key, body), damage);
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{}", error.chain());
    assert!(files(&sshd.backups()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn excess_uploads_wait_and_do_not_delay_lists() {
    let (_sshd, store) = SSH.temporary();
    let keys: Vec<_> = (0..10).map(|n| key(&format!("main/{n}.dump"))).collect();
    let stalled = futures_util::future::join_all(keys.iter().map(|key| store.ship(key, stalls_after(1000))));
    tokio::select! {
        _ = stalled => panic!("the uploads ended"),
        listed = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            store.list(None).await.unwrap().try_collect::<Vec<_>>().await.unwrap()
        } => assert_eq!(listed, []),
    }
}
