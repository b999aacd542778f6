//! The times of the backups that this host made, also of those that retention has removed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use longshore_config::{Config, Job};
use longshore_core::Result;

use super::RUN;
use super::report_dir::ReportDir;

/// Returns the times of the backups of a job since `since`, by subject as used in names.
pub(crate) fn backup_times(
    config: &Config,
    job: &Job,
    since: DateTime<Utc>,
) -> Result<BTreeMap<String, BTreeSet<DateTime<Utc>>>> {
    let mut times: BTreeMap<String, BTreeSet<DateTime<Utc>>> = BTreeMap::new();
    for (_, report_dir) in ReportDir::open_all(config, std::iter::once(job))? {
        for id in report_dir.reports()?.iter().filter(|id| id.verb == RUN && id.time.time() >= since) {
            // Another finding reports a damaged report, and the other reports are still useful.
            let Ok(report) = report_dir.read_report(id) else { continue };
            for subject in report.subjects {
                let time = subject.backup.as_ref().and_then(|backup| backup.time());
                times.entry(subject.subject).or_default().extend(time.map(|time| time.time()));
            }
        }
    }
    Ok(times)
}
