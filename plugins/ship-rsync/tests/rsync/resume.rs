//! Interrupted transfers, which resume.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use longshore_core::Kind;
use longshore_testkit::sshd::{Account, Sshd};
use longshore_testkit::stream::{digest, random};
use serde_json::json;

use crate::{eventually, files, key, rsync};

const BYTES: u64 = 12 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn resumes_interrupted_transfers() {
    let sshd = Sshd::start();
    let store = rsync(&sshd, Account::Shell, json!({ "bwlimit": "3MiB" }));
    let key = key("main/appdb.dump");
    let temp_files = || files(&sshd.backups());
    let length = || temp_files().first().and_then(|file| file.metadata().ok()).map_or(0, |file| file.len());
    let interrupt = async {
        eventually(|| length() > BYTES / 4).await;
        let before = temp_files()[0].metadata().unwrap();
        assert!(sshd.cut() > 0);
        // The received bytes are kept: the same file, never shorter, until it is published.
        let name = sshd.backups().join(key.as_str());
        while !name.exists() {
            if let Some(now) = temp_files().first().and_then(|file| file.metadata().ok()) {
                assert_eq!(now.ino(), before.ino());
                assert!(now.len() >= before.len(), "{} after {}", now.len(), before.len());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(name.metadata().unwrap().ino(), before.ino());
    };
    let (result, ()) = tokio::join!(store.ship(&key, random(1, BYTES)), interrupt);
    result.unwrap();
    let fetched = digest(store.fetch(&key, None).await.unwrap()).await.unwrap();
    assert_eq!(fetched, digest(random(1, BYTES)).await.unwrap());
    assert_eq!(files(&sshd.backups()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fails_and_cleans_up_if_the_host_stays_unreachable() {
    let sshd = Sshd::start();
    let store = rsync(&sshd, Account::Shell, json!({ "bwlimit": "1MiB" }));
    let spool = sshd.backups().with_file_name("spool");
    let (key, body) = (key("main/appdb.dump"), random(1, BYTES));
    let upload = store.ship(&key, body);
    let disconnect = async {
        eventually(|| !files(&sshd.backups()).is_empty()).await;
        // Further logins are impossible.
        fs::remove_file(sshd.backups().with_file_name("authorized_keys")).unwrap();
        sshd.cut();
    };
    let (result, ()) = tokio::join!(upload, disconnect);
    let error = result.unwrap_err();
    assert!(matches!(error.kind(), Kind::Unavailable | Kind::Denied), "{}", error.chain());
    assert!(files(&spool).is_empty());
    assert!(!sshd.backups().join("main/appdb.dump").exists());
}
