//! The backups of a destination, as listed by their manifests.

mod chain;
mod failed_reads;
mod headers;
mod manifests;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::Utc;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use longshore_core::stage::{Entry, Store};
use longshore_model::error::{Error, Kind, Result};
use longshore_model::header::HeaderName;
use longshore_model::key::{BackupName, HEADERS_PAGE, Key, RESTORE_PAGE};
use longshore_model::manifest::Manifest;
use longshore_model::mark::{MarkName, Marks};
use longshore_model::run_report::ReportName;
use longshore_model::signature::{Record, Verdict};
use longshore_model::wal_key::is_in_archive;
use longshore_retention::Candidate;

use self::failed_reads::FailedReads;
use crate::adopted::{Adopted, Refusal};
use crate::mark;
use crate::record_cache::RecordCache;
use crate::signature::ListedSignatures;

pub use longshore_model::series::Series;

/// The number of concurrent fetches of manifests or marks.
const FETCHES: usize = 16;

/// The contents of a destination.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// The backups, by series, oldest first.
    pub series: BTreeMap<Series, Vec<Backup>>,
    /// Unreadable manifests, each with its error. They are reported and never deleted.
    pub unreadable: Vec<(Key, Error)>,
    /// Objects that no manifest names and that cannot belong to an unreadable manifest: artifacts
    /// of interrupted runs, or foreign files.
    pub orphans: Vec<Entry>,
    /// The files of WAL archives, if they were requested.
    pub wal: Vec<Entry>,
    /// The run reports, the files of their details, and their signatures.
    pub reports: Vec<Key>,
    /// Files of other programs, adopted as backups, by series, oldest first. Empty before
    /// [`Catalog::adopt`].
    pub adopted: BTreeMap<Series, Vec<Adopted>>,
    /// The marks of files of other programs, by the names of the files. Empty after
    /// [`Catalog::adopt`], except for files that were not adopted.
    pub adopted_marks: BTreeMap<BackupName, Marks>,
    /// The orphans that were not adopted, each with the reason.
    pub not_adopted: Vec<(Key, Refusal)>,
}

/// One backup at one destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Backup {
    /// The backup's name.
    pub name: BackupName,
    /// The manifest, shared with the cache of a service that reads the catalog again and again.
    pub manifest: Arc<Manifest>,
    /// The state of the artifact, according to the listing.
    pub artifact: Presence,
    /// The stored size in bytes, according to the listing and not to the manifest.
    pub bytes: u64,
    /// The marks of the backup.
    pub marks: Marks,
    /// The headers beside its encrypted files, by file, oldest first.
    pub headers: Vec<HeaderName>,
    /// The result of the verification of the manifest's signature.
    pub signature: Verdict,
    /// The keys of the signatures of the manifest and the marks.
    pub signatures: Vec<Key>,
    /// The first unusable backup among those that the backup continues, from its parent on: it is
    /// damaged or missing here.
    pub unusable: Option<BackupName>,
    /// True if one of the backups that it continues may be damaged.
    pub is_chain_doubtful: bool,
}

/// The state of an artifact, according to a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The artifact exists with the recorded size.
    Whole,
    /// The artifact exists with another size, in bytes.
    OtherSize(u64),
    /// The artifact does not exist.
    Missing,
}

impl Backup {
    /// Returns true if no damage is known, neither of the backup nor of one that it continues.
    pub fn is_good(&self) -> bool {
        self.is_intact() && self.unusable.is_none()
    }

    /// Returns true if no damage of the backup's own files is known.
    pub fn is_intact(&self) -> bool {
        self.artifact == Presence::Whole && !self.marks.damaged()
    }

    /// Returns a description of the known damage, if any.
    pub fn damage(&self) -> Option<String> {
        match self.artifact {
            Presence::Whole if self.marks.failed_read_back() => Some("found by a read-back".to_owned()),
            Presence::Whole if self.marks.failed_drill() => Some("found by a drill".to_owned()),
            Presence::Whole => self
                .unusable
                .as_ref()
                .map(|name| format!("continues {}, which is damaged or missing", name.file_name())),
            Presence::OtherSize(bytes) => Some(format!("{bytes} bytes")),
            Presence::Missing => Some("no artifact".to_owned()),
        }
    }

    /// Returns advice for the operator about a backup without known damage, if any.
    pub fn advice(&self) -> Option<&'static str> {
        if self.marks.untrusted().next().is_some() {
            return Some("marks without a permitted signature");
        }
        let ahead = || self.marks.has_future_dated().then_some("marks dated in the future: verify again");
        self.marks.needs_another_drill().then_some("a drill by 0.1.0 failed: drill again").or_else(ahead)
    }

    /// Returns the properties of the backup for retention.
    pub fn candidate(&self) -> Candidate {
        Candidate {
            name: self.name.clone(),
            time: self.manifest.time.time(),
            bytes: self.bytes,
            good: self.is_good() && !self.marks.possibly_damaged && !self.is_chain_doubtful,
            verified: self.marks.verified(),
            drilled: self.marks.drilled(),
            held: self.marks.held.clone(),
            locked_until: None,
            restoring_until: self.marks.restoring_until,
            begins_window: false,
            continues_others: self.manifest.continues_others(),
            needs: self.manifest.needs.clone(),
        }
    }

    /// Returns the keys of the backup in the order of deletion: the manifest first.
    pub fn keys(&self) -> Result<Vec<Key>> {
        let marks = self.marks.names.iter().map(MarkName::key);
        let details = self.marks.details.iter().cloned().map(Ok);
        let headers = self.headers.iter().map(HeaderName::key);
        let signatures = self.signatures.iter().cloned().map(Ok);
        let manifest = self.manifest.keys()?.into_iter().map(Ok);
        manifest.chain(headers).chain(details).chain(marks).chain(signatures).collect()
    }

    /// Returns the keys that the store may have locked, in the order of deletion: all except marks.
    pub fn lockable_keys(&self) -> Result<Vec<Key>> {
        let headers = self.headers.iter().map(HeaderName::key);
        self.manifest.keys()?.into_iter().map(Ok).chain(headers).collect()
    }

    /// Returns the headers beside one of the backup's files, newest first.
    pub fn headers_of<'a>(&'a self, file: &'a Key) -> impl Iterator<Item = &'a HeaderName> {
        self.headers.iter().rev().filter(move |header| header.sealed == *file)
    }

    /// Returns the keys of the backup's encrypted files: the artifact, its details, and the details
    /// of its marks.
    pub fn sealed_files(&self) -> impl Iterator<Item = &Key> {
        let manifest = &self.manifest;
        let details = manifest.details.iter().map(|details| &details.key);
        let files = [&manifest.artifact.key].into_iter().chain(details);
        let files = files.filter(|_| manifest.artifact.encryption.is_some());
        files.chain(self.marks.details.iter().filter(|key| HeaderName::is_sealed(key)))
    }
}

impl Catalog {
    /// Returns the manifests that the destination failed to return. Unlike a damaged manifest or
    /// one of a later version, each may belong to a good backup.
    pub fn failed_fetches(&self) -> impl Iterator<Item = &(Key, Error)> {
        self.unreadable.iter().filter(|(_, error)| !matches!(error.kind(), Kind::Corrupt | Kind::Refused))
    }

    /// Reads the catalog of a destination, without the files of WAL archives. Fails if a listing or
    /// a connection fails: a catalog is never partial. Reports a few damaged or unreadable
    /// manifests beside the others.
    pub async fn read(store: &dyn Store) -> Result<Self> {
        Self::read_listed(store, store.list_backups().await?, None).await
    }

    /// Reads the catalog of a destination, with the files of WAL archives.
    pub async fn read_with_wal(store: &dyn Store) -> Result<Self> {
        Self::read_listed(store, store.list(None).await?, None).await
    }

    /// Reads the catalog of a destination, with the files of WAL archives. Takes the manifests that
    /// the listing shows unchanged from the cache, and adds the others to the cache.
    pub async fn read_cached(store: &dyn Store, cache: &RecordCache) -> Result<Self> {
        Self::read_listed(store, store.list(None).await?, Some(cache)).await
    }

    async fn read_listed(
        store: &dyn Store,
        mut entries: BoxStream<'static, Result<Entry>>,
        cache: Option<&RecordCache>,
    ) -> Result<Self> {
        let (mut sizes, mut wal) = (BTreeMap::new(), Vec::new());
        while let Some(entry) = entries.try_next().await? {
            if is_in_archive(&entry.key) {
                wal.push(entry);
            } else {
                sizes.insert(entry.key, entry.bytes);
            }
        }
        let failed_reads = FailedReads::default();
        cache.iter().for_each(|cache| cache.retain(&sizes));
        let signatures = ListedSignatures::of(sizes.keys());
        let read = manifests::read(store, (&sizes, &signatures), cache, &failed_reads).await?;

        let mut catalog = Self { wal, ..Self::default() };
        let mut marks = Self::read_marks(store, (sizes.keys(), &signatures), &failed_reads).await?;
        let mut unclaimed = sizes;
        unclaimed.retain(|key, _| ![RESTORE_PAGE, HEADERS_PAGE].contains(&key.as_str()));
        catalog.reports =
            unclaimed.extract_if(.., |key, _| ReportName::of_file(key).is_some()).map(|(key, _)| key).collect();
        let mut headers = headers::by_backup(unclaimed.keys());
        let mut of_backups: BTreeMap<BackupName, Vec<Key>> = BTreeMap::new();
        for (key, record) in unclaimed.keys().filter_map(|key| Some((key, Record::from_signature_key(key)?))) {
            match record {
                Record::Manifest(name) => of_backups.entry(name).or_default().push(key.clone()),
                Record::Mark(mark) => of_backups.entry(mark.backup).or_default().push(key.clone()),
                Record::Report(_) => {}
            }
        }
        for manifests::ParsedManifest { name, key, manifest, signature } in read.into_iter().flatten() {
            unclaimed.remove(&key);
            match manifest {
                Err(error) => {
                    // An object that may belong to the backup is not an orphan: it is needed once
                    // the manifest is readable again.
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
                    let signatures = of_backups.remove(&name).unwrap_or_default();
                    for key in marks.details.iter().chain(&signatures) {
                        unclaimed.remove(key);
                    }
                    let headers = headers.remove(&name).unwrap_or_default();
                    for header in &headers {
                        unclaimed.remove(&header.key()?);
                    }
                    let backup = Backup {
                        name,
                        manifest,
                        artifact,
                        bytes,
                        marks,
                        headers,
                        signature,
                        signatures,
                        unusable: None,
                        is_chain_doubtful: false,
                    };
                    catalog.series.entry(Series::of(&backup.manifest)).or_default().push(backup);
                }
            }
        }
        marks.retain(|name, _| !name.is_own());
        for name in marks.values().flat_map(|marks| &marks.names) {
            unclaimed.remove(&name.key()?);
        }
        catalog.adopted_marks = marks;
        // A destination without any readable manifest is unavailable as a whole.
        if let Some((_, error)) = catalog.unreadable.iter().find(|(_, error)| FailedReads::is_store_error(error))
            && catalog.series.is_empty()
        {
            return Err(error.clone());
        }
        for backups in catalog.series.values_mut() {
            backups.sort_by_key(|backup| backup.manifest.time);
            backups.shrink_to_fit();
            chain::mark_unusable(backups);
        }
        catalog.orphans = unclaimed.into_iter().map(|(key, bytes)| Entry::new(key, bytes)).collect();
        Ok(catalog)
    }

    /// Reads the marks among these keys, by backup.
    async fn read_marks(
        store: &dyn Store,
        (keys, signatures): (impl Iterator<Item = &Key>, &ListedSignatures),
        failed_reads: &FailedReads,
    ) -> Result<BTreeMap<BackupName, Marks>> {
        let now = Utc::now();
        let mut names: BTreeMap<BackupName, (Vec<MarkName>, Vec<Key>)> = BTreeMap::new();
        for key in keys {
            if let Some(name) = MarkName::from_key(key) {
                names.entry(name.backup.clone()).or_default().0.push(name);
            } else if let Some(of) = MarkName::from_details_key(key) {
                names.entry(of.backup).or_default().1.push(key.clone());
            }
        }
        stream::iter(names)
            .map(|(backup, (names, details))| async move {
                let mut marks = mark::read(store, (names, signatures), now, |error| failed_reads.count(error)).await?;
                marks.details = details;
                Ok((backup, marks))
            })
            .buffered(FETCHES)
            .try_collect()
            .await
    }

    /// Returns the names and marks of all backups, of adopted files, and of other files with marks.
    pub fn marked(&self) -> impl Iterator<Item = (&BackupName, &Marks)> {
        let adopted = self.adopted.values().flatten().map(|file| (&file.name, &file.marks));
        let is_there = |name: &BackupName| self.orphans.iter().any(|entry| entry.key.as_str() == name.as_str());
        let others = self.adopted_marks.iter().filter(move |(name, _)| is_there(name));
        self.backups().map(|backup| (&backup.name, &backup.marks)).chain(adopted).chain(others)
    }

    /// Returns all backups.
    pub fn backups(&self) -> impl Iterator<Item = &Backup> {
        self.series.values().flatten()
    }
}
