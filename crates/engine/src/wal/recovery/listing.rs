//! The files of an archive at all destinations, for the recovery of one base backup.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use longshore_config::{Config, WalArchive};
use longshore_core::base::WalLocation;
use longshore_core::manifest::Manifest;
use longshore_core::wal_key::{WalFolder, WalKey};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_wal::segment::{Segment, SegmentSize};
use longshore_pg_wal::{ArchiveName, History};

use crate::wal::archive::{ArchiveAt, open_all};
use crate::wal::fetch::{Reader, ambiguous};
use crate::wal::lineage::BackupRange;

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
    /// The files by name; each with the destinations by their place in `archives`.
    files: BTreeMap<ArchiveName, Vec<(usize, WalKey)>>,
}

impl Listing {
    /// Lists the archive of the cluster of a base backup.
    pub(super) async fn read(config: &Config, settings: &WalArchive, manifest: &Manifest) -> Result<Self> {
        let name = manifest.name()?.to_string();
        let unknown = |message: &str| Error::new(Stage::Restore, Kind::Refused, name.as_str(), message);
        let facts = manifest.base.as_ref().ok_or_else(|| unknown("not a base backup with recorded positions"))?;
        let system_identifier = manifest.cluster.server.system_identifier.as_ref().and_then(|text| text.parse().ok());
        let folder = WalFolder {
            cluster: settings.cluster.clone(),
            system_identifier: system_identifier.ok_or_else(|| unknown("the manifest names no system identifier"))?,
        };
        let size = SegmentSize::new(facts.wal_segment_bytes)
            .map_err(|error| unknown("the manifest names no valid size of WAL segments").because(error))?;
        // The backup contains its own WAL, but the segment with its end is complete only in the archive.
        let start = if facts.wal == WalLocation::Included { facts.stop_lsn } else { facts.start_lsn };
        let backup = BackupRange { timeline: facts.timeline, start, stop: facts.stop_lsn };
        let (mut archives, mut files) = (Vec::new(), BTreeMap::<ArchiveName, Vec<(usize, WalKey)>>::new());
        let (mut warnings, mut first) = (Vec::new(), None);
        for (name, archive) in open_all(config, settings, &folder) {
            let listed = async { archive.as_ref().map_err(Clone::clone)?.list_all().await };
            match (listed.await, archive) {
                (Ok(listed), Ok(archive)) => {
                    if listed.is_empty() {
                        warnings.push(format!("\"{name}\" has no WAL of this cluster"));
                    }
                    let place = archives.len();
                    listed.into_iter().for_each(|(file, _)| files.entry(file.name).or_default().push((place, file)));
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
        if let Some((_, other)) = all.iter().find(|(_, file)| all.iter().any(|(_, first)| first.digest != file.digest))
        {
            return Err(ambiguous(name, other));
        }
        let mut first = None;
        for (place, file) in all {
            let Some(archive) = self.archives.get(*place) else { continue };
            match reader.read(archive, file).await {
                Ok(content) => return Ok(content),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(not_found))
    }
}
