//! The run report of the current verb: starts when the job is known, ends with the exit code. The
//! hooks of a job, notices and the metrics file follow it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use longshore_config::Config;
use longshore_core::cleanup::CleanupScope;
use longshore_core::run_report::Outcome;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_engine::hook::{Decision, JobHooks, RunLock};
use longshore_engine::notices::Notifier;
use longshore_engine::run_report::{CommandResult, RunRecorder};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::args::{ReportedJob, ReportedVerb};
use crate::command::status::metrics;
use crate::exit_code::Exit;
use crate::output::Output;
use crate::signals::{self, Signals};

/// The time limit for uploading a report.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(20);
/// The time limit after a signal, for uploading a report and for sending notices.
const TIMEOUT_AFTER_SIGNAL: Duration = Duration::from_secs(3);
/// The time to wait at the end of a run for the notices that it has begun.
const BEGUN_TIMEOUT: Duration = Duration::from_secs(2);
/// The verb whose jobs have hooks.
const RUN: &str = "run";
/// The verbs after which the metrics file is written, and notices are sent.
const MONITORED_VERBS: [&str; 3] = [RUN, "drill", "verify"];

/// The report of the current verb, if the verb acts.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Option<RecordedRun>>>);

/// A run in progress.
struct RecordedRun {
    recorder: RunRecorder,
    config: Arc<Config>,
    verb: &'static str,
    hooks: Option<Arc<JobHooks>>,
    is_skipped: bool,
    /// The notices that the run has begun, sent while it works.
    begun: Option<JoinHandle<Vec<String>>>,
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
        let begun = RecordedRun {
            recorder: RunRecorder::begin(config, reported.verb, job),
            config: Arc::clone(config),
            verb: reported.verb,
            hooks: job.filter(|_| reported.verb == RUN).map(|job| Arc::new(JobHooks::of(job))),
            is_skipped: false,
            begun: None,
        };
        self.with(|run| *run = Some(begun));
    }

    /// Sends the notices that the run has begun, without waiting for them.
    pub(crate) fn run_has_begun(&self) {
        self.with(|run| {
            let Some(run) = run else { return };
            if Notifier::reports_starts(&run.config) {
                let (config, report) = (Arc::clone(&run.config), run.recorder.report().clone());
                // Reading the certificates of the system would delay the run.
                let notifier = tokio::task::spawn_blocking(move || Notifier::of(&config));
                run.begun = Some(tokio::spawn(async move {
                    match notifier.await {
                        Ok(notifier) => notifier.run_started(&report).await,
                        Err(panic) => vec![format!("notices were not sent: {panic}")],
                    }
                }));
            }
        });
    }

    /// Runs the hooks before the run.
    pub(crate) async fn hooks_before(&self, lock: &RunLock) -> Result<Decision> {
        match self.with(|run| run.as_ref().and_then(|run| run.hooks.clone())) {
            Some(hooks) => hooks.before(lock).await,
            None => Ok(Decision::Run),
        }
    }

    /// Records that a hook skipped the run.
    pub(crate) fn skip(&self) {
        self.with(|run| run.iter_mut().for_each(|run| run.is_skipped = true));
    }

    /// Records the results of the verb.
    pub(crate) fn record(&self, result: impl Into<CommandResult>) {
        self.with(|run| run.as_mut().map_or((), |run| run.recorder.record(result.into())));
    }

    /// Records the error that ended the verb.
    pub(crate) fn record_error(&self, error: &Error) {
        self.with(|run| run.as_mut().map_or((), |run| run.recorder.record_error(error)));
    }

    /// Runs the hooks after the run, and returns the exit code: a hook that fails makes a success
    /// partial. A second signal ends them.
    pub(crate) async fn hooks_after(
        &self,
        exit: Exit,
        cleanup: &CleanupScope,
        signals: &mut Signals,
        output: &Output,
    ) -> Exit {
        let active = self.with(|run| {
            let run = run.as_ref()?;
            let hooks = run.hooks.clone().filter(|hooks| hooks.are_active())?;
            Some((hooks, run.recorder.report_at_end(run.outcome(exit), exit as u8)))
        });
        let Some((hooks, report)) = active else { return exit };
        if report.outcome == Outcome::Interrupted {
            // A hook may unmount a destination, whose incomplete files are still to be removed.
            signals::clean_up(cleanup, signals, output).await;
        }
        let errors = tokio::select! {
            errors = hooks.after(&report) => errors,
            () = signals.second() => {
                vec![Error::new(Stage::Hook, Kind::Failed, "", "a signal ended the hooks after the run")]
            }
        };
        for error in &errors {
            output.error(error);
        }
        self.record(CommandResult::of_hooks(&errors));
        if exit == Exit::Done && !errors.is_empty() { Exit::Partial } else { exit }
    }

    /// Ends the report and uploads it, then sends notices and writes the metrics file.
    pub(crate) async fn end(&self, exit: Exit, signals: &mut Signals, output: &Output) {
        let Some(run) = self.with(Option::take) else { return };
        let outcome = run.outcome(exit);
        let RecordedRun { mut recorder, config, verb, hooks, begun, .. } = run;
        // The lock of the run.
        drop(hooks);
        recorder.end(outcome, exit as u8);
        let (report, details) = (recorder.report().clone(), recorder.details().clone());
        let is_interrupted = outcome == Outcome::Interrupted;
        let limit = if is_interrupted { TIMEOUT_AFTER_SIGNAL } else { UPLOAD_TIMEOUT };
        let warnings = tokio::select! {
            shipped = timeout(limit, recorder.ship()) => shipped.unwrap_or_else(|_| {
                vec!["the run report was not uploaded to every destination: a destination timed out".to_owned()]
            }),
            _ = signals.first() => Vec::new(),
        };
        for warning in warnings {
            output.warning(warning);
        }
        let notify = async {
            if !MONITORED_VERBS.contains(&verb) || config.notify.is_empty() {
                return Vec::new();
            }
            let mut warnings = Vec::new();
            if let Some(mut begun) = begun {
                match timeout(BEGUN_TIMEOUT, &mut begun).await {
                    // A panic of the task is reported as such.
                    Ok(begun) => warnings.extend(begun.unwrap_or_default()),
                    // The end of the run matters more, and has its own warning.
                    Err(_) => begun.abort(),
                }
            }
            warnings.extend(Notifier::of(&config).run_ended(&report, &details).await);
            warnings.dedup();
            warnings
        };
        let write_metrics = async {
            if !MONITORED_VERBS.contains(&verb) || is_interrupted {
                return None;
            }
            let error = metrics::write_file(&config).await.err()?;
            Some(format!("the metrics file was not written: {}", error.chain()))
        };
        // Each has its own time limits.
        let limit = if is_interrupted { TIMEOUT_AFTER_SIGNAL } else { Duration::MAX };
        let warnings = tokio::select! {
            sent = timeout(limit, notify) => {
                sent.unwrap_or_else(|_| vec!["notices were not sent: a signal ended the run".to_owned()])
            }
            _ = signals.first() => vec!["notices were not sent: a signal ended the wait".to_owned()],
        };
        // The metrics count the notices.
        let unwritten = tokio::select! {
            unwritten = write_metrics => unwritten,
            _ = signals.first() => None,
        };
        for warning in warnings.into_iter().chain(unwritten) {
            output.warning(warning);
        }
    }
}

impl RecordedRun {
    /// Returns the outcome of a run that ends with this exit code.
    fn outcome(&self, exit: Exit) -> Outcome {
        match exit {
            Exit::Done if self.is_skipped => Outcome::Skipped,
            Exit::Done => Outcome::Done,
            Exit::Usage | Exit::Failed | Exit::Absent | Exit::Bug => Outcome::Failed,
            Exit::Partial => Outcome::Partial,
            Exit::Damaged => Outcome::Damaged,
            Exit::Locked => Outcome::Locked,
            Exit::Refused => Outcome::Refused,
            Exit::HungUp | Exit::Interrupted | Exit::Terminated => Outcome::Interrupted,
        }
    }
}
