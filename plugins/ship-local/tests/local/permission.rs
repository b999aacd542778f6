//! Permissions of shipped files.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use longshore_core::stream::from_bytes;
use serde_json::json;

use crate::{key, local, temporary};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_directories_are_private() {
    let (folder, store) = temporary();
    store.ship(&key("main/appdb/x.dump"), from_bytes("x")).await.unwrap();
    assert_eq!(mode(&folder.path().join("main")), 0o700);
    assert_eq!(mode(&folder.path().join("main/appdb")), 0o700);
    assert_eq!(mode(&folder.path().join("main/appdb/x.dump")), 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn configured_modes_ignore_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    let store = local(folder.path(), json!({ "mode": "0664", "dir_mode": "0775" }));
    // Existing directories keep their mode.
    fs::create_dir(folder.path().join("main")).unwrap();
    fs::set_permissions(folder.path().join("main"), fs::Permissions::from_mode(0o711)).unwrap();
    store.ship(&key("main/appdb/x.dump"), from_bytes("x")).await.unwrap();
    assert_eq!(mode(&folder.path().join("main")), 0o711);
    assert_eq!(mode(&folder.path().join("main/appdb")), 0o775);
    assert_eq!(mode(&folder.path().join("main/appdb/x.dump")), 0o664);
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_the_configured_owner_and_group() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().metadata().unwrap();
    // Only root may change the owner of a file to another user.
    let (uid, gid) = if own.uid() == 0 { (4321, 1234) } else { (own.uid(), own.gid()) };
    let store = local(folder.path(), json!({ "owner": uid.to_string(), "group": gid.to_string() }));
    store.ship(&key("main/x.dump"), from_bytes("x")).await.unwrap();
    for path in ["main", "main/x.dump"] {
        let found = folder.path().join(path).metadata().unwrap();
        assert_eq!((found.uid(), found.gid()), (uid, gid), "{path}");
    }
}
