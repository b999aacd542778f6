//! An account restricted to a directory by chroot. Setting up a chroot requires root: without it,
//! these tests fail.

use std::fs;

use futures_util::TryStreamExt;
use longshore_core::check::Outcome;
use longshore_core::stream::from_bytes;
use longshore_testkit::ssh_conformance::key;
use longshore_testkit::sshd::Sshd;
use serde_json::json;

use crate::SFTP;

#[tokio::test(flavor = "multi_thread")]
async fn serves_an_account_in_a_chroot() {
    let (sshd, root_dir) = Sshd::chrooted();
    let store = SFTP.store(&sshd, json!({ "path": "/backups" }));
    let key = key("main/appdb.dump");
    store.ship(&key, from_bytes("x")).await.unwrap();
    assert_eq!(fs::read(root_dir.path().join("backups/main/appdb.dump")).unwrap(), b"x");
    let listed: Vec<_> = store.list(None).await.unwrap().try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert!(store.check().await.iter().all(|finding| finding.outcome == Outcome::Good));
    store.remove(&key).await.unwrap();
}
