//! Temporary files: hidden, private, and removed after their writers have died.

use std::fs::{self, File};
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::pin::pin;
use std::process::Command;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::poll;
use longshore_core::Kind;
use longshore_core::stage::Store;
use longshore_core::stream::{channel, from_bytes};
use longshore_testkit::stream::{random, random_bytes, stalls_after};
use serde_json::json;

use crate::{files, key, local, temporary};

#[tokio::test(flavor = "multi_thread")]
async fn refuses_existing_keys_before_reading_the_body() {
    let (_folder, store) = temporary();
    let key = key("main/appdb.dump");
    store.ship(&key, from_bytes("first")).await.unwrap();
    let error = within_timeout(store.ship(&key, stalls_after(0))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    assert!(error.remedy().is_some());
}

/// Written backups are not read again, so they must not occupy memory that the database needs.
#[tokio::test(flavor = "multi_thread")]
async fn evicts_written_data_from_memory() {
    // The directory of temporary files may not be on a disk.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = local(folder.path(), json!({}));
    store.ship(&key("main/appdb.dump"), random(1, 96 << 20)).await.unwrap();
    let mut fincore = Command::new("fincore");
    fincore.args(["--bytes", "--noheadings", "--output", "RES"]).arg(folder.path().join("main/appdb.dump"));
    let output = fincore.output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let in_memory = output.trim().parse::<u64>().unwrap() >> 20;
    assert!(in_memory <= 48, "{in_memory} of 96 MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn never_overwrites_foreign_files() {
    let (folder, store) = temporary();
    let (sender, body) = channel();
    let key = key("main/appdb.dump");
    let path = folder.path().join("main/appdb.dump");
    let by_hand = async {
        sender.send(random_bytes(1, 10)).await.unwrap();
        while files(folder.path()).is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        fs::write(&path, "by hand").unwrap();
        sender.finish().await.unwrap();
    };
    let (result, ()) = tokio::join!(store.ship(&key, body), by_hand);
    assert_eq!(result.unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"by hand");
    assert_eq!(files(folder.path()), [path]);
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_files_are_hidden_and_private() {
    let (folder, store) = temporary();
    let key = key("main/appdb.dump");
    let inspection = async {
        loop {
            match &files(folder.path())[..] {
                [file] if file.metadata().unwrap().len() == 1_000_000 => {
                    let name = file.file_name().unwrap().to_str().unwrap();
                    assert!(name.starts_with(".longshore-") && name.ends_with(".partial"), "{name}");
                    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
                    return;
                }
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    tokio::select! {
        result = store.ship(&key, stalls_after(1_000_000)) => panic!("{result:?}"),
        () = inspection => {}
    }
    assert_soon(|| files(folder.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn sweeps_only_files_of_dead_writers() {
    let (folder, store) = temporary();
    let main = folder.path().join("main");
    fs::create_dir(&main).unwrap();
    let [dead, living, other] =
        [".longshore-dead.partial", ".longshore-living.partial", ".other.partial"].map(|name| main.join(name));
    for path in [&dead, &living, &other] {
        fs::write(path, "half").unwrap();
    }
    // A dead process holds no lock.
    let writer = File::open(&living).unwrap();
    writer.lock().unwrap();

    store.ship(&key("main/appdb.dump"), from_bytes("x")).await.unwrap();
    assert!(!dead.exists(), "the file of a dead writer was kept");
    assert!(living.exists(), "the file of a living writer was removed");
    assert!(other.exists(), "a foreign file was removed");

    drop(writer);
    store.ship(&key("main/second.dump"), from_bytes("x")).await.unwrap();
    assert!(!living.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_uploads_survive_sweeps() {
    let (_folder, store) = temporary();
    let (sender, body) = channel();
    let slow = key("main/slow.dump");
    let others = async {
        sender.send(random_bytes(1, 10_000)).await.unwrap();
        for n in 0..50 {
            store.ship(&key(&format!("main/{n}.dump")), random(n, 1000)).await.unwrap();
        }
        sender.finish().await.unwrap();
    };
    let (result, ()) = tokio::join!(store.ship(&slow, body), others);
    result.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_uploads_leave_nothing() {
    let (folder, store) = temporary();
    let mut dropped = 0;
    for polls in 0..120 {
        let key = key(&format!("main/{polls}.dump"));
        let shipped = {
            let mut ship = pin!(store.ship(&key, random(1, 300_000)));
            let mut shipped = false;
            for _ in 0..polls {
                if let Poll::Ready(result) = poll!(ship.as_mut()) {
                    result.unwrap();
                    shipped = true;
                    break;
                }
                std::thread::sleep(Duration::from_micros(20));
            }
            shipped
        };
        if shipped {
            store.remove(&key).await.unwrap();
        } else {
            dropped += 1;
        }
        // After its shipper is dropped, the working thread cleans up.
        assert_soon(|| files(folder.path()).is_empty());
    }
    assert!(dropped > 3, "{dropped}");
    std::thread::sleep(Duration::from_millis(200));
    assert!(files(folder.path()).is_empty(), "a file appeared after the drop");
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_exclude_other_hosts() {
    let (folder, first) = temporary();
    let second = local(folder.path(), json!({}));
    let holder = longshore_core::lock::Holder {
        work: "run of job nightly".into(),
        since: "2026-06-07T09:15:00Z".parse().unwrap(),
    };
    let claim = async |store: &dyn Store| store.capabilities().exclusive_lock.unwrap().claim("nightly", &holder).await;
    let held = claim(&*first).await.unwrap();
    let error = claim(&*second).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Locked);
    assert!(error.chain().contains("run of job nightly, process"), "{}", error.chain());
    drop(held);
    claim(&*second).await.unwrap();
    assert!(folder.path().join(".longshore-nightly.lock").exists());
}

async fn within_timeout<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("fails without waiting for the body")
}

fn assert_soon(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "the condition was not met in time");
        std::thread::sleep(Duration::from_millis(1));
    }
}
