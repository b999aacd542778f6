//! The runs in progress on this host, by their markers on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use longshore_config::Config;
use longshore_core::regular_file;
use longshore_core::run_report::RunReport;

use super::report_dir::{MARKER, list};
use crate::dirs;

/// The age of a change after which another change has another time.
const MTIME_GRANULARITY: Duration = Duration::from_millis(100);

/// An observer of the runs in progress on this host: those of the jobs of a configuration, and of
/// its commands without a job, by any program.
///
/// A look costs little: the folder is listed only after a change.
#[derive(Debug)]
pub struct RunningRuns {
    folder: Option<PathBuf>,
    /// The part of a file's name that identifies the configuration.
    digest: String,
    /// The time of the folder's last change before it was listed.
    listed: Option<SystemTime>,
    /// The markers that were locked at the last look, with their reports.
    running: BTreeMap<PathBuf, RunReport>,
    /// The markers of ended processes, which no process locks again.
    ended: BTreeSet<PathBuf>,
}

impl RunningRuns {
    /// Creates an observer for a configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            folder: dirs::state_dir(config).map(|state| state.join("runs")),
            digest: format!("-{}.", config.digest()),
            listed: None,
            running: BTreeMap::new(),
            ended: BTreeSet::new(),
        }
    }

    /// Returns the reports that the runs in progress have begun, in the order of their begins.
    /// Without a readable folder, no run is known.
    pub fn look(&mut self) -> Vec<RunReport> {
        if let Some(folder) = self.folder.clone() {
            self.list(&folder);
        }
        self.running.retain(|path, _| is_locked(path));
        let mut reports: Vec<_> = self.running.values().cloned().collect();
        reports.sort_by_key(|report| report.begun);
        reports
    }

    fn list(&mut self, folder: &Path) {
        let Ok(changed) = fs::metadata(folder).and_then(|metadata| metadata.modified()) else { return };
        if self.listed == Some(changed) {
            return;
        }
        let is_settled = changed.elapsed().is_ok_and(|age| age > MTIME_GRANULARITY);
        let Ok(names) = list(folder) else { return };
        self.listed = is_settled.then_some(changed);
        let own = names.iter().filter(|name| name.ends_with(MARKER) && name.contains(&self.digest));
        let markers: BTreeSet<PathBuf> = own.map(|name| folder.join(name)).collect();
        self.ended.retain(|path| markers.contains(path));
        for path in markers {
            if self.ended.contains(&path) || self.running.contains_key(&path) {
                continue;
            }
            let Ok(bytes) = regular_file::read(&path) else {
                // The run has ended since, or too many files are open: the next look tries again.
                self.listed = None;
                continue;
            };
            match RunReport::from_bytes(&path.display().to_string(), &bytes) {
                Ok(report) if is_locked(&path) => drop(self.running.insert(path, report)),
                // Its run has ended, or another release wrote it.
                Ok(_) | Err(_) => drop(self.ended.insert(path)),
            }
        }
    }
}

/// Returns true if a process holds the lock of a marker.
fn is_locked(path: &Path) -> bool {
    let Ok(file) = regular_file::open(path, OpenOptions::new().read(true)) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use longshore_core::run_report::Outcome;

    use super::*;
    use crate::run_history::ReportDir;

    #[test]
    fn run_is_shown_from_its_begin_to_its_end() {
        let state = tempfile::tempdir().unwrap();
        let config = Config { state_dir: Some(state.path().to_owned()), ..Config::default() };
        let mut observer = RunningRuns::of(&config);
        assert!(observer.look().is_empty(), "no folder");
        let text = include_str!("../../../model/testdata/run-report-1.json");
        let mut report = RunReport::from_bytes("report", text.as_bytes()).unwrap();
        report.outcome = Outcome::Lost;
        let report_dir = ReportDir::open(&config, Some("nightly")).unwrap();
        let marker = report_dir.begin(&report).unwrap();
        let ids = |observer: &mut RunningRuns| observer.look().into_iter().map(|report| report.id).collect::<Vec<_>>();
        assert_eq!(ids(&mut observer), [report.id.clone()]);
        // The observer holds no lock between two looks.
        assert_eq!(ids(&mut observer), [report.id.clone()]);
        assert_eq!(report_dir.markers().unwrap().running.len(), 1);
        // Closing the file has the effect of a kill: the marker remains.
        drop(marker);
        assert!(observer.look().is_empty() && observer.look().is_empty());
        assert_eq!(report_dir.markers().unwrap().ended.len(), 1);
        // Another configuration has markers of its own.
        let other = Config { path: "/other.toml".into(), ..config.clone() };
        let marker = ReportDir::open(&other, None).unwrap().begin(&report).unwrap();
        assert!(observer.look().is_empty());
        assert_eq!(RunningRuns::of(&other).look().len(), 1);
        marker.remove();
    }

    #[test]
    fn run_is_shown_once_its_marker_can_be_read() {
        let state = tempfile::tempdir().unwrap();
        let config = Config { state_dir: Some(state.path().to_owned()), ..Config::default() };
        let text = include_str!("../../../model/testdata/run-report-1.json");
        let report = RunReport::from_bytes("report", text.as_bytes()).unwrap();
        let marker = ReportDir::open(&config, Some("nightly")).unwrap().begin(&report).unwrap();
        let mut observer = RunningRuns::of(&config);
        let folder = observer.folder.clone().unwrap();
        let name = list(&folder).unwrap().into_iter().find(|name| name.ends_with(MARKER)).unwrap();
        let (path, aside) = (folder.join(name), state.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        // A link is not followed.
        std::os::unix::fs::symlink(&aside, &path).unwrap();
        assert!(observer.look().is_empty());
        fs::rename(&aside, &path).unwrap();
        assert_eq!(observer.look().len(), 1);
        drop(marker);
    }
}
