//! The spool of ciphertext on a local disk: private, and deleted after use.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use longshore_core::Kind;
use longshore_core::stream::from_bytes;
use longshore_testkit::sshd::Account;
use longshore_testkit::stream::{fails_after, stalls_after};
use serde_json::json;

use crate::{files, key, rsync, soon, temporary};

#[tokio::test(flavor = "multi_thread")]
async fn a_spooled_file_is_private_and_goes_with_whoever_ships_it() {
    let (sshd, store) = temporary();
    let spool = sshd.backups().with_file_name("spool");
    let key = key("main/x.dump");
    let looked_at = soon(|| {
        let found = fs::read_dir(&spool).is_ok_and(|mut folder| folder.next().is_some());
        if found {
            assert_eq!(spool.metadata().unwrap().permissions().mode() & 0o777, 0o700);
            assert_eq!(files(&spool)[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        found
    });
    tokio::select! {
        result = store.ship(&key, stalls_after(1000)) => panic!("{result:?}"),
        () = looked_at => {}
    }
    soon(|| files(&spool).is_empty()).await;
    store.ship(&key, fails_after(1000)).await.unwrap_err();
    assert!(files(&spool).is_empty());
    store.ship(&key, from_bytes("x")).await.unwrap();
    assert!(files(&spool).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_process_left_is_found_on_both_sides() {
    let (sshd, store) = temporary();
    let spool = sshd.backups().with_file_name("spool");
    store.ship(&key("main/x.dump"), from_bytes("x")).await.unwrap();
    fs::write(spool.join("longshore-a.spool"), "half").unwrap();
    fs::write(spool.join("other"), "x").unwrap();
    fs::write(sshd.backups().join("main/.longshore-0a.partial"), "half").unwrap();
    let sweep = store.sweep().unwrap();
    let found = sweep.leftovers().await.unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    for leftover in &found {
        sweep.discard(leftover).await.unwrap();
        sweep.discard(leftover).await.unwrap();
    }
    assert_eq!(files(&spool), [spool.join("other")]);
    assert_eq!(files(&sshd.backups()), [sshd.backups().join("main/x.dump")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_others_may_look_into_is_refused() {
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
