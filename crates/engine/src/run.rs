//! One run of a job: survey the server, copy globals first, then databases in parallel, then prune.

mod checkpoint_wait;
pub(crate) mod differential;
pub(crate) mod incremental;
mod recovery_conflict;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use futures_util::StreamExt;
use futures_util::future::join_all;
use longshore_catalog::catalog::{Catalog, Series};
use longshore_config::registry::Registry;
use longshore_config::{Config, Job};
use longshore_core::discovery::Connections;
use longshore_core::event::{Event, Observer, of_subject};
use longshore_core::key::{BackupName, Timestamp};
use longshore_core::lock::Lock;
use longshore_core::manifest::Cluster;
use longshore_core::pipeline::{BackupSpec, Delivery, Destination, Pipeline, Shipped};
use longshore_core::run_report::Class;
use longshore_core::stage::{DiscoveredSubject, Dump, RunNeeds};
use longshore_core::subject::{Subject, SubjectKind};
use longshore_core::{Error, Kind, Result};
use longshore_retention::SeriesMode;
use tracing::Instrument;

use self::checkpoint_wait::begin;
use self::differential::Differentials;
use self::incremental::Incrementals;
use crate::catalogs::Catalogued;
use crate::error_report::ErrorReport;
use crate::hook::RunLock;
use crate::lock::JobLock;
use crate::mount;
use crate::prune::{self, Mode, Pruned};
use crate::replay_pause;
use crate::report::{ArtifactReport, CompressionCost, DestinationReport, Outcome, Report};
use crate::restore_page;
use crate::stages::verifiers;
use crate::survey::{JobSurvey, Parallelism, survey};
use crate::sync;
use crate::wal::needed::needed_wal;

pub use self::differential::Differences;

/// Runs a job under its lock. An error means that nothing was copied. The report contains the
/// failures of a run that has begun.
pub async fn run(
    config: &Config,
    registry: &Registry,
    job: &Job,
    run_lock: &RunLock,
    differences: Differences,
    observer: Arc<dyn Observer>,
) -> Result<Report> {
    let lock = &*run_lock.0;
    // Building all stages first finds invalid settings before any data is read or written.
    let dumps: Vec<Arc<dyn Dump>> =
        job.dump.iter().map(|dump| dump(&job.site).map(Arc::from)).collect::<Result<_>>()?;
    let verify = verifiers(registry, Some(job), &job.site)?;
    let needed_wal = needed_wal(config, job, &dumps)?;
    let encrypt = job.encrypt.as_ref().map(|encrypt| encrypt(&())).transpose()?.map(Arc::from);
    let mut warnings = Vec::new();
    let (destinations, left_out) = claim_destinations(config, job, lock, &mut warnings).await?;
    // Destinations report their free space while the server is surveyed. A failed survey
    // cancels the queries.
    let (survey, free_space) = tokio::try_join!(survey(&dumps), async { Ok(free_space(&destinations).await) })?;
    // Each artifact is shipped to all destinations at once, so the lowest limit applies.
    let bounds = destinations.iter().filter_map(|(destination, _)| destination.store.limits().uploads);
    let parallel = survey.parallel(bounds.chain([job.parallel]).min().unwrap_or(1));
    let JobSurvey { server, subjects, missing, not_captured, is_standby, warnings: surveyed, .. } = survey;
    warnings.extend(surveyed);
    let (low_space, unknown_space) = low_space_warnings(free_space, &subjects);
    warnings.extend(low_space);
    match &parallel {
        Parallelism::Configured(_) => {}
        Parallelism::Limited(_, why) => warnings.push(why.clone()),
        Parallelism::TooFewConnections(connections) => warnings.push(connection_warning(connections)),
    }

    let pipeline = Pipeline {
        verify,
        encrypt,
        destinations: destinations.iter().map(|(destination, _)| destination.clone()).collect(),
        needed_wal,
    };
    let (incrementals, more) = Incrementals::plan((config, job), &dumps, &pipeline, &server, lock.time.time()).await?;
    warnings.extend(more);
    let (differentials, more) =
        Differentials::plan((config, job), &subjects, &pipeline, differences, lock.time.time()).await?;
    warnings.extend(more);
    let surveyed: Vec<_> = subjects.iter().map(|(_, surveyed)| surveyed.clone()).collect();
    observer.event(&Event::RunPlanned(&surveyed));
    let run = ActiveRun {
        pipeline,
        incrementals,
        differentials,
        job: job.name.clone(),
        run_id: run_lock.run_id(&job.name),
        run_backups: (surveyed.len() + missing.len()).try_into().unwrap_or(u32::MAX),
        run_not_captured: not_captured.iter().map(|left| left.what.clone()).collect(),
        time: lock.time,
        cluster: Cluster { name: job.site.cluster.name.clone(), server },
        is_standby,
        observer,
    };
    let mut artifacts = run.report_missing(missing);
    let pause = match dumps.first().filter(|_| is_standby) {
        Some(dump) => {
            let (pause, more) = replay_pause::begin(config, job, dump).await?;
            warnings.extend(more);
            pause
        }
        None => None,
    };
    artifacts.extend(run.copy_all(subjects, parallel.number()).await);
    if let Some(pause) = pause
        && let Err(error) = pause.finish().await
    {
        warnings.push(Error::chain(&error));
    }
    // If every copy to a destination failed, the errors of the copies already name the cause.
    let received = |name: &str| {
        let mut all = artifacts.iter().flat_map(|artifact| &artifact.destinations);
        all.any(|at| at.destination == name && at.error.is_none())
    };
    warnings.extend(unknown_space.into_iter().filter(|(name, _)| received(name)).map(|(_, error)| error.chain()));
    warnings.extend(write_restore_page(&destinations, &artifacts).await);
    let left_out = catch_up(config, job, &run.run_id, &mut artifacts, left_out).await;
    let (mut pruned, sweep_warnings) = apply_retention(config, job, &destinations, &artifacts).await;
    let is_new_base =
        |artifact: &ArtifactReport| artifact.subject == Subject::Base && artifact.outcome() != Outcome::Failed;
    if !job.retention.is_empty() && artifacts.iter().any(is_new_base) {
        prune::prune_wal(config, &[job], (None, Mode::Act), &mut pruned).await;
    }
    warnings.extend(sweep_warnings);
    Ok(Report {
        job: job.name.clone(),
        run: run.run_id,
        time: lock.time,
        finished: Utc::now(),
        artifacts,
        left_out,
        not_captured,
        warnings,
        pruned,
    })
}

/// Claims the job's destinations for the run. Returns the claimed ones, and reports of those that
/// failed. Fails if no destination is left.
pub(crate) async fn claim_destinations(
    config: &Config,
    job: &Job,
    lock: &JobLock,
    warnings: &mut Vec<String>,
) -> Result<(Vec<(Destination, Option<Lock>)>, Vec<DestinationReport>)> {
    let mut ready = Vec::new();
    let mut errors: Vec<(String, Error)> = Vec::new();
    for name in &job.ship {
        let claimed = async {
            let store = config.destination(name)?.open_for_retention(job.retention.get(name))?;
            match mount::expect(config, name, &*store) {
                Err(error) if error.kind() == Kind::Refused => return Err(error),
                // A host that cannot read or write its state still makes backups.
                Err(error) => warnings.push(error.chain()),
                Ok(()) => {}
            }
            let lock = match store.capabilities().exclusive_lock {
                Some(exclusive) => Some(exclusive.claim(&job.name, &lock.holder).await?),
                None => None,
            };
            Ok::<_, Error>((Destination { name: name.clone(), store }, lock))
        };
        match claimed.await {
            Ok(claimed) => ready.push(claimed),
            // All runs claim in the same order, so a run that claims the first destination claims
            // all: two runs never split the destinations between them.
            Err(error) if error.kind() == Kind::Locked => return Err(error),
            Err(error) => errors.push((name.clone(), error)),
        }
    }
    if ready.is_empty() {
        return Err(errors.swap_remove(0).1);
    }
    let left_out = errors.into_iter().map(|(name, error)| DestinationReport::new(&name, 0, 0.0, &Err(error)));
    Ok((ready, left_out.collect()))
}

/// Returns the free space of each destination that can report it, in bytes.
async fn free_space(destinations: &[(Destination, Option<Lock>)]) -> Vec<(&str, Result<u64>)> {
    let queries = destinations.iter().filter_map(|(destination, _)| {
        let free_space = destination.store.capabilities().free_space?;
        Some(async { (destination.name.as_str(), free_space.free_bytes().await) })
    });
    join_all(queries).await
}

/// Returns warnings for destinations with less free space than the databases take on disk, and the
/// errors of destinations that failed to report their free space. The backups may fit all the same,
/// since they are compressed.
fn low_space_warnings<'a>(
    free_space: Vec<(&'a str, Result<u64>)>,
    subjects: &[(Arc<dyn Dump>, DiscoveredSubject)],
) -> (Vec<String>, Vec<(&'a str, Error)>) {
    let needed: u64 = subjects.iter().filter_map(|(_, surveyed)| surveyed.estimated_bytes).sum();
    let (mut warnings, mut unknown) = (Vec::new(), Vec::new());
    for (name, free) in free_space {
        match free {
            Ok(free) if free < needed => warnings.push(format!(
                "destination \"{name}\" has {} MiB free, less than the {} MiB that the databases take on disk: the backups may not fit",
                free >> 20,
                needed >> 20
            )),
            Ok(_) => {}
            Err(error) => unknown.push((name, error)),
        }
    }
    (warnings, unknown)
}

/// Returns the warning for a run that needs more connections than the role can open. The run begins
/// all the same: other sessions may end in time.
fn connection_warning(connections: &Connections) -> String {
    format!("{}: a run needs {}; {}", connections.limit, connections.needed(1), connections.remedy)
}

/// Writes the page about restoring by hand to each destination that received backups. Backups are
/// good without the page, so a failure is a warning.
async fn write_restore_page(destinations: &[(Destination, Option<Lock>)], artifacts: &[ArtifactReport]) -> Vec<String> {
    let arrived = |name: &str| {
        let mut all = artifacts.iter().flat_map(|artifact| &artifact.destinations);
        all.any(|at| at.destination == name && at.error.is_none())
    };
    let arrived = destinations.iter().filter(|(destination, _)| arrived(&destination.name));
    let puts = arrived.map(|(destination, _)| restore_page::upload_or_warn(&destination.name, &*destination.store));
    join_all(puts).await.into_iter().flatten().collect()
}

/// The backups that other backups need, by the destination that has them.
type Needs = BTreeMap<String, Vec<BackupName>>;

/// A run in progress: the values that all its backups share.
struct ActiveRun<'a> {
    pipeline: Pipeline,
    incrementals: Option<Incrementals<'a>>,
    differentials: Option<Differentials<'a>>,
    job: String,
    run_id: String,
    run_backups: u32,
    run_not_captured: Vec<String>,
    time: Timestamp,
    cluster: Cluster,
    is_standby: bool,
    observer: Arc<dyn Observer>,
}

impl ActiveRun<'_> {
    /// Reports the subjects that the settings name but that cannot be copied.
    fn report_missing(&self, missing: Vec<(Subject, Error)>) -> Vec<ArtifactReport> {
        let reports = missing.into_iter().map(|(subject, error)| artifact_report(&subject, Err(error), 0.0));
        reports.inspect(|report| report.notify(&*self.observer)).collect()
    }

    /// Copies all subjects: first, one at a time, the globals, which others may need; then the
    /// others, several at once.
    async fn copy_all(
        &self,
        subjects: Vec<(Arc<dyn Dump>, DiscoveredSubject)>,
        parallel: usize,
    ) -> Vec<ArtifactReport> {
        let (globals, others): (Vec<_>, Vec<_>) =
            subjects.into_iter().partition(|(_, surveyed)| surveyed.subject.kind() == SubjectKind::ClusterSql);
        let mut reports = Vec::new();
        let mut run_globals = Needs::new();
        for (dump, surveyed) in globals {
            let needs = self.needs(&surveyed, &run_globals);
            let report = self.copy(&*dump, surveyed.subject, needs).await;
            if let Some(name) = &report.name {
                for at in report.destinations.iter().filter(|at| at.error.is_none()) {
                    run_globals.entry(at.destination.clone()).or_default().push(name.clone());
                }
            }
            reports.push(report);
        }
        let copies = others.into_iter().map(async |(dump, surveyed)| {
            let needs = self.needs(&surveyed, &run_globals);
            self.copy(&*dump, surveyed.subject, needs).await
        });
        reports.extend(futures_util::stream::iter(copies).buffer_unordered(parallel).collect::<Vec<_>>().await);
        reports
    }

    /// Returns the backups that a subject's backup needs according to its source, given the globals
    /// of the run that each destination has.
    fn needs(&self, surveyed: &DiscoveredSubject, run_globals: &Needs) -> Needs {
        let mut needs = match surveyed.run_needs {
            RunNeeds::Nothing => Needs::new(),
            RunNeeds::Globals => run_globals.clone(),
        };
        for destination in &self.pipeline.destinations {
            needs.entry(destination.name.clone()).or_default().extend(surveyed.needs.iter().cloned());
        }
        needs
    }

    /// Copies one subject.
    async fn copy(&self, dump: &dyn Dump, subject: Subject, needs: Needs) -> ArtifactReport {
        let begun = Instant::now();
        let observer = of_subject(&self.observer, subject.clone());
        observer.event(&Event::SubjectStarted);
        let order = BackupSpec {
            job: self.job.clone(),
            run: self.run_id.clone(),
            run_backups: self.run_backups,
            run_not_captured: self.run_not_captured.clone(),
            time: self.time,
            cluster: self.cluster.clone(),
            subject,
            needs,
            adopted_from: None,
        };
        let attempt = async || match &self.differentials {
            Some(differentials) if order.subject.kind() == SubjectKind::Database => {
                differentials.back_up(&self.pipeline, dump, &order, &observer).await
            }
            _ => self.pipeline.back_up(&order, begin(dump, &order.subject, &observer).await?, &observer).await,
        };
        let mut warnings = Vec::new();
        let copying = async {
            if let (Subject::Base, Some(incrementals)) = (&order.subject, &self.incrementals) {
                let shipped;
                (shipped, warnings) = incrementals.back_up(&self.pipeline, dump, &order, &observer).await;
                return shipped;
            }
            match (&order.subject, dump.standby().filter(|_| self.is_standby)) {
                (Subject::Database { name }, Some(standby)) => {
                    recovery_conflict::retry_once(standby, name, attempt).await
                }
                _ => attempt().await,
            }
        };
        let span = tracing::info_span!(target: "longshore::run", "copy", subject = %order.subject);
        let mut shipped = copying.instrument(span).await;
        if let Ok(shipped) = &mut shipped {
            warnings.extend(snapshot::keep(shipped).await);
        }
        let mut report = artifact_report(&order.subject, shipped, begun.elapsed().as_secs_f64());
        report.warnings.splice(..0, warnings);
        report.notify(&*self.observer);
        report
    }
}

pub(crate) fn artifact_report(subject: &Subject, shipped: Result<Shipped>, seconds: f64) -> ArtifactReport {
    let mut report = ArtifactReport {
        subject: subject.clone(),
        name: None,
        plaintext_bytes: 0,
        sealed_bytes: 0,
        seconds,
        compression: None,
        verified: Vec::new(),
        incremental: false,
        difference: None,
        destinations: Vec::new(),
        not_captured: Vec::new(),
        warnings: Vec::new(),
        error: None,
        class: None,
    };
    let Shipped { name, manifest, notes, compression_stats, deliveries, .. } = match shipped {
        Ok(shipped) => shipped,
        Err(error) => {
            report.error = Some(ErrorReport::from(&error));
            report.class = Some(Class::from(&error));
            return report;
        }
    };
    report.destinations = deliveries
        .iter()
        .map(|Delivery { destination, result, bytes, took, manifest }| DestinationReport {
            manifest: manifest.clone(),
            ..DestinationReport::new(destination, *bytes, took.as_secs_f64(), result)
        })
        .collect();
    report.compression = compression_stats.map(CompressionCost::from);
    report.not_captured = notes.not_captured;
    report.warnings = notes.warnings;
    if let Some(manifest) = manifest {
        report.name = Some(name);
        report.plaintext_bytes = manifest.artifact.plaintext.bytes;
        report.sealed_bytes = manifest.artifact.sealed.bytes;
        report.incremental = manifest.is_incremental();
        report.difference = manifest.artifact.difference.map(|difference| *difference);
        report.verified = manifest.verified;
    }
    report
}

/// Copies backups to the destinations that missed them, from a destination that has them, without
/// reading the database again. Returns the destinations that still lack backups.
async fn catch_up(
    config: &Config,
    job: &Job,
    run: &str,
    artifacts: &mut [ArtifactReport],
    left_out: Vec<DestinationReport>,
) -> Vec<DestinationReport> {
    let arrived = |artifact: &ArtifactReport| artifact.outcome() != Outcome::Failed;
    let behind = |artifact: &ArtifactReport| artifact.outcome() == Outcome::Partial || !left_out.is_empty();
    if !artifacts.iter().any(|artifact| arrived(artifact) && behind(artifact)) {
        return left_out;
    }
    let (copies, damaged) = match sync::catch_up(config, job, run).await {
        Ok(done) => done,
        // The report already names the missing copies.
        Err(_) => return left_out,
    };
    for copied in copies.into_iter().filter(|copied| copied.error.is_none()) {
        let Some(artifact) = artifacts.iter_mut().find(|artifact| artifact.name.as_ref() == Some(&copied.name)) else {
            continue;
        };
        let mut caught_up = DestinationReport::new(&copied.to, copied.bytes, copied.seconds, &Ok(()));
        caught_up.caught_up_from = Some(copied.from);
        artifact.destinations.retain(|at| at.destination != copied.to);
        artifact.destinations.push(caught_up);
    }
    for ((destination, name), error) in damaged {
        let artifact = artifacts.iter_mut().find(|artifact| artifact.name.as_ref() == Some(&name));
        let mut reports = artifact.into_iter().flat_map(|artifact| &mut artifact.destinations);
        if let Some(at) = reports.find(|at| at.destination == destination) {
            at.error = Some(ErrorReport::from(&error));
            at.class = Some(Class::from(&error));
        }
    }
    let has_all = |destination: &DestinationReport| {
        let has = |artifact: &ArtifactReport| {
            artifact.destinations.iter().any(|at| at.destination == destination.destination)
        };
        artifacts.iter().all(|artifact| artifact.name.is_some() && has(artifact))
    };
    left_out.into_iter().filter(|destination| !has_all(destination)).collect()
}

/// Prunes, at each destination, the series that received a new backup there. A failed copy prunes
/// nothing of its series. At a destination without a policy, only leftovers of killed runs are
/// removed; a failure there is a warning, since no setting requests the sweep.
async fn apply_retention(
    config: &Config,
    job: &Job,
    destinations: &[(Destination, Option<Lock>)],
    artifacts: &[ArtifactReport],
) -> (Vec<Pruned>, Vec<String>) {
    let (mut all, mut warnings) = (Vec::new(), Vec::new());
    for (destination, _) in destinations {
        let arrived = |artifact: &&ArtifactReport| {
            artifact.outcome() != Outcome::Failed
                && artifact.destinations.iter().any(|at| at.destination == destination.name && at.error.is_none())
        };
        let fresh: BTreeSet<_> = artifacts.iter().filter(arrived).map(|artifact| artifact.subject.clone()).collect();
        if fresh.is_empty() {
            continue;
        }
        let catalogued = async {
            let store = Arc::clone(&destination.store);
            let catalog = Catalog::read(&*store).await?;
            Ok::<_, Error>(Catalogued { name: destination.name.clone(), store, catalog, history: Vec::new() })
        };
        let Some(policy) = job.retention.get(&destination.name) else {
            match async { prune::sweep_leftovers(config, &catalogued.await?, Mode::Act).await }.await {
                Ok(swept) => all.extend(swept),
                // Credentials that may only write cannot list leftovers.
                Err(error) if error.kind() == Kind::Denied => {}
                Err(error) => warnings.push(error.chain()),
            }
            continue;
        };
        let pruned = async {
            let at = catalogued.await?;
            let series_mode = |series: &Series| match fresh.contains(&series.subject) {
                true => SeriesMode::Policy,
                false => SeriesMode::KeepAll,
            };
            let backups = artifacts.iter().filter_map(|artifact| artifact.name.clone()).collect();
            prune::after_run(config, &at, (job, policy), &backups, series_mode).await
        };
        all.push(pruned.await.unwrap_or_else(|error| prune::failed_destination(&destination.name, &error)));
    }
    (all, warnings)
}
