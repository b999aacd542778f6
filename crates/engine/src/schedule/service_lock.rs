//! The lock of the service that starts the tasks of a configuration.

use chrono::Utc;
use longshore_config::Config;
use longshore_core::Result;
use longshore_core::lock::{Holder, Lock, acquire};

use crate::lock::lock_dir;

/// Takes the lock of the service that starts the tasks of a configuration on this host.
///
/// # Errors
/// Fails with [`Kind::Locked`](longshore_core::Kind::Locked) if another service holds the lock.
pub fn claim(config: &Config) -> Result<Lock> {
    let holder = Holder { work: "longshore serve".to_owned(), since: Utc::now() };
    acquire(&lock_dir(config)?.join(format!("serve-{}.lock", config.digest())), &holder)
}
