//! The files of an archive at all destinations, for the recovery of one base backup.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use longshore_config::{Config, WalArchive};
use longshore_core::base::WalLocation;
use longshore_core::manifest::Manifest;
use longshore_core::wal_key::{WalDigest, WalFolder, WalKey};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_wal::segment::{Segment, SegmentSize};
use longshore_pg_wal::{ArchiveName, History, walk};

use crate::wal::archive::{ArchiveAt, open_all};
use crate::wal::blocking;
use crate::wal::fetch::{Reader, ambiguous};
use crate::wal::lineage::BackupRange;
use crate::wal::recovery::FETCHES;

/// The histories of an archive.
#[derive(Debug, Default)]
pub(super) struct Histories {
    /// The histories by their timelines.
    pub(super) parsed: BTreeMap<u32, History>,
    /// Their files.
    pub(super) files: BTreeMap<ArchiveName, Bytes>,
    /// The histories that cannot be read, by their timelines.
    pub(super) unreadable: BTreeMap<u32, Error>,
}

/// The files of an archive at all destinations.
pub(super) struct Listing {
    pub(super) folder: WalFolder,
    pub(super) size: SegmentSize,
    pub(super) backup: BackupRange,
    /// Destinations that were not listed, or that have no WAL of the cluster.
    pub(super) warnings: Vec<String>,
    archives: Vec<ArchiveAt>,
    /// The files by name; each with the place of its destination in `archives`, and with its size.
    files: BTreeMap<ArchiveName, Vec<(usize, WalKey, u64)>>,
}

impl Listing {
    /// Lists the archive of the cluster of a base backup.
    pub(super) async fn read(config: &Config, settings: &WalArchive, manifest: &Manifest) -> Result<Self> {
        let name = manifest.name()?.to_string();
        let unknown = |message: &str| Error::new(Stage::Restore, Kind::Refused, name.as_str(), message);
        let facts = manifest.base.as_ref().ok_or_else(|| unknown("not a base backup with recorded positions"))?;
        if !manifest.begins_recovery() {
            return Err(unknown("a crash-consistent snapshot, to which archived WAL cannot be added")
                .hint("restore it without a target, or choose another base backup: `longshore list`"));
        }
        let system_identifier = manifest.cluster.server.system_identifier.as_ref().and_then(|text| text.parse().ok());
        let folder = WalFolder {
            cluster: settings.cluster.clone(),
            system_identifier: system_identifier.ok_or_else(|| unknown("the manifest names no system identifier"))?,
        };
        let size = SegmentSize::new(facts.wal_segment_bytes)
            .map_err(|error| unknown("the manifest names no valid size of WAL segments").because(error))?;
        // A backup may contain its own WAL, but its last segment is complete only in the archive.
        let start = if facts.wal == WalLocation::Included { facts.stop_lsn } else { facts.start_lsn };
        let backup = BackupRange { timeline: facts.timeline, start, stop: facts.stop_lsn };
        let (mut archives, mut files) = (Vec::new(), BTreeMap::<ArchiveName, Vec<(usize, WalKey, u64)>>::new());
        let (mut warnings, mut first) = (Vec::new(), None);
        for (name, archive) in open_all(config, settings, &folder) {
            let listed = async { archive.as_ref().map_err(Clone::clone)?.list_all().await };
            match (listed.await, archive) {
                (Ok(listed), Ok(archive)) => {
                    if listed.is_empty() {
                        warnings.push(format!("\"{name}\" has no WAL of this cluster"));
                    }
                    let place = archives.len();
                    for (file, bytes) in listed {
                        files.entry(file.name).or_default().push((place, file, bytes));
                    }
                    archives.push(archive);
                }
                (Err(error), _) | (_, Err(error)) => {
                    warnings.push(format!("\"{name}\" could not be listed, and may have more WAL: {}", error.chain()));
                    first = first.or(Some(error));
                }
            }
        }
        if files.is_empty() {
            let message = format!("no destination has WAL of the system identifier {}", folder.system_identifier);
            return Err(first.unwrap_or(Error::new(Stage::Restore, Kind::Refused, &settings.cluster, message)));
        }
        Ok(Self { folder, size, backup, warnings, archives, files })
    }

    pub(super) fn segments(&self) -> BTreeSet<Segment> {
        let segments = self.files.keys().filter_map(|name| match name {
            ArchiveName::Segment(segment) => segment.segment(self.size).ok(),
            _ => None,
        });
        segments.collect()
    }

    /// Returns the segments of which only the beginning is archived.
    pub(super) fn partial_segments(&self) -> BTreeSet<Segment> {
        let segments = self.files.keys().filter_map(|name| match name {
            ArchiveName::Partial(segment) if !self.files.contains_key(&ArchiveName::Segment(*segment)) => {
                segment.segment(self.size).ok()
            }
            _ => None,
        });
        segments.collect()
    }

    /// Fetches all histories. One that cannot be read is an error of its own: a recovery may not
    /// need it.
    pub(super) async fn histories(&self, reader: &Reader<'_>) -> Histories {
        let mut histories = Histories::default();
        for name in self.files.keys().copied() {
            let ArchiveName::History { timeline } = name else { continue };
            let fetched = self.fetch(reader, &name.to_string()).await;
            let parsed = fetched.and_then(|content| match History::parse(timeline, &content) {
                Ok(history) => Ok((history, content)),
                Err(error) => {
                    let message = "not the history of a timeline";
                    Err(Error::new(Stage::Verify, Kind::Corrupt, name.to_string(), message).because(error))
                }
            });
            match parsed {
                Ok((history, content)) => {
                    histories.parsed.insert(timeline, history);
                    histories.files.insert(name, content);
                }
                Err(error) => {
                    histories.unreadable.insert(timeline, error);
                }
            }
        }
        histories
    }

    /// Fetches a file from the first destination that has it intact.
    pub(super) async fn fetch(&self, reader: &Reader<'_>, name: &str) -> Result<Bytes> {
        let not_found = || Error::new(Stage::Restore, Kind::NotFound, name, "not in the archive");
        let name = name.parse::<ArchiveName>().map_err(|error| not_found().because(error))?;
        let all = self.files.get(&name).ok_or_else(not_found)?;
        let differs = |file: &WalKey| all.iter().any(|(_, first, _)| first.digest != file.digest);
        if let Some((_, other, _)) = all.iter().find(|(_, file, _)| differs(file)) {
            return Err(ambiguous(name, other));
        }
        let copies = all.iter().map(|(place, file, _)| (*place, file));
        self.fetch_copy(reader, copies).await.unwrap_or_else(|| Err(not_found()))
    }

    /// Fetches one of several copies of a file: the first that is intact. Returns `None` without a
    /// copy.
    async fn fetch_copy<'f>(
        &self,
        reader: &Reader<'_>,
        copies: impl Iterator<Item = (usize, &'f WalKey)>,
    ) -> Option<Result<Bytes>> {
        let mut first = None;
        for (place, file) in copies {
            let Some(archive) = self.archives.get(place) else { continue };
            match reader.read(archive, file).await {
                Ok(content) => return Some(Ok(content)),
                Err(error) => first = first.or(Some(error)),
            }
        }
        first.map(Err)
    }

    /// Fetches the beginning of a segment. Of several, the one whose WAL reaches furthest is right:
    /// each of the others is the beginning of it.
    pub(super) async fn fetch_partial(&self, reader: &Reader<'_>, segment: &str) -> Result<Bytes> {
        let name = format!("{segment}.partial");
        let not_found = || Error::new(Stage::Restore, Kind::NotFound, &name, "not in the archive");
        let parsed = name.parse::<ArchiveName>().map_err(|error| not_found().because(error))?;
        let all = self.files.get(&parsed).ok_or_else(not_found)?;
        let mut copies: BTreeMap<WalDigest, Vec<(usize, &WalKey)>> = BTreeMap::new();
        let largest = all.iter().map(|(_, _, bytes)| *bytes).max().unwrap_or_default();
        for (place, file, _) in all.iter().filter(|(_, _, bytes)| may_reach_furthest(*bytes, largest)) {
            copies.entry(file.digest).or_default().push((*place, file));
        }
        let fetches = copies.into_values().map(async |copies| {
            let content = self.fetch_copy(reader, copies.into_iter()).await.unwrap_or_else(|| Err(not_found()))?;
            let walked = content.clone();
            let facts = blocking(move || {
                let failed =
                    |error| Error::new(Stage::Verify, Kind::Corrupt, "", "not a segment of WAL").because(error);
                walk::read(&walked[..]).map_err(failed)
            });
            let facts = facts.await?;
            let bytes = facts.end_of_records.0.saturating_sub(facts.start.0) as usize;
            Ok::<_, Error>((bytes.min(content.len()), content))
        });
        let mut fetched = stream::iter(fetches).buffered(FETCHES);
        let mut furthest: Option<(usize, Bytes)> = None;
        while let Some((bytes, content)) = fetched.try_next().await? {
            if let Some((other_bytes, other)) = &furthest {
                let common = bytes.min(*other_bytes);
                if content.get(..common) != other.get(..common) {
                    return Err(all.first().map_or_else(not_found, |(_, file, _)| ambiguous(parsed, file)));
                }
            }
            if furthest.as_ref().is_none_or(|(other, _)| bytes > *other) {
                furthest = Some((bytes, content));
            }
        }
        furthest.map(|(_, content)| content).ok_or_else(not_found)
    }
}

/// The most bytes by which a partial segment may be smaller than one that it continues: the last
/// block of zstd, which was compressed with zeros after its WAL, and the difference between two
/// encryptions.
const BLOCK_BYTES: u64 = 256 << 10;

/// Returns true if a partial segment of so many bytes, compressed, may have more WAL than the
/// largest one. An eighth allows for another version of the compression.
fn may_reach_furthest(bytes: u64, largest: u64) -> bool {
    bytes.saturating_add(bytes / 8).saturating_add(BLOCK_BYTES) >= largest
}
