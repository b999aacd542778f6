//! The run report of the current verb: starts when the job is known, ends with the exit code.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use longshore_config::Config;
use longshore_core::Error;
use longshore_core::run_report::Outcome;
use longshore_engine::run_report::{CommandResult, RunRecorder};
use tokio::time::timeout;

use crate::args::{ReportedJob, ReportedVerb};
use crate::command::status::metrics;
use crate::exit_code::Exit;
use crate::output::Output;
use crate::signals::Signals;

/// The time limit for uploading a report.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(20);
/// The time limit after a signal.
const UPLOAD_TIMEOUT_AFTER_SIGNAL: Duration = Duration::from_secs(3);

/// The verbs after which the metrics file is written.
const METERED_VERBS: [&str; 3] = ["run", "drill", "verify"];

/// The report of the current verb, if the verb acts.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Option<RecordedRun>>>);

/// A run in progress.
struct RecordedRun {
    recorder: RunRecorder,
    config: Arc<Config>,
    verb: &'static str,
}

impl Recorder {
    fn with<T>(&self, work: impl FnOnce(&mut Option<RecordedRun>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts the report of a verb. An unknown job has no report: the verb itself fails.
    pub(crate) fn begin(&self, config: &Arc<Config>, reported: &ReportedVerb) {
        let job = match &reported.job {
            ReportedJob::Required(name) => match config.job(name.as_deref()) {
                Ok(job) => Some(job),
                Err(_) => return,
            },
            ReportedJob::Optional(name) => name.as_ref().and_then(|name| config.jobs.get(name)),
        };
        let begun = RunRecorder::begin(config, reported.verb, job);
        let config = Arc::clone(config);
        self.with(|run| *run = Some(RecordedRun { recorder: begun, config, verb: reported.verb }));
    }

    /// Records the results of the verb.
    pub(crate) fn record(&self, result: impl Into<CommandResult>) {
        self.with(|run| run.as_mut().map_or((), |run| run.recorder.record(result.into())));
    }

    /// Records the error that ended the verb.
    pub(crate) fn record_error(&self, error: &Error) {
        self.with(|run| run.as_mut().map_or((), |run| run.recorder.record_error(error)));
    }

    /// Ends the report and uploads it.
    pub(crate) async fn end(&self, exit: Exit, signals: &mut Signals, output: &Output) {
        let Some(RecordedRun { mut recorder, config, verb }) = self.with(Option::take) else { return };
        let outcome = outcome(exit);
        recorder.end(outcome, exit as u8);
        let limit = if outcome == Outcome::Interrupted { UPLOAD_TIMEOUT_AFTER_SIGNAL } else { UPLOAD_TIMEOUT };
        let warnings = tokio::select! {
            shipped = timeout(limit, recorder.ship()) => shipped.unwrap_or_else(|_| {
                vec!["the run report was not uploaded to every destination: a destination timed out".to_owned()]
            }),
            _ = signals.first() => Vec::new(),
        };
        for warning in warnings {
            output.warning(warning);
        }
        if METERED_VERBS.contains(&verb) && outcome != Outcome::Interrupted {
            let written = tokio::select! {
                written = metrics::write_file(&config) => written,
                _ = signals.first() => Ok(()),
            };
            if let Err(error) = written {
                output.warning(format_args!("the metrics file was not written: {}", error.chain()));
            }
        }
    }
}

/// Returns the outcome of a run that ends with this exit code.
fn outcome(exit: Exit) -> Outcome {
    match exit {
        Exit::Done => Outcome::Done,
        Exit::Usage | Exit::Failed | Exit::Absent | Exit::Bug => Outcome::Failed,
        Exit::Partial => Outcome::Partial,
        Exit::Damaged => Outcome::Damaged,
        Exit::Locked => Outcome::Locked,
        Exit::Refused => Outcome::Refused,
        Exit::HungUp | Exit::Interrupted | Exit::Terminated => Outcome::Interrupted,
    }
}
