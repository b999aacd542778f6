//! Tests rsync as a destination: the conformance tests, and the behaviour of rsync.

// Allows unwrap in helpers: a failure there fails the test.
#![allow(clippy::unwrap_used)]

mod conformance;
mod jump_host;
mod refused;
mod restricted;
mod resume;
mod spool;
mod stall;

use longshore_core::plugin::{Plugin, StoreContext};
use longshore_core::stage::Store;
use longshore_ship_rsync::Rsync;
use longshore_testkit::ssh_conformance::{eventually, files, key};
use longshore_testkit::sshd::{Account, Sshd};
use serde_json::{Value, json};

/// Returns a destination on a server, with additional or overridden settings.
fn rsync(sshd: &Sshd, account: Account, more: Value) -> Box<dyn Store> {
    let mut settings = sshd.settings(account);
    let all = settings.as_object_mut().unwrap();
    all.insert("path".into(), json!(sshd.backups()));
    all.insert("spool_dir".into(), json!(sshd.backups().with_file_name("spool")));
    all.extend(more.as_object().unwrap().clone());
    serde_json::from_value::<Rsync>(settings).unwrap().build(&StoreContext::default()).unwrap()
}

/// Returns a destination on a server that is stopped after the test.
fn temporary() -> (Sshd, Box<dyn Store>) {
    let sshd = Sshd::start();
    let store = rsync(&sshd, Account::Shell, json!({}));
    (sshd, store)
}
