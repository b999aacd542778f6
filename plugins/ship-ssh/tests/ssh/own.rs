//! Behaviour of this plugin only: remote commands, and verification of received files on the host.

use std::fs;
use std::time::Duration;

use futures_util::TryStreamExt;
use longshore_core::stream::{channel, from_bytes};
use longshore_core::{Kind, aftercare};
use longshore_testkit::behind_ssh::{files, key, refused, soon};
use longshore_testkit::sshd::{Account, Sshd};
use longshore_testkit::stream::{random_bytes, stalls_after};
use serde_json::json;

use crate::SSH;

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_a_shell_says_so() {
    let sshd = Sshd::start();
    // An SFTP server waits for input and prints nothing: the plugin must not wait for it.
    for account in [Account::Sftp, Account::RsyncWriteOnly, Account::Rsync] {
        let store = SSH.store_as(&sshd, account, json!({}));
        let error = tokio::time::timeout(Duration::from_secs(20), refused(&*store)).await.unwrap();
        assert_eq!(error.kind(), Kind::Denied, "{}", error.chain());
        assert!(error.to_string().contains("no POSIX shell"), "{error}");
        assert!(error.remedy().unwrap().starts_with("use type = \"sftp\""), "{error:?}");
    }
    aftercare::done().await;
    let left = aftercare::failures();
    assert!(
        !left.iter().any(|error| error.to_string().contains("no POSIX shell")),
        "a cleanup failed although nothing was created: {left:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_allows_one_command_at_a_time_serves_too() {
    let sshd = Sshd::with("MaxSessions 1");
    let store = SSH.store(&sshd, json!({}));
    let keys: Vec<_> = (0..4).map(|n| key(&format!("main/{n}.dump"))).collect();
    let ships = keys.iter().map(|key| store.ship(key, from_bytes("x")));
    for result in futures_util::future::join_all(ships).await {
        result.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_otherwise_than_it_was_sent_is_not_published() {
    let (sshd, store) = SSH.temporary();
    let key = key("main/appdb.dump");
    let (feeder, body) = channel();
    let damaging = async {
        feeder.feed(random_bytes(1, 100_000)).await.unwrap();
        soon(|| files(&sshd.backups()).iter().any(|file| file.metadata().is_ok_and(|file| file.len() == 100_000)))
            .await;
        let draft = files(&sshd.backups()).remove(0);
        let mut bytes = fs::read(&draft).unwrap();
        bytes[50_000] ^= 1;
        fs::write(&draft, bytes).unwrap();
        feeder.finish().await.unwrap();
    };
    let (result, ()) = tokio::join!(store.ship(&key, body), damaging);
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{}", error.chain());
    assert!(files(&sshd.backups()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn more_bodies_than_a_connection_carries_wait_for_their_turn_and_do_not_hold_up_a_list() {
    let (_sshd, store) = SSH.temporary();
    let keys: Vec<_> = (0..10).map(|n| key(&format!("main/{n}.dump"))).collect();
    let stalled = futures_util::future::join_all(keys.iter().map(|key| store.ship(key, stalls_after(1000))));
    tokio::select! {
        _ = stalled => panic!("the uploads ended"),
        listed = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            store.list().await.unwrap().try_collect::<Vec<_>>().await.unwrap()
        } => assert_eq!(listed, []),
    }
}
