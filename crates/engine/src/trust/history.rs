//! The comparison of a destination with what this host saw there before: a report that is missing
//! means that the destination was rolled back, and a backup that is missing without a statement
//! that it was deleted.
//!
//! Only signed records count, so no destination can forge them. Reports that retention removed, and
//! backups that a prune removed, are no problems.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use futures_util::{StreamExt, TryStreamExt, stream};
use longshore_catalog::catalog::Catalog;
use longshore_catalog::signature::{ListedSignatures, verifying};
use longshore_config::Config;
use longshore_core::key::{BackupName, Key, encode_name};
use longshore_core::run_report::{Id, MAX_REPORT_BYTES, ReportName, RunReport};
use longshore_core::signature::{Record, Verdict};
use longshore_core::stage::Store;
use longshore_core::stream::collect;
use longshore_core::{Error, Kind, Result, Stage};
use serde::Serialize;

use super::memory::{JobKey, KnownReport, Memory};
use crate::report_retention::{REMOVAL, surplus};

/// The number of reports fetched concurrently.
const FETCHES: usize = 16;
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
    fn new(message: String, host: Option<&str>) -> Self {
        let accept = host.map_or_else(|| "HOST".to_owned(), str::to_owned);
        let hint = format!(
            "find out who changed the destination; `longshore trust accept-chain {accept}` accepts its present state"
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

/// A comparison in progress.
struct Look<'a> {
    destination: &'a str,
    store: &'a dyn Store,
    is_first: bool,
    memory: Memory,
}

impl Look<'_> {
    async fn compare(&mut self, catalog: &Catalog) -> Result<Vec<HistoryProblem>> {
        let keys: BTreeSet<Key> = catalog.reports.iter().cloned().collect();
        self.read_reports(&keys).await?;
        let mut problems = self.missing_reports(&keys);
        if !problems.is_empty() {
            // Another look may have seen reports that are newer than this listing.
            let keys = self.list().await?.into_iter().filter(|key| ReportName::of_file(key).is_some()).collect();
            self.read_reports(&keys).await?;
            problems = self.missing_reports(&keys);
        }
        problems.extend(self.chain_problems());
        problems.extend(self.missing_backups(catalog).await?);
        problems.extend(self.other_systems(catalog));
        // A rolled back destination shows backups again that were removed.
        let is_unchanged = problems.is_empty();
        let signed = catalog.backups().filter(|backup| backup.signature.signer().is_some());
        for backup in signed.filter(|_| is_unchanged) {
            let job = (encode_name(&backup.manifest.cluster.name), encode_name(&backup.manifest.job));
            self.memory.backups.insert(backup.name.clone(), job);
        }
        Ok(problems)
    }

    async fn list(&self) -> Result<BTreeSet<Key>> {
        self.store.list(None).await?.map_ok(|entry| entry.key).try_collect().await
    }

    /// Reads the signed reports that this host did not see before.
    async fn read_reports(&mut self, keys: &BTreeSet<Key>) -> Result<()> {
        let signatures = ListedSignatures::of(keys);
        let is_new = |key: &&Key| signatures.key(key).is_some() && !self.memory.reports.contains_key(*key);
        let store = self.store;
        let reads = keys.iter().filter(is_new).map(|key| {
            let signatures = &signatures;
            async move { read_report(store, signatures, key).await }
        });
        let read: Vec<Option<(Key, RunReport)>> = stream::iter(reads).buffered(FETCHES).try_collect().await?;
        let mut new: Vec<(Key, RunReport)> = read.into_iter().flatten().collect();
        new.sort_by_key(|(_, report)| (report.ended, report.id.clone()));
        for (key, report) in new {
            self.add_report(key, report);
        }
        Ok(())
    }

    fn add_report(&mut self, key: Key, report: RunReport) {
        let Some(name) = report_key(&key) else { return };
        let job = (name.cluster.clone(), name.job.clone());
        if report.verb == REMOVAL {
            self.memory.removed.extend(report.removed.into_values().flatten());
        } else {
            let is_known_host = self.memory.reports.iter().any(|(other, known)| {
                known.host == report.host
                    && report_key(other).is_some_and(|of| is_of_job(&of, &job) && of.id.verb != REMOVAL)
            });
            if report.previous.is_none() && is_known_host && !self.is_first {
                self.memory.restarted.insert(key.clone());
            }
            for subject in report.subjects {
                let is_here = |at: &&longshore_core::run_report::DestinationOutcome| {
                    at.destination == self.destination && at.manifest.is_some()
                };
                let made = subject.backup.filter(|_| subject.destinations.iter().any(|at| is_here(&at)));
                // A first look finds reports of backups that were removed before this host looked.
                self.memory.backups.extend(made.map(|name| (name, job.clone())));
            }
        }
        let previous = report.previous.as_ref().map(|digest| digest.hex().to_owned());
        self.memory.reports.insert(key, KnownReport { host: report.host, previous });
    }

    /// Finds reports that were seen and are missing, although retention keeps them. Forgets those
    /// that retention removed.
    fn missing_reports(&mut self, keys: &BTreeSet<Key>) -> Vec<HistoryProblem> {
        let mut jobs: BTreeMap<JobKey, Vec<Id>> = BTreeMap::new();
        let all = self.memory.reports.keys().chain(keys);
        for name in all.filter_map(report_key) {
            jobs.entry((name.cluster, name.job)).or_default().push(name.id);
        }
        let now = Utc::now();
        let mut missing: BTreeMap<String, Vec<Key>> = BTreeMap::new();
        let mut forgotten = Vec::new();
        for (job, ids) in &jobs {
            let surplus = surplus(ids, now);
            let of_job = |key: &&Key| report_key(key).is_some_and(|name| is_of_job(&name, job));
            let known: Vec<&Key> = self.memory.reports.keys().filter(of_job).collect();
            let gone: Vec<&Key> = known.iter().copied().filter(|key| !keys.contains(*key)).collect();
            let is_surplus = |key: &Key| report_key(key).is_some_and(|name| surplus.contains(&name.id));
            let has_newer = keys.iter().any(|key| of_job(&key));
            // After a long absence, everything seen before may have been removed.
            let is_stale = has_newer && gone.len() == known.len() && gone.iter().all(|key| is_surplus(key));
            for key in gone {
                if is_surplus(key) {
                    forgotten.push(key.clone());
                } else if let Some(known) = self.memory.reports.get(key) {
                    missing.entry(known.host.clone()).or_default().push(key.clone());
                }
            }
            if is_stale {
                self.memory.backups.retain(|_, of| of != job);
            }
        }
        for key in forgotten {
            self.memory.reports.remove(&key);
            self.memory.restarted.remove(&key);
        }
        let problem = |(host, keys): (&String, &Vec<Key>)| {
            let (count, names) = (keys.len(), named(keys.iter().map(Key::as_str)));
            let noun = if count == 1 { "run report is" } else { "run reports are" };
            let message =
                format!("rolled back: {count} {noun} missing, by {host}, which this host saw before ({names})");
            HistoryProblem::new(message, Some(host))
        };
        missing.iter().map(problem).collect()
    }

    /// Finds chains that began anew, and reports with the same predecessor.
    fn chain_problems(&self) -> Vec<HistoryProblem> {
        let mut problems = Vec::new();
        for key in &self.memory.restarted {
            if let Some(KnownReport { host, .. }) = self.memory.reports.get(key) {
                let message = format!(
                    "{host} began a new chain of run reports with {key}: it lost its state or uses another configuration, or another host has its key"
                );
                problems.push(HistoryProblem::new(message, Some(host)));
            }
        }
        let mut successors: BTreeMap<(JobKey, &str), Vec<(&Key, &str)>> = BTreeMap::new();
        for (key, known) in &self.memory.reports {
            if let (Some(previous), Some(name)) = (&known.previous, report_key(key)) {
                successors.entry(((name.cluster, name.job), previous)).or_default().push((key, &known.host));
            }
        }
        for all in successors.into_values().filter(|all| all.len() > 1) {
            let host = all.first().map(|(_, host)| *host);
            let keys = named(all.iter().map(|(key, _)| key.as_str()));
            let message = format!(
                "forked: {} run reports follow the same one ({keys}): two hosts write as {}",
                all.len(),
                host.unwrap_or_default()
            );
            problems.push(HistoryProblem::new(message, host));
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
            let keys = self.list().await?;
            let reports = keys.iter().filter(|key| ReportName::of_file(key).is_some()).cloned().collect();
            self.read_reports(&reports).await?;
            lost = missing(&self.memory).into_iter().filter(|name| !keys.contains(&name.manifest())).collect();
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
        let (count, names) = (lost.len(), named(lost.iter().map(BackupName::as_str)));
        let noun = if count == 1 { "backup is" } else { "backups are" };
        let message = format!("{count} {noun} missing, and no signed statement permits that ({names})");
        let job = lost.first().and_then(|name| self.memory.backups.get(name));
        let host = job.and_then(|job| self.host_of(job));
        Ok(vec![HistoryProblem::new(message, host.as_deref())])
    }

    /// Returns the host that wrote the last report of a job.
    fn host_of(&self, job: &JobKey) -> Option<String> {
        let of_job = |key: &Key| report_key(key).is_some_and(|name| is_of_job(&name, job));
        self.memory.reports.iter().filter(|(key, _)| of_job(key)).map(|(_, known)| known.host.clone()).next_back()
    }

    /// Finds clusters whose system identifier is another one than before.
    fn other_systems(&mut self, catalog: &Catalog) -> Vec<HistoryProblem> {
        let signed = catalog.backups().filter(|backup| backup.signature.signer().is_some());
        let mut found: BTreeMap<&String, BTreeMap<&String, &BackupName>> = BTreeMap::new();
        for backup in signed {
            if let Some(system) = &backup.manifest.cluster.server.system_identifier {
                found.entry(&backup.manifest.cluster.name).or_default().insert(system, &backup.name);
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
                problems.push(HistoryProblem::new(message, None));
            }
        }
        problems
    }
}

/// Reads a signed report. Returns `None` if the report does not count, or no longer exists.
async fn read_report(store: &dyn Store, signatures: &ListedSignatures, key: &Key) -> Result<Option<(Key, RunReport)>> {
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
            report_key(key).is_some_and(|name| name == ReportName::new(cluster, job, report.id.clone()))
                && report.verb == report.id.verb
        }
        _ => false,
    };
    Ok(report.filter(is_its).map(|report| (key.clone(), report)))
}

/// Returns the name of the report with this key.
pub(crate) fn report_key(key: &Key) -> Option<ReportName> {
    match Record::from_key(key) {
        Some(Record::Report(name)) => Some(name),
        _ => None,
    }
}

fn is_of_job(name: &ReportName, (cluster, job): &JobKey) -> bool {
    name.cluster == *cluster && name.job == *job
}

/// Joins the first names.
fn named<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = names.collect();
    let more = if all.len() > MAX_NAMED { ", …" } else { "" };
    format!("{}{more}", all[..all.len().min(MAX_NAMED)].join(", "))
}
