//! The choice of backups to restore: never a newer one than requested, and never a part of a run in
//! place of the whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use longshore_catalog::catalog::{Backup, Presence, Series};
use longshore_config::Config;
use longshore_config::suggestion;
use longshore_core::header::HeaderName;
use longshore_core::key::{BackupName, Key};
use longshore_core::manifest::Manifest;
use longshore_core::mark::MarkKind;
use longshore_core::pipeline::Source;
use longshore_core::stage::Store;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_retention::CLOCK_TOLERANCE;

use crate::catalogs::{Catalogued, adopted_file_error, matches_backup, read_fastest_first, unknown_backup};
use crate::chains::{Chains, Copies};
use crate::encryption_policy::EncryptionPolicy;
use crate::untrusted::{is_untrusted, untrusted, untrusted_error};

/// The selection of backups to restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The newest good backup that matches the words, no newer than `at`.
    Subject {
        /// A database, `globals`, `cluster/subject`, or a backup's name.
        words: String,
        /// The job that made the backup, needed if several jobs have backups of the subject.
        job: Option<String>,
        /// The newest permitted time of a backup.
        at: Option<DateTime<Utc>>,
        /// The treatment of the globals that the backup needs.
        globals: Globals,
    },
    /// Everything that one run made.
    Run(String),
    /// Everything that the newest run made, if the run is complete.
    LatestRun {
        /// The job whose run is restored, needed if there are several jobs.
        job: Option<String>,
    },
}

/// The treatment of a run's globals when a database of the run is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Globals {
    /// Restore the globals first.
    First,
    /// Leave the globals unchanged.
    Leave,
}

/// A chosen backup, and the destination to read it from.
pub struct Chosen {
    /// The backup.
    pub backup: Backup,
    /// The destination's name.
    pub destination: String,
    pub(crate) store: Arc<dyn Store>,
    /// All destinations that have it, this one first.
    pub(crate) sources: Vec<Source>,
    /// The backups that it continues, from the full one to its parent.
    pub(crate) earlier: Vec<Chosen>,
    /// The manifests of the earlier backups.
    pub(crate) earlier_manifests: Vec<Manifest>,
    /// The record of the series' last drill, and the size of what it restored.
    pub(crate) drilled: Option<LastDrill>,
}

impl Chosen {
    /// Returns the backups to read for a restore: those that it continues, then itself.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Self> {
        self.earlier.iter().chain([self])
    }

    /// Returns the number of bytes that a restore reads.
    pub(crate) fn plaintext_bytes(&self) -> u64 {
        total_bytes(self.links().map(|link| &link.backup), &self.backup)
    }
}

/// Returns the size of the plaintexts of a chain that ends with a backup. A difference is merged
/// with its full backup, so that the size is its own.
fn total_bytes<'a>(chain: impl Iterator<Item = &'a Backup>, last: &Backup) -> u64 {
    let bytes = |backup: &Backup| backup.manifest.artifact.plaintext.bytes;
    if last.manifest.is_difference() { bytes(last) } else { chain.map(bytes).fold(0, u64::saturating_add) }
}

/// The record of a drill, from which the duration of a restore is estimated.
pub(crate) struct LastDrill {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) key: Key,
    pub(crate) plaintext_bytes: u64,
}

/// The chosen backups.
pub struct Choice {
    /// The backups, in the order in which to restore them.
    pub backups: Vec<Chosen>,
    /// A message about backups of the run without a good copy, if any.
    pub missing: Option<String>,
    /// Warnings for the operator: unreadable destinations, and newer backups that were skipped.
    pub warnings: Vec<String>,
}

/// Chooses the backups to restore.
///
/// # Errors
///
/// Fails with [`Kind::Refused`] if a chosen backup is unencrypted although `policy` expects an
/// encrypted one.
pub async fn choose(
    config: &Config,
    selector: &Selector,
    from: Option<&str>,
    policy: &EncryptionPolicy<'_>,
) -> Result<Choice> {
    let (read, errors) = read_fastest_first(config, from).await?;
    let catalogs = Chains::new(&read);
    let unread = errors.iter().map(|error| format!("a destination could not be read: {}", error.chain()));
    let history = read.iter().flat_map(|at| at.history.iter().map(|problem| problem.error(&at.name).to_string()));
    let mut choice = Choice { backups: Vec::new(), missing: None, warnings: unread.chain(history).collect() };
    choice.backups = match selector {
        Selector::Run(id) => {
            choice.missing = missing_backups(&catalogs, id);
            choose_run(&catalogs, id)?
        }
        Selector::LatestRun { job } => {
            let id = latest_run_id(&catalogs, job.as_deref())?;
            if let Some(missing) = missing_backups(&catalogs, &id) {
                return Err(Error::new(Stage::Restore, Kind::Refused, id.as_str(), missing).hint(format!(
                    "restore the good backups of the run with --run {id}, or an older run by its id (`longshore list --json`)"
                )));
            }
            choose_run(&catalogs, &id)?
        }
        Selector::Subject { words, job, at, globals } => {
            let chosen = choose_subject(&catalogs, words, job.as_deref(), *at)?;
            choice.warnings.extend(chosen.backup.damage().map(|damage| {
                format!("{} is damaged ({damage}), but was requested by its full name", chosen.backup.name)
            }));
            choice.warnings.extend(skipped_newer_backups(&catalogs, &chosen.backup, *at));
            let mut all = Vec::new();
            if *globals == Globals::First {
                all.extend(choose_needed(&catalogs, &chosen.backup)?);
            }
            all.push(chosen);
            all
        }
    };
    for chosen in &mut choice.backups {
        prefer_sealed(&catalogs, chosen, policy);
        let (mut earlier, warnings) = earlier_backups(&catalogs, &chosen.backup)?;
        choice.warnings.extend(warnings);
        for chosen in &mut earlier {
            prefer_sealed(&catalogs, chosen, policy);
            chosen.sources = sources(&catalogs, chosen);
            chosen.backup.headers = headers(&catalogs, chosen);
        }
        chosen.backup.headers = headers(&catalogs, chosen);
        chosen.sources = sources(&catalogs, chosen);
        chosen.drilled = last_drill(&catalogs, &chosen.backup);
        chosen.earlier_manifests = earlier.iter().map(|chosen| Manifest::clone(&chosen.backup.manifest)).collect();
        chosen.earlier = earlier;
    }
    let own = choice.backups.iter().map(|chosen| &*chosen.backup.manifest);
    let earlier = choice.backups.iter().flat_map(|chosen| &chosen.earlier_manifests);
    choice.warnings.extend(policy.expect(own.chain(earlier))?);
    Ok(choice)
}

/// Returns the backups that a backup continues, from the full one to its parent. If the backup was
/// requested by its full name although no good copy of one exists, damaged copies are read, with
/// warnings.
fn earlier_backups(catalogs: &Chains<'_>, backup: &Backup) -> Result<(Vec<Chosen>, Vec<String>)> {
    let found = match catalogs.earlier(backup, Copies::Intact) {
        Err(_) if !catalogs.is_restorable(backup) => catalogs.earlier(backup, Copies::Whole)?,
        found => found?,
    };
    let damage = found.iter().filter_map(|(_, backup)| Some((&backup.name, backup.damage()?)));
    let warnings = damage.map(|(name, damage)| format!("{name}, which the backup continues, is damaged ({damage})"));
    let warnings = warnings.collect();
    Ok((found.into_iter().map(chosen_from).collect(), warnings))
}

/// Switches to an encrypted copy at another destination if the chosen copy is unencrypted but
/// should not be.
fn prefer_sealed(catalogs: &Chains<'_>, chosen: &mut Chosen, policy: &EncryptionPolicy<'_>) {
    let is_better = |backup: &Backup| backup.name == chosen.backup.name && policy.violation(&backup.manifest).is_none();
    if policy.violation(&chosen.backup.manifest).is_some()
        && let Some(other) = catalogs.good().find(|(_, backup)| is_better(backup))
    {
        *chosen = chosen_from(other);
    }
}

/// Returns all destinations that have the same bytes, the chosen one first.
fn sources(catalogs: &Chains<'_>, chosen: &Chosen) -> Vec<Source> {
    let same = |backup: &Backup| {
        backup.name == chosen.backup.name && backup.manifest.artifact == chosen.backup.manifest.artifact
    };
    // A damaged backup was requested by name: damaged copies are read, too.
    let accepts_damaged = !chosen.backup.is_intact();
    let mut sources: Vec<_> = catalogs
        .all()
        .filter(|(_, backup)| {
            same(backup) && (backup.is_intact() || accepts_damaged && backup.artifact == Presence::Whole)
        })
        .map(|(at, _)| Source { name: at.name.clone(), store: Arc::clone(&at.store) })
        .collect();
    sources.sort_by_key(|source| source.name != chosen.destination);
    sources
}

/// Returns the headers beside the copies of a backup: a destination may lack some.
fn headers(catalogs: &Chains<'_>, chosen: &Chosen) -> Vec<HeaderName> {
    let same = |backup: &Backup| backup.manifest.artifact == chosen.backup.manifest.artifact;
    let copies = catalogs.all().filter(|(_, backup)| backup.name == chosen.backup.name && same(backup));
    let all: BTreeSet<&HeaderName> = copies.flat_map(|(_, backup)| &backup.headers).collect();
    all.into_iter().cloned().collect()
}

/// Returns the last drill of a backup of the same series, at any destination.
fn last_drill(catalogs: &Chains<'_>, chosen: &Backup) -> Option<LastDrill> {
    let same = |backup: &Backup| Series::of(&backup.manifest) == Series::of(&chosen.manifest);
    let drills = catalogs.all().filter(|(_, backup)| same(backup)).flat_map(|(at, backup)| {
        let drills = backup.marks.effective(MarkKind::Drilled);
        drills.map(move |name| (at, backup, name))
    });
    let (at, backup, name) = drills.max_by_key(|(_, _, name)| name.time)?;
    let earlier = catalogs.earlier(backup, Copies::Whole).unwrap_or_default();
    let links = earlier.iter().map(|(_, backup)| *backup).chain([backup]);
    let plaintext_bytes = total_bytes(links, backup);
    Some(LastDrill { store: Arc::clone(&at.store), key: name.key().ok()?, plaintext_bytes })
}

/// Returns true if a backup is dated in the future.
fn is_in_future(backup: &Backup) -> bool {
    backup.manifest.time.time() > Utc::now() + CLOCK_TOLERANCE
}

fn chosen_from((at, backup): (&Catalogued, &Backup)) -> Chosen {
    let (destination, store) = (at.name.clone(), Arc::clone(&at.store));
    Chosen {
        backup: backup.clone(),
        destination,
        store,
        sources: Vec::new(),
        earlier: Vec::new(),
        earlier_manifests: Vec::new(),
        drilled: None,
    }
}

fn not_found(subject: &str, message: &str) -> Error {
    Error::new(Stage::Catalog, Kind::NotFound, subject, message).hint("`longshore list` shows all backups")
}

/// Returns the error for an unknown job, with the nearest known name.
fn unknown_job(catalogs: &Chains<'_>, job: &str) -> Error {
    let jobs: BTreeSet<&str> = catalogs.all().map(|(_, backup)| backup.manifest.job.as_str()).collect();
    Error::new(Stage::Config, Kind::NotFound, job, "no backup of a job of that name").hint(suggestion::hint(
        job,
        jobs,
        "`longshore list` shows all backups",
    ))
}

/// Fails if words have more than one meaning.
fn expect_unambiguous(words: &str, meanings: BTreeSet<String>, hint: &str) -> Result<()> {
    if meanings.len() < 2 {
        return Ok(());
    }
    let meanings = meanings.into_iter().collect::<Vec<_>>().join(", ");
    Err(Error::new(Stage::Catalog, Kind::Usage, words, "is ambiguous").hint(format!("{hint}{meanings}")))
}

/// Returns the newest good backup no newer than `at`, never a newer one.
fn choose_subject(catalogs: &Chains<'_>, words: &str, job: Option<&str>, at: Option<DateTime<Utc>>) -> Result<Chosen> {
    let candidates: Vec<_> = catalogs
        .good()
        .filter(|(_, backup)| matches_backup(words, backup) && job.is_none_or(|job| job == backup.manifest.job))
        .collect();
    // The full name of a damaged backup requests its damaged bytes.
    let by_name = |(_, backup): &(_, &Backup)| words == backup.name.as_str() && backup.artifact == Presence::Whole;
    let candidates = if candidates.is_empty() { catalogs.all().filter(by_name).collect() } else { candidates };
    let subject = |backup: &Backup| format!("{}/{}", backup.manifest.cluster.name, backup.manifest.subject.segment());
    let meanings = |of: &dyn Fn(&Backup) -> String| candidates.iter().map(|(_, backup)| of(backup)).collect();
    expect_unambiguous(words, meanings(&subject), "write one of: ")?;
    // Two jobs may dump different parts of one database.
    expect_unambiguous(words, meanings(&|backup| backup.manifest.job.clone()), "choose the job with --job: ")?;
    if candidates.is_empty() {
        let read = || catalogs.catalogs.iter().map(|at| &at.catalog);
        let none = || match catalogs.all().any(|(_, backup)| matches_backup(words, backup)) {
            true if job.is_some_and(|job| !catalogs.all().any(|(_, backup)| backup.manifest.job == job)) => {
                unknown_job(catalogs, job.unwrap_or_default())
            }
            true => untrusted_error(read(), words).unwrap_or_else(|| not_found(words, "no good backup")),
            false => unknown_backup(catalogs.catalogs, words),
        };
        return Err(adopted_file_error(catalogs.catalogs, words).unwrap_or_else(none));
    }
    let oldest = candidates.iter().map(|(_, backup)| recoverable_from(backup)).min();
    let early_enough =
        candidates.into_iter().filter(|(_, backup)| at.is_none_or(|at| backup.manifest.time.time() <= at));
    // A backup that a wrong clock dated in the future may be the oldest of all. The first of
    // several copies is chosen, so equal ones must not replace it.
    let rank = |backup: &Backup| (at.is_some() || !is_in_future(backup), backup.manifest.time);
    let newest = early_enough.reduce(|best, next| if rank(next.1) > rank(best.1) { next } else { best });
    newest.map(chosen_from).ok_or_else(|| {
        let hint = "`longshore list` shows all backups; a newer backup is never restored instead";
        let oldest =
            oldest.map(|oldest| format!("the oldest good one is of {}; ", oldest.format("%Y-%m-%d %H:%M:%S UTC")));
        Error::new(Stage::Restore, Kind::Refused, words, "no good backup is that old")
            .hint(oldest.unwrap_or_default() + hint)
    })
}

/// Returns the moment of the state that a backup contains.
fn recoverable_from(backup: &Backup) -> DateTime<Utc> {
    match backup.manifest.base {
        Some(_) => backup.manifest.recoverable_from(),
        None => backup.manifest.time.time(),
    }
}

/// Returns a warning for each newer backup of the series without a good copy.
fn skipped_newer_backups(catalogs: &Chains<'_>, chosen: &Backup, at: Option<DateTime<Utc>>) -> Vec<String> {
    let newer = |backup: &Backup| {
        backup.manifest.subject == chosen.manifest.subject
            && backup.manifest.cluster.name == chosen.manifest.cluster.name
            && backup.manifest.job == chosen.manifest.job
            && backup.manifest.time > chosen.manifest.time
            && at.is_none_or(|at| backup.manifest.time.time() <= at)
    };
    let damaged = catalogs.all().filter(|(_, backup)| newer(backup) && !catalogs.is_restorable(backup));
    let ahead = |backup: &Backup| newer(backup) && is_in_future(backup);
    let names: BTreeSet<_> = damaged.map(|(_, backup)| backup.name.to_string()).collect();
    let damaged = names.into_iter().map(|name| format!("{name} is newer, but damaged, and was skipped"));
    let unreadable: BTreeMap<_, _> =
        catalogs.catalogs.iter().flat_map(|at| &at.catalog.unreadable).map(|(key, error)| (key, error)).collect();
    let cluster = chosen.name.folder().split('/').next().unwrap_or_default();
    let folders: Vec<_> = chosen.manifest.subject.segments().map(|segment| format!("{cluster}/{segment}")).collect();
    let newer = unreadable.into_iter().filter(|(key, _)| {
        let name =
            BackupName::from_manifest_key(key).filter(|name| folders.iter().any(|folder| folder == name.folder()));
        name.and_then(|name| name.time()).is_some_and(|time| time > chosen.manifest.time)
    });
    let ahead: BTreeSet<_> =
        catalogs.good().filter(|(_, backup)| ahead(backup)).map(|(_, backup)| &backup.name).collect();
    let ahead = ahead.into_iter().map(|name| {
        format!("{name} is dated in the future by this host's clock, and was skipped; --at 9999-01-01 selects it")
    });
    damaged
        .chain(ahead)
        .chain(newer.map(|(key, error)| match is_untrusted(error) {
            true => format!("{key} is newer, but was refused: {error}"),
            false => format!("{key} cannot be read, and may belong to a newer backup"),
        }))
        .collect()
}

/// Returns the backups that a backup needs.
fn choose_needed(catalogs: &Chains<'_>, backup: &Backup) -> Result<Vec<Chosen>> {
    let mut needs = backup.manifest.prerequisites().peekable();
    if needs.peek().is_none() {
        return Err(not_found(backup.name.as_str(), "the backup was made without globals"));
    }
    let find = |need: &BackupName| {
        let found = catalogs.good().find(|(_, backup)| backup.name == *need);
        found.map(chosen_from).ok_or_else(|| not_found(need.as_str(), "the backup needs it, but there is no good copy"))
    };
    needs.map(find).collect()
}

/// Returns the id of the newest run of the job. Without a job, all backups must be of one
/// job and cluster.
fn latest_run_id(catalogs: &Chains<'_>, job: Option<&str>) -> Result<String> {
    let candidates = || {
        let of_job = |backup: &&Backup| job.is_none_or(|job| job == backup.manifest.job);
        catalogs.all().map(|(_, backup)| backup).filter(of_job)
    };
    let origin = |backup: &Backup| format!("{} of {}", backup.manifest.job, backup.manifest.cluster.name);
    expect_unambiguous("latest", candidates().map(origin).collect(), "choose the job with --job, or name a run: ")?;
    let newest = candidates().max_by_key(|backup| backup.manifest.time);
    newest.map(|backup| backup.manifest.run.clone()).ok_or_else(|| {
        let refused = catalogs.catalogs.iter().flat_map(|at| untrusted(&at.catalog)).next();
        refused.map_or_else(|| not_found("latest", "no backups"), |(_, error)| error.clone())
    })
}

/// Returns a message about the backups of a run that have no good copy, if any.
fn missing_backups(catalogs: &Chains<'_>, run: &str) -> Option<String> {
    let mut good: BTreeMap<&BackupName, bool> = BTreeMap::new();
    let mut planned = 0;
    for (_, backup) in catalogs.all().filter(|(_, backup)| backup.manifest.run == run) {
        *good.entry(&backup.name).or_default() |= catalogs.is_restorable(backup);
        planned = backup.manifest.run_backups;
    }
    let damaged: Vec<_> = good.iter().filter(|(_, good)| !**good).map(|(name, _)| name.to_string()).collect();
    let whole = good.len() - damaged.len();
    (whole < planned as usize).then(|| {
        let named = if damaged.is_empty() { String::new() } else { format!(" (damaged: {})", damaged.join(", ")) };
        format!("the run planned {planned} backups, of which {whole} exist and are good{named}")
    })
}

/// Returns all good backups of a run, globals first.
fn choose_run(catalogs: &Chains<'_>, run: &str) -> Result<Vec<Chosen>> {
    let mut chosen: Vec<Chosen> = Vec::new();
    for (at, backup) in catalogs.good().filter(|(_, backup)| backup.manifest.run == run) {
        if !chosen.iter().any(|known| known.backup.name == backup.name) {
            chosen.push(chosen_from((at, backup)));
        }
    }
    if chosen.is_empty() {
        if let Some((_, error)) = catalogs.catalogs.iter().flat_map(|at| untrusted(&at.catalog)).next() {
            return Err(error.clone());
        }
        return Err(not_found(run, "no good backup of a run with this id")
            .hint("`longshore list --json` shows the ids of runs"));
    }
    chosen.sort_by_key(|chosen| chosen.backup.manifest.subject.kind());
    Ok(chosen)
}

#[cfg(test)]
mod tests;
