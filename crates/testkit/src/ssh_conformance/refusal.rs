//! Hosts, keys and directories that a destination must refuse.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::sshd::{Account, Sshd};
use longshore_core::check::Outcome;
use longshore_core::stage::Store;
use longshore_core::stream::from_bytes;
use longshore_core::{Error, Kind};
use serde_json::json;

use super::{SshPlugin, files, key};

/// Returns the error of every operation. All operations and the check must report the same error.
pub async fn refusal(store: &dyn Store) -> Error {
    let key = key("main/x.dump");
    let errors = [
        store.ship(&key, from_bytes("x")).await.unwrap_err(),
        store.list(None).await.map(drop).unwrap_err(),
        store.fetch(&key, None).await.map(drop).unwrap_err(),
        // A missing directory must fail a removal: an unmounted disk is not an empty one.
        store.remove(&key).await.unwrap_err(),
        store.capabilities().free_space.unwrap().free_bytes().await.unwrap_err(),
        store.capabilities().incomplete_uploads.unwrap().leftovers().await.unwrap_err(),
    ];
    for error in &errors {
        assert_eq!((error.kind(), error.to_string()), (errors[0].kind(), errors[0].to_string()), "{}", error.chain());
        assert!(error.remedy().is_some(), "{error}");
    }
    let findings = store.check().await;
    let failed = findings.iter().find(|finding| finding.outcome == Outcome::Failed).unwrap();
    assert!(failed.message.contains(&errors[0].to_string()), "{failed:?}");
    assert_eq!(failed.remedy.as_deref(), errors[0].remedy());
    errors.into_iter().next().unwrap()
}

pub async fn unknown_client_keys_are_denied(plugin: &SshPlugin) {
    let sshd = Sshd::start();
    let error = refusal(&*plugin.store_as(&sshd, Account::UnknownKey, json!({}))).await;
    assert_eq!(error.kind(), Kind::Denied, "{}", error.chain());
    assert!(error.chain().contains("Permission denied (publickey"), "{}", error.chain());
    assert!(error.remedy().unwrap().contains("authorized_keys"), "{error:?}");
}

pub async fn never_trusts_unknown_host_keys(plugin: &SshPlugin) {
    let sshd = Sshd::start();
    let error = refusal(&*plugin.store(&sshd, json!({ "known_hosts_file": "/dev/null" }))).await;
    assert_eq!(error.kind(), Kind::Denied, "{}", error.chain());
    assert!(error.remedy().unwrap().contains("ssh-keyscan"), "{error:?}");
    assert_eq!(fs::metadata("/dev/null").unwrap().len(), 0);
}

pub async fn never_trusts_changed_host_keys(plugin: &SshPlugin) {
    let (sshd, other) = (Sshd::start(), Sshd::start());
    let known = fs::read_to_string(other.known_hosts()).unwrap();
    let known = known.replace(&format!(":{} ", other.port()), &format!(":{} ", sshd.port()));
    fs::write(other.known_hosts(), known).unwrap();
    let error = refusal(&*plugin.store(&sshd, json!({ "known_hosts_file": other.known_hosts() }))).await;
    assert_eq!(error.kind(), Kind::Denied, "{}", error.chain());
    assert!(error.remedy().unwrap().contains("ssh-keygen -R"), "{error:?}");
}

pub async fn closed_ports_are_unavailable(plugin: &SshPlugin) {
    let sshd = Sshd::start();
    let error = refusal(&*plugin.store(&sshd, json!({ "port": 9 }))).await;
    assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
}

pub async fn never_creates_a_missing_directory(plugin: &SshPlugin) {
    let sshd = Sshd::start();
    let path = sshd.backups().join("not-mounted");
    let error = refusal(&*plugin.store(&sshd, json!({ "path": path }))).await;
    assert_eq!(error.kind(), Kind::Refused, "{}", error.chain());
    assert!(error.to_string().contains("does not exist"), "{error}");
    assert!(!path.exists());
}

pub async fn refuses_a_world_writable_directory(plugin: &SshPlugin) {
    let sshd = Sshd::start();
    let store = plugin.store(&sshd, json!({}));
    for mode in [0o777, 0o1777] {
        fs::set_permissions(sshd.backups(), fs::Permissions::from_mode(mode)).unwrap();
        let error = refusal(&*store).await;
        assert_eq!(error.kind(), Kind::Refused, "{}", error.chain());
        assert!(error.to_string().contains("world-writable"), "{error}");
    }
    assert!(files(&sshd.backups()).is_empty());
}

pub async fn check_reports_world_writable_folders(plugin: &SshPlugin) {
    let sshd = Sshd::start();
    let store = plugin.store(&sshd, json!({}));
    store.ship(&key("main/appdb/first.dump"), from_bytes("x")).await.unwrap();
    let folder = sshd.backups().join("main/appdb");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let failed = async || {
        let found = store.check().await;
        let failed = found.into_iter().filter(|finding| finding.outcome == Outcome::Failed);
        failed.map(|finding| finding.message).collect::<Vec<_>>()
    };
    let found = failed().await;
    assert!(found.len() == 1 && found[0].ends_with(": main/appdb"), "{found:?}");
    let error = store.ship(&key("main/appdb/second.dump"), from_bytes("x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused, "{}", error.chain());
    assert!(error.chain().contains("main/appdb"), "{}", error.chain());
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(failed().await, [""; 0]);
    store.ship(&key("main/appdb/second.dump"), from_bytes("x")).await.unwrap();
}

pub async fn refuses_a_path_to_a_file(plugin: &SshPlugin) {
    let sshd = Sshd::start();
    let path = sshd.backups().join("file");
    fs::write(&path, "x").unwrap();
    let error = refusal(&*plugin.store(&sshd, json!({ "path": path }))).await;
    assert_eq!(error.kind(), Kind::Refused, "{}", error.chain());
    assert!(error.to_string().contains("not a directory"), "{error}");
}
