//! The backups that this host knows by its own run reports, for completions of command lines.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use longshore_config::Config;
use longshore_core::key::BackupName;
use longshore_core::run_report::{Id, Outcome};

use super::RUN;
use super::report_dir::ReportDir;

/// Returns the backups that runs of this host have made and that were not removed since, by its run
/// reports alone, the newest first.
///
/// Reads the newest reports first, until `limit`. Reports that cannot be read are skipped.
pub fn known_backups(config: &Config, limit: Duration) -> Vec<BackupName> {
    let begun = Instant::now();
    let jobs = ReportDir::open_all(config, config.jobs.values()).unwrap_or_default();
    let report_dirs: Vec<ReportDir> =
        jobs.into_iter().map(|(_, report_dir)| report_dir).chain(ReportDir::of_commands(config)).collect();
    let mut reports: Vec<(Id, &ReportDir)> = report_dirs
        .iter()
        .flat_map(|report_dir| report_dir.reports().unwrap_or_default().into_iter().map(move |id| (id, report_dir)))
        .collect();
    reports.sort_by(|(first, _), (second, _)| second.cmp(first));
    let mut removed: BTreeSet<(String, BackupName)> = BTreeSet::new();
    let mut names = Vec::new();
    for (id, report_dir) in reports {
        if begun.elapsed() > limit {
            break;
        }
        let Ok(report) = report_dir.read_report(&id) else { continue };
        for (destination, backups) in report.removed {
            removed.extend(backups.into_iter().map(|backup| (destination.clone(), backup)));
        }
        for subject in report.subjects.into_iter().filter(|_| id.verb == RUN) {
            let Some(backup) = subject.backup else { continue };
            let has_copy = subject
                .destinations
                .into_iter()
                .any(|at| at.outcome == Outcome::Done && !removed.contains(&(at.destination, backup.clone())));
            names.extend(has_copy.then_some(backup));
        }
    }
    names
}
