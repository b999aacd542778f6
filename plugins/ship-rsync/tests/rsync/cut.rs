//! Interrupted transfers, which resume.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use longshore_core::Kind;
use longshore_testkit::sshd::{Account, Sshd};
use longshore_testkit::stream::{digest, random};
use serde_json::json;

use crate::{files, key, rsync, soon};

const BYTES: u64 = 12 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_is_cut_goes_on_where_it_was() {
    let sshd = Sshd::start();
    let store = rsync(&sshd, Account::Shell, json!({ "bwlimit": "3MiB" }));
    let key = key("main/appdb.dump");
    let drafts = || files(&sshd.backups());
    let length = || drafts().first().and_then(|draft| draft.metadata().ok()).map_or(0, |draft| draft.len());
    let cutting = async {
        soon(|| length() > BYTES / 4).await;
        let before = drafts()[0].metadata().unwrap();
        assert!(sshd.cut() > 0);
        // The received bytes are kept: the same file, never shorter, until it is published.
        let name = sshd.backups().join(key.as_str());
        while !name.exists() {
            if let Some(now) = drafts().first().and_then(|draft| draft.metadata().ok()) {
                assert_eq!(now.ino(), before.ino());
                assert!(now.len() >= before.len(), "{} after {}", now.len(), before.len());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(name.metadata().unwrap().ino(), before.ino());
    };
    let (result, ()) = tokio::join!(store.ship(&key, random(1, BYTES)), cutting);
    result.unwrap();
    let fetched = digest(store.fetch(&key, None).await.unwrap()).await.unwrap();
    assert_eq!(fetched, digest(random(1, BYTES)).await.unwrap());
    assert_eq!(files(&sshd.backups()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stays_away_is_an_error_and_leaves_nothing_here() {
    let sshd = Sshd::start();
    let store = rsync(&sshd, Account::Shell, json!({ "bwlimit": "1MiB" }));
    let spool = sshd.backups().with_file_name("spool");
    let (key, body) = (key("main/appdb.dump"), random(1, BYTES));
    let shipping = store.ship(&key, body);
    let going = async {
        soon(|| !files(&sshd.backups()).is_empty()).await;
        // Further logins are impossible.
        fs::remove_file(sshd.backups().with_file_name("authorized_keys")).unwrap();
        sshd.cut();
    };
    let (result, ()) = tokio::join!(shipping, going);
    let error = result.unwrap_err();
    assert!(matches!(error.kind(), Kind::Unavailable | Kind::Denied), "{}", error.chain());
    assert!(files(&spool).is_empty());
    assert!(!sshd.backups().join("main/appdb.dump").exists());
}
