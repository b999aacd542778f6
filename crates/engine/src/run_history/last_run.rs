//! The last runs of each job, read from this host and from destinations, newest first, and only as
//! many as needed.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use longshore_catalog::signature::{ListedSignatures, are_required};
use longshore_config::Config;
use longshore_config::registry::Registry;
use longshore_core::key::Key;
use longshore_core::plugin::Identities;
use longshore_core::run_report::{Details, Id, MAX_REPORT_BYTES, Outcome, ReportName, RunReport};
use longshore_core::stage::Store;
use longshore_core::stream::collect;
use longshore_core::terms::Terms;
use longshore_core::{Error, Kind, Result, Stage};

use super::RUN;
use super::report_dir::ReportDir;
use crate::catalogs::Catalogued;
use crate::hook::is_no_run;
use crate::untrusted::is_untrusted;

/// The number of a command's reports to read in search of one that did not just meet a lock.
const MAX_READS: usize = 8;
/// The number of commands processed concurrently.
const MAX_CONCURRENT: usize = 16;

/// A report that was read.
pub struct LastRun {
    /// The report.
    pub report: RunReport,
    /// The messages of its errors, as far as they can be decrypted.
    pub details: Details,
    /// The destination that the report was read from; `None` if it was read on this host.
    pub destination: Option<String>,
}

/// The last runs of one job.
#[derive(Default)]
pub(crate) struct LastRuns {
    /// The last run of each command.
    pub(crate) verbs: BTreeMap<String, LastRun>,
    /// The runs in progress on this host.
    pub(crate) running: Vec<RunReport>,
}

impl LastRuns {
    /// Returns the job's terms as stated by its last run, or else by its last report.
    pub(crate) fn terms(&self) -> Option<&Terms> {
        let newest = self.verbs.values().max_by_key(|found| found.report.begun);
        let run = self.verbs.get(RUN).or(newest)?;
        run.report.terms.as_ref()
    }
}

/// The cluster and the name of a job.
pub(crate) type JobKey = (String, String);

/// The location of a report.
#[derive(Clone, Copy)]
pub(super) enum Location<'a> {
    Local(&'a ReportDir),
    Destination(&'a Catalogued),
}

/// The listed reports of one command of a job.
#[derive(Default)]
struct ReportList<'a> {
    locations: BTreeMap<Reverse<Id>, Vec<Location<'a>>>,
    /// The markers of runs whose process ended without a report.
    lost: BTreeMap<Id, RunReport>,
}

/// Reads the last runs of all jobs, or of one. Also returns the errors of unreadable reports, with
/// the names of their destinations.
pub(crate) async fn last_runs(
    config: &Config,
    registry: &Registry,
    identities: &Identities,
    catalogs: &[Catalogued],
    only: Option<&str>,
) -> (BTreeMap<JobKey, LastRuns>, Vec<(Option<String>, Error)>) {
    let (mut all, mut errors) = (BTreeMap::<JobKey, LastRuns>::new(), Vec::new());
    let mut listed: BTreeMap<(String, String, String), ReportList<'_>> = BTreeMap::new();
    let jobs = config.jobs.values().filter(|job| only.is_none_or(|only| only == job.name));
    let report_dirs = ReportDir::open_all(config, jobs).unwrap_or_else(|error| {
        errors.push((None, error));
        Vec::new()
    });
    for (job, report_dir) in &report_dirs {
        let cluster = &job.site.cluster.name;
        let verb = |id: &Id| {
            let ReportName { cluster, job, id } = ReportName::new(cluster, &job.name, id.clone());
            (cluster, job, id.verb)
        };
        match (report_dir.reports(), report_dir.markers()) {
            (Ok(ids), Ok(markers)) => {
                for id in ids {
                    listed
                        .entry(verb(&id))
                        .or_default()
                        .locations
                        .entry(Reverse(id))
                        .or_default()
                        .push(Location::Local(report_dir));
                }
                for (_, report) in markers.ended {
                    let of_verb = listed.entry(verb(&report.id)).or_default();
                    // A run that was killed while its report was uploaded has a report.
                    if !of_verb.locations.contains_key(&Reverse(report.id.clone())) {
                        of_verb.locations.entry(Reverse(report.id.clone())).or_default();
                        of_verb.lost.insert(report.id.clone(), report);
                    }
                }
                all.entry((cluster.clone(), job.name.clone())).or_default().running = markers.running;
            }
            (Err(error), _) | (_, Err(error)) => errors.push((None, error)),
        }
    }
    for at in catalogs {
        let reports = at.catalog.reports.iter().filter(|key| !ReportName::is_details(key));
        let names =
            reports.filter_map(ReportName::from_key).filter(|name| only.is_none_or(|only| name.belongs_to_job(only)));
        for ReportName { cluster, job, id } in names {
            let of_verb = listed.entry((cluster, job, id.verb.clone())).or_default();
            of_verb.locations.entry(Reverse(id)).or_default().push(Location::Destination(at));
        }
    }
    let decryption = (registry, identities);
    let reads = listed.into_iter().map(|((cluster, job, _), listed)| newest(cluster, job, listed, decryption));
    let mut reads = stream::iter(reads).buffered(MAX_CONCURRENT);
    while let Some((found, more)) = reads.next().await {
        errors.extend(more);
        let Some(found) = found else { continue };
        let (Some(cluster), Some(job)) = (found.report.cluster.clone(), found.report.job.clone()) else { continue };
        all.entry((cluster, job)).or_default().verbs.insert(found.report.verb.clone(), found);
    }
    (all, errors)
}

/// Returns a command's newest report that did not just meet the lock of another run.
async fn newest(
    cluster: String,
    job: String,
    mut listed: ReportList<'_>,
    decryption: (&Registry, &Identities),
) -> (Option<LastRun>, Vec<(Option<String>, Error)>) {
    let mut errors = Vec::new();
    let mut locked = None;
    for (Reverse(id), locations) in listed.locations.into_iter().take(MAX_READS) {
        if let Some(report) = listed.lost.remove(&id) {
            return (Some(LastRun { report, details: Details::default(), destination: None }), errors);
        }
        let name = ReportName { cluster: cluster.clone(), job: job.clone(), id };
        for location in locations {
            match location.read(&name, decryption).await {
                Ok(found) if is_no_run(found.report.outcome) => {
                    locked.get_or_insert(found);
                    break;
                }
                Ok(found) => return (Some(found), errors),
                // Removed since the listing, or not trusted.
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => errors.push((location.destination(), error)),
            }
        }
    }
    (locked, errors)
}

impl Location<'_> {
    fn destination(self) -> Option<String> {
        match self {
            Self::Local(_) => None,
            Self::Destination(at) => Some(at.name.clone()),
        }
    }

    pub(super) async fn read(self, name: &ReportName, decryption: (&Registry, &Identities)) -> Result<LastRun> {
        let (report, details) = match self {
            Self::Local(report_dir) => report_dir.read(&name.id)?,
            Self::Destination(at) => {
                let key = name.key()?;
                let bytes = fetch(&*at.store, &key).await?;
                let signatures = ListedSignatures::of(&at.catalog.reports);
                let verdict = signatures.verify(&*at.store, &key, &bytes).await?;
                // A report of an untrusted host is ignored, as if it did not exist.
                let absent = |error: Error| match is_untrusted(&error) {
                    true => Error::new(Stage::Catalog, Kind::NotFound, key.as_str(), "is not trusted").because(error),
                    false => error,
                };
                verdict.expect_accepted(&key, are_required(&*at.store)).map_err(absent)?;
                let report = RunReport::from_bytes(key.as_str(), &bytes)?;
                // Only failures have messages that matter, and their classes are known
                // without them.
                let details = match report.outcome {
                    Outcome::Done => None,
                    _ => read_details(at, name, decryption).await.ok().flatten(),
                };
                (report, details.unwrap_or_default())
            }
        };
        let is_named_run = match (&report.cluster, &report.job) {
            (Some(cluster), Some(job)) => ReportName::new(cluster, job, report.id.clone()) == *name,
            _ => false,
        };
        if !is_named_run {
            let message = "the report belongs to another run";
            return Err(Error::new(Stage::Catalog, Kind::Corrupt, name.to_string(), message));
        }
        Ok(LastRun { report, details, destination: self.destination() })
    }
}

async fn fetch(store: &dyn Store, key: &Key) -> Result<Vec<u8>> {
    let bytes = collect(store.fetch(key, None).await?, MAX_REPORT_BYTES, Stage::Catalog, key.as_str()).await?;
    Ok(bytes.to_vec())
}

/// Reads the messages of a report at a destination, if there are any and they can be
/// decrypted here.
async fn read_details(
    at: &Catalogued,
    name: &ReportName,
    (registry, identities): (&Registry, &Identities),
) -> Result<Option<Details>> {
    let plain = name.details("")?;
    let Some(key) = at.catalog.reports.iter().find(|key| key.as_str().starts_with(plain.as_str())) else {
        return Ok(None);
    };
    let stream = at.store.fetch(key, None).await?;
    let plaintext = match key.as_str().strip_prefix(plain.as_str()).and_then(|sealing| sealing.strip_prefix('.')) {
        None => stream,
        Some(encryption) if !registry.can_decrypt(encryption, identities) => return Ok(None),
        Some(encryption) => registry.decryption(encryption, identities)?.decrypt(stream, key.as_str()).await?,
    };
    let bytes = collect(plaintext, MAX_REPORT_BYTES, Stage::Catalog, key.as_str()).await?;
    Ok(serde_json::from_slice(&bytes).ok())
}
