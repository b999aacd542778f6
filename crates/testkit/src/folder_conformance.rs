//! The requirements of destinations that are a folder of files, local or remote: a destination
//! lists and reads its own files only.

// The function names describe the behaviours.
#![allow(missing_docs)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use futures_util::TryStreamExt;
use longshore_core::Kind;
use longshore_core::key::Key;
use longshore_core::stage::Store;
use longshore_core::stream::from_bytes;

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

pub async fn hidden_files_and_invalid_keys_are_not_listed(folder: &Path, store: &dyn Store) {
    store.ship(&key("main/x.dump"), from_bytes("x")).await.unwrap();
    let odd = [
        ".hidden",
        ".longshore-nightly.lock",
        " with space",
        "with space ",
        "with;semicolon",
        "main/.x.dump.swp",
        "main/é",
        "main/back\\slash",
        "main/a\nb",
        "-rf",
    ];
    for name in odd {
        fs::write(folder.join(name), "x").unwrap();
    }
    fs::write(folder.join(OsStr::from_bytes(b"main/\xff")), "x").unwrap();
    for name in [".git", "lost+found", "@eaDir", "System Volume Information", "$(id)"] {
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("x.dump"), "x").unwrap();
    }
    assert!(Command::new("mkfifo").arg(folder.join("main/pipe")).status().unwrap().success());
    assert_eq!(listed(store).await, ["-rf", "main/x.dump"]);
    let error = store.fetch(&key("main/pipe"), None).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
}

pub async fn links_are_not_followed(folder: &Path, store: &dyn Store) {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("x.dump"), "another's").unwrap();
    store.ship(&key("main/real.dump"), from_bytes("x")).await.unwrap();
    let main = folder.join("main");
    symlink(elsewhere.path(), main.join("folder")).unwrap();
    symlink(elsewhere.path().join("x.dump"), main.join("file.dump")).unwrap();
    symlink(folder, main.join("loop")).unwrap();
    symlink("nowhere", main.join("dangling.dump")).unwrap();

    assert_eq!(listed(store).await, ["main/real.dump"]);
    for text in ["main/file.dump", "main/dangling.dump"] {
        let error = store.fetch(&key(text), None).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{text}");
    }
    let error = store.ship(&key("main/folder/y.dump"), from_bytes("x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.remedy().is_some());
    assert!(!elsewhere.path().join("y.dump").exists(), "uploaded through a link");
    let error = store.ship(&key("main/dangling.dump"), from_bytes("x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
}

pub async fn accepts_keys_without_a_folder(_: &Path, store: &dyn Store) {
    for name in ["-n", "x.dump"] {
        store.ship(&key(name), from_bytes("x")).await.unwrap();
    }
    assert_eq!(listed(store).await, ["-n", "x.dump"]);
    for name in ["-n", "x.dump"] {
        drop(store.fetch(&key(name), Some(0..1)).await.unwrap());
        store.remove(&key(name)).await.unwrap();
    }
    assert_eq!(listed(store).await, [] as [&str; 0]);
}

async fn listed(store: &dyn Store) -> Vec<String> {
    store.list(None).await.unwrap().map_ok(|entry| entry.key.to_string()).try_collect().await.unwrap()
}
