//! Behaviour of this plugin only: an account restricted to SFTP.

use std::fs;

use longshore_core::Kind;
use longshore_core::check::Outcome;
use longshore_core::stream::{channel, from_bytes};
use longshore_testkit::ssh_conformance::{eventually, files, key, refusal};
use longshore_testkit::sshd::{Account, Sshd};
use longshore_testkit::stream::random_bytes;
use serde_json::json;

use crate::SFTP;

#[tokio::test(flavor = "multi_thread")]
async fn reports_accounts_without_sftp() {
    let sshd = Sshd::start();
    let error = refusal(&*SFTP.store_as(&sshd, Account::RsyncWriteOnly, json!({}))).await;
    assert_eq!(error.kind(), Kind::Denied, "{}", error.chain());
    assert!(error.to_string().contains("no SFTP"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_truncated_bodies() {
    let (sshd, store) = SFTP.temporary();
    let key = key("main/appdb.dump");
    let (sender, body) = channel();
    let truncate = async {
        sender.send(random_bytes(1, 100_000)).await.unwrap();
        eventually(|| {
            files(&sshd.backups()).iter().any(|file| file.metadata().is_ok_and(|file| file.len() == 100_000))
        })
        .await;
        fs::File::options().write(true).open(files(&sshd.backups()).remove(0)).unwrap().set_len(50_000).unwrap();
        sender.finish().await.unwrap();
    };
    let (result, ()) = tokio::join!(store.ship(&key, body), truncate);
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{}", error.chain());
    assert!(files(&sshd.backups()).is_empty());
}

/// The first flush prevents a name for bytes that a power failure loses; the second makes a journal
/// persist the name.
#[tokio::test(flavor = "multi_thread")]
async fn flushes_files_before_and_after_publishing() {
    let sshd = Sshd::start();
    let log = sshd.log_sftp("");
    SFTP.store(&sshd, json!({})).ship(&key("main/x.dump"), from_bytes("x")).await.unwrap();
    let log = fs::read_to_string(log).unwrap();
    let positions = |word: &str| log.match_indices(word).map(|(at, _)| at).collect::<Vec<_>>();
    let (flushed, linked) = (positions("fsync"), positions("hardlink"));
    assert!(flushed.len() == 2 && linked.len() == 1, "{log}");
    assert!(flushed[0] < linked[0] && linked[0] < flushed[1], "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_warns_about_servers_without_fsync() {
    let sshd = Sshd::start();
    sshd.log_sftp("-P fsync");
    let store = SFTP.store(&sshd, json!({}));
    store.ship(&key("main/x.dump"), from_bytes("x")).await.unwrap();
    let findings = store.check().await;
    let warning = findings.iter().find(|finding| finding.outcome == Outcome::Warning).unwrap();
    assert!(warning.message.contains("cannot flush files to disk"), "{warning:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_servers_without_hard_links_before_sending() {
    let sshd = Sshd::start();
    sshd.log_sftp("-P hardlink");
    let error = SFTP.store(&sshd, json!({})).ship(&key("main/x.dump"), from_bytes("x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage, "{}", error.chain());
    assert!(error.to_string().contains("hardlink@openssh.com"), "{error}");
    assert!(files(&sshd.backups()).is_empty());
}
