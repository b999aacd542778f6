//! A run in progress, from its start to its report.

use chrono::{DateTime, SubsecRound, Utc};
use longshore_core::meter::Digest;
use longshore_core::run_report::{Class, Details, FORMAT, Id, Outcome, RunReport};
use longshore_core::terms::Terms;
use longshore_core::{Error, Kind};

use super::delivery::{Delivery, Letter};
use super::folder::{Folder, Mark};
use super::made::Made;
use crate::config::{Config, Job};

/// The command that makes backups.
pub(crate) const RUN: &str = "run";

/// A run of a command in progress: marked at its start, and reported at its end. A failure to do so
/// is a warning, and does not fail the run.
pub struct UnderWay {
    report: RunReport,
    details: Details,
    folder: Option<Folder>,
    mark: Option<Mark>,
    delivery: Option<Delivery>,
    /// The reports of earlier runs that ended without one, with their marks.
    lost: Vec<(Letter, Mark)>,
    letter: Option<Letter>,
    warnings: Vec<String>,
}

impl UnderWay {
    /// Marks a run as in progress, and reports earlier runs that were killed.
    pub fn begin(config: &Config, verb: &str, job: Option<&Job>) -> Self {
        let begun = to_millis(Utc::now());
        let mut under_way = Self {
            report: report(verb, job, begun),
            details: Details::default(),
            folder: None,
            mark: None,
            delivery: job.map(|job| Delivery::of(config, job)),
            lost: Vec::new(),
            letter: None,
            warnings: Vec::new(),
        };
        match Folder::open(config, job.map(|job| job.name.as_str())) {
            Ok(folder) => under_way.open(folder),
            Err(error) => under_way.warn(&error),
        }
        under_way
    }

    fn open(&mut self, folder: Folder) {
        match folder.marks() {
            Ok(marks) => {
                for (mark, mut report) in marks.ended {
                    let details = Details::default();
                    match folder.add(&mut report, &details) {
                        Ok(bytes) => self.lost.push((Letter { report, bytes, details }, mark)),
                        Err(error) => self.warn(&error),
                    }
                }
            }
            Err(error) => self.warn(&error),
        }
        match folder.begin(&self.report) {
            Ok(mark) => self.mark = Some(mark),
            Err(error) => self.warn(&error),
        }
        self.folder = Some(folder);
    }

    fn warn(&mut self, error: &Error) {
        self.warnings.push(format!("the run report: {}", error.chain()));
    }

    /// Records the result of the command.
    pub fn made(&mut self, made: Made) {
        let Made { run, subjects, left_out, removed, counts, messages } = made;
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
    pub fn failed(&mut self, error: &Error) {
        self.report.error = Some(Class::from(error));
        self.details.error = Some(error.chain());
        self.details.hint = error.remedy().map(str::to_owned);
    }

    /// Ends the run, and writes its report on this host.
    pub fn end(&mut self, outcome: Outcome, exit_code: u8) {
        self.report.ended = Some(to_millis(Utc::now()));
        self.report.outcome = outcome;
        self.report.exit_code = Some(exit_code);
        let (mut report, details) = (self.report.clone(), self.details.clone());
        let written = match &self.folder {
            Some(folder) => folder.add(&mut report, &details),
            None => report.to_bytes(),
        };
        match written.or_else(|error| {
            self.warn(&error);
            report.to_bytes()
        }) {
            Ok(bytes) => self.letter = Some(Letter { report, bytes, details }),
            Err(error) => self.warn(&error),
        }
    }

    /// Uploads the report to the job's destinations, and removes surplus reports. Returns warnings.
    pub async fn ship(mut self) -> Vec<String> {
        let (mut letters, mut marks): (Vec<_>, Vec<_>) = std::mem::take(&mut self.lost).into_iter().unzip();
        letters.extend(self.letter.take());
        if let Some(delivery) = self.delivery.take() {
            // A failed run has already reported the problems of its destinations.
            let is_told = |error: &Error| {
                self.report.outcome != Outcome::Done
                    && matches!(error.kind(), Kind::Unavailable | Kind::NotFound | Kind::Usage)
            };
            for (name, error) in delivery.deliver(&letters, self.report.verb == RUN).await {
                if !is_told(&error) {
                    self.warnings.push(format!("the run report is not at destination \"{name}\": {}", error.chain()));
                }
            }
        }
        marks.extend(self.mark.take());
        marks.into_iter().for_each(Mark::remove);
        if let Some(Err(error)) = self.folder.as_ref().map(Folder::prune) {
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
