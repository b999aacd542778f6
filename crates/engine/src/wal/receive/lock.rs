//! The lock of a receiver: one for each slot of a cluster, on this host.
//!
//! The server accepts one receiver of a slot, and a second one waits for its end. The lock shows
//! which process works.

use std::fs::{OpenOptions, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};

use chrono::Utc;
use longshore_config::{Config, WalArchive};
use longshore_core::Result;
use longshore_core::error::printable;
use longshore_core::key::encode_name;
use longshore_core::lock::{Holder, Lock, acquire};
use longshore_core::regular_file;

use crate::dirs;
use crate::lock::lock_dir;

/// The maximum number of bytes read of a holder's text.
const MAX_HOLDER_BYTES: u64 = 4096;

/// Takes the lock of a receiver.
///
/// # Errors
/// Fails with [`Kind::Locked`](longshore_core::Kind::Locked) if another receiver of the slot works
/// on this host, and with another kind if there is no folder for locks.
pub fn claim(config: &Config, archive: &WalArchive, slot: &str) -> Result<Lock> {
    let holder = Holder { work: format!("receiver of the WAL of {}", archive.cluster), since: Utc::now() };
    acquire(&path(&lock_dir(config)?, config, archive, slot), &holder)
}

/// Returns the description of the receiver of a slot on this host, if there is one.
pub fn holder(config: &Config, archive: &WalArchive, slot: &str) -> Option<String> {
    let path = path(&dirs::lock_dir(config), config, archive, slot);
    // Another user's lock, or none.
    let file = regular_file::open(&path, OpenOptions::new().read(true)).ok()?;
    if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return None;
    }
    let mut text = Vec::new();
    // The text only describes the holder.
    file.take(MAX_HOLDER_BYTES).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    Some(printable(text.trim().lines().next().unwrap_or("another process")))
}

fn path(folder: &Path, config: &Config, archive: &WalArchive, slot: &str) -> PathBuf {
    let name = format!("receive-{}-{}-{}.lock", encode_name(&archive.cluster), encode_name(slot), config.digest());
    folder.join(name)
}
