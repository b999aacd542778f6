//! A snapshot that is removed in all cases: at the end of its use, after errors and when it is
//! dropped; unless it is kept.

use std::fs::{self, File, TryLockError};
use std::mem;
use std::path::Path;

use async_trait::async_trait;
use chrono::Utc;
use longshore_core::base::WalLocation;
use longshore_core::cleanup::ReservedCleanup;
use longshore_core::manifest::Manifest;
use longshore_core::stage::HeldSnapshot;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_wal::segment::SegmentSize;
use serde_json::{Map, Value};

use super::kept::{self, Record};
use super::maker::Maker;
use crate::location::{Location, unreadable};
use crate::session::BackupEnd;

/// A snapshot, or the right to make one. Dropping it removes the snapshot.
#[derive(Debug)]
pub(crate) struct Held(Option<Parts>);

#[derive(Debug)]
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

    fn parts(&self) -> Result<&Parts> {
        self.0.as_ref().ok_or_else(|| Error::new(Stage::Dump, Kind::Failed, crate::BASE, "the snapshot was removed"))
    }

    /// Creates and mounts the snapshot. Returns the folders of the cluster in it.
    pub(crate) async fn create(&self, major: u32) -> Result<Location> {
        let parts = self.parts()?;
        parts.maker.create(&parts.name, major).await
    }

    /// Adds the files that complete the snapshot to a base backup: from the end of the backup, and
    /// the WAL in the live data directory.
    pub(crate) fn complete(&self, end: &BackupEnd, data: &Path, size: SegmentSize) -> Result<()> {
        let parts = self.parts()?;
        kept::write_files(&parts.maker.folder().join(&parts.name), end, data, size)
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

/// A complete snapshot that stays on the host if its backup succeeds.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) held: Held,
    /// The number of snapshots to keep for the job.
    pub(crate) keep: usize,
    /// The details of the source that a restore needs.
    pub(crate) details: Map<String, Value>,
}

#[async_trait]
impl HeldSnapshot for Candidate {
    async fn keep(mut self: Box<Self>, manifest: &Manifest) -> Result<Vec<String>> {
        let parts = self.held.parts()?;
        let (maker, name) = (&parts.maker, &parts.name);
        maker.unmount(name).await?;
        let mut manifest = manifest.clone();
        if let Some(base) = &mut manifest.base {
            // The WAL is beside the snapshot, also if the backup has it in the archive.
            base.wal = WalLocation::Included;
        }
        let job = manifest.job.clone();
        let record = Record { made: maker.made(), manifest, details: mem::take(&mut self.details) };
        kept::write_record(&maker.folder().join(name), &record)?;
        let Some(Parts { maker, lock, .. }) = self.held.0.take() else { return Ok(Vec::new()) };
        let mut warnings = Vec::new();
        let mut of_job = kept::read(maker.folder(), maker.prefix())?;
        of_job.retain(|(_, record)| record.manifest.job == job);
        let surplus = of_job.len().saturating_sub(self.keep);
        for (name, record) in of_job.into_iter().take(surplus) {
            if let Err(error) = kept::remove(maker.folder(), &name, record, maker.programs().clone()).await {
                warnings.push(format!("snapshot {name} was not removed: {}", error.chain()));
            }
        }
        drop(lock);
        Ok(warnings)
    }
}

fn unusable(folder: &Path, error: std::io::Error) -> Error {
    Error::io(Stage::Dump, folder.display().to_string(), "cannot be used for snapshots", error)
        .hint("create it for the user that runs longshore, or set mount_dir or snapshot_dir")
}
