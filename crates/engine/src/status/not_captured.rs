//! The parts of servers that the newest run of each job left out, by the manifests of its backups.

use std::collections::{BTreeMap, BTreeSet};

use longshore_catalog::catalog::{Backup, Series};
use serde::Serialize;

/// Parts that the newest run of a job did not capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotCaptured {
    /// The name of the cluster.
    pub cluster: String,
    /// The name of the job.
    pub job: String,
    /// The subject whose backup lacks the parts; `None` if no backup of the run could contain them.
    pub subject: Option<String>,
    /// The parts.
    pub parts: Vec<String>,
}

/// Returns the parts that the newest run of each cluster and job left out, given these series at
/// all destinations.
pub(super) fn not_captured<'a>(all: impl Iterator<Item = (&'a Series, &'a [Backup])>) -> Vec<NotCaptured> {
    let mut newest: BTreeMap<(&str, &str), Vec<&Backup>> = BTreeMap::new();
    for (series, backups) in all {
        for backup in backups {
            let run = newest.entry((&series.cluster, &series.job)).or_default();
            let time = run.first().map(|first| first.manifest.time);
            if time < Some(backup.manifest.time) {
                *run = vec![backup];
            } else if time == Some(backup.manifest.time) {
                run.push(backup);
            }
        }
    }
    let mut found = Vec::new();
    for ((cluster, job), run) in newest {
        let mut entry = |subject: Option<String>, parts: BTreeSet<&String>| {
            if !parts.is_empty() {
                let parts = parts.into_iter().cloned().collect();
                found.push(NotCaptured { cluster: cluster.to_owned(), job: job.to_owned(), subject, parts });
            }
        };
        entry(None, run.iter().flat_map(|backup| &backup.manifest.run_not_captured).collect());
        let mut subjects: BTreeMap<String, BTreeSet<&String>> = BTreeMap::new();
        for backup in run {
            subjects.entry(backup.manifest.subject.segment()).or_default().extend(&backup.manifest.not_captured);
        }
        subjects.into_iter().for_each(|(subject, parts)| entry(Some(subject), parts));
    }
    found
}
