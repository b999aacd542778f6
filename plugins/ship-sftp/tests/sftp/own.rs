//! Behaviour of this plugin only: an account restricted to SFTP.

use std::fs;

use longshore_core::Kind;
use longshore_core::check::Outcome;
use longshore_core::stream::{channel, from_bytes};
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

/// The first flush prevents a name for bytes that a power failure loses; the second makes a journal
/// persist the name.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_made_durable_before_it_gets_its_name_and_after() {
    let sshd = Sshd::start();
    let log = sshd.log_sftp("");
    SFTP.store(&sshd, json!({})).ship(&key("main/x.dump"), from_bytes("x")).await.unwrap();
    let log = fs::read_to_string(log).unwrap();
    let places = |word: &str| log.match_indices(word).map(|(at, _)| at).collect::<Vec<_>>();
    let (durable, named) = (places("fsync"), places("hardlink"));
    assert!(durable.len() == 2 && named.len() == 1, "{log}");
    assert!(durable[0] < named[0] && named[0] < durable[1], "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_make_files_durable_serves_and_check_says_so() {
    let sshd = Sshd::start();
    sshd.log_sftp("-P fsync");
    let store = SFTP.store(&sshd, json!({}));
    store.ship(&key("main/x.dump"), from_bytes("x")).await.unwrap();
    let findings = store.check().await;
    let warning = findings.iter().find(|finding| finding.outcome == Outcome::Warning).unwrap();
    assert!(warning.message.contains("cannot flush files to disk"), "{warning:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_publish_without_overwriting_is_refused_before_a_byte_is_sent() {
    let sshd = Sshd::start();
    sshd.log_sftp("-P hardlink");
    let error = SFTP.store(&sshd, json!({})).ship(&key("main/x.dump"), from_bytes("x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage, "{}", error.chain());
    assert!(error.to_string().contains("hardlink@openssh.com"), "{error}");
    assert!(files(&sshd.backups()).is_empty());
}
