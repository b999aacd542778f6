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
async fn what_is_there_is_refused_before_a_byte_is_read() {
    let (_folder, store) = temporary();
    let key = key("main/appdb.dump");
    store.ship(&key, from_bytes("first")).await.unwrap();
    let error = without_waiting(store.ship(&key, stalls_after(0))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    assert!(error.remedy().is_some());
}

/// Written backups are not read again, so they must not occupy memory that the database needs.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_does_not_stay_in_memory() {
    // The directory of temporary files may not be on a disk.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = local(folder.path(), json!({}));
    store.ship(&key("main/appdb.dump"), random(1, 96 << 20)).await.unwrap();
    let mut fincore = Command::new("fincore");
    fincore.args(["--bytes", "--noheadings", "--output", "RES"]).arg(folder.path().join("main/appdb.dump"));
    let said = fincore.output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let in_memory = said.trim().parse::<u64>().unwrap() >> 20;
    assert!(in_memory <= 48, "{in_memory} of 96 MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_put_there_is_not_overwritten_either() {
    let (folder, store) = temporary();
    let (feeder, body) = channel();
    let key = key("main/appdb.dump");
    let path = folder.path().join("main/appdb.dump");
    let by_hand = async {
        feeder.feed(random_bytes(1, 10)).await.unwrap();
        while files(folder.path()).is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        fs::write(&path, "by hand").unwrap();
        feeder.finish().await.unwrap();
    };
    let (result, ()) = tokio::join!(store.ship(&key, body), by_hand);
    assert_eq!(result.unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"by hand");
    assert_eq!(files(folder.path()), [path]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_on_its_way_is_hidden_and_for_its_writers_eyes_alone() {
    let (folder, store) = temporary();
    let key = key("main/appdb.dump");
    let looked_at = async {
        loop {
            match &files(folder.path())[..] {
                [draft] if draft.metadata().unwrap().len() == 1_000_000 => {
                    let name = draft.file_name().unwrap().to_str().unwrap();
                    assert!(name.starts_with(".longshore-") && name.ends_with(".partial"), "{name}");
                    assert_eq!(draft.metadata().unwrap().permissions().mode() & 0o777, 0o600);
                    return;
                }
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    tokio::select! {
        result = store.ship(&key, stalls_after(1_000_000)) => panic!("{result:?}"),
        () = looked_at => {}
    }
    assert_soon(|| files(folder.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_writer_left_is_swept_and_what_a_living_one_writes_is_not() {
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
    assert!(!dead.exists(), "the draft of a dead writer was kept");
    assert!(living.exists(), "the draft of a living writer was removed");
    assert!(other.exists(), "a foreign file was removed");

    drop(writer);
    store.ship(&key("main/second.dump"), from_bytes("x")).await.unwrap();
    assert!(!living.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_takes_nothing_from_writers_at_work() {
    let (_folder, store) = temporary();
    let (feeder, body) = channel();
    let slow = key("main/slow.dump");
    let others = async {
        feeder.feed(random_bytes(1, 10_000)).await.unwrap();
        for n in 0..50 {
            store.ship(&key(&format!("main/{n}.dump")), random(n, 1000)).await.unwrap();
        }
        feeder.finish().await.unwrap();
    };
    let (result, ()) = tokio::join!(store.ship(&slow, body), others);
    result.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_future_dropped_at_any_moment_leaves_nothing() {
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
async fn two_hosts_that_share_a_directory_hear_of_each_other() {
    let (folder, first) = temporary();
    let second = local(folder.path(), json!({}));
    let holder = longshore_core::lock::Holder {
        work: "run of job nightly".into(),
        since: "2026-06-07T09:15:00Z".parse().unwrap(),
    };
    let claim = async |store: &dyn Store| store.exclusive().unwrap().claim("nightly", &holder).await;
    let held = claim(&*first).await.unwrap();
    let error = claim(&*second).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Locked);
    assert!(error.chain().contains("run of job nightly, process"), "{}", error.chain());
    drop(held);
    claim(&*second).await.unwrap();
    assert!(folder.path().join(".longshore-nightly.lock").exists());
}

async fn without_waiting<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("fails without waiting for the body")
}

fn assert_soon(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "the condition was not met in time");
        std::thread::sleep(Duration::from_millis(1));
    }
}
