//! What is listed and read: this destination's files, and no other's.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use futures_util::TryStreamExt;
use longshore_core::Kind;
use longshore_core::stage::Store;
use longshore_core::stream::from_bytes;

use super::{Reach, key};

pub async fn what_is_hidden_or_no_key_is_left_out(reach: &Reach) {
    let (sshd, store) = reach.temporary();
    store.ship(&key("main/x.dump"), from_bytes("x")).await.unwrap();
    let odd = [
        ".hidden",
        ".longshore-nightly.lock",
        "with space",
        "main/.x.dump.swp",
        "main/é",
        "main/back\\slash",
        "main/a\nb",
        "-rf",
    ];
    for name in odd {
        fs::write(sshd.backups().join(name), "x").unwrap();
    }
    fs::write(sshd.backups().join(std::ffi::OsStr::from_bytes(b"main/\xff")), "x").unwrap();
    for name in [".git", "lost+found", "$(id)"] {
        fs::create_dir(sshd.backups().join(name)).unwrap();
        fs::write(sshd.backups().join(name).join("x.dump"), "x").unwrap();
    }
    assert!(std::process::Command::new("mkfifo").arg(sshd.backups().join("main/pipe")).status().unwrap().success());
    assert_eq!(listed(&*store).await, ["-rf", "main/x.dump"]);
    let error = store.fetch(&key("main/pipe"), None).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
}

pub async fn links_are_not_followed_neither_in_a_list_nor_by_their_name(reach: &Reach) {
    let (sshd, store) = reach.temporary();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("x.dump"), "another's").unwrap();
    store.ship(&key("main/real.dump"), from_bytes("x")).await.unwrap();
    let main = sshd.backups().join("main");
    symlink(elsewhere.path(), main.join("folder")).unwrap();
    symlink(elsewhere.path().join("x.dump"), main.join("file.dump")).unwrap();
    symlink("nowhere", main.join("dangling.dump")).unwrap();

    assert_eq!(listed(&*store).await, ["main/real.dump"]);
    for text in ["main/file.dump", "main/dangling.dump"] {
        let error = store.fetch(&key(text), None).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{text}");
    }
    let error = store.ship(&key("main/folder/y.dump"), from_bytes("x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.remedy().is_some());
    assert!(!elsewhere.path().join("y.dump").exists(), "shipped through a link");
    let error = store.ship(&key("main/dangling.dump"), from_bytes("x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
}

pub async fn a_key_at_the_top_is_as_good_as_any(reach: &Reach) {
    let (_sshd, store) = reach.temporary();
    for name in ["-n", "x.dump"] {
        store.ship(&key(name), from_bytes("x")).await.unwrap();
    }
    assert_eq!(listed(&*store).await, ["-n", "x.dump"]);
    for name in ["-n", "x.dump"] {
        drop(store.fetch(&key(name), Some(0..1)).await.unwrap());
        store.remove(&key(name)).await.unwrap();
    }
    assert_eq!(listed(&*store).await, [] as [&str; 0]);
}

pub async fn what_cannot_be_read_fails_the_list_and_never_shortens_it(reach: &Reach) {
    let (sshd, store) = reach.temporary();
    store.ship(&key("main/x.dump"), from_bytes("x")).await.unwrap();
    // A folder that is a mount point of a disk that fails; for root, whom no mode stops, a path that is too long for the walk.
    let locked = sshd.backups().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    let readable = fs::read_dir(&locked).is_ok();
    match store.list().await {
        Ok(_) => assert!(readable, "a list without a folder that could not be read"),
        Err(error) => assert_eq!(error.kind(), Kind::Denied, "{}", error.chain()),
    }
}

async fn listed(store: &dyn Store) -> Vec<String> {
    store.list().await.unwrap().map_ok(|entry| entry.key.to_string()).try_collect().await.unwrap()
}
