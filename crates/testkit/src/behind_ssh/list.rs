//! Listing and reading: a destination lists and reads its own files only, like [any
//! folder](crate::folder).

use std::fs;
use std::os::unix::fs::PermissionsExt;

use longshore_core::Kind;
use longshore_core::stream::from_bytes;

use super::{Reach, key};
use crate::folder;

pub async fn what_is_hidden_or_no_key_is_left_out(reach: &Reach) {
    let (sshd, store) = reach.temporary();
    folder::what_is_hidden_or_no_key_is_left_out(&sshd.backups(), &*store).await;
}

pub async fn links_are_not_followed_neither_in_a_list_nor_by_their_name(reach: &Reach) {
    let (sshd, store) = reach.temporary();
    folder::links_are_not_followed_neither_in_a_list_nor_by_their_name(&sshd.backups(), &*store).await;
}

pub async fn a_key_at_the_top_is_as_good_as_any(reach: &Reach) {
    let (sshd, store) = reach.temporary();
    folder::a_key_at_the_top_is_as_good_as_any(&sshd.backups(), &*store).await;
}

pub async fn what_cannot_be_read_fails_the_list_and_never_shortens_it(reach: &Reach) {
    let (sshd, store) = reach.temporary();
    store.ship(&key("main/x.dump"), from_bytes("x")).await.unwrap();
    // A folder that cannot be read, like the mount point of a failing disk. For root, which ignores
    // permissions, the path is too long for the walk.
    let locked = sshd.backups().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    let readable = fs::read_dir(&locked).is_ok();
    match store.list().await {
        Ok(_) => assert!(readable, "the list omits an unreadable folder"),
        Err(error) => assert_eq!(error.kind(), Kind::Denied, "{}", error.chain()),
    }
}
