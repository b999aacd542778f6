//! A run in progress, from its start to its report.

use chrono::{DateTime, SubsecRound, Utc};
use longshore_config::{Config, Job};
use longshore_core::meter::Digest;
use longshore_core::run_report::{Class, Details, FORMAT, Id, Outcome, RunReport};
use longshore_core::terms::Terms;
use longshore_core::{Error, Kind};

use super::command_result::CommandResult;
use super::upload::{ReportUpload, Uploader};
use crate::counters::{CounterFile, RunKey};
use crate::run_history::{Marker, RUN, ReportDir};

/// Records the run of a command: a marker at its start, and a report at its end. A failure to do so
/// is a warning, and does not fail the run.
pub struct RunRecorder {
    report: RunReport,
    details: Details,
    report_dir: Option<ReportDir>,
    marker: Option<Marker>,
    uploader: Option<Uploader>,
    /// The reports of earlier runs that ended without one, with their markers.
    lost: Vec<(ReportUpload, Marker)>,
    upload: Option<ReportUpload>,
    /// The runs to count: this one, and those that were killed.
    ended: Vec<RunKey>,
    counter_file: Option<CounterFile>,
    warnings: Vec<String>,
}

impl RunRecorder {
    /// Marks a run as in progress, and reports earlier runs that were killed.
    pub fn begin(config: &Config, verb: &str, job: Option<&Job>) -> Self {
        let begun = to_millis(Utc::now());
        let mut recorder = Self {
            report: report(verb, job, begun),
            details: Details::default(),
            report_dir: None,
            marker: None,
            uploader: job.map(|job| Uploader::of(config, job)),
            lost: Vec::new(),
            upload: None,
            ended: Vec::new(),
            // Without a folder, the report cannot be written either, which is a warning.
            counter_file: CounterFile::of(config).ok(),
            warnings: Vec::new(),
        };
        match ReportDir::open(config, job.map(|job| job.name.as_str())) {
            Ok(report_dir) => recorder.open(report_dir),
            Err(error) => recorder.warn(&error),
        }
        recorder
    }

    fn open(&mut self, report_dir: ReportDir) {
        match report_dir.markers() {
            Ok(markers) => {
                for (marker, mut report) in markers.ended {
                    let details = Details::default();
                    match report_dir.add(&mut report, &details) {
                        Ok(bytes) => {
                            self.ended.push(run_key(&report));
                            self.lost.push((ReportUpload { report, bytes, details }, marker));
                        }
                        Err(error) => self.warn(&error),
                    }
                }
            }
            Err(error) => self.warn(&error),
        }
        match report_dir.begin(&self.report) {
            Ok(marker) => self.marker = Some(marker),
            Err(error) => self.warn(&error),
        }
        self.report_dir = Some(report_dir);
    }

    fn warn(&mut self, error: &Error) {
        self.warnings.push(format!("the run report: {}", error.chain()));
    }

    /// Records the result of the command.
    pub fn record(&mut self, result: CommandResult) {
        let CommandResult { run, subjects, left_out, removed, counts, messages } = result;
        self.report.run = run.or(self.report.run.take());
        self.report.subjects.extend(subjects);
        self.report.left_out.extend(left_out);
        self.report.counts.extend(counts);
        for (destination, names) in removed {
            self.report.removed.entry(destination).or_default().extend(names);
        }
        for (subject, message) in messages {
            self.details.subjects.entry(subject).or_default().push(message);
        }
    }

    /// Records the error that ended the command.
    pub fn record_error(&mut self, error: &Error) {
        self.report.error = Some(Class::from(error));
        self.details.error = Some(error.chain());
        self.details.hint = error.remedy().map(str::to_owned);
    }

    /// Returns the report so far, as it would be if the run ended now.
    pub fn report_at_end(&self, outcome: Outcome, exit_code: u8) -> RunReport {
        let ended = Some(to_millis(Utc::now()));
        RunReport { ended, outcome, exit_code: Some(exit_code), ..self.report.clone() }
    }

    /// Returns the report.
    pub fn report(&self) -> &RunReport {
        &self.report
    }

    /// Returns the messages of errors.
    pub fn details(&self) -> &Details {
        &self.details
    }

    /// Ends the run: counts it, and writes its report on this host.
    pub fn end(&mut self, outcome: Outcome, exit_code: u8) {
        self.report.ended = Some(to_millis(Utc::now()));
        self.report.outcome = outcome;
        self.report.exit_code = Some(exit_code);
        self.ended.push(run_key(&self.report));
        let ended = std::mem::take(&mut self.ended);
        let counted = self.counter_file.as_ref().map(|counter_file| {
            counter_file.update(|counters| {
                for key in ended {
                    *counters.runs.entry(key).or_default() += 1;
                }
            })
        });
        if let Some(Err(error)) = counted {
            self.warn(&error);
        }
        let (mut report, details) = (self.report.clone(), self.details.clone());
        let written = match &self.report_dir {
            Some(report_dir) => report_dir.add(&mut report, &details),
            None => report.to_bytes(),
        };
        match written.or_else(|error| {
            self.warn(&error);
            report.to_bytes()
        }) {
            Ok(bytes) => self.upload = Some(ReportUpload { report, bytes, details }),
            Err(error) => self.warn(&error),
        }
    }

    /// Uploads the report to the job's destinations, and removes surplus reports. Returns warnings.
    pub async fn ship(mut self) -> Vec<String> {
        let (mut uploads, mut markers): (Vec<_>, Vec<_>) = std::mem::take(&mut self.lost).into_iter().unzip();
        uploads.extend(self.upload.take());
        if let Some(uploader) = self.uploader.take() {
            // A failed run has already reported the problems of its destinations.
            let is_reported = |error: &Error| {
                self.report.outcome != Outcome::Done
                    && matches!(error.kind(), Kind::Unavailable | Kind::NotFound | Kind::Usage)
            };
            for (name, error) in uploader.upload_all(&uploads, self.report.verb == RUN).await {
                if !is_reported(&error) {
                    self.warnings.push(format!("the run report is not at destination \"{name}\": {}", error.chain()));
                }
            }
        }
        markers.extend(self.marker.take());
        markers.into_iter().for_each(Marker::remove);
        if let Some(Err(error)) = self.report_dir.as_ref().map(ReportDir::prune) {
            self.warn(&error);
        }
        self.warnings
    }
}

/// Creates the report of a run that has begun, which is final if the run never writes another.
fn report(verb: &str, job: Option<&Job>, begun: DateTime<Utc>) -> RunReport {
    let job_name = job.map(|job| job.name.clone());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let seed = format!("{host} {job_name:?} {verb} {} {:?}", std::process::id(), Utc::now());
    RunReport {
        format: FORMAT,
        longshore: env!("CARGO_PKG_VERSION").to_owned(),
        id: Id::new(begun, verb, Digest::of(seed.as_bytes()).hex()),
        verb: verb.to_owned(),
        job: job_name,
        cluster: job.map(|job| job.site.cluster.name.clone()),
        run: None,
        host,
        begun,
        ended: None,
        exit_code: None,
        outcome: Outcome::Lost,
        error: None,
        subjects: Vec::new(),
        left_out: Vec::new(),
        removed: Default::default(),
        counts: Default::default(),
        previous: None,
        terms: job.map(terms),
    }
}

fn run_key(report: &RunReport) -> RunKey {
    RunKey { job: report.job.clone().unwrap_or_default(), verb: report.verb.clone(), outcome: report.outcome }
}

/// Returns the terms of a job, as configured.
fn terms(job: &Job) -> Terms {
    Terms {
        max_age: job.max_age,
        schedule: job.schedule.as_ref().map(|schedule| schedule.expression().to_owned()),
        timezone: job.schedule.as_ref().map(|schedule| schedule.zone().name().to_owned()),
        destinations: job.ship.clone(),
    }
}

fn to_millis(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(3)
}
