//! The spool of ciphertext on a local disk: private, and deleted after use.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use longshore_core::Kind;
use longshore_core::stream::from_bytes;
use longshore_testkit::sshd::Account;
use longshore_testkit::stream::{fails_after, stalls_after};
use serde_json::json;

use crate::{eventually, files, key, rsync, temporary};

#[tokio::test(flavor = "multi_thread")]
async fn spooled_files_are_private_and_temporary() {
    let (sshd, store) = temporary();
    let spool = sshd.backups().with_file_name("spool");
    let key = key("main/x.dump");
    let inspection = eventually(|| {
        let has_file = fs::read_dir(&spool).is_ok_and(|mut folder| folder.next().is_some());
        if has_file {
            assert_eq!(spool.metadata().unwrap().permissions().mode() & 0o777, 0o700);
            assert_eq!(files(&spool)[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        has_file
    });
    tokio::select! {
        result = store.ship(&key, stalls_after(1000)) => panic!("{result:?}"),
        () = inspection => {}
    }
    eventually(|| files(&spool).is_empty()).await;
    store.ship(&key, fails_after(1000)).await.unwrap_err();
    assert!(files(&spool).is_empty());
    store.ship(&key, from_bytes("x")).await.unwrap();
    assert!(files(&spool).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn sweep_finds_leftovers_on_both_hosts() {
    let (sshd, store) = temporary();
    let spool = sshd.backups().with_file_name("spool");
    store.ship(&key("main/x.dump"), from_bytes("x")).await.unwrap();
    fs::write(spool.join("longshore-a.spool"), "half").unwrap();
    fs::write(spool.join("other"), "x").unwrap();
    fs::write(sshd.backups().join("main/.longshore-0a.partial"), "half").unwrap();
    let sweep = store.capabilities().incomplete_uploads.unwrap();
    let leftovers = sweep.leftovers().await.unwrap();
    assert_eq!(leftovers.len(), 2, "{leftovers:?}");
    for leftover in &leftovers {
        sweep.discard(leftover).await.unwrap();
        sweep.discard(leftover).await.unwrap();
    }
    assert_eq!(files(&spool), [spool.join("other")]);
    assert_eq!(files(&sshd.backups()), [sshd.backups().join("main/x.dump")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_a_spool_accessible_to_others() {
    let (sshd, _) = temporary();
    let spool = sshd.backups().with_file_name("open");
    fs::create_dir(&spool).unwrap();
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o755)).unwrap();
    let store = rsync(&sshd, Account::Shell, json!({ "spool_dir": spool }));
    let error = store.ship(&key("main/x.dump"), from_bytes("x")).await.unwrap_err();
    assert_eq!((error.kind(), error.subject()), (Kind::Refused, spool.to_str().unwrap()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(files(&spool).is_empty());
}
