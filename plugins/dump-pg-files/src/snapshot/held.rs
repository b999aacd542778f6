//! A snapshot that is removed in all cases: at the end of its use, after errors and when it is
//! dropped.

use std::fs::{self, File, TryLockError};
use std::mem;

use chrono::Utc;
use longshore_core::cleanup::ReservedCleanup;
use longshore_core::{Error, Kind, Result, Stage};

use super::maker::Maker;
use crate::location::{Location, unreadable};

/// A snapshot, or the right to make one. Dropping it removes the snapshot.
pub(crate) struct Held(Option<Parts>);

struct Parts {
    maker: Maker,
    name: String,
    /// The lock of the folder of snapshots: the snapshots of others who hold it are in use.
    lock: File,
    /// The program waits for the removal, also if a thread drops the snapshot late.
    cleanup: ReservedCleanup,
}

impl Held {
    /// Locks the folder of snapshots, and removes the snapshots that interrupted runs have left.
    /// Returns a warning for each of them.
    pub(crate) async fn prepare(maker: Maker) -> Result<(Self, Vec<String>)> {
        let folder = maker.folder();
        fs::create_dir_all(folder).map_err(|error| unusable(folder, error))?;
        let lock = File::open(folder).map_err(|error| unreadable(folder, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = "another run has a snapshot there";
                return Err(Error::new(Stage::Dump, Kind::Locked, folder.display().to_string(), message)
                    .hint("wait for its end, or set another snapshot_dir or mount_dir for one of the jobs"));
            }
            Err(TryLockError::Error(error)) => return Err(unusable(folder, error)),
        }
        let mut warnings = Vec::new();
        for name in maker.existing()? {
            maker.remove(&name).await?;
            warnings.push(format!("removed snapshot {name}, which an interrupted run had left"));
        }
        let name = maker.name(Utc::now());
        Ok((Self(Some(Parts { maker, name, lock, cleanup: ReservedCleanup::new() })), warnings))
    }

    /// Creates and mounts the snapshot. Returns the folders of the cluster in it.
    pub(crate) async fn create(&self, major: u32) -> Result<Location> {
        match &self.0 {
            Some(parts) => parts.maker.create(&parts.name, major).await,
            None => Err(Error::new(Stage::Dump, Kind::Failed, crate::BASE, "the snapshot was removed")),
        }
    }

    /// Removes the snapshot.
    pub(crate) async fn remove(mut self) -> Result<()> {
        match &self.0 {
            Some(parts) => {
                parts.maker.remove(&parts.name).await?;
                self.0 = None;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(Parts { maker, name, lock, cleanup }) = mem::take(&mut self.0) {
            cleanup.spawn(async move {
                let removed = maker.remove(&name).await;
                drop(lock);
                removed
            });
        }
    }
}

fn unusable(folder: &std::path::Path, error: std::io::Error) -> Error {
    Error::io(Stage::Dump, folder.display().to_string(), "cannot be used for snapshots", error)
        .hint("create it for the user that runs longshore, or set mount_dir or snapshot_dir")
}
