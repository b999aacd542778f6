//! The backups of a destination, read from their manifests and from nothing else.

mod lost;
mod manifests;

use std::collections::BTreeMap;

use chrono::Utc;
use futures_util::{StreamExt, TryStreamExt, stream};

use self::lost::Lost;
use crate::adopt::{Adopted, Refusal};
use crate::error::{Error, Kind, Result};
use crate::key::{BackupName, Key, PAGE};
use crate::manifest::Manifest;
use crate::mark::{MarkName, Marks};
use crate::retention::Candidate;
use crate::run_report::ReportName;
use crate::stage::{Entry, Store};
use crate::subject::Subject;

/// How many manifests or marks are fetched at once.
const FETCHES: usize = 16;

/// What lies in a destination.
#[derive(Debug, Default)]
pub struct Catalog {
    /// The backups, by series, oldest first.
    pub series: BTreeMap<Series, Vec<Backup>>,
    /// Manifests that cannot be read, and why. They are reported and never touched.
    pub unreadable: Vec<(Key, Error)>,
    /// Keys that no manifest names, and that none of the unreadable can mean: artifacts of runs that were cut off, or what
    /// somebody else put there.
    pub orphans: Vec<Entry>,
    /// The run reports, and files of their details.
    pub reports: Vec<Key>,
    /// Files of other programs that are taken for backups, by series, oldest first: none until [`Catalog::adopt`] has looked.
    pub adopted: BTreeMap<Series, Vec<Adopted>>,
    /// The orphans that are left alone then, and why.
    pub not_adopted: Vec<(Key, Refusal)>,
}

/// All backups of one subject by one job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// The cluster's name in the configuration.
    pub cluster: String,
    /// What they are copies of.
    pub subject: Subject,
    /// The job that makes them.
    pub job: String,
}

impl Series {
    /// The series that a backup belongs to.
    pub fn of(manifest: &Manifest) -> Self {
        Self { cluster: manifest.cluster.name.clone(), subject: manifest.subject.clone(), job: manifest.job.clone() }
    }
}

/// One backup at one destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Backup {
    /// Its name.
    pub name: BackupName,
    /// Its record, which is large, and of which a catalog keeps thousands.
    pub manifest: Box<Manifest>,
    /// Whether its artifact lies there with the size that the manifest says.
    pub artifact: Presence,
    /// The bytes that it takes there by the listing, whatever its manifest says.
    pub bytes: u64,
    /// What became known of it since.
    pub marks: Marks,
}

/// What of an artifact can be told by looking at a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is there and has its size.
    Whole,
    /// It is there with another size, in bytes.
    OtherSize(u64),
    /// It is not there.
    Missing,
}

impl Backup {
    /// Whether nothing speaks against it.
    pub fn is_good(&self) -> bool {
        self.artifact == Presence::Whole && !self.marks.damaged()
    }

    /// What speaks against it, in words.
    pub fn damage(&self) -> Option<String> {
        match self.artifact {
            Presence::Whole if self.marks.unreadable() => Some("found when it was read back".to_owned()),
            Presence::Whole => self.marks.failed_drill().then(|| "found by a drill".to_owned()),
            Presence::OtherSize(bytes) => Some(format!("{bytes} bytes")),
            Presence::Missing => Some("no artifact".to_owned()),
        }
    }

    /// What its owner should do about it, in words, although nothing speaks against it.
    pub fn advice(&self) -> Option<&'static str> {
        let ahead = || self.marks.are_ahead().then_some("marks dated in the future: verify again");
        self.marks.to_be_drilled_again().then_some("a drill by 0.1.0 failed: drill again").or_else(ahead)
    }

    /// What retention must know of it.
    pub fn candidate(&self) -> Candidate {
        Candidate {
            name: self.name.clone(),
            time: self.manifest.time.time(),
            bytes: self.bytes,
            good: self.is_good() && !self.marks.doubted,
            verified: self.marks.verified(),
            drilled: self.marks.drilled(),
            held: self.marks.held.clone(),
            locked_until: None,
            restoring_until: self.marks.restoring_until,
            needs: self.manifest.needs.clone(),
        }
    }

    /// Every key that belongs to it, in the order in which to remove them: the manifest first.
    pub fn keys(&self) -> Result<Vec<Key>> {
        let marks = self.marks.names.iter().map(MarkName::key);
        let details = self.marks.details.iter().cloned().map(Ok);
        self.manifest.keys()?.into_iter().map(Ok).chain(details).chain(marks).collect()
    }
}

impl Catalog {
    /// Returns the manifests that the destination did not hand out. Unlike one that is damaged or of a
    /// later version, each may be that of a good backup.
    pub fn denied(&self) -> impl Iterator<Item = &(Key, Error)> {
        self.unreadable.iter().filter(|(_, error)| !matches!(error.kind(), Kind::Corrupt | Kind::Refused))
    }

    /// Reads the catalog of a destination. A listing or a connection that fails is an error: a catalog is whole or there is none.
    /// A few manifests that are damaged or cannot be read are reported beside the others.
    pub async fn read(store: &dyn Store) -> Result<Self> {
        let sizes: BTreeMap<Key, u64> =
            store.list().await?.map_ok(|entry| (entry.key, entry.bytes)).try_collect().await?;
        let lost = Lost::default();
        let read = manifests::read(store, sizes.keys(), &lost).await?;

        let mut catalog = Self::default();
        let mut marks = Self::read_marks(store, sizes.keys(), &lost).await?;
        let mut unclaimed = sizes;
        unclaimed.retain(|key, _| key.as_str() != PAGE);
        catalog.reports =
            unclaimed.extract_if(.., |key, _| ReportName::of(key).is_some()).map(|(key, _)| key).collect();
        for manifests::Read { name, key, manifest } in read.into_iter().flatten() {
            unclaimed.remove(&key);
            match manifest {
                Err(error) => {
                    // What may be a backup's is no orphan: whoever can read the manifest, or mends it, still needs it.
                    let own = format!("{name}.");
                    unclaimed.retain(|key, _| !key.as_str().starts_with(&own));
                    catalog.unreadable.push((key, error));
                }
                Ok(manifest) => {
                    let expected = manifest.artifact.sealed.bytes;
                    let artifact = match unclaimed.remove(&manifest.artifact.key) {
                        None => Presence::Missing,
                        Some(bytes) if bytes == expected => Presence::Whole,
                        Some(bytes) => Presence::OtherSize(bytes),
                    };
                    let details = manifest.details.as_ref().and_then(|details| unclaimed.remove(&details.key));
                    let bytes = match artifact {
                        Presence::Whole => expected,
                        Presence::OtherSize(bytes) => bytes,
                        Presence::Missing => 0,
                    };
                    let bytes = bytes.saturating_add(details.unwrap_or(0));
                    let marks = marks.remove(&name).unwrap_or_default();
                    for mark in &marks.names {
                        unclaimed.remove(&mark.key()?);
                    }
                    for details in &marks.details {
                        unclaimed.remove(details);
                    }
                    let backup = Backup { name, manifest, artifact, bytes, marks };
                    catalog.series.entry(Series::of(&backup.manifest)).or_default().push(backup);
                }
            }
        }
        // A destination of which nothing can be read is lost as a whole.
        if let Some((_, error)) = catalog.unreadable.iter().find(|(_, error)| Lost::is_of_destination(error))
            && catalog.series.is_empty()
        {
            return Err(error.clone());
        }
        for backups in catalog.series.values_mut() {
            backups.sort_by_key(|backup| backup.manifest.time);
        }
        catalog.orphans = unclaimed.into_iter().map(|(key, bytes)| Entry { key, bytes }).collect();
        Ok(catalog)
    }

    /// What the marks among these keys say, by the backup that they are about.
    async fn read_marks(
        store: &dyn Store,
        keys: impl Iterator<Item = &Key>,
        lost: &Lost,
    ) -> Result<BTreeMap<BackupName, Marks>> {
        let now = Utc::now();
        let mut names: BTreeMap<BackupName, (Vec<MarkName>, Vec<Key>)> = BTreeMap::new();
        for key in keys {
            if let Some(name) = MarkName::of(key) {
                names.entry(name.backup.clone()).or_default().0.push(name);
            } else if let Some(of) = MarkName::of_details(key) {
                names.entry(of.backup).or_default().1.push(key.clone());
            }
        }
        stream::iter(names)
            .map(|(backup, (names, details))| async move {
                Ok((backup, Marks { details, ..Marks::read(store, names, now, |error| lost.count(error)).await? }))
            })
            .buffered(FETCHES)
            .try_collect()
            .await
    }

    /// All backups.
    pub fn backups(&self) -> impl Iterator<Item = &Backup> {
        self.series.values().flatten()
    }
}
