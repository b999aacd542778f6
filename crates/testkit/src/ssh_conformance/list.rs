//! Listing and reading: a destination lists and reads its own files only, like [any
//! folder](crate::folder_conformance).

use std::fs;
use std::os::unix::fs::PermissionsExt;

use longshore_core::Kind;
use longshore_core::stream::from_bytes;

use super::{SshPlugin, key};
use crate::folder_conformance;

pub async fn hidden_files_and_invalid_keys_are_not_listed(plugin: &SshPlugin) {
    let (sshd, store) = plugin.temporary();
    folder_conformance::hidden_files_and_invalid_keys_are_not_listed(&sshd.backups(), &*store).await;
}

pub async fn links_are_not_followed(plugin: &SshPlugin) {
    let (sshd, store) = plugin.temporary();
    folder_conformance::links_are_not_followed(&sshd.backups(), &*store).await;
}

pub async fn accepts_keys_without_a_folder(plugin: &SshPlugin) {
    let (sshd, store) = plugin.temporary();
    folder_conformance::accepts_keys_without_a_folder(&sshd.backups(), &*store).await;
}

pub async fn unreadable_folders_fail_the_listing(plugin: &SshPlugin) {
    let (sshd, store) = plugin.temporary();
    store.ship(&key("main/x.dump"), from_bytes("x")).await.unwrap();
    // A folder that cannot be read, like the mount point of a failing disk. For root, which ignores
    // permissions, the path is too long for the walk.
    let locked = sshd.backups().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    let readable = fs::read_dir(&locked).is_ok();
    match store.list(None).await {
        Ok(_) => assert!(readable, "the list omits an unreadable folder"),
        Err(error) => assert_eq!(error.kind(), Kind::Denied, "{}", error.chain()),
    }
}
