//! The comparison of a destination with what this host saw there before: a report that is missing
//! means that the destination was rolled back, and a backup that is missing without a statement
//! that it was deleted.
//!
//! Only signed records count, so no destination can forge them. Reports that retention removed, and
//! backups that a prune removed, are no problems.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{TimeDelta, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use longshore_catalog::catalog::{Backup, Catalog};
use longshore_catalog::mark;
use longshore_catalog::signature::{ListedSignatures, verifying};
use longshore_config::Config;
use longshore_core::key::{BackupName, Key};
use longshore_core::manifest::Manifest;
use longshore_core::mark::{MarkKind, MarkName};
use longshore_core::meter::Digest;
use longshore_core::run_report::{Id, MAX_REPORT_BYTES, ReportName, RunReport};
use longshore_core::signature::Verdict;
use longshore_core::stage::Store;
use longshore_core::stream::collect;
use longshore_core::{Error, Kind, Result, Stage};
use serde::Serialize;

use super::known_reports::{JobKey, KnownReport, job_named, job_of, name_of, report_name};
use super::memory::Memory;
use crate::report_retention::{REMOVAL, surplus};

/// The number of reports fetched concurrently.
const FETCHES: usize = 16;
/// The longest time that a repair may take.
const MAX_REPAIR: TimeDelta = TimeDelta::days(3);
/// The number of names in a message.
const MAX_NAMED: usize = 3;

/// A difference between a destination and what this host saw there before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryProblem {
    /// The problem.
    pub message: String,
    /// The way out.
    pub hint: String,
}

impl HistoryProblem {
    /// `accepted` is a host or a destination.
    fn new(message: String, accepted: &str) -> Self {
        let hint = format!(
            "find out who changed the destination; `longshore trust accept-chain {accepted}` accepts its present state"
        );
        Self { message, hint }
    }

    /// Returns the problem as an error about a destination.
    pub fn error(&self, destination: &str) -> Error {
        Error::new(Stage::Trust, Kind::Refused, destination, self.message.clone()).hint(self.hint.clone())
    }
}

/// Compares a destination with what this host saw there before, and remembers what is there now.
/// Returns no problems if this host verifies no signatures.
pub(crate) async fn compare(
    config: &Config,
    destination: &str,
    store: &dyn Store,
    catalog: &Catalog,
) -> Vec<HistoryProblem> {
    if verifying(store).is_none() {
        return Vec::new();
    }
    let compared = async {
        let memory = Memory::open(config, destination)?;
        let before = memory.clone();
        let mut look = Look { destination, store, is_first: memory.is_empty(), memory };
        let problems = look.compare(catalog).await?;
        if look.memory != before {
            look.memory.save()?;
        }
        Ok::<_, Error>(problems)
    };
    compared.await.unwrap_or_else(|error| {
        let hint = error.remedy().unwrap_or("try again").to_owned();
        vec![HistoryProblem { message: format!("its history cannot be compared: {}", error.chain()), hint }]
    })
}

/// The files that a listing shows, and the run reports among them by job.
struct Listing {
    keys: BTreeSet<Key>,
    jobs: BTreeMap<JobKey, BTreeMap<Id, Key>>,
}

impl Listing {
    fn of(keys: BTreeSet<Key>) -> Self {
        let mut jobs: BTreeMap<JobKey, BTreeMap<Id, Key>> = BTreeMap::new();
        for key in &keys {
            if let Some(name) = report_name(key) {
                jobs.entry(job_of(&name)).or_default().insert(name.id, key.clone());
            }
        }
        Self { keys, jobs }
    }

    /// Returns true if the listing shows a report.
    fn has(&self, job: &JobKey, id: &Id) -> bool {
        self.jobs.get(job).is_some_and(|reports| reports.contains_key(id))
    }
}

/// A comparison in progress.
struct Look<'a> {
    destination: &'a str,
    store: &'a dyn Store,
    is_first: bool,
    memory: Memory,
}

impl Look<'_> {
    async fn compare(&mut self, catalog: &Catalog) -> Result<Vec<HistoryProblem>> {
        let listing = Listing::of(catalog.reports.iter().cloned().collect());
        self.read_reports(&listing).await?;
        let mut problems = self.missing_reports(&listing);
        if !problems.is_empty() {
            // Another look may have seen reports that are newer than this listing.
            let listing = self.list().await?;
            self.read_reports(&listing).await?;
            problems = self.missing_reports(&listing);
        }
        problems.extend(self.chain_problems());
        problems.extend(self.missing_backups(catalog).await?);
        problems.extend(self.replaced_backups(catalog));
        problems.extend(self.other_systems(catalog));
        // A rolled back destination shows backups again that were removed.
        if problems.is_empty() {
            for (name, digest, manifest) in signed(catalog) {
                self.memory.backups.insert(name.clone(), job_named(&manifest.cluster.name, &manifest.job));
                self.memory.manifests.insert(name.clone(), digest.clone());
            }
        }
        Ok(problems)
    }

    async fn list(&self) -> Result<Listing> {
        let keys = self.store.list_backups().await?.map_ok(|entry| entry.key).try_collect().await?;
        Ok(Listing::of(keys))
    }

    /// Reads the signed reports that this host did not see before.
    async fn read_reports(&mut self, listing: &Listing) -> Result<()> {
        let signatures = ListedSignatures::of(&listing.keys);
        let store = self.store;
        let mut new = Vec::new();
        for (job, reports) in &listing.jobs {
            for (id, key) in reports {
                let name = name_of(job, id);
                if self.memory.reports.get(&name).is_none() && signatures.key(key).is_some() {
                    new.push((name, key));
                }
            }
        }
        let signatures = &signatures;
        let reads = new.into_iter().map(async |(name, key)| read_report(store, signatures, name, key).await);
        let read: Vec<Option<(ReportName, RunReport)>> = stream::iter(reads).buffered(FETCHES).try_collect().await?;
        let mut new: Vec<(ReportName, RunReport)> = read.into_iter().flatten().collect();
        new.sort_by_key(|(_, report)| (report.ended, report.id.clone()));
        for (name, report) in new {
            self.add_report(name, report)?;
        }
        Ok(())
    }

    fn add_report(&mut self, name: ReportName, report: RunReport) -> Result<()> {
        let job = job_of(&name);
        if report.verb == REMOVAL {
            self.memory.removed.extend(report.removed.into_values().flatten());
        } else {
            let mut of_job = self.memory.reports.of_job(&job);
            let is_known_host = of_job.any(|(id, known)| known.host == report.host && id.verb != REMOVAL);
            if report.previous.is_none() && is_known_host && !self.is_first {
                self.memory.restarted.insert(name.key()?);
            }
            for subject in report.subjects {
                let at = subject.destinations.into_iter().find(|at| at.destination == self.destination);
                // A first look finds reports of backups that were removed before this host looked.
                if let (Some(name), Some(digest)) = (subject.backup, at.and_then(|at| at.manifest)) {
                    self.memory.manifests.entry(name.clone()).or_insert(digest);
                    self.memory.backups.insert(name, job.clone());
                }
            }
        }
        let previous = report.previous.as_ref().map(|digest| digest.hex().to_owned());
        self.memory.reports.insert(name, KnownReport { host: report.host, previous });
        Ok(())
    }

    /// Finds reports that were seen and are missing, although retention keeps them. Forgets those
    /// that retention removed.
    fn missing_reports(&mut self, listing: &Listing) -> Vec<HistoryProblem> {
        let now = Utc::now();
        let mut missing: BTreeMap<String, Vec<ReportName>> = BTreeMap::new();
        let (mut forgotten, mut stale) = (BTreeSet::new(), BTreeSet::new());
        for (job, known) in self.memory.reports.jobs() {
            let listed = listing.jobs.get(job);
            let ids: BTreeSet<&Id> = known.keys().chain(listed.into_iter().flat_map(BTreeMap::keys)).collect();
            let surplus = surplus(ids, now);
            let gone: Vec<&Id> = known.keys().filter(|id| !listing.has(job, id)).collect();
            // After a long absence, everything seen before may have been removed.
            if listed.is_some() && gone.len() == known.len() && gone.iter().all(|id| surplus.contains(id)) {
                stale.insert(job.clone());
            }
            for id in gone {
                if surplus.contains(id) {
                    forgotten.insert(name_of(job, id));
                } else {
                    missing.entry(known[id].host.clone()).or_default().push(name_of(job, id));
                }
            }
        }
        self.memory.backups.retain(|_, job| !stale.contains(job));
        self.memory.reports.retain(|job, id, _| !forgotten.contains(&name_of(job, id)));
        self.memory.restarted.retain(|key| report_name(key).is_none_or(|name| !forgotten.contains(&name)));
        let problem = |(host, missing): (&String, &Vec<ReportName>)| {
            let (count, names) = (missing.len(), named(missing.iter()));
            let noun = if count == 1 { "run report is" } else { "run reports are" };
            let message =
                format!("rolled back: {count} {noun} missing, by {host}, which this host saw before ({names})");
            HistoryProblem::new(message, host)
        };
        missing.iter().map(problem).collect()
    }

    /// Finds chains that began anew, and reports with the same predecessor.
    fn chain_problems(&self) -> Vec<HistoryProblem> {
        let mut problems = Vec::new();
        for key in &self.memory.restarted {
            if let Some(known) = report_name(key).and_then(|name| self.memory.reports.get(&name)) {
                let host = &known.host;
                let message = format!(
                    "{host} began a new chain of run reports with {key}: it lost its state or uses another configuration, or another host has its key"
                );
                problems.push(HistoryProblem::new(message, host));
            }
        }
        for (job, reports) in self.memory.reports.jobs() {
            let mut successors: BTreeMap<&str, Vec<(ReportName, &str)>> = BTreeMap::new();
            for (id, known) in reports {
                if let Some(previous) = &known.previous {
                    successors.entry(previous).or_default().push((name_of(job, id), &known.host));
                }
            }
            for all in successors.into_values().filter(|all| all.len() > 1) {
                let host = all.first().map_or(self.destination, |(_, host)| host);
                let names = named(all.iter().map(|(name, _)| name));
                let message = format!(
                    "forked: {} run reports follow the same one ({names}): two hosts write as {}",
                    all.len(),
                    host
                );
                problems.push(HistoryProblem::new(message, host));
            }
        }
        problems
    }

    /// Finds backups that were seen, or that a report states, and are missing without a statement.
    async fn missing_backups(&mut self, catalog: &Catalog) -> Result<Vec<HistoryProblem>> {
        let there: BTreeSet<&BackupName> = catalog.backups().map(|backup| &backup.name).collect();
        let unreadable: BTreeSet<&Key> = catalog.unreadable.iter().map(|(key, _)| key).collect();
        let is_missing = |name: &BackupName| !there.contains(name) && !unreadable.contains(&name.manifest());
        let missing = |memory: &Memory| -> Vec<BackupName> {
            let gone = memory.backups.keys().filter(|name| is_missing(name) && !memory.removed.contains(*name));
            gone.cloned().collect()
        };
        if self.is_first {
            // Without an earlier look, this one is the beginning.
            let gone = missing(&self.memory);
            self.memory.backups.retain(|name, _| !gone.contains(name));
        }
        let mut lost = missing(&self.memory);
        if !lost.is_empty() {
            // A prune or a repair may have begun since the listing. Statements precede deletions,
            // so a new list of reports has them.
            let listing = self.list().await?;
            self.read_reports(&listing).await?;
            lost = missing(&self.memory);
            lost.retain(|name| !listing.keys.contains(&name.manifest()));
            let replaced = self.known_damaged(&listing, &lost).await?;
            lost.retain(|name| !replaced.contains(name));
        }
        let Memory { backups, removed, .. } = &mut self.memory;
        let done: Vec<BackupName> = removed.iter().filter(|name| is_missing(name)).cloned().collect();
        for name in done {
            removed.remove(&name);
            backups.remove(&name);
        }
        if lost.is_empty() {
            return Ok(Vec::new());
        }
        let (count, names) = (lost.len(), named(lost.iter()));
        let noun = if count == 1 { "backup is" } else { "backups are" };
        let message = format!("{count} {noun} missing, and no signed statement permits that ({names})");
        let job = lost.first().and_then(|name| self.memory.backups.get(name));
        let host = job.and_then(|job| self.host_of(job));
        Ok(vec![HistoryProblem::new(message, host.as_deref().unwrap_or(self.destination))])
    }

    /// Returns those of the missing backups whose newest signed result is damage, found recently: a
    /// repair states that before it deletes a backup and uploads a good copy.
    async fn known_damaged(&self, listing: &Listing, lost: &[BackupName]) -> Result<BTreeSet<BackupName>> {
        let signatures = ListedSignatures::of(&listing.keys);
        let mut newest: BTreeMap<BackupName, MarkName> = BTreeMap::new();
        for mark in listing.keys.iter().filter_map(MarkName::from_key) {
            let is_result = match mark.kind {
                MarkKind::Verified => true,
                MarkKind::Damaged => (Utc::now() - mark.time.time()).abs() < MAX_REPAIR,
                _ => false,
            };
            if is_result && lost.contains(&mark.backup) {
                let newest = newest.entry(mark.backup.clone()).or_insert_with(|| mark.clone());
                if mark.time > newest.time {
                    *newest = mark;
                }
            }
        }
        let mut damaged = BTreeSet::new();
        for mark in newest.into_values().filter(|mark| mark.kind == MarkKind::Damaged) {
            if mark::is_signed(self.store, &mark, &signatures).await? {
                damaged.insert(mark.backup);
            }
        }
        Ok(damaged)
    }

    /// Finds backups whose manifest is not the one that this host saw before, or that a report
    /// states. Detects a replacement even by the holder of a stolen signing key.
    fn replaced_backups(&self, catalog: &Catalog) -> Option<HistoryProblem> {
        let is_other = |backup: &&Backup| {
            self.memory.manifests.get(&backup.name).is_some_and(|known| match &backup.signature {
                Verdict::Signed { digest, .. } => digest != known,
                Verdict::Unsigned => true,
                _ => false,
            })
        };
        let others: Vec<&Backup> = catalog.backups().filter(is_other).collect();
        let first = others.first()?;
        let message = format!(
            "replaced: the manifests of {} are not those that this host saw before",
            named(others.iter().map(|backup| &backup.name))
        );
        let host = self.host_of(&job_named(&first.manifest.cluster.name, &first.manifest.job));
        Some(HistoryProblem::new(message, host.as_deref().unwrap_or(self.destination)))
    }

    /// Returns the host that wrote the last report of a job.
    fn host_of(&self, job: &JobKey) -> Option<String> {
        self.memory.reports.of_job(job).next_back().map(|(_, known)| known.host.clone())
    }

    /// Finds clusters whose system identifier is another one than before.
    fn other_systems(&mut self, catalog: &Catalog) -> Vec<HistoryProblem> {
        let mut found: BTreeMap<&String, BTreeMap<&String, &BackupName>> = BTreeMap::new();
        for (name, _, manifest) in signed(catalog) {
            if let Some(system) = &manifest.cluster.server.system_identifier {
                found.entry(&manifest.cluster.name).or_default().insert(system, name);
            }
        }
        let mut problems = Vec::new();
        for (cluster, systems) in found {
            let known = self.memory.systems.entry(cluster.clone()).or_default();
            if known.is_empty() {
                known.extend(systems.keys().map(|system| (*system).clone()));
            }
            for (system, name) in systems.into_iter().filter(|(system, _)| !known.contains(*system)) {
                let message = format!(
                    "{name} is of another cluster \"{cluster}\", with the system identifier {system}: it was upgraded or created anew, or the backup is from another host"
                );
                problems.push(HistoryProblem::new(message, self.destination));
            }
        }
        problems
    }
}

/// Returns the signed backups of a catalog, each with the digest of its manifest.
fn signed(catalog: &Catalog) -> impl Iterator<Item = (&BackupName, &Digest, &Manifest)> {
    catalog.backups().filter_map(|backup| match &backup.signature {
        Verdict::Signed { digest, .. } => Some((&backup.name, digest, &*backup.manifest)),
        _ => None,
    })
}

/// Reads a signed report. Returns `None` if the report does not count, or no longer exists.
async fn read_report(
    store: &dyn Store,
    signatures: &ListedSignatures,
    name: ReportName,
    key: &Key,
) -> Result<Option<(ReportName, RunReport)>> {
    let read = async {
        let bytes = collect(store.fetch(key, None).await?, MAX_REPORT_BYTES, Stage::Catalog, key.as_str()).await?;
        let verdict = signatures.verify(store, key, &bytes).await?;
        Ok::<_, Error>((bytes, verdict))
    };
    let (bytes, verdict) = match read.await {
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Corrupt | Kind::Denied) => return Ok(None),
        read => read?,
    };
    let report = match verdict {
        Verdict::Signed { .. } => RunReport::from_bytes(key.as_str(), &bytes).ok(),
        _ => None,
    };
    let is_its = |report: &RunReport| match (&report.cluster, &report.job) {
        (Some(cluster), Some(job)) => {
            name == ReportName::new(cluster, job, report.id.clone()) && report.verb == report.id.verb
        }
        _ => false,
    };
    Ok(report.filter(is_its).map(|report| (name, report)))
}

/// Joins the first names.
fn named<T: std::fmt::Display>(names: impl Iterator<Item = T>) -> String {
    let all: Vec<String> = names.map(|name| name.to_string()).collect();
    let more = if all.len() > MAX_NAMED { ", …" } else { "" };
    format!("{}{more}", all[..all.len().min(MAX_NAMED)].join(", "))
}
