//! Recovery of a base backup from the archive, planned and staged before the server starts.
//!
//! PostgreSQL ends recovery without an error where the WAL ends, so a missing segment or a wrong
//! restore_command would lose transactions silently. Here every segment is fetched and checked
//! first, and the server gets a target that its WAL provably reaches: it stops there or fails.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use longshore_config::registry::Registry;
use longshore_config::{Config, WalArchive};
use longshore_core::base::WalLocation;
use longshore_core::manifest::Manifest;
use longshore_core::plugin::{Identities, Recovery};
use longshore_core::wal_key::{WalFolder, WalKey};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_wal::segment::{Segment, SegmentSize};
use longshore_pg_wal::{ArchiveName, History, Lsn, SegmentFacts, walk};
use tempfile::TempDir;

use crate::wal::archive::{ArchiveAt, open_all};
use crate::wal::blocking;
use crate::wal::fetch::Reader;
use crate::wal::lineage::{BackupRange, Lineage, lineage, newest_timeline};

/// The number of segments fetched at once.
const FETCHES: usize = 4;

/// The end of a recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryTarget {
    /// The end of the archived WAL.
    Latest,
    /// The end of the backup, where it is consistent.
    Immediate,
    /// The last commit at or before a time.
    Time(DateTime<Utc>),
    /// The record at a position.
    Lsn(Lsn),
    /// The end of a transaction, by its number.
    Xid(u64),
    /// A restore point, by its name.
    Name(String),
}

/// The state of the server after it has reached the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetAction {
    /// Accept writes.
    Promote,
    /// Stay read-only, until `pg_wal_replay_resume()`.
    Pause,
}

/// A recovery that is requested.
#[derive(Debug, Clone)]
pub struct RecoveryRequest {
    /// The end of the recovery.
    pub target: RecoveryTarget,
    /// The timeline on which it ends, if not the newest one that continues the backup.
    pub timeline: Option<u32>,
    /// The state after the target is reached.
    pub action: TargetAction,
}

/// A recovery whose WAL is on this host.
#[derive(Debug)]
pub struct StagedRecovery {
    /// The folder with the files for `pg_wal`. Dropping it removes them.
    folder: TempDir,
    files: Vec<String>,
    settings: Vec<(String, String)>,
    /// The timeline on which recovery ends.
    pub timeline: u32,
    /// The number of segments.
    pub segments: usize,
    /// The position of the last record that is replayed at most.
    pub last_record: Lsn,
    /// The time of the last commit or abort among the segments, if there is one.
    pub last_transaction: Option<DateTime<Utc>>,
}

impl StagedRecovery {
    /// Returns the recovery for a data directory. The files exist as long as this object.
    pub fn recovery(&self) -> Recovery {
        Recovery { settings: self.settings.clone(), folder: self.folder.path().to_owned(), files: self.files.clone() }
    }
}

/// A recovery for which the archive has all segments, by their names.
pub struct RecoveryPlan<'a> {
    archive: Archive,
    reader: Reader<'a>,
    histories: BTreeMap<ArchiveName, Bytes>,
    lineage: Lineage,
    request: &'a RecoveryRequest,
}

impl<'a> RecoveryPlan<'a> {
    /// Plans the recovery of a base backup. Fetches no segment.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Refused`] if the archive lacks a segment that the backup needs, or cannot
    /// reach the target.
    pub async fn new(
        (config, registry, settings): (&Config, &'a Registry, &WalArchive),
        identities: &'a Identities,
        manifest: &Manifest,
        request: &'a RecoveryRequest,
    ) -> Result<Self> {
        let archive = Archive::read(config, settings, manifest).await?;
        let system_identifier = archive.folder.system_identifier;
        let reader = Reader { registry, identities, system_identifier, size: archive.size };
        let histories = archive.histories(&reader).await?;
        let timelines = parsed(&histories);
        let timeline = request.timeline.unwrap_or_else(|| newest_timeline(archive.backup, &timelines));
        let lineage = lineage(archive.backup, timeline, &timelines, &archive.segments(), archive.size)?;
        match &request.target {
            RecoveryTarget::Lsn(lsn) if *lsn < archive.backup.stop => {
                let message = format!("the backup is consistent from {} on", archive.backup.stop);
                return Err(unreached(format!("the position {lsn}"), message).hint("choose an older backup"));
            }
            RecoveryTarget::Lsn(lsn) if *lsn >= lineage.missing.start(archive.size) => {
                return Err(unreached(format!("the position {lsn}"), end_of(&lineage, archive.size)));
            }
            RecoveryTarget::Latest if lineage.is_gap => {
                let hint = "recover to a time before the gap, or from a backup after it; `longshore wal status` shows all gaps";
                return Err(unreached("the end of the archive".to_owned(), end_of(&lineage, archive.size)).hint(hint));
            }
            _ => {}
        }
        Ok(Self { archive, reader, histories, lineage, request })
    }

    /// Fetches and checks all WAL of the recovery into a new folder in `scratch_dir`.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Refused`] if the WAL does not reach the target, and with
    /// [`Kind::Corrupt`] if a segment is damaged wherever it is.
    pub async fn stage(&self, scratch_dir: &Path) -> Result<StagedRecovery> {
        let Self { archive, reader, histories, lineage, request } = self;
        let folder = tempfile::Builder::new().prefix(".longshore-wal-").tempdir_in(scratch_dir).map_err(|error| {
            Error::io(Stage::Restore, scratch_dir.display().to_string(), "cannot make a folder for WAL", error)
                .hint("name a folder on a file system with enough space: --scratch-dir DIR")
        })?;
        let mut files = Vec::new();
        for (name, content) in histories.iter().filter(|(name, _)| lineage.histories.contains(name)) {
            write(folder.path(), name.to_string(), content.clone()).await?;
            files.push(name.to_string());
        }
        let mut found = Found::default();
        let names = lineage.segments.iter().map(|segment| segment.name(archive.size));
        let fetches = names.map(async |name| Ok::<_, Error>((archive.fetch(reader, &name).await?, name)));
        let mut fetched = stream::iter(fetches).buffered(FETCHES);
        while let Some((content, name)) = fetched.try_next().await? {
            let facts = walked(content.clone()).await?;
            found.expect_continuation(&facts).map_err(|message| {
                let message = format!("does not continue the segment before it: {message}");
                Error::new(Stage::Verify, Kind::Corrupt, &name, message)
                    .hint("recover to a time before it, or from a base backup after it")
            })?;
            found.add(&facts, &request.target, archive.backup.stop);
            write(folder.path(), name.clone(), content).await?;
            files.push(name);
            if found.is_reached {
                break;
            }
        }
        drop(fetched);
        let mut settings = vec![
            // All WAL is in pg_wal, but recovery does not start without a restore_command.
            ("restore_command".to_owned(), "/bin/false".to_owned()),
            ("recovery_target_timeline".to_owned(), lineage.timeline.to_string()),
            ("recovery_target_action".to_owned(), request.action.setting().to_owned()),
            ("hot_standby".to_owned(), "on".to_owned()),
        ];
        settings.extend(found.settings(&request.target, &end_of(lineage, archive.size))?);
        Ok(StagedRecovery {
            folder,
            segments: files.len() - lineage.histories.len(),
            files,
            settings,
            timeline: lineage.timeline,
            last_record: found.last_record.unwrap_or(archive.backup.stop),
            last_transaction: found.last_transaction,
        })
    }
}

/// Describes the end of the WAL without a gap.
fn end_of(lineage: &Lineage, size: SegmentSize) -> String {
    let (name, start) = (lineage.missing.name(size), lineage.missing.start(size));
    if lineage.is_gap {
        format!("{name} is missing, from {start} on")
    } else {
        format!("the WAL ends before {name}, at {start}")
    }
}

async fn walked(content: Bytes) -> Result<SegmentFacts> {
    blocking(move || {
        let failed = |error| Error::new(Stage::Verify, Kind::Corrupt, "", "not a segment of WAL").because(error);
        walk::read(&content[..]).map_err(failed)
    })
    .await
}

impl TargetAction {
    fn setting(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Pause => "pause",
        }
    }
}

/// The files of an archive at all destinations.
struct Archive {
    folder: WalFolder,
    size: SegmentSize,
    backup: BackupRange,
    archives: Vec<ArchiveAt>,
    /// The files by name; each with the destinations by their place in `archives`.
    files: BTreeMap<ArchiveName, Vec<(usize, WalKey)>>,
}

impl Archive {
    /// Lists the archive of the cluster of a base backup.
    async fn read(config: &Config, settings: &WalArchive, manifest: &Manifest) -> Result<Self> {
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
        let mut errors = Vec::new();
        for (_, archive) in open_all(config, settings, &folder) {
            let listed = async { archive.as_ref().map_err(Clone::clone)?.list_all().await };
            match (listed.await, archive) {
                (Ok(listed), Ok(archive)) => {
                    let place = archives.len();
                    listed.into_iter().for_each(|(file, _)| files.entry(file.name).or_default().push((place, file)));
                    archives.push(archive);
                }
                (Err(error), _) | (_, Err(error)) => errors.push(error),
            }
        }
        // Another destination may have all that recovery needs. If not, its error explains the gap.
        if files.is_empty() {
            let message = format!("no destination has WAL of the system identifier {}", folder.system_identifier);
            let error = Error::new(Stage::Restore, Kind::Refused, &settings.cluster, message);
            return Err(errors.into_iter().next().unwrap_or(error));
        }
        for error in errors {
            tracing::warn!(target: "longshore::wal", "{}", error.chain());
        }
        Ok(Self { folder, size, backup, archives, files })
    }

    fn segments(&self) -> BTreeSet<Segment> {
        let segments = self.files.keys().filter_map(|name| match name {
            ArchiveName::Segment(segment) => segment.segment(self.size).ok(),
            _ => None,
        });
        segments.collect()
    }

    /// Fetches all histories.
    async fn histories(&self, reader: &Reader<'_>) -> Result<BTreeMap<ArchiveName, Bytes>> {
        let names = self.files.keys().filter(|name| matches!(name, ArchiveName::History { .. })).copied();
        let mut histories = BTreeMap::new();
        for name in names {
            histories.insert(name, self.fetch(reader, &name.to_string()).await?);
        }
        Ok(histories)
    }

    /// Fetches a file from the first destination that has it intact.
    async fn fetch(&self, reader: &Reader<'_>, name: &str) -> Result<Bytes> {
        let not_found = || Error::new(Stage::Restore, Kind::NotFound, name, "not in the archive");
        let name = name.parse::<ArchiveName>().map_err(|error| not_found().because(error))?;
        let all = self.files.get(&name).ok_or_else(not_found)?;
        if let Some((_, other)) = all.iter().find(|(_, file)| all.iter().any(|(_, first)| first.digest != file.digest))
        {
            return Err(crate::wal::fetch::ambiguous(name, other));
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

/// Parses all histories. They were checked when they were fetched.
fn parsed(histories: &BTreeMap<ArchiveName, Bytes>) -> BTreeMap<u32, History> {
    let all = histories.iter().filter_map(|(name, content)| {
        let ArchiveName::History { timeline } = name else { return None };
        Some((*timeline, History::parse(*timeline, content).ok()?))
    });
    all.collect()
}

/// The results of the walk over the segments.
#[derive(Default)]
struct Found {
    last_record: Option<Lsn>,
    last_transaction: Option<DateTime<Utc>>,
    /// The latest time in the WAL: of a transaction or of a restore point.
    latest_time: Option<DateTime<Utc>>,
    /// True if the target is before the end of the segments so far.
    is_reached: bool,
    /// The last segment so far.
    before: Option<SegmentFacts>,
}

impl Found {
    /// Compares a segment with the one before it: neither segment alone contains the CRC and all
    /// bytes of a record that continues.
    fn expect_continuation(&self, facts: &SegmentFacts) -> Result<(), String> {
        // The length of a record over several segments is known only in the first of them.
        let Some(before) = self.before.as_ref().filter(|before| before.first_record.is_some()) else { return Ok(()) };
        let unfinished = before.unfinished_record;
        let missing = unfinished.map_or(0, |record| record.missing_bytes);
        let continued = facts.continuation_bytes;
        // After a crash, the server overwrites a record that it had not written to its end.
        let is_overwritten = missing > 0 && continued == 0;
        if continued != missing && !is_overwritten {
            return Err(format!("it begins with {continued} bytes of a record that lacks {missing}"));
        }
        let last = unfinished.filter(|_| !is_overwritten).map(|record| record.lsn).or(before.last_record);
        match (facts.previous_record, last) {
            (Some(previous), Some(last)) if previous != last => {
                Err(format!("its first record follows that at {previous}, and the last one before it is at {last}"))
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, facts: &SegmentFacts, target: &RecoveryTarget, stop: Lsn) {
        self.before = Some(facts.clone());
        self.last_record = facts.last_record.or(self.last_record);
        let latest = facts.transactions.map(|ends| ends.latest);
        self.last_transaction = self.last_transaction.max(latest);
        let points = facts.restore_points.first.iter();
        let restore_points = points.clone().filter_map(|point| point.time).max();
        self.latest_time = self.latest_time.max(latest).max(restore_points);
        // Before its end, a backup is not consistent.
        let is_consistent = facts.end_of_records >= stop;
        self.is_reached |= is_consistent
            && match target {
                RecoveryTarget::Time(time) => latest.is_some_and(|latest| latest > *time),
                RecoveryTarget::Lsn(lsn) => self.last_record.is_some_and(|last| last >= *lsn),
                RecoveryTarget::Name(name) => points.map(|point| &point.name).any(|found| found == name),
                RecoveryTarget::Immediate => true,
                RecoveryTarget::Latest | RecoveryTarget::Xid(_) => false,
            };
    }

    /// Returns the settings of the target.
    fn settings(&self, target: &RecoveryTarget, end: &str) -> Result<Vec<(String, String)>> {
        let of = |name: &str, value: String| vec![(format!("recovery_target_{name}"), value)];
        let to_the_end = || match self.last_record {
            Some(lsn) => Ok(of("lsn", lsn.to_string())),
            None => Err(unreached("the end of the archive".to_owned(), "the segments contain no whole record")),
        };
        match target {
            RecoveryTarget::Latest => to_the_end(),
            RecoveryTarget::Immediate => Ok(vec![("recovery_target".to_owned(), "immediate".to_owned())]),
            RecoveryTarget::Time(time) if self.is_reached => {
                Ok(of("time", time.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string()))
            }
            // No transaction ended between this time and the end of the WAL.
            RecoveryTarget::Time(time) if self.latest_time.is_some_and(|latest| latest >= *time) => to_the_end(),
            RecoveryTarget::Time(time) => {
                let latest = self.latest_time.map(text).unwrap_or_else(|| "unknown".to_owned());
                Err(unreached(format!("the time {}", text(*time)), format!("{}; its latest time is {latest}", end))
                    .hint("restore to an earlier time, or to the end of the archive: --at latest"))
            }
            RecoveryTarget::Lsn(lsn) if self.is_reached => Ok(of("lsn", lsn.to_string())),
            RecoveryTarget::Lsn(lsn) => Err(unreached(format!("the position {lsn}"), end)),
            RecoveryTarget::Name(name) if self.is_reached => Ok(of("name", name.clone())),
            RecoveryTarget::Name(name) => Err(unreached(format!("the restore point \"{name}\""), end)),
            // PostgreSQL fails if the WAL does not contain the end of the transaction.
            RecoveryTarget::Xid(xid) => Ok(of("xid", xid.to_string())),
        }
    }
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn unreached(target: String, message: impl std::fmt::Display) -> Error {
    Error::new(Stage::Restore, Kind::Refused, target, format!("not reached: {message}"))
}

/// Writes a file of the staged WAL.
async fn write(folder: &Path, name: String, content: Bytes) -> Result<()> {
    let path = folder.join(name);
    blocking(move || {
        std::fs::write(&path, &content).map_err(|error| {
            Error::io(Stage::Restore, path.display().to_string(), "cannot write WAL", error)
                .hint("free some space, or name another folder: --scratch-dir DIR")
        })
    })
    .await
}
