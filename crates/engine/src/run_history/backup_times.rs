//! The times of the backups that this host made, also of those that retention has removed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use longshore_config::Config;
use longshore_core::Result;

use super::report_dir::ReportDir;
use super::{JobKey, RUN};

/// The times of backups, by job and by subject as used in names.
pub(crate) type BackupTimes = BTreeMap<JobKey, BTreeMap<String, BTreeSet<DateTime<Utc>>>>;

/// Returns the times of the backups of all jobs since `since`.
pub(crate) fn backup_times(config: &Config, since: DateTime<Utc>) -> Result<BackupTimes> {
    let mut times = BackupTimes::new();
    for (job, report_dir) in ReportDir::open_all(config, config.jobs.values())? {
        let of_job = times.entry((job.site.cluster.name.clone(), job.name.clone())).or_default();
        for id in report_dir.reports()?.iter().filter(|id| id.verb == RUN && id.time.time() >= since) {
            // Another finding reports a damaged report, and the other reports are still useful.
            let Ok(report) = report_dir.read_report(id) else { continue };
            for subject in report.subjects {
                let time = subject.backup.as_ref().and_then(|backup| backup.time());
                of_job.entry(subject.subject).or_default().extend(time.map(|time| time.time()));
            }
        }
    }
    Ok(times)
}
