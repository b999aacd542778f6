//! Temporary files: hidden, private, and found by a sweep if their writer has died.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::stream::{random_bytes, stalls_after};
use longshore_core::Kind;
use longshore_core::stream::{channel, from_bytes};

use super::{SshPlugin, eventually, files, key};

pub async fn refuses_existing_keys_before_reading_the_body(plugin: &SshPlugin) {
    let (_sshd, store) = plugin.temporary();
    let key = key("main/appdb.dump");
    store.ship(&key, from_bytes("first")).await.unwrap();
    let error = store.ship(&key, stalls_after(0)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    assert!(error.remedy().is_some());
}

pub async fn never_overwrites_foreign_files(plugin: &SshPlugin) {
    let (sshd, store) = plugin.temporary();
    let path = sshd.backups().join("main/appdb.dump");
    // The file must not be moved into a folder of its name.
    for (name, by_folder) in [("main/appdb.dump", false), ("main/folder.dump", true)] {
        let (sender, body) = channel();
        let key = key(name);
        let by_hand = async {
            sender.send(random_bytes(1, 10)).await.unwrap();
            eventually(|| files(&sshd.backups()).iter().any(|file| file.to_string_lossy().ends_with(".partial"))).await;
            match by_folder {
                true => fs::create_dir(sshd.backups().join(name)).unwrap(),
                false => fs::write(&path, "by hand").unwrap(),
            }
            sender.finish().await.unwrap();
        };
        let (result, ()) = tokio::join!(store.ship(&key, body), by_hand);
        assert_eq!(result.unwrap_err().kind(), Kind::AlreadyExists, "{name}");
    }
    assert_eq!(fs::read(&path).unwrap(), b"by hand");
    assert_eq!(files(&sshd.backups()), [path]);
}

pub async fn temporary_files_are_hidden_and_private(plugin: &SshPlugin) {
    let (sshd, store) = plugin.temporary();
    let key = key("main/appdb/x.dump");
    let checked = eventually(|| match &files(&sshd.backups())[..] {
        [temp_file] if temp_file.metadata().unwrap().len() == 1_000_000 => {
            let name = temp_file.file_name().unwrap().to_str().unwrap();
            assert!(name.starts_with(".longshore-") && name.ends_with(".partial"), "{name}");
            assert_eq!(temp_file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            true
        }
        _ => false,
    });
    tokio::select! {
        result = store.ship(&key, stalls_after(1_000_000)) => panic!("{result:?}"),
        () = checked => {}
    }
    eventually(|| files(&sshd.backups()).is_empty()).await;
    let mode = |path: &str| sshd.backups().join(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("main"), mode("main/appdb")), (0o700, 0o700));
    store.ship(&key, from_bytes("x")).await.unwrap();
    assert_eq!(mode("main/appdb/x.dump"), 0o600);
}

pub async fn sweep_removes_only_temporary_files(plugin: &SshPlugin) {
    let (sshd, store) = plugin.temporary();
    fs::create_dir(sshd.backups().join("main")).unwrap();
    for (name, bytes) in [
        (".longshore-0a.partial", "half"),
        ("main/.longshore-0b.partial", "a"),
        ("main/.other", "x"),
        ("main/x.dump", "x"),
    ] {
        fs::write(sshd.backups().join(name), bytes).unwrap();
    }
    let sweep = store.capabilities().incomplete_uploads.unwrap();
    let mut found = sweep.leftovers().await.unwrap();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let leftovers: Vec<_> = found.iter().map(|leftover| (leftover.name.as_str(), leftover.bytes)).collect();
    assert_eq!(leftovers, [(".longshore-0a.partial", Some(4)), ("main/.longshore-0b.partial", Some(1))]);
    let age = chrono::Utc::now() - found[0].since;
    assert!((-60..600).contains(&age.num_seconds()), "{age}");
    for leftover in &found {
        sweep.discard(leftover).await.unwrap();
        sweep.discard(leftover).await.unwrap();
    }
    let mut other = found[0].clone();
    other.name = "main/x.dump".into();
    assert_eq!(sweep.discard(&other).await.unwrap_err().kind(), Kind::Usage);
    assert_eq!(files(&sshd.backups()).len(), 2);
}
