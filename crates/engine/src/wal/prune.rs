//! Removal of archived WAL that neither a kept base backup nor the recovery window needs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use chrono::{DateTime, Utc};
use longshore_catalog::catalog::Catalog;
use longshore_config::{Config, WalArchive};
use longshore_core::error::Result;
use longshore_core::key::{BackupName, encode_name};
use longshore_core::subject::Subject;
use longshore_core::wal_key::{WalFolder, WalKey};
use longshore_core::{Error, Kind, Stage};
use longshore_pg_wal::ArchiveName;
use longshore_pg_wal::archive_name::SegmentName;
use longshore_pg_wal::segment::{Segment, SegmentSize};
use longshore_retention::{KeptBase, RecoveryWindow, WalPlan};
use serde::Serialize;

use crate::catalogs::{Catalogued, read_catalogs};
use crate::destination_state::DestinationState;
use crate::error_report::ErrorReport;
use crate::mode::Mode;
use crate::wal::archive::ArchiveAt;

/// The decision about the archived WAL of one cluster at one destination.
#[derive(Debug, Serialize)]
pub struct WalPruned {
    /// The name of the cluster in the configuration.
    pub cluster: String,
    /// The base backup from whose start on all WAL is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<BackupName>,
    /// The earliest moment to recover to: the time at which that backup was complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// True if that moment is at or before the beginning of the recovery window.
    pub covers_window: bool,
    /// The name of the first segment of that backup, without the timeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// Older backups that keep the WAL which makes them consistent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<BackupName>,
    /// The names of the files that are removed.
    pub removed: Vec<String>,
    /// The size of these files in bytes.
    pub bytes: u64,
    /// The error that ended the removal, or the safety rule that forbade it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReport>,
}

impl WalPruned {
    fn of(cluster: &str) -> Self {
        let cluster = cluster.to_owned();
        Self {
            cluster,
            oldest: None,
            since: None,
            covers_window: true,
            first: None,
            also: Vec::new(),
            removed: Vec::new(),
            bytes: 0,
            error: None,
        }
    }
}

/// Removes WAL from the archives of all clusters, or of one, or shows what would be removed.
/// Returns the decisions, each with its destination.
pub(crate) async fn prune(
    config: &Config,
    cluster: Option<&str>,
    destination: Option<&str>,
    mode: Mode,
) -> Vec<(String, WalPruned)> {
    let of_cluster = |archive: &&WalArchive| cluster.is_none_or(|cluster| cluster == archive.cluster);
    let archives: Vec<&WalArchive> = config.wal.values().filter(of_cluster).collect();
    if archives.is_empty() {
        return Vec::new();
    }
    // A backup at any destination may need the WAL at any other.
    let catalogs = match read_catalogs(config, None).await {
        Ok(read) => read.into_iter().map(|(_, read)| read).collect::<Result<Vec<_>>>(),
        Err(error) => Err(error),
    };
    let mut all = Vec::new();
    for archive in archives {
        let bases = catalogs.as_ref().map_err(Clone::clone).and_then(|catalogs| bases(config, catalogs, archive));
        for name in archive.ship.iter().filter(|name| destination.is_none_or(|only| only == name.as_str())) {
            let mut pruned = WalPruned::of(&archive.cluster);
            let done = match &bases {
                Ok(bases) => prune_at(config, (archive, name), bases, mode, &mut pruned).await,
                Err(error) => Err(error.clone()),
            };
            pruned.error = done.err().map(|error| ErrorReport::from(&error));
            // Without a limit, only the beginnings of whole segments are removed.
            if archive.window != RecoveryWindow::All || !pruned.removed.is_empty() {
                all.push((name.clone(), pruned));
            }
        }
    }
    all
}

/// Returns the base backups of a cluster at all destinations, by system identifier.
fn bases(config: &Config, catalogs: &[Catalogued], archive: &WalArchive) -> Result<BTreeMap<u64, Vec<KeptBase>>> {
    let mut bases: BTreeMap<u64, Vec<KeptBase>> = BTreeMap::new();
    for at in catalogs {
        let count = at.catalog.backups().count() + at.catalog.unreadable.len();
        DestinationState::read(config, &at.name)?.expect_backups(&at.name, count)?;
        expect_readable(&at.catalog, archive)?;
        for backup in at.catalog.backups() {
            let manifest = &backup.manifest;
            let is_of_cluster = manifest.cluster.name == archive.cluster && manifest.subject == Subject::Base;
            let identifier = manifest.cluster.server.system_identifier.as_ref().and_then(|text| text.parse().ok());
            // A crash-consistent backup needs no archived WAL, and takes none.
            let facts = manifest.base.as_ref().filter(|facts| !facts.crash_consistent);
            if let (true, Some(identifier), Some(facts)) = (is_of_cluster, identifier, facts) {
                bases.entry(identifier).or_default().push(KeptBase {
                    name: backup.name.clone(),
                    finished: manifest.recoverable_from(),
                    is_good: backup.is_good() && !backup.is_chain_doubtful,
                    facts: facts.clone(),
                });
            }
        }
    }
    Ok(bases)
}

/// Fails if a manifest cannot be read that may belong to a base backup of the cluster.
fn expect_readable(catalog: &Catalog, archive: &WalArchive) -> Result<()> {
    let folder = format!("{}/{}/", encode_name(&archive.cluster), Subject::Base);
    match catalog.unreadable.iter().find(|(key, _)| key.as_str().starts_with(&folder)) {
        None => Ok(()),
        Some((key, error)) => {
            let message = "no WAL is removed, since this backup may need it, and its manifest cannot be read";
            Err(Error::new(Stage::Retention, Kind::Refused, key.as_str(), message).because(error.clone()))
        }
    }
}

/// Removes WAL at one destination.
async fn prune_at(
    config: &Config,
    (archive, destination): (&WalArchive, &str),
    bases: &BTreeMap<u64, Vec<KeptBase>>,
    mode: Mode,
    pruned: &mut WalPruned,
) -> Result<()> {
    for (system_identifier, bases) in bases {
        let size = bases.first().map_or(0, |base| base.facts.wal_segment_bytes);
        let Ok(size) = SegmentSize::new(size) else { continue };
        let folder = WalFolder { cluster: archive.cluster.clone(), system_identifier: *system_identifier };
        let at = ArchiveAt::open(config, destination, &folder)?;
        let files = at.list_all().await?;
        let now = Utc::now();
        let timelines = first_segments(&files, size);
        let plan = WalPlan::new(bases, &timelines, archive.window, size, now);
        let whole = whole_segments(&files);
        let is_unneeded = |file: &WalKey| {
            plan.as_ref().is_some_and(|plan| is_removable(file, plan, size)) || is_superseded(file, &whole)
        };
        let removable: Vec<_> = files.iter().filter(|(file, _)| is_unneeded(file)).collect();
        if let Some(plan) = &plan {
            pruned.first = Some(Segment { timeline: 1, number: plan.first }.name(size).split_off(8));
            pruned.oldest = Some(plan.oldest.clone());
            pruned.since = Some(plan.since);
            pruned.covers_window = match archive.window {
                RecoveryWindow::Span(span) => now.checked_sub_signed(span).is_none_or(|begin| plan.since <= begin),
                RecoveryWindow::All | RecoveryWindow::None => true,
            };
            pruned.also.extend(plan.ranges.iter().map(|(name, _)| name.clone()));
            if !removable.is_empty() {
                expect_sound(&files, plan, bases, size)?;
            }
        }
        let headers = match (removable.is_empty(), mode) {
            (false, Mode::Act) => at.headers(None).await?,
            _ => Vec::new(),
        };
        for (file, bytes) in removable {
            if mode == Mode::Act {
                at.store.remove(&file.key).await?;
                for header in headers.iter().filter(|header| header.sealed == file.key) {
                    at.store.remove(&header.key()?).await?;
                }
            }
            pruned.removed.push(file.name.to_string());
            pruned.bytes += bytes;
        }
    }
    Ok(())
}

/// Returns the number of the first archived segment of each timeline.
fn first_segments(files: &[(WalKey, u64)], size: SegmentSize) -> BTreeMap<u32, u64> {
    let mut first: BTreeMap<u32, u64> = BTreeMap::new();
    for segment in files.iter().filter_map(|(file, _)| segment_name(file)?.segment(size).ok()) {
        first.entry(segment.timeline).and_modify(|first| *first = segment.number.min(*first)).or_insert(segment.number);
    }
    first
}

/// Returns true if a file belongs to a segment that is not kept. Histories are always kept.
fn is_removable(file: &WalKey, plan: &WalPlan, size: SegmentSize) -> bool {
    segment_name(file).and_then(|name| name.segment(size).ok()).is_some_and(|segment| !plan.keeps(segment))
}

/// Returns the names of the whole segments.
fn whole_segments(files: &[(WalKey, u64)]) -> BTreeSet<SegmentName> {
    let names = files.iter().filter_map(|(file, _)| match file.name {
        ArchiveName::Segment(name) => Some(name),
        _ => None,
    });
    names.collect()
}

/// Returns true for the beginning of a segment that is archived whole, and after which the archive
/// continues: recovery does not use it any more.
fn is_superseded(file: &WalKey, whole: &BTreeSet<SegmentName>) -> bool {
    let ArchiveName::Partial(name) = file.name else { return false };
    let next = whole.range((Bound::Excluded(name), Bound::Unbounded)).next();
    whole.contains(&name) && next.is_some_and(|next| next.timeline() == name.timeline())
}

fn segment_name(file: &WalKey) -> Option<SegmentName> {
    match file.name {
        ArchiveName::Segment(segment) | ArchiveName::Partial(segment) | ArchiveName::BackupHistory { segment, .. } => {
            Some(segment)
        }
        ArchiveName::History { .. } => None,
    }
}

/// Fails if the archive is not as expected: then a person must look at it first.
fn expect_sound(files: &[(WalKey, u64)], plan: &WalPlan, bases: &[KeptBase], size: SegmentSize) -> Result<()> {
    let refused = |name: String, message: &str| {
        Err(Error::new(Stage::Retention, Kind::Refused, name, format!("no WAL is removed: {message}"))
            .hint("`longshore wal status` shows the state of the archive"))
    };
    let mut names = BTreeSet::new();
    let segments = files.iter().filter(|(file, _)| matches!(file.name, ArchiveName::Segment(_)));
    if let Some((file, _)) = segments.clone().find(|(file, _)| !names.insert(file.name)) {
        return refused(file.name.to_string(), "there are two files of this name with different content");
    }
    let listed: BTreeSet<u64> =
        segments.filter_map(|(file, _)| Some(segment_name(file)?.segment(size).ok()?.number)).collect();
    let Some(oldest) = bases.iter().find(|base| base.name == plan.oldest) else { return Ok(()) };
    let last = Segment::ending(oldest.facts.timeline, oldest.facts.stop_lsn, size);
    if !listed.contains(&last.number) {
        let message = format!("{}, from which WAL is kept, ends in this segment, which is not archived", oldest.name);
        return refused(last.name(size), &message);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use longshore_core::key::Key;

    use super::*;

    #[test]
    fn partial_segment_is_superseded_by_a_whole_one() {
        let file = |name: &str| {
            let key = format!("main/wal/7/{}/{name}-{}.zst", &name[..16], "0".repeat(32));
            (WalKey::parse(&Key::parse(&key).unwrap()).unwrap(), 1)
        };
        let whole = whole_segments(&[
            file("000000010000000000000004"),
            file("000000010000000000000005"),
            file("000000020000000000000005"),
            file("000000010000000000000006.partial"),
        ]);
        for (name, expected) in [
            ("000000010000000000000004.partial", true),
            // The newest one may still be wanted, and the last one of a timeline always is.
            ("000000010000000000000005.partial", false),
            ("000000010000000000000006.partial", false),
            ("000000010000000000000003.partial", false),
            ("000000020000000000000005.partial", false),
            ("000000010000000000000004", false),
        ] {
            assert_eq!(is_superseded(&file(name).0, &whole), expected, "{name}");
        }
    }
}
