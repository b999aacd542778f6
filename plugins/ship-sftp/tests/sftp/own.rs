//! What is this plugin's own: an account that may use SFTP, and need not be able to do anything else.

use std::fs;

use longshore_core::Kind;
use longshore_core::stream::channel;
use longshore_testkit::behind_ssh::{files, key, refused, soon};
use longshore_testkit::sshd::{Account, Sshd};
use longshore_testkit::stream::random_bytes;
use serde_json::json;

use crate::SFTP;

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_sftp_says_so() {
    let sshd = Sshd::start();
    let error = refused(&*SFTP.store_as(&sshd, Account::RsyncWriteOnly, json!({}))).await;
    assert_eq!(error.kind(), Kind::Denied, "{}", error.chain());
    assert!(error.to_string().contains("no SFTP"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_shorter_than_it_was_sent_is_not_published() {
    let (sshd, store) = SFTP.temporary();
    let key = key("main/appdb.dump");
    let (feeder, body) = channel();
    let damaging = async {
        feeder.feed(random_bytes(1, 100_000)).await.unwrap();
        soon(|| files(&sshd.backups()).iter().any(|file| file.metadata().is_ok_and(|file| file.len() == 100_000)))
            .await;
        fs::File::options().write(true).open(files(&sshd.backups()).remove(0)).unwrap().set_len(50_000).unwrap();
        feeder.finish().await.unwrap();
    };
    let (result, ()) = tokio::join!(store.ship(&key, body), damaging);
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{}", error.chain());
    assert!(files(&sshd.backups()).is_empty());
}
