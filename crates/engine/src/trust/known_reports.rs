//! The run reports that were seen at a destination, by job.

use std::collections::BTreeMap;

use longshore_core::key::{Key, encode_name};
use longshore_core::run_report::{Id, ReportName, encode_job};
use longshore_core::signature::Record;
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

/// The cluster and the job, as used in names.
pub(crate) type JobKey = (String, String);

/// A run report that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownReport {
    /// The host.
    pub(crate) host: String,
    /// The digest of the host's previous report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<String>,
}

/// The run reports of all jobs. Written as one table by key.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(from = "BTreeMap<Key, KnownReport>")]
pub(crate) struct KnownReports(BTreeMap<JobKey, BTreeMap<Id, KnownReport>>);

impl KnownReports {
    /// Returns true if no report was seen.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the jobs with their reports, oldest first.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = (&JobKey, &BTreeMap<Id, KnownReport>)> {
        self.0.iter()
    }

    /// Returns the reports of a job, oldest first.
    pub(crate) fn of_job(&self, job: &JobKey) -> impl DoubleEndedIterator<Item = (&Id, &KnownReport)> {
        self.0.get(job).into_iter().flatten()
    }

    /// Returns a report.
    pub(crate) fn get(&self, name: &ReportName) -> Option<&KnownReport> {
        self.0.get(&job_of(name))?.get(&name.id)
    }

    /// Adds a report.
    pub(crate) fn insert(&mut self, name: ReportName, report: KnownReport) {
        self.0.entry((name.cluster, name.job)).or_default().insert(name.id, report);
    }

    /// Removes all reports for which a condition is false. The condition may change the others.
    pub(crate) fn retain(&mut self, mut condition: impl FnMut(&JobKey, &Id, &mut KnownReport) -> bool) {
        self.0.retain(|job, reports| {
            reports.retain(|id, report| condition(job, id, report));
            !reports.is_empty()
        });
    }
}

impl From<BTreeMap<Key, KnownReport>> for KnownReports {
    fn from(reports: BTreeMap<Key, KnownReport>) -> Self {
        let mut all = Self::default();
        for (key, report) in reports {
            if let Some(name) = report_name(&key) {
                all.insert(name, report);
            }
        }
        all
    }
}

impl Serialize for KnownReports {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all: BTreeMap<Key, &KnownReport> = BTreeMap::new();
        for (job, reports) in &self.0 {
            for (id, report) in reports {
                all.insert(name_of(job, id).key().map_err(S::Error::custom)?, report);
            }
        }
        serializer.collect_map(all)
    }
}

/// Returns the name of the report with this key.
pub(crate) fn report_name(key: &Key) -> Option<ReportName> {
    match Record::from_key(key) {
        Some(Record::Report(name)) => Some(name),
        _ => None,
    }
}

/// Returns the name of a report of a job.
pub(crate) fn name_of((cluster, job): &JobKey, id: &Id) -> ReportName {
    ReportName { cluster: cluster.clone(), job: job.clone(), id: id.clone() }
}

/// Returns the job of a report.
pub(crate) fn job_of(name: &ReportName) -> JobKey {
    (name.cluster.clone(), name.job.clone())
}

/// Returns the job of a backup.
pub(crate) fn job_named(cluster: &str, job: &str) -> JobKey {
    (encode_name(cluster), encode_job(job))
}
