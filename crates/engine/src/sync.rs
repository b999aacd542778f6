//! Copying of backups between the destinations of a job, until every destination has them.
//! Encrypted bytes are copied unchanged.

mod group;
mod headers;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use chrono::{TimeDelta, Utc};
use futures_util::StreamExt;
use futures_util::future::join_all;
use longshore_catalog::catalog::{Backup, Catalog, Presence, Series};
use longshore_catalog::copy::{copy, is_damage, replace, verify_stored};
use longshore_config::{Config, Job};
use longshore_core::event::{Observer, ignore};
use longshore_core::key::{BackupName, Timestamp};
use longshore_core::mark::MarkKind;
use longshore_core::pipeline::Depth;
use longshore_core::stage::Store;
use longshore_core::{Error, Kind, Result, Stage};
use serde::Serialize;

use self::group::{copy_group, in_chains};
pub use self::headers::HeadersCopied;
use crate::catalogs::Catalogued;
use crate::error_report::ErrorReport;
use crate::hold::mark;
use crate::lock::JobLock;
use crate::mount;
use crate::prune;
use crate::restore_page;
use crate::run_history::HostHistory;
use crate::verify::mark_result;
use crate::wal::{self, sync::WalCopied};

/// The treatment of damaged backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Leave damaged backups unchanged.
    No,
    /// Read all backups, and replace each damaged one by a good copy from another destination.
    Yes,
}

/// The mode: copy, or only show the plan.
pub use crate::mode::Mode;

/// The result of a sync.
#[derive(Debug, Default, Serialize)]
pub struct Synced {
    /// The planned copies, in order, with their results.
    pub copies: Vec<Copied>,
    /// The archived WAL that was copied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wal: Vec<WalCopied>,
    /// The headers that were copied for backups that a destination had already.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeadersCopied>,
    /// Unreadable destinations, and damaged backups without a good copy.
    pub problems: Vec<Unrepaired>,
}

/// The result of one copy.
#[derive(Debug, Serialize)]
pub struct Copied {
    /// The name of the backup.
    pub name: BackupName,
    /// The destination of the copy.
    pub to: String,
    /// The source of the copy, or the first choice: another source is used if one fails.
    pub from: String,
    /// The reason for the copy.
    pub why: CopyReason,
    /// The artifact's size in bytes.
    pub bytes: u64,
    /// The duration in seconds.
    pub seconds: f64,
    /// The error, if the copy failed.
    pub error: Option<ErrorReport>,
}

/// The reason for a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyReason {
    /// The destination lacks the backup.
    Missing,
    /// The backup at the destination is damaged.
    Damaged,
}

/// A problem that a sync cannot repair.
#[derive(Debug, Serialize)]
pub struct Unrepaired {
    /// The name of the destination.
    pub destination: String,
    /// The name of the backup, if the problem concerns one.
    pub name: Option<BackupName>,
    /// The error.
    pub error: ErrorReport,
    /// True if the backup is damaged, and not only unreadable.
    pub damaged: bool,
}

impl Synced {
    /// Returns true if every destination has all its backups.
    pub fn succeeded(&self) -> bool {
        self.problems.is_empty()
            && self.copies.iter().all(|copied| copied.error.is_none())
            && self.wal.iter().all(|copied| copied.error.is_none())
            && self.headers.iter().all(|copied| copied.error.is_none())
    }
}

/// Syncs the destinations of a job.
pub async fn sync(
    config: &Config,
    job: &Job,
    repair: Repair,
    mode: Mode,
    observer: Arc<dyn Observer>,
) -> Result<Synced> {
    let archive = config.wal.get(&job.site.cluster.name).filter(|archive| archive.ship.len() > 1);
    if job.ship.len() < 2 && archive.is_none() {
        let message = "the job ships to one destination only, so there is nothing to copy from";
        return Err(Error::new(Stage::Config, Kind::Usage, &job.name, message));
    }
    // Backups that a concurrent run of the job is writing would appear to be missing.
    let _lock = JobLock::take(config, job).await?;
    let (all, mut problems) = read(config, job).await;
    let damaged = match repair {
        Repair::Yes => {
            let (damaged, unread) = find_damaged(job, &all, mode, &observer).await;
            problems.extend(unread);
            damaged
        }
        Repair::No => BTreeMap::new(),
    };
    let mut plan = plan(job, HostHistory::of(config, job)?.as_ref(), &all, &damaged, repair)?;
    plan.unrepaired.splice(..0, problems);
    let copies = match mode {
        Mode::DryRun => plan.copies.iter().flatten().map(|planned| planned.report(None, 0.0, Ok(()))).collect(),
        Mode::Act => {
            let (copies, damaged) = execute(config, plan.copies, &observer).await?;
            plan.unrepaired.extend(damaged.into_iter().map(|((destination, name), error)| Unrepaired {
                destination,
                name: Some(name),
                error: ErrorReport::from(&error),
                damaged: true,
            }));
            plan.unrepaired.extend(put_restore_pages(&all).await);
            copies
        }
    };
    let wal = match archive {
        Some(archive) => wal::sync::sync(config, archive, mode).await,
        None => Vec::new(),
    };
    let headers = headers::copy_missing(job, &all, mode).await;
    Ok(Synced { copies, wal, headers, problems: plan.unrepaired })
}

/// Writes the page about restoring by hand to every destination without one.
async fn put_restore_pages(all: &[Catalogued]) -> Vec<Unrepaired> {
    let puts = all.iter().map(async |at| {
        let error = restore_page::upload(&*at.store).await.err()?;
        Some(Unrepaired { destination: at.name.clone(), name: None, error: ErrorReport::from(&error), damaged: false })
    });
    join_all(puts).await.into_iter().flatten().collect()
}

/// Copies the backups of one run to the job's destinations that lack them. Also returns backups
/// found damaged in the process. The caller must hold the job's lock.
pub(crate) async fn catch_up(config: &Config, job: &Job, run: &str) -> Result<(Vec<Copied>, Damaged)> {
    let (all, _) = read(config, job).await;
    let mut plan = plan(job, HostHistory::of(config, job)?.as_ref(), &all, &BTreeMap::new(), Repair::No)?;
    for copies in &mut plan.copies {
        let is_of_run = |planned: &PlannedCopy<'_>| planned.backup.manifest.run == run;
        let groups = in_chains(std::mem::take(copies)).into_iter();
        // An incremental backup is of no use without those that it continues.
        *copies = groups
            .flat_map(|mut group| {
                group.truncate(group.iter().rposition(is_of_run).map_or(0, |last| last + 1));
                group
            })
            .collect();
    }
    execute(config, plan.copies, &ignore()).await
}

/// Reads the catalogs of a job's destinations. Also returns the errors of unreadable ones.
async fn read(config: &Config, job: &Job) -> (Vec<Catalogued>, Vec<Unrepaired>) {
    let reads = job.ship.iter().map(async |name| {
        let read = async {
            let store = config.destination(name)?.open_for_retention(job.retention.get(name))?;
            match mount::expect(config, name, &*store) {
                Err(error) if error.kind() == Kind::Refused => return Err(error),
                // The next run reports a state file that cannot be read or written.
                _ => {}
            }
            let catalog = Catalog::read(&*store).await?;
            Ok(Catalogued { name: name.clone(), store, catalog, history: Vec::new() })
        };
        (name, read.await)
    });
    let (mut all, mut problems) = (Vec::new(), Vec::new());
    for (name, read) in join_all(reads).await {
        match read {
            Ok(at) => all.push(at),
            Err(error) => problems.push(Unrepaired {
                destination: name.clone(),
                name: None,
                error: ErrorReport::from(&error),
                damaged: false,
            }),
        }
    }
    (all, problems)
}

/// Damaged backups found by reading, by destination and name, each with the error.
pub(crate) type Damaged = BTreeMap<(String, BackupName), Error>;

/// Reads all backups. Returns the damaged ones, and those that could not be read, which
/// may be damaged.
async fn find_damaged(
    job: &Job,
    all: &[Catalogued],
    mode: Mode,
    observer: &Arc<dyn Observer>,
) -> (Damaged, Vec<Unrepaired>) {
    let reads = all.iter().map(async |at| {
        let (mut damaged, mut unread) = (Vec::new(), Vec::new());
        for backup in job_backups(job, at).filter(|backup| backup.artifact == Presence::Whole) {
            let proven = verify_stored(&*at.store, backup, observer).await;
            if mode == Mode::Act {
                // The result is valid even if the mark cannot be stored.
                mark_result(at, backup, Depth::Sealed, proven.as_ref().err()).await.ok();
            }
            match proven {
                Err(error) if is_damage(&error) => damaged.push(((at.name.clone(), backup.name.clone()), error)),
                Err(error) => unread.push(Unrepaired {
                    destination: at.name.clone(),
                    name: Some(backup.name.clone()),
                    error: ErrorReport::from(&error),
                    damaged: false,
                }),
                Ok(()) => {}
            }
        }
        (damaged, unread)
    });
    let (damaged, unread): (Vec<_>, Vec<_>) = join_all(reads).await.into_iter().unzip();
    (damaged.into_iter().flatten().collect(), unread.into_iter().flatten().collect())
}

/// The planned copies by destination, and the problems that cannot be repaired.
struct Plan<'a> {
    copies: Vec<Vec<PlannedCopy<'a>>>,
    unrepaired: Vec<Unrepaired>,
}

/// A planned copy.
struct PlannedCopy<'a> {
    backup: &'a Backup,
    why: CopyReason,
    to: &'a Catalogued,
    /// The destinations with a good copy, the first choice first.
    from: Vec<&'a Catalogued>,
    /// The treatment of existing files of the backup without a manifest.
    leftovers: Leftovers,
}

/// The treatment of the leftovers of an interrupted copy or repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leftovers {
    /// Keep the files, and resume the copy.
    Kept,
    /// Keep the files, but replace those with other bytes.
    Replaced,
}

impl PlannedCopy<'_> {
    fn report(&self, source: Option<&Catalogued>, seconds: f64, result: Result<()>) -> Copied {
        Copied {
            name: self.backup.name.clone(),
            to: self.to.name.clone(),
            from: source.or(self.from.first().copied()).map(|from| from.name.clone()).unwrap_or_default(),
            why: self.why,
            bytes: self.backup.manifest.artifact.sealed.bytes,
            seconds,
            error: result.err().map(|error| ErrorReport::from(&error)),
        }
    }
}

fn plan<'a>(
    job: &Job,
    known: Option<&HostHistory>,
    all: &'a [Catalogued],
    damaged: &Damaged,
    repair: Repair,
) -> Result<Plan<'a>> {
    let damage_of = |at: &Catalogued, backup: &Backup| {
        damaged.get(&(at.name.clone(), backup.name.clone())).cloned().or_else(|| match backup.artifact {
            // If everything was read, the backup was just found intact.
            Presence::Whole if !backup.marks.failed_read_back() => None,
            // Intact stored bytes do not disprove damage found by decoding.
            Presence::Whole if repair == Repair::Yes && !backup.marks.content_differs() => None,
            Presence::Whole => {
                let message = "an earlier verification found the backup damaged";
                Some(Error::new(Stage::Verify, Kind::Corrupt, backup.name.as_str(), message))
            }
            Presence::OtherSize(_) | Presence::Missing => {
                let message = "the artifact is missing, or its size differs from the manifest";
                Some(Error::new(Stage::Verify, Kind::Corrupt, backup.name.as_str(), message))
            }
        })
    };
    // The destinations with a good copy of each backup.
    let mut intact: BTreeMap<&BackupName, Vec<(&'a Catalogued, &'a Backup)>> = BTreeMap::new();
    for at in all {
        for backup in job_backups(job, at).filter(|backup| damage_of(at, backup).is_none()) {
            intact.entry(&backup.name).or_default().push((at, backup));
        }
    }
    let mut plan = Plan { copies: Vec::new(), unrepaired: Vec::new() };
    for at in all {
        let own_backups: BTreeMap<_, _> = job_backups(job, at).map(|backup| (&backup.name, backup)).collect();
        let unreadable: BTreeMap<_, _> = at
            .catalog
            .unreadable
            .iter()
            .filter_map(|(key, error)| Some((BackupName::from_manifest_key(key)?, error)))
            .collect();
        let remnants: BTreeSet<_> =
            at.catalog.orphans.iter().filter_map(|entry| BackupName::from_file_key(&entry.key)).collect();
        let is_corrupt = |name: &BackupName| unreadable.get(name).is_some_and(|error| error.kind() == Kind::Corrupt);
        let mut copies = Vec::new();
        for (name, sources) in &intact {
            let Some((_, backup)) = sources.first() else { continue };
            let why = match own_backups.get(name) {
                None if is_corrupt(name) => CopyReason::Damaged,
                // A manifest of a later version, or one without permission to read, may be of
                // a good backup.
                None if unreadable.contains_key(*name) => continue,
                None => CopyReason::Missing,
                Some(own) if damage_of(at, own).is_some() => CopyReason::Damaged,
                Some(_) => continue,
            };
            if why == CopyReason::Missing || repair == Repair::Yes {
                let is_replaced = repair == Repair::Yes && remnants.contains(*name);
                let leftovers = if is_replaced { Leftovers::Replaced } else { Leftovers::Kept };
                copies.push(PlannedCopy {
                    backup,
                    why,
                    to: at,
                    from: sources.iter().map(|(at, _)| *at).collect(),
                    leftovers,
                });
            }
        }
        for (name, own) in own_backups {
            if let Some(error) = damage_of(at, own).filter(|_| repair == Repair::No || !intact.contains_key(name)) {
                plan.unrepaired.push(Unrepaired {
                    destination: at.name.clone(),
                    name: Some(name.clone()),
                    error: ErrorReport::from(&error),
                    damaged: true,
                });
            }
        }
        // A manifest that the destination refuses to return may be good.
        let denied: BTreeSet<_> =
            at.catalog.failed_fetches().filter_map(|(key, _)| BackupName::from_manifest_key(key)).collect();
        let is_reported = |name: &&BackupName| {
            let is_ours = intact.keys().any(|other| other.manifest().folder() == name.manifest().folder());
            let is_repaired = repair == Repair::Yes && intact.contains_key(*name);
            is_ours && (denied.contains(*name) || (is_corrupt(name) && !is_repaired))
        };
        plan.unrepaired.extend(unreadable.keys().filter(is_reported).map(|name| Unrepaired {
            destination: at.name.clone(),
            name: Some(name.clone()),
            error: ErrorReport::from(unreadable[name]),
            damaged: is_corrupt(name),
        }));
        let gone = prune::would_remove(job, known, at, copies.iter().map(|planned| planned.backup))?;
        copies.retain(|planned| planned.why == CopyReason::Damaged || !gone.contains(&planned.backup.name));
        // Newest first, with the backups that a database needs before it.
        copies.sort_by_key(|planned| {
            let manifest = &planned.backup.manifest;
            (Reverse(manifest.time), manifest.subject.kind(), planned.backup.name.clone())
        });
        plan.copies.push(copies);
    }
    Ok(plan)
}

/// Returns the backups of a job at a destination.
fn job_backups<'a>(job: &Job, at: &'a Catalogued) -> impl Iterator<Item = &'a Backup> + use<'a> {
    let (name, cluster) = (job.name.clone(), job.site.cluster.name.clone());
    let is_of = move |series: &Series| series.job == name && series.cluster == cluster;
    at.catalog.series.iter().filter(move |(series, _)| is_of(series)).flat_map(|(_, backups)| backups)
}

/// Copies to all destinations in parallel, and to each with its permitted parallelism. Also returns
/// backups found damaged in the process.
async fn execute(
    config: &Config,
    plans: Vec<Vec<PlannedCopy<'_>>>,
    observer: &Arc<dyn Observer>,
) -> Result<(Vec<Copied>, Damaged)> {
    let mut work = Vec::new();
    for copies in plans {
        let Some(first) = copies.first() else { continue };
        let parallel = config.destination(&first.to.name)?.parallel.unwrap_or(1);
        work.push(
            futures_util::stream::iter(in_chains(copies))
                .map(async |group| copy_group(&group, observer).await)
                .buffered(parallel)
                .collect::<Vec<_>>(),
        );
    }
    let results = join_all(work).await.into_iter().flatten().flatten();
    let (copies, damaged): (Vec<_>, Vec<_>) = results.unzip();
    Ok((copies, damaged.into_iter().flatten().collect()))
}

/// Replaces a damaged backup by a good copy. Before that, stores a mark of the damage, which
/// explains to other hosts why the backup is missing in the meantime, and then a mark that it is
/// good again, which supersedes any mark of damage.
async fn repair_backup(from: &Catalogued, planned: &PlannedCopy<'_>, observer: &Arc<dyn Observer>) -> Result<()> {
    let (name, to) = (&planned.backup.name, &*planned.to.store);
    let own = planned.to.catalog.backups().find(|own| own.name == *name);
    let after = |last: Timestamp| Utc::now().max(last.time() + TimeDelta::seconds(1));
    let last = own.and_then(|own| own.marks.last());
    let is_recent = |time: &Timestamp| Utc::now() - time.time() < TimeDelta::days(1);
    let damaged = match own.and_then(|own| own.marks.latest(MarkKind::Damaged)) {
        Some(found) if Some(found) == last && is_recent(&found) => found,
        _ => {
            let damage = mark(None, "being replaced by a good copy");
            let time = last.map_or_else(Utc::now, after);
            longshore_catalog::mark::put(&damage, to, name, MarkKind::Damaged, time).await?.time
        }
    };
    replace(&*from.store, to, planned.backup, observer).await?;
    let mark = mark(None, "replaced by a good copy");
    longshore_catalog::mark::put(&mark, to, name, MarkKind::Verified, after(damaged)).await.map(drop)
}

/// Copies one backup, from the next source if one fails. Also returns sources found damaged.
async fn copy_backup(planned: &PlannedCopy<'_>, observer: &Arc<dyn Observer>) -> (Copied, Damaged) {
    let begun = Instant::now();
    let (mut source, mut damaged) = (None, Damaged::new());
    let to: &dyn Store = &*planned.to.store;
    let mut result =
        Err(Error::new(Stage::Ship, Kind::NotFound, planned.backup.name.as_str(), "no destination has a good copy"));
    for from in &planned.from {
        result = match planned.why {
            CopyReason::Missing => match copy(&*from.store, to, planned.backup, observer).await {
                Err(error) if error.kind() == Kind::AlreadyExists && planned.leftovers == Leftovers::Replaced => {
                    replace(&*from.store, to, planned.backup, observer).await
                }
                copied => copied,
            },
            CopyReason::Damaged => repair_backup(from, planned, observer).await,
        };
        match &result {
            Ok(()) => {
                source = Some(*from);
                break;
            }
            Err(error) if is_damage(error) => {
                let name = &planned.backup.name;
                damaged.extend(
                    confirm_damage(from, name, observer).await.map(|error| ((from.name.clone(), name.clone()), error)),
                );
            }
            Err(_) => {}
        }
    }
    (planned.report(source, begun.elapsed().as_secs_f64(), result), damaged)
}

/// Reads a backup again after its copy failed with damage, which may be the fault of either
/// destination. Marks the source and returns the error if the source is damaged.
async fn confirm_damage(at: &Catalogued, name: &BackupName, observer: &Arc<dyn Observer>) -> Option<Error> {
    let own = at.catalog.backups().find(|own| own.name == *name)?;
    let error = verify_stored(&*at.store, own, observer).await.err().filter(is_damage)?;
    Some(match mark_result(at, own, Depth::Sealed, Some(&error)).await {
        Ok(()) => error,
        Err(unnoted) => error.because(unnoted),
    })
}
