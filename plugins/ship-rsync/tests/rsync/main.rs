//! What rsync promises as a destination: what every destination does, and what is rsync's own.

// What fails here fails a test, in helpers, too.
#![allow(clippy::unwrap_used)]

mod conformance;
mod cut;
mod refused;
mod restricted;
mod spool;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use longshore_core::key::Key;
use longshore_core::plugin::Plugin;
use longshore_core::stage::Store;
use longshore_ship_rsync::Rsync;
use longshore_testkit::sshd::{Account, Sshd};
use serde_json::{Value, json};

/// A destination on a server, with more settings, or other ones.
fn rsync(sshd: &Sshd, account: Account, more: Value) -> Box<dyn Store> {
    let mut settings = sshd.settings(account);
    let all = settings.as_object_mut().unwrap();
    all.insert("path".into(), json!(sshd.backups()));
    all.insert("spool_dir".into(), json!(sshd.backups().with_file_name("spool")));
    all.extend(more.as_object().unwrap().clone());
    serde_json::from_value::<Rsync>(settings).unwrap().build(&()).unwrap()
}

/// A destination on a server that is gone after the test.
fn temporary() -> (Sshd, Box<dyn Store>) {
    let sshd = Sshd::start();
    let store = rsync(&sshd, Account::Shell, json!({}));
    (sshd, store)
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

/// Every file below `folder`, hidden ones too.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

async fn soon(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "still not so");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
