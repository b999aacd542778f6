//! The run reports of this host: `state_dir/runs/`, with one file for each run, and a marker for
//! each run in progress.
//!
//! ```text
//! nightly-1f0c9a7e.2026-06-07_091500-run-0a1b2c3d.begun         in progress, locked by its process
//! nightly-1f0c9a7e.2026-06-07_091500-run-0a1b2c3d.json          the report
//! nightly-1f0c9a7e.2026-06-07_091500-run-0a1b2c3d.details.json  messages of its errors
//! ```
//! Names begin with the job, or `_` for a command without a job, and a digest that identifies the
//! configuration.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::Utc;
use longshore_config::{Config, Job};
use longshore_core::meter::Digest;
use longshore_core::run_report::{Details, Id, RunReport};
use longshore_core::{Error, Kind, Result, Stage, regular_file};

use crate::destination_state::state_dir;
use crate::dirs;
use crate::report_retention::surplus;

/// The suffix of a marker.
pub(super) const MARKER: &str = ".begun";
/// The suffix of a report.
const REPORT: &str = ".json";
/// The suffix of a report's details.
const DETAILS: &str = ".details.json";
/// The file that is locked while a report is added.
const LOCK: &str = ".lock";
const CANNOT_LIST: &str = "cannot list the run reports";
/// The minimum age before an incomplete file of an ended process is removed.
const MIN_TEMP_AGE: Duration = Duration::from_secs(24 * 3600);

/// The reports of one job, or of the commands without a job.
pub(crate) struct ReportDir {
    path: PathBuf,
    /// The prefix of all file names.
    prefix: String,
    /// The sorted names of all files, if listed before: many jobs share the folder.
    names: Option<Arc<[String]>>,
}

/// The marker of a run in progress. Its lock ends with the process.
pub(crate) struct Marker {
    path: PathBuf,
    _locked: File,
}

/// The markers of a job.
#[derive(Default)]
pub(crate) struct Markers {
    /// The markers of ended processes, locked now, with their reports.
    pub(crate) ended: Vec<(Marker, RunReport)>,
    /// The reports of runs in progress.
    pub(crate) running: Vec<RunReport>,
}

impl Marker {
    /// Removes the marker, after the report was stored.
    pub(crate) fn remove(self) {
        // On failure, the next run examines the marker again, and finds the report.
        fs::remove_file(&self.path).ok();
    }
}

fn prefix(config: &Config, job: Option<&str>) -> String {
    format!("{}-{}.", job.unwrap_or("_"), config.digest())
}

impl ReportDir {
    /// Opens the folder, and creates it if it is missing.
    pub(crate) fn open(config: &Config, job: Option<&str>) -> Result<Self> {
        let path = state_dir(config)?.join("runs");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|error| failed(&path, "cannot create the folder for run reports", error))?;
        Ok(Self { path, prefix: prefix(config, job), names: None })
    }

    /// Lists the folders of these jobs for reading; none if there is no folder.
    pub(crate) fn open_all<'a>(config: &Config, jobs: impl Iterator<Item = &'a Job>) -> Result<Vec<(&'a Job, Self)>> {
        let Some(path) = dirs::state_dir(config).map(|state| state.join("runs")) else { return Ok(Vec::new()) };
        let mut names = match list(&path) {
            Ok(names) => names,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(&path, CANNOT_LIST, error)),
        };
        names.sort();
        let names: Arc<[String]> = names.into();
        let report_dir = |job: &'a Job| {
            (job, Self { path: path.clone(), prefix: prefix(config, Some(&job.name)), names: Some(names.clone()) })
        };
        Ok(jobs.map(report_dir).collect())
    }

    /// Returns the folder of the commands without a job for reading; `None` if there is no folder.
    pub(crate) fn of_commands(config: &Config) -> Option<Self> {
        let path = dirs::state_dir(config)?.join("runs");
        Some(Self { path, prefix: prefix(config, None), names: None })
    }

    fn file(&self, id: &Id, end: &str) -> PathBuf {
        self.path.join(format!("{}{id}{end}", self.prefix))
    }

    /// Marks a run as in progress. The marker contains the report that the next run finds if
    /// this run ends without its own.
    pub(crate) fn begin(&self, report: &RunReport) -> Result<Marker> {
        let path = self.file(&report.id, MARKER);
        let marked = || -> std::io::Result<File> {
            let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
            // Locked before it is renamed, so that no other process finds it unlocked.
            file.as_file().try_lock()?;
            file.write_all(&report.to_bytes()?)?;
            file.as_file().sync_all()?;
            Ok(file.persist_noclobber(&path)?)
        };
        let file = marked().map_err(|error| failed(&path, "cannot mark the run as in progress", error))?;
        Ok(Marker { path, _locked: file })
    }

    /// Reads the markers of this job.
    pub(crate) fn markers(&self) -> Result<Markers> {
        let mut markers = Markers::default();
        for id in self.ids(MARKER)? {
            let path = self.file(&id, MARKER);
            // Skip a marker that its process removed meanwhile, or that cannot be read.
            let Ok(file) = regular_file::open(&path, OpenOptions::new().read(true)) else { continue };
            let Ok(bytes) = regular_file::read(&path) else { continue };
            let Ok(report) = RunReport::from_bytes(&path.display().to_string(), &bytes) else { continue };
            match file.try_lock() {
                Ok(()) if path.exists() => markers.ended.push((Marker { path, _locked: file }, report)),
                Ok(()) => {}
                Err(_) => markers.running.push(report),
            }
        }
        Ok(markers)
    }

    /// Adds a report with the digest of the previous one, and returns its bytes as stored. An
    /// existing report is not replaced.
    pub(crate) fn add(&self, report: &mut RunReport, details: &Details) -> Result<Vec<u8>> {
        let path = self.file(&report.id, REPORT);
        let mut added = || -> std::io::Result<Vec<u8>> {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600);
            let lock = regular_file::open(&self.path.join(LOCK), &mut options)?;
            lock.lock()?;
            if path.exists() {
                return regular_file::read(&path);
            }
            let newest = self.newest()?;
            let previous = newest.as_ref().map(|(_, newest)| regular_file::read(newest)).transpose()?;
            report.previous = previous.map(|bytes| Digest::of(&bytes));
            let bytes = report.to_bytes()?;
            if !details.is_empty() {
                self.write(&self.file(&report.id, DETAILS), &details.to_bytes(&report.id)?)?;
            }
            self.write(&path, &bytes)?;
            if let Some((time, _)) = newest
                && fs::metadata(&path)?.modified()? <= time
            {
                // The clock was set back, or is too coarse: the last report is the newest all the
                // same.
                File::options().write(true).open(&path)?.set_modified(time + Duration::from_micros(1))?;
            }
            Ok(bytes)
        };
        added().map_err(|error| failed(&path, "cannot write the run report", error))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }

    /// Returns the report that was added last, with the time. The name of a report contains the
    /// start time only.
    fn newest(&self) -> std::io::Result<Option<(SystemTime, PathBuf)>> {
        let mut newest: Option<(SystemTime, PathBuf)> = None;
        for id in self.list_ids(REPORT)? {
            let path = self.file(&id, REPORT);
            let modified = fs::metadata(&path)?.modified()?;
            newest = newest.max(Some((modified, path)));
        }
        Ok(newest)
    }

    /// Returns the ids of all reports, the oldest first.
    pub(crate) fn reports(&self) -> Result<Vec<Id>> {
        self.ids(REPORT)
    }

    /// Reads a report.
    pub(crate) fn read_report(&self, id: &Id) -> Result<RunReport> {
        let path = self.file(id, REPORT);
        let bytes = regular_file::read(&path).map_err(|error| failed(&path, "cannot read the run report", error))?;
        RunReport::from_bytes(&path.display().to_string(), &bytes)
    }

    /// Reads a report and its details.
    pub(crate) fn read(&self, id: &Id) -> Result<(RunReport, Details)> {
        let report = self.read_report(id)?;
        let details = regular_file::read(&self.file(id, DETAILS)).ok();
        let details = details.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok((report, details.unwrap_or_default()))
    }

    /// Removes surplus reports, and incomplete files of ended processes.
    pub(crate) fn prune(&self) -> Result<()> {
        let ids = self.ids(REPORT)?;
        for id in surplus(&ids, Utc::now()) {
            for end in [REPORT, DETAILS] {
                remove(&self.file(id, end))?;
            }
        }
        let names = list(&self.path).map_err(|error| failed(&self.path, CANNOT_LIST, error))?;
        for path in names.iter().filter(|name| name.starts_with(".tmp")).map(|name| self.path.join(name)) {
            let age = || fs::metadata(&path).ok()?.modified().ok()?.elapsed().ok();
            if age().is_some_and(|age| age > MIN_TEMP_AGE) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn ids(&self, end: &str) -> Result<Vec<Id>> {
        self.list_ids(end).map_err(|error| failed(&self.path, CANNOT_LIST, error))
    }

    fn list_ids(&self, end: &str) -> std::io::Result<Vec<Id>> {
        // The suffix of details leaves a dot, which no id contains.
        let id = |name: &String| Id::parse(name.strip_prefix(&self.prefix)?.strip_suffix(end)?);
        let mut ids: Vec<Id> = match &self.names {
            Some(names) => {
                let begin = names.partition_point(|name| *name < self.prefix);
                let own = names[begin..].iter().take_while(|name| name.starts_with(&self.prefix));
                own.filter_map(id).collect()
            }
            None => list(&self.path)?.iter().filter_map(id).collect(),
        };
        ids.sort();
        Ok(ids)
    }
}

/// Returns the names of all files in a folder, except names that are not UTF-8.
pub(super) fn list(path: &Path) -> std::io::Result<Vec<String>> {
    let names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
    Ok(names.collect::<std::io::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failed(path, "cannot remove the run report", error))
        }
        _ => Ok(()),
    }
}

fn failed(path: &Path, message: &str, error: std::io::Error) -> Error {
    let name = path.display().to_string();
    let error = match Error::carried_by(&error) {
        Some(carried) => Error::new(Stage::Retention, Kind::Failed, name, message).because(carried.clone()),
        None => Error::io(Stage::Retention, name, message, error),
    };
    error.hint("set state_dir in the configuration to a folder that this user can write to")
}
