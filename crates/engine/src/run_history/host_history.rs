//! The runs of a job that this host knows by its own reports, for retention: no destination can
//! forge these reports.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use longshore_catalog::catalog::{Backup, Catalog};
use longshore_config::{Config, Job};
use longshore_core::Result;
use longshore_core::key::BackupName;
use longshore_core::run_report::{Id, Outcome, RunReport};
use longshore_retention::OwnRuns;

use super::report_dir::ReportDir;
use super::{RUN, TAKE};
use crate::decrypted::{DecryptedBackup, decrypted_backups};

/// The facts that this host knows about the backups of a job.
pub(crate) struct HostHistory {
    runs: OwnRuns,
    decrypted: Vec<DecryptedBackup>,
}

impl HostHistory {
    /// Reads the reports of a job's runs, and the record of backups decrypted here. Returns `None`
    /// if this host has no report: the marker of a run in progress is not enough.
    pub(crate) fn of(config: &Config, job: &Job) -> Result<Option<Self>> {
        let (mut reports, mut running, mut taken) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (_, report_dir) in ReportDir::open_all(config, std::iter::once(job))? {
            for id in report_dir.reports()?.iter().filter(|id| id.verb == TAKE) {
                // Backups that only a damaged report names are of unknown origin.
                let subjects = report_dir.read_report(id).map(|report| report.subjects).unwrap_or_default();
                taken.extend(subjects.into_iter().filter_map(|subject| subject.backup));
            }
            for id in report_dir.reports()?.iter().filter(|id| id.verb == RUN) {
                // A damaged report still shows the time of its run.
                reports.push((id.clone(), report_dir.read_report(id).ok()));
            }
            let markers = report_dir.markers()?;
            let of_run = |report: &RunReport| report.verb == RUN;
            running.extend(markers.running.into_iter().filter(of_run).map(|report| report.id.time.time()));
            let ended = markers.ended.into_iter().map(|(_, report)| report).filter(of_run);
            reports.extend(ended.map(|report| (report.id.clone(), Some(report))));
        }
        let Some(mut runs) = own_runs(&reports) else { return Ok(None) };
        runs.unreported.extend(running);
        runs.made.extend(taken);
        let decrypted = decrypted_backups(config, job, runs.oldest)?;
        Ok(Some(Self { runs, decrypted }))
    }

    /// Returns the runs, with the backups at a destination that were decrypted here and have not
    /// changed since.
    pub(crate) fn at(&self, catalog: &Catalog) -> OwnRuns {
        let mut runs = self.runs.clone();
        let is_unknown = |backup: &&Backup| !self.runs.covers(&backup.name, backup.manifest.time.time());
        for backup in catalog.backups().filter(is_unknown) {
            if self.decrypted.iter().any(|decrypted| decrypted.matches(backup)) {
                runs.opened.insert(backup.name.clone());
            }
        }
        runs
    }

    /// Adds the backups of the run in progress.
    pub(crate) fn add<'a>(&mut self, made: impl IntoIterator<Item = &'a BackupName>) {
        self.runs.made.extend(made.into_iter().cloned());
    }

    /// Returns true if this host knows the origin of a backup: a run of this host made the backup,
    /// or the backup is older than this host's reports.
    pub(crate) fn covers(&self, name: &BackupName, time: DateTime<Utc>) -> bool {
        self.runs.covers(name, time)
    }
}

/// Reduces reports to the facts that retention needs.
fn own_runs(reports: &[(Id, Option<RunReport>)]) -> Option<OwnRuns> {
    let times = || reports.iter().map(|(id, _)| id.time.time());
    let is_cut_off = |report: &Option<RunReport>| {
        // A damaged report does not show what its run made.
        report.as_ref().is_none_or(|report| matches!(report.outcome, Outcome::Lost | Outcome::Interrupted))
    };
    let made = reports.iter().filter_map(|(_, report)| report.as_ref()).flat_map(|report| &report.subjects);
    let made: BTreeSet<BackupName> = made.filter_map(|subject| subject.backup.clone()).collect();
    let unreported = reports.iter().filter(|(_, report)| is_cut_off(report)).map(|(id, _)| id.time.time());
    Some(OwnRuns {
        oldest: times().min()?,
        newest: times().max()?,
        made,
        unreported: unreported.collect(),
        opened: BTreeSet::new(),
    })
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use longshore_core::key::Timestamp;
    use longshore_testkit::memory::MemoryStore;

    use super::*;
    use crate::fixture::{catalogued, config, put_report};
    use crate::run_report::RunRecorder;

    #[tokio::test]
    async fn run_in_progress_alone_is_no_history() {
        let (folder, store) = (tempfile::tempdir().unwrap(), MemoryStore::new());
        let config = config(folder.path(), &store, None);
        let job = config.jobs.values().next().unwrap();
        let recorder = RunRecorder::begin(&config, RUN, Some(job));
        assert!(HostHistory::of(&config, job).unwrap().is_none());
        // A run that was interrupted long ago is known, but no report names its backups.
        let now = Utc::now();
        put_report(&config, &Timestamp::new(now - TimeDelta::days(9)).to_string(), &[]);
        let history = HostHistory::of(&config, job).unwrap().unwrap();
        let runs = history.at(&catalogued(&store).await.catalog);
        assert!(runs.newest < now - TimeDelta::days(8));
        let name = |time| BackupName::new("main", "app", Timestamp::new(time)).unwrap();
        assert!(runs.covers(&name(now), now), "the run in progress is known");
        let before = now - TimeDelta::days(1);
        assert!(!runs.covers(&name(before), before));
        drop(recorder);
    }
}
