//! Connections that break, and files that differ from the sent ones.

use std::fs;
use std::time::Duration;

use crate::stream::{digest, random, random_bytes};
use futures_util::{StreamExt, TryStreamExt};
use longshore_core::Kind;
use longshore_core::cleanup::CleanupScope;
use longshore_core::stream::{channel, from_bytes};
use serde_json::json;

use super::{SshPlugin, eventually, files, key};
use crate::proxy::{Direction, Fault, Proxy};
use crate::sshd::Sshd;

pub async fn cut_uploads_leave_nothing(plugin: &SshPlugin) {
    let (sshd, store) = plugin.temporary();
    let key = key("main/appdb.dump");
    let (sender, body) = channel();
    let cutting = async {
        sender.send(random_bytes(1, 100_000)).await.unwrap();
        eventually(|| {
            files(&sshd.backups()).iter().any(|file| file.metadata().is_ok_and(|file| file.len() == 100_000))
        })
        .await;
        assert!(sshd.cut() > 0);
        while sender.send(random_bytes(1, 100_000)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let (result, ()) = tokio::join!(store.ship(&key, body), cutting);
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
    assert!(error.remedy().is_some());
    assert!(files(&sshd.backups()).is_empty(), "the file is removed before the error is returned");
    let listed: Vec<_> = store.list(None).await.unwrap().try_collect().await.unwrap();
    assert_eq!(listed, []);
}

pub async fn reconnects_between_uploads(plugin: &SshPlugin) {
    let (sshd, store) = plugin.temporary();
    store.ship(&key("main/first.dump"), from_bytes("x")).await.unwrap();
    sshd.cut();
    store.ship(&key("main/second.dump"), from_bytes("x")).await.unwrap();
    sshd.cut();
    let listed: Vec<_> = store.list(None).await.unwrap().try_collect().await.unwrap();
    assert_eq!(listed.len(), 2);
}

pub async fn cut_downloads_fail(plugin: &SshPlugin) {
    let (sshd, store) = plugin.temporary();
    let key = key("main/appdb.dump");
    store.ship(&key, random(1, 32 << 20)).await.unwrap();
    let mut fetched = store.fetch(&key, None).await.unwrap();
    fetched.next().await.unwrap().unwrap();
    sshd.cut();
    let rest: Vec<_> = fetched.collect().await;
    let error = rest.last().unwrap().as_ref().unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
}

pub async fn files_truncated_during_a_download_are_corrupt(plugin: &SshPlugin) {
    let (sshd, store) = plugin.temporary();
    let key = key("main/appdb.dump");
    store.ship(&key, random(1, 64 << 20)).await.unwrap();
    let mut fetched = store.fetch(&key, None).await.unwrap();
    fetched.next().await.unwrap().unwrap();
    fs::File::options().write(true).open(sshd.backups().join("main/appdb.dump")).unwrap().set_len(60 << 20).unwrap();
    let error = digest(fetched).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{}", error.chain());
}

pub async fn upload_dropped_with_bytes_in_flight_leaves_nothing(plugin: &SshPlugin) {
    let sshd = Sshd::start();
    let network = Proxy::start(([127, 0, 0, 1], sshd.port()).into()).await;
    // At this rate, the body takes three seconds after its writer has sent the last byte.
    network.fault(Direction::Up, Fault::Throttle(200_000));
    let [there, near] = [sshd.port(), network.address().port()].map(|port| port.to_string());
    let known = sshd.known_hosts().with_file_name("known_network");
    fs::write(&known, fs::read_to_string(sshd.known_hosts()).unwrap().replace(&there, &near)).unwrap();
    let store = plugin.store(&sshd, json!({"port": network.address().port(), "known_hosts_file": known}));
    let (key, (sender, body)) = (key("main/appdb.dump"), channel());
    let begun = async {
        sender.send(random_bytes(1, 600_000)).await.unwrap();
        sender.finish().await.unwrap();
        eventually(|| files(&sshd.backups()).iter().any(|file| file.metadata().is_ok_and(|file| file.len() > 0))).await;
    };
    let scope = CleanupScope::default();
    tokio::select! {
        biased;
        () = begun => {}
        result = scope.run(store.ship(&key, body)) => panic!("{result:?}"),
    }
    tokio::time::timeout(Duration::from_secs(15), scope.wait()).await.unwrap();
    assert!(files(&sshd.backups()).is_empty());
}
