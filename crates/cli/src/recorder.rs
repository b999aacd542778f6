//! The run report of the current verb: starts when the job is known, ends with the exit code.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use longshore_core::Error;
use longshore_core::run_report::Outcome;
use longshore_service::config::Config;
use longshore_service::run_report::{Made, UnderWay};
use tokio::time::timeout;

use crate::args::{Acting, OfJob};
use crate::exit_code::Exit;
use crate::output::Output;
use crate::signals::Signals;

/// The time limit for uploading a report.
const SHIPPING: Duration = Duration::from_secs(20);
/// The time limit after a signal.
const SHIPPING_INTERRUPTED: Duration = Duration::from_secs(3);

/// The report of the current verb, if the verb acts.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Option<UnderWay>>>);

impl Recorder {
    fn with<T>(&self, work: impl FnOnce(&mut Option<UnderWay>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts the report of a verb. An unknown job has no report: the verb itself fails.
    pub(crate) fn begin(&self, config: &Config, acting: &Acting) {
        let job = match &acting.job {
            OfJob::Needed(name) => match config.job(name.as_deref()) {
                Ok(job) => Some(job),
                Err(_) => return,
            },
            OfJob::Named(name) => name.as_ref().and_then(|name| config.jobs.get(name)),
        };
        let begun = UnderWay::begin(config, acting.verb, job);
        self.with(|under_way| *under_way = Some(begun));
    }

    /// Records the results of the verb.
    pub(crate) fn made(&self, made: impl Into<Made>) {
        self.with(|under_way| under_way.as_mut().map_or((), |under_way| under_way.made(made.into())));
    }

    /// Records the error that ended the verb.
    pub(crate) fn failed(&self, error: &Error) {
        self.with(|under_way| under_way.as_mut().map_or((), |under_way| under_way.failed(error)));
    }

    /// Ends the report and uploads it.
    pub(crate) async fn end(&self, exit: Exit, signals: &mut Signals, output: &Output) {
        let Some(mut under_way) = self.with(Option::take) else { return };
        let outcome = outcome(exit);
        under_way.end(outcome, exit as u8);
        let limit = if outcome == Outcome::Interrupted { SHIPPING_INTERRUPTED } else { SHIPPING };
        let warnings = tokio::select! {
            shipped = timeout(limit, under_way.ship()) => shipped.unwrap_or_else(|_| {
                vec!["the run report was not uploaded to every destination: a destination timed out".to_owned()]
            }),
            _ = signals.first() => Vec::new(),
        };
        for warning in warnings {
            output.warning(warning);
        }
    }
}

/// Returns the outcome of a run that ends with this exit code.
fn outcome(exit: Exit) -> Outcome {
    match exit {
        Exit::Done => Outcome::Done,
        Exit::Usage | Exit::Failed | Exit::Bug => Outcome::Failed,
        Exit::Partial => Outcome::Partial,
        Exit::Damaged => Outcome::Damaged,
        Exit::Locked => Outcome::Locked,
        Exit::Refused => Outcome::Refused,
        Exit::HungUp | Exit::Interrupted | Exit::Terminated => Outcome::Interrupted,
    }
}
