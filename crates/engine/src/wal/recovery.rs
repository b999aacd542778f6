//! Recovery of a base backup from the archive, planned and staged before the server starts.
//!
//! PostgreSQL ends recovery without an error where the WAL ends, so a missing segment or a wrong
//! restore_command would lose transactions silently. Here every segment is fetched and checked
//! first, and the server gets a target that its WAL provably reaches: it stops there or fails.

mod found;
mod listing;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use longshore_config::registry::Registry;
use longshore_config::{Config, WalArchive};
use longshore_core::manifest::Manifest;
use longshore_core::plugin::{Identities, Recovery, RecoveryEnd};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_wal::facts::NewTablespace;
use longshore_pg_wal::segment::SegmentSize;
use longshore_pg_wal::{Lsn, SegmentFacts, walk};
use tempfile::TempDir;

use self::found::{Found, unreached};
use self::listing::{Histories, Listing};
use crate::wal::blocking;
use crate::wal::fetch::Reader;
use crate::wal::lineage::{Lineage, descends, lineage, missing_history, newest_timeline};

/// The hint of an error about newer WAL than that in the archive.
const SWITCH_HINT: &str =
    "if the server still runs, let it archive its newest WAL with `select pg_switch_wal()`, and try again";

/// The number of segments fetched at once.
const FETCHES: usize = 4;

/// The end of a recovery.
#[derive(Debug, Clone, PartialEq)]
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
    /// A moment between the end of the backup and the last transaction: the share of that time,
    /// from 0 to 1.
    Between(f64),
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
    /// The position that the recovery passes: that of the target, or the end of the backup.
    reaches: Lsn,
    /// The timeline on which recovery ends.
    pub timeline: u32,
    /// The number of segments.
    pub segments: usize,
    /// The position of the last record that is replayed at most.
    pub last_record: Lsn,
    /// The time of the last commit or abort among the segments, if there is one.
    pub last_transaction: Option<DateTime<Utc>>,
    /// The time at which recovery ends, if the target is a time.
    pub time: Option<DateTime<Utc>>,
}

impl StagedRecovery {
    /// Returns the recovery for a data directory. The files exist as long as this object.
    pub fn recovery(&self) -> Recovery {
        Recovery {
            settings: self.settings.clone(),
            folder: self.folder.path().to_owned(),
            files: self.files.clone(),
            end: RecoveryEnd::Target,
            reaches: Some(self.reaches),
        }
    }
}

/// A recovery for which the archive has all segments, by their names.
pub struct RecoveryPlan<'a> {
    listing: Listing,
    reader: Reader<'a>,
    histories: Histories,
    lineage: Lineage,
    request: &'a RecoveryRequest,
    /// The time at which the backup is consistent.
    from: DateTime<Utc>,
    /// The settings that the source had, which a hot standby must have at least.
    settings: Vec<(String, String)>,
}

impl<'a> RecoveryPlan<'a> {
    /// Plans the recovery of a base backup. Fetches no segment.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Refused`] if the archive lacks a segment that the backup needs, cannot
    /// reach the target, or has several histories to choose from.
    pub async fn new(
        (config, registry, settings): (&Config, &'a Registry, &WalArchive),
        identities: &'a Identities,
        manifest: &Manifest,
        request: &'a RecoveryRequest,
    ) -> Result<Self> {
        let listing = Listing::read(config, settings, manifest).await?;
        let (backup, size) = (listing.backup, listing.size);
        let system_identifier = listing.folder.system_identifier;
        let reader = Reader { registry, identities, system_identifier, size };
        let histories = listing.histories(&reader).await;
        let (archived, partial) = (listing.segments(), listing.partial_segments());
        let all = archived.union(&partial).copied().collect();
        let chosen = match request.timeline {
            Some(timeline) => Ok(timeline),
            None => newest_timeline(backup, &histories.parsed, &all, size),
        };
        let planned =
            chosen.and_then(|timeline| lineage(backup, timeline, &histories.parsed, (&archived, &partial), size));
        // The unreadable history is the reason if it is that of the newest timeline.
        let planned = planned.map_err(|error| match histories.unreadable.last_key_value() {
            Some((_, unreadable)) => error.because(unreadable.clone()),
            None => error,
        });
        let lineage = planned?;
        let consistent = |target: String, from: String| {
            let message = format!("the backup is consistent from {from} on");
            Err(unreached(target, message).hint("choose an older backup, by its name or with --at"))
        };
        match &request.target {
            RecoveryTarget::Lsn(lsn) if *lsn < backup.stop => {
                return consistent(format!("the position {lsn}"), backup.stop.to_string());
            }
            RecoveryTarget::Time(time) if *time < manifest.recoverable_from() => {
                return consistent(format!("the time {}", text(*time)), text(manifest.recoverable_from()));
            }
            RecoveryTarget::Lsn(lsn) if *lsn >= lineage.missing.start(size) => {
                return Err(unreached(format!("the position {lsn}"), end_of(&lineage, size)).hint(SWITCH_HINT));
            }
            RecoveryTarget::Latest | RecoveryTarget::Between(_) if lineage.is_gap => {
                let hint = "recover to a time before the gap, or from a backup after it; `longshore wal status` shows all gaps";
                return Err(unreached("the end of the archive".to_owned(), end_of(&lineage, size)).hint(hint));
            }
            _ => {}
        }
        let settings = manifest.base.iter().flat_map(|facts| &facts.settings);
        let settings = settings.map(|(name, value)| (name.clone(), value.to_string())).collect();
        Ok(Self { listing, reader, histories, lineage, request, from: manifest.recoverable_from(), settings })
    }

    /// Returns warnings for the operator: destinations that may have more WAL.
    pub fn warnings(&self) -> &[String] {
        &self.listing.warnings
    }

    /// Fetches and checks all WAL of the recovery into a new folder in `scratch_dir`.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Refused`] if the WAL does not reach the target, and with
    /// [`Kind::Corrupt`] if every copy of a segment is damaged.
    pub async fn stage(&self, scratch_dir: &Path) -> Result<StagedRecovery> {
        let Self { listing: archive, reader, histories, lineage, request, .. } = self;
        let folder = tempfile::Builder::new().prefix(".longshore-wal-").tempdir_in(scratch_dir).map_err(|error| {
            Error::io(Stage::Restore, scratch_dir.display().to_string(), "cannot make a folder for WAL", error)
                .hint("name a folder on a file system with enough space: --scratch-dir DIR")
        })?;
        let mut files = Vec::new();
        // All of them: the server begins the first timeline without a history.
        for (name, content) in &histories.files {
            write(folder.path(), name.to_string(), content.clone()).await?;
            files.push(name.to_string());
        }
        let mut found = Found::default();
        let fetches = lineage.segments.iter().map(async |segment| {
            let name = segment.name(archive.size);
            let content = match lineage.partial == Some(*segment) {
                true => archive.fetch_partial(reader, &name).await?,
                false => archive.fetch(reader, &name).await?,
            };
            Ok::<_, Error>((content, name))
        });
        let mut fetched = stream::iter(fetches).buffered(FETCHES);
        while let Some((content, name)) = fetched.try_next().await? {
            let facts = walked(content.clone()).await?;
            found.expect_continuation(&facts).map_err(|message| {
                let message = format!("does not continue the segment before it: {message}");
                Error::new(Stage::Verify, Kind::Corrupt, &name, message)
                    .hint("recover to a time before it, or from a base backup after it")
            })?;
            found.add(&facts, &request.target, archive.backup.stop);
            facts.new_tablespaces.iter().try_for_each(expect_own_directory)?;
            write(folder.path(), name.clone(), content).await?;
            files.push(name);
            if found.is_reached {
                break;
            }
        }
        drop(fetched);
        if lineage.partial.is_some() && !found.is_consistent {
            let message = format!("the backup ends at {}, and {}", archive.backup.stop, end_of(lineage, archive.size));
            return Err(unreached("the end of the backup".to_owned(), message)
                .hint("choose another backup, by its name or with --at"));
        }
        let mut settings = vec![
            // All WAL is in pg_wal, but recovery does not start without a restore_command.
            ("restore_command".to_owned(), "/bin/false".to_owned()),
            ("recovery_target_timeline".to_owned(), lineage.timeline.to_string()),
            ("recovery_target_action".to_owned(), request.action.setting().to_owned()),
            ("hot_standby".to_owned(), request.action.hot_standby().to_owned()),
        ];
        if request.action == TargetAction::Pause {
            settings.extend(self.settings.iter().cloned());
        }
        let target = found.moment(&request.target, self.from);
        let of_target = found.settings(&target, &end_of(lineage, archive.size))?;
        let position = of_target.iter().find(|(name, _)| name == "recovery_target_lsn");
        let reaches = position.and_then(|(_, lsn)| lsn.parse().ok()).unwrap_or(archive.backup.stop);
        settings.extend(of_target);
        Ok(StagedRecovery {
            folder,
            segments: files.len() - histories.files.len(),
            files,
            settings,
            reaches,
            timeline: lineage.timeline,
            last_record: found.last_record.unwrap_or(archive.backup.stop),
            last_transaction: found.last_transaction,
            time: match target {
                RecoveryTarget::Time(time) => Some(time),
                _ => None,
            },
        })
    }
}

/// Returns true if a timeline of the archive continues a base backup.
pub async fn continues(
    (config, registry, settings): (&Config, &Registry, &WalArchive),
    identities: &Identities,
    manifest: &Manifest,
    timeline: u32,
) -> Result<bool> {
    let listing = Listing::read(config, settings, manifest).await?;
    let system_identifier = listing.folder.system_identifier;
    let reader = Reader { registry, identities, system_identifier, size: listing.size };
    let histories = listing.histories(&reader).await;
    if timeline < listing.backup.timeline {
        return Ok(false);
    }
    match (histories.parsed.get(&timeline), histories.unreadable.get(&timeline)) {
        (Some(history), _) => Ok(descends(history, listing.backup)),
        (None, Some(error)) => Err(error.clone()),
        (None, None) => Err(missing_history(timeline)),
    }
}

/// Fails if the replay of a tablespace's creation would use files of another cluster: the server
/// uses the directory in the WAL, and an existing folder of its version in it.
fn expect_own_directory(tablespace: &NewTablespace) -> Result<()> {
    let directory = Path::new(OsStr::from_bytes(&tablespace.directory));
    if directory.is_relative() {
        return Ok(());
    }
    let hint = match std::fs::read_dir(directory).map(|mut entries| entries.next().is_none()) {
        Ok(true) => return Ok(()),
        Ok(false) => "recover on another host, where this directory is empty",
        Err(_) => "create the directory, empty and owned by the server's user; or recover to a position before it",
    };
    let message = format!(
        "the WAL at {} creates a tablespace in {}, and replay uses that directory, which is not an empty one here",
        tablespace.lsn,
        directory.display()
    );
    Err(Error::new(Stage::Restore, Kind::Refused, "tablespace", message).hint(hint))
}

/// Describes the end of the WAL without a gap.
fn end_of(lineage: &Lineage, size: SegmentSize) -> String {
    let (name, start) = (lineage.missing.name(size), lineage.missing.start(size));
    match lineage.partial {
        _ if lineage.is_gap => format!("{name} is missing, from {start} on"),
        Some(partial) => format!("the WAL ends within {}", partial.name(size)),
        None => format!("the WAL ends before {name}, at {start}"),
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

    /// Returns the setting `hot_standby`. A hot standby needs settings as large as at the source.
    fn hot_standby(self) -> &'static str {
        match self {
            Self::Promote => "off",
            Self::Pause => "on",
        }
    }
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
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
