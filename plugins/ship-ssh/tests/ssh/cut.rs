//! Connections that break, and files that are not what was sent.

use std::fs;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use longshore_core::Kind;
use longshore_core::stream::{channel, from_bytes};
use longshore_testkit::stream::{digest, random, random_bytes, stalls_after};

use crate::{files, key, soon, temporary};

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_while_a_body_passes_is_an_error_and_leaves_nothing() {
    let (sshd, store) = temporary();
    let key = key("main/appdb.dump");
    let (feeder, body) = channel();
    let cutting = async {
        feeder.feed(random_bytes(1, 100_000)).await.unwrap();
        soon(|| files(&sshd.backups()).iter().any(|file| file.metadata().is_ok_and(|file| file.len() == 100_000)))
            .await;
        assert!(sshd.cut() > 0);
        while feeder.feed(random_bytes(1, 100_000)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let (result, ()) = tokio::join!(store.ship(&key, body), cutting);
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
    assert!(error.remedy().is_some());
    assert!(files(&sshd.backups()).is_empty(), "removed by the time the error is told");
    let listed: Vec<_> = store.list().await.unwrap().try_collect().await.unwrap();
    assert_eq!(listed, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_between_two_bodies_is_made_anew() {
    let (sshd, store) = temporary();
    store.ship(&key("main/first.dump"), from_bytes("x")).await.unwrap();
    sshd.cut();
    store.ship(&key("main/second.dump"), from_bytes("x")).await.unwrap();
    sshd.cut();
    let listed: Vec<_> = store.list().await.unwrap().try_collect().await.unwrap();
    assert_eq!(listed.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_while_a_file_is_fetched_is_never_a_clean_end() {
    let (sshd, store) = temporary();
    let key = key("main/appdb.dump");
    store.ship(&key, random(1, 32 << 20)).await.unwrap();
    let mut fetched = store.fetch(&key, None).await.unwrap();
    fetched.next().await.unwrap().unwrap();
    sshd.cut();
    let rest: Vec<_> = fetched.collect().await;
    let error = rest.last().unwrap().as_ref().unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_otherwise_than_it_was_sent_is_not_published() {
    let (sshd, store) = temporary();
    let key = key("main/appdb.dump");
    let (feeder, body) = channel();
    let damaging = async {
        feeder.feed(random_bytes(1, 100_000)).await.unwrap();
        soon(|| files(&sshd.backups()).iter().any(|file| file.metadata().is_ok_and(|file| file.len() == 100_000)))
            .await;
        let draft = files(&sshd.backups()).remove(0);
        let mut bytes = fs::read(&draft).unwrap();
        bytes[50_000] ^= 1;
        fs::write(&draft, bytes).unwrap();
        feeder.finish().await.unwrap();
    };
    let (result, ()) = tokio::join!(store.ship(&key, body), damaging);
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{}", error.chain());
    assert!(files(&sshd.backups()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_cut_while_it_is_read_ends_in_an_error() {
    let (sshd, store) = temporary();
    let key = key("main/appdb.dump");
    store.ship(&key, random(1, 64 << 20)).await.unwrap();
    let mut fetched = store.fetch(&key, None).await.unwrap();
    fetched.next().await.unwrap().unwrap();
    fs::File::options().write(true).open(sshd.backups().join("main/appdb.dump")).unwrap().set_len(60 << 20).unwrap();
    let error = digest(fetched).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn more_bodies_than_a_connection_carries_wait_for_their_turn_and_do_not_hold_up_a_list() {
    let (_sshd, store) = temporary();
    let keys: Vec<_> = (0..10).map(|n| key(&format!("main/{n}.dump"))).collect();
    let stalled = futures_util::future::join_all(keys.iter().map(|key| store.ship(key, stalls_after(1000))));
    tokio::select! {
        _ = stalled => panic!("they never end"),
        listed = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            store.list().await.unwrap().try_collect::<Vec<_>>().await.unwrap()
        } => assert_eq!(listed, []),
    }
}
