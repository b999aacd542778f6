//! Bringing every destination of a job to the same backups, by copying what one has and another lacks, sealed as it is.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use futures_util::future::join_all;
use longshore_core::catalog::{Backup, Catalog, Presence, Series};
use longshore_core::key::{BackupName, Stamp};
use longshore_core::mark::Says;
use longshore_core::pipeline::{Depth, copy, is_damage, prove, replace};
use longshore_core::progress::{Progress, unwatched};
use longshore_core::stage::Store;
use longshore_core::{Error, Kind, Result, Stage};
use serde::Serialize;

use crate::by_hand;
use crate::catalogs::Catalogued;
use crate::config::{Config, Job};
use crate::hold::mark;
use crate::lock::JobLock;
use crate::mount;
use crate::problem::Problem;
use crate::prune;
use crate::run_report::Known;
use crate::verify::note;

/// What to do about backups that are damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Leave them as they are.
    No,
    /// Read all, and put a good copy in the place of each that is damaged, where another destination has one.
    Yes,
}

/// Whether to copy, or only to say what would be.
pub use crate::prune::Mode;

/// What came of a sync.
#[derive(Debug, Default, Serialize)]
pub struct Synced {
    /// What was to be copied, in the order in which it was.
    pub copies: Vec<Copied>,
    /// Destinations that could not be read, and backups that are damaged and nowhere whole.
    pub problems: Vec<Unhealed>,
}

/// What became of one copy.
#[derive(Debug, Serialize)]
pub struct Copied {
    /// The backup.
    pub name: BackupName,
    /// Where it was to go.
    pub to: String,
    /// Where it came from, or would come from first: the next that has it is asked where one cannot give it.
    pub from: String,
    /// Why.
    pub why: Why,
    /// The artifact's size in bytes.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// What went wrong, if anything did.
    pub error: Option<Problem>,
}

/// Why a backup is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It is not there.
    Missing,
    /// It is there, and damaged.
    Damaged,
}

/// What a sync cannot mend.
#[derive(Debug, Serialize)]
pub struct Unhealed {
    /// The destination.
    pub destination: String,
    /// The backup, where it is one.
    pub name: Option<BackupName>,
    /// What is wrong.
    pub error: Problem,
    /// Whether that is a bad backup, rather than a destination that could not be read.
    pub damaged: bool,
}

impl Synced {
    /// Whether every destination has what it is to have.
    pub fn succeeded(&self) -> bool {
        self.problems.is_empty() && self.copies.iter().all(|copied| copied.error.is_none())
    }
}

/// Syncs the destinations of a job.
pub async fn sync(
    config: &Config,
    job: &Job,
    repair: Repair,
    mode: Mode,
    progress: Arc<dyn Progress>,
) -> Result<Synced> {
    if job.ship.len() < 2 {
        let message = "the job ships to one destination alone, so there is nothing to copy from";
        return Err(Error::new(Stage::Config, Kind::Usage, &job.name, message));
    }
    // A run of the job may be writing what would look as if it were missing.
    let _lock = JobLock::take(config, job).await?;
    let (all, mut problems) = read(config, job).await;
    let damaged = match repair {
        Repair::Yes => {
            let (damaged, unread) = damaged(job, &all, mode, &progress).await;
            problems.extend(unread);
            damaged
        }
        Repair::No => BTreeMap::new(),
    };
    let mut plan = plan(job, Known::of(config, job)?.as_ref(), &all, &damaged, repair)?;
    plan.hopeless.splice(..0, problems);
    let copies = match mode {
        Mode::DryRun => plan.copies.iter().flatten().map(|planned| planned.done(None, 0.0, Ok(()))).collect(),
        Mode::Act => {
            let (copies, damaged) = act(config, plan.copies, &progress).await?;
            plan.hopeless.extend(damaged.into_iter().map(|((destination, name), error)| Unhealed {
                destination,
                name: Some(name),
                error: Problem::from(&error),
                damaged: true,
            }));
            plan.hopeless.extend(put_page(&all).await);
            copies
        }
    };
    Ok(Synced { copies, problems: plan.hopeless })
}

/// Puts the page that says how to restore by hand wherever it is not.
async fn put_page(all: &[Catalogued]) -> Vec<Unhealed> {
    let puts = all.iter().map(async |at| {
        let error = by_hand::put(&*at.store).await.err()?;
        Some(Unhealed { destination: at.name.clone(), name: None, error: Problem::from(&error), damaged: false })
    });
    join_all(puts).await.into_iter().flatten().collect()
}

/// Copies what one run of a job brought to one destination and not to another, and tells what was found damaged over it. Whoever asks
/// holds the job's lock.
pub(crate) async fn catch_up(config: &Config, job: &Job, run: &str) -> Result<(Vec<Copied>, Damaged)> {
    let (all, _) = read(config, job).await;
    let mut plan = plan(job, Known::of(config, job)?.as_ref(), &all, &BTreeMap::new(), Repair::No)?;
    for copies in &mut plan.copies {
        copies.retain(|planned| planned.backup.manifest.run == run);
    }
    act(config, plan.copies, &unwatched()).await
}

/// The destinations of a job that can be read, and what is wrong with the others.
async fn read(config: &Config, job: &Job) -> (Vec<Catalogued>, Vec<Unhealed>) {
    let reads = job.ship.iter().map(async |name| {
        let read = async {
            let store = config.destination(name)?.open_under(name, job.retention.get(name))?;
            match mount::expect(config, name, &*store) {
                Err(error) if error.kind() == Kind::Refused => return Err(error),
                // The next run reports a memory that cannot be read or written.
                _ => {}
            }
            let catalog = Catalog::read(&*store).await?;
            Ok(Catalogued { name: name.clone(), store, catalog })
        };
        (name, read.await)
    });
    let (mut all, mut problems) = (Vec::new(), Vec::new());
    for (name, read) in join_all(reads).await {
        match read {
            Ok(at) => all.push(at),
            Err(error) => problems.push(Unhealed {
                destination: name.clone(),
                name: None,
                error: Problem::from(&error),
                damaged: false,
            }),
        }
    }
    (all, problems)
}

/// The damaged backups, found by reading: by destination and name, with what is wrong.
pub(crate) type Damaged = BTreeMap<(String, BackupName), Error>;

/// Reads everything: what is damaged, and what could not be read, which may be.
async fn damaged(job: &Job, all: &[Catalogued], mode: Mode, progress: &Arc<dyn Progress>) -> (Damaged, Vec<Unhealed>) {
    let reads = all.iter().map(async |at| {
        let (mut damaged, mut unread) = (Vec::new(), Vec::new());
        for backup in of_job(job, at).filter(|backup| backup.artifact == Presence::Whole) {
            let proven = prove(&*at.store, backup, progress).await;
            if mode == Mode::Act {
                // That it could not be noted takes nothing from what was found.
                note(at, backup, Depth::Sealed, proven.as_ref().err()).await.ok();
            }
            match proven {
                Err(error) if is_damage(&error) => damaged.push(((at.name.clone(), backup.name.clone()), error)),
                Err(error) => unread.push(Unhealed {
                    destination: at.name.clone(),
                    name: Some(backup.name.clone()),
                    error: Problem::from(&error),
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

/// What is to be copied, by destination, and what cannot be mended.
struct Plan<'a> {
    copies: Vec<Vec<Planned<'a>>>,
    hopeless: Vec<Unhealed>,
}

/// One copy that is to be made.
struct Planned<'a> {
    backup: &'a Backup,
    why: Why,
    to: &'a Catalogued,
    /// Where it lies whole, the first choice first.
    from: Vec<&'a Catalogued>,
    /// What to do with files of it that lie there without a manifest.
    remnant: Remnant,
}

/// The treatment of what an interrupted copy or repair left of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remnant {
    /// Its files stay, and the copy goes on from them.
    Kept,
    /// The same, but a file that has other bytes is replaced.
    Replaced,
}

impl Planned<'_> {
    fn done(&self, source: Option<&Catalogued>, seconds: f64, result: Result<()>) -> Copied {
        Copied {
            name: self.backup.name.clone(),
            to: self.to.name.clone(),
            from: source.or(self.from.first().copied()).map(|from| from.name.clone()).unwrap_or_default(),
            why: self.why,
            bytes: self.backup.manifest.artifact.sealed.bytes,
            seconds,
            error: result.err().map(|error| Problem::from(&error)),
        }
    }
}

fn plan<'a>(
    job: &Job,
    known: Option<&Known>,
    all: &'a [Catalogued],
    damaged: &Damaged,
    repair: Repair,
) -> Result<Plan<'a>> {
    let wrong = |at: &Catalogued, backup: &Backup| {
        damaged.get(&(at.name.clone(), backup.name.clone())).cloned().or_else(|| match backup.artifact {
            // Where all was read, it was found sound now.
            Presence::Whole if !backup.marks.unreadable() => None,
            // Sealed bytes that are as shipped prove nothing against what was found by decoding
            // them.
            Presence::Whole if repair == Repair::Yes && !backup.marks.differs() => None,
            Presence::Whole => {
                let message = "it was found damaged when it was read back";
                Some(Error::new(Stage::Verify, Kind::Corrupt, backup.name.as_str(), message))
            }
            Presence::OtherSize(_) | Presence::Missing => {
                let message = "its artifact is missing, or has another size than its manifest says";
                Some(Error::new(Stage::Verify, Kind::Corrupt, backup.name.as_str(), message))
            }
        })
    };
    // Where each backup lies whole.
    let mut whole: BTreeMap<&BackupName, Vec<(&'a Catalogued, &'a Backup)>> = BTreeMap::new();
    for at in all {
        for backup in of_job(job, at).filter(|backup| wrong(at, backup).is_none()) {
            whole.entry(&backup.name).or_default().push((at, backup));
        }
    }
    let mut plan = Plan { copies: Vec::new(), hopeless: Vec::new() };
    for at in all {
        let here: BTreeMap<_, _> = of_job(job, at).map(|backup| (&backup.name, backup)).collect();
        let unreadable: BTreeMap<_, _> = at
            .catalog
            .unreadable
            .iter()
            .filter_map(|(key, error)| Some((BackupName::of_manifest(key)?, error)))
            .collect();
        let remnants: BTreeSet<_> =
            at.catalog.orphans.iter().filter_map(|entry| BackupName::of_file(&entry.key)).collect();
        let is_corrupt = |name: &BackupName| unreadable.get(name).is_some_and(|error| error.kind() == Kind::Corrupt);
        let mut copies = Vec::new();
        for (name, holders) in &whole {
            let Some((_, backup)) = holders.first() else { continue };
            let why = match here.get(name) {
                None if is_corrupt(name) => Why::Damaged,
                // Of a later version's manifest, or one that may not be read, nobody here knows whether it is good.
                None if unreadable.contains_key(*name) => continue,
                None => Why::Missing,
                Some(own) if wrong(at, own).is_some() => Why::Damaged,
                Some(_) => continue,
            };
            if why == Why::Missing || repair == Repair::Yes {
                let is_replaced = repair == Repair::Yes && remnants.contains(*name);
                let remnant = if is_replaced { Remnant::Replaced } else { Remnant::Kept };
                copies.push(Planned {
                    backup,
                    why,
                    to: at,
                    from: holders.iter().map(|(at, _)| *at).collect(),
                    remnant,
                });
            }
        }
        for (name, own) in here {
            if let Some(error) = wrong(at, own).filter(|_| repair == Repair::No || !whole.contains_key(name)) {
                plan.hopeless.push(Unhealed {
                    destination: at.name.clone(),
                    name: Some(name.clone()),
                    error: Problem::from(&error),
                    damaged: true,
                });
            }
        }
        // Whether a manifest that the destination does not hand out is good is not known.
        let denied: BTreeSet<_> = at.catalog.denied().filter_map(|(key, _)| BackupName::of_manifest(key)).collect();
        let is_told = |name: &&BackupName| {
            let is_ours = whole.keys().any(|other| other.manifest().folder() == name.manifest().folder());
            let is_mended = repair == Repair::Yes && whole.contains_key(*name);
            is_ours && (denied.contains(*name) || (is_corrupt(name) && !is_mended))
        };
        plan.hopeless.extend(unreadable.keys().filter(is_told).map(|name| Unhealed {
            destination: at.name.clone(),
            name: Some(name.clone()),
            error: Problem::from(unreadable[name]),
            damaged: is_corrupt(name),
        }));
        let gone = prune::would_go(job, known, at, copies.iter().map(|planned| planned.backup))?;
        copies.retain(|planned| planned.why == Why::Damaged || !gone.contains(&planned.backup.name));
        // The newest first, and what a database needs before it.
        copies.sort_by_key(|planned| {
            let manifest = &planned.backup.manifest;
            (Reverse(manifest.time), manifest.subject.is_database(), planned.backup.name.clone())
        });
        plan.copies.push(copies);
    }
    Ok(plan)
}

/// The backups of a job at a destination.
fn of_job<'a>(job: &Job, at: &'a Catalogued) -> impl Iterator<Item = &'a Backup> + use<'a> {
    let (name, cluster) = (job.name.clone(), job.site.cluster.name.clone());
    let is_of = move |series: &Series| series.job == name && series.cluster == cluster;
    at.catalog.series.iter().filter(move |(series, _)| is_of(series)).flat_map(|(_, backups)| backups)
}

/// Copies, at all destinations side by side, and at each as many at once as it allows. Tells what was found damaged over it, too.
async fn act(
    config: &Config,
    plans: Vec<Vec<Planned<'_>>>,
    progress: &Arc<dyn Progress>,
) -> Result<(Vec<Copied>, Damaged)> {
    let mut work = Vec::new();
    for copies in &plans {
        let Some(first) = copies.first() else { continue };
        let parallel = config.destination(&first.to.name)?.parallel.unwrap_or(1);
        work.push(
            futures_util::stream::iter(copies)
                .map(async |planned| one(planned, progress).await)
                .buffered(parallel)
                .collect::<Vec<_>>(),
        );
    }
    let (copies, damaged): (Vec<_>, Vec<_>) = join_all(work).await.into_iter().flatten().unzip();
    Ok((copies, damaged.into_iter().flatten().collect()))
}

/// Puts a good copy in the place of a damaged one, and notes beside it that it is good again: an older note may say otherwise.
async fn mend(from: &Catalogued, planned: &Planned<'_>, progress: &Arc<dyn Progress>) -> Result<()> {
    replace(&*from.store, &*planned.to.store, planned.backup, progress).await?;
    let name = &planned.backup.name;
    let own = planned.to.catalog.backups().find(|own| own.name == *name);
    let last = own.and_then(|own| own.marks.latest(Says::Damaged)).map_or(DateTime::<Utc>::MIN_UTC, Stamp::time);
    // Later than any note that was just made of the damage.
    let time = Utc::now().max(last + TimeDelta::seconds(1)) + TimeDelta::seconds(1);
    mark(None, "replaced by a good copy").put(&*planned.to.store, name, Says::Verified, time).await.map(drop)
}

/// Makes one copy, from the next that has it where one fails; tells, too, where that was for damage there.
async fn one(planned: &Planned<'_>, progress: &Arc<dyn Progress>) -> (Copied, Damaged) {
    let begun = Instant::now();
    let (mut source, mut damaged) = (None, Damaged::new());
    let to: &dyn Store = &*planned.to.store;
    let mut result =
        Err(Error::new(Stage::Ship, Kind::NotFound, planned.backup.name.as_str(), "no destination has it whole"));
    for from in &planned.from {
        result = match planned.why {
            Why::Missing => match copy(&*from.store, to, planned.backup, progress).await {
                Err(error) if error.kind() == Kind::AlreadyExists && planned.remnant == Remnant::Replaced => {
                    replace(&*from.store, to, planned.backup, progress).await
                }
                copied => copied,
            },
            Why::Damaged => mend(from, planned, progress).await,
        };
        match &result {
            Ok(()) => {
                source = Some(*from);
                break;
            }
            Err(error) if is_damage(error) => {
                let name = &planned.backup.name;
                damaged
                    .extend(blamed(from, name, progress).await.map(|error| ((from.name.clone(), name.clone()), error)));
            }
            Err(_) => {}
        }
    }
    (planned.done(source, begun.elapsed().as_secs_f64(), result), damaged)
}

/// What is wrong with a backup whose copy did not come out as it should, which may as well be the other destination's fault. It is read
/// again, and noted.
async fn blamed(at: &Catalogued, name: &BackupName, progress: &Arc<dyn Progress>) -> Option<Error> {
    let own = at.catalog.backups().find(|own| own.name == *name)?;
    let error = prove(&*at.store, own, progress).await.err().filter(is_damage)?;
    Some(match note(at, own, Depth::Sealed, Some(&error)).await {
        Ok(()) => error,
        Err(unnoted) => error.because(unnoted),
    })
}
