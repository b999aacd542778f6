//! The run report of the verb that is executed: begun once its job is known, ended with the exit
//! code.

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

/// How long shipping a report may take.
const SHIPPING: Duration = Duration::from_secs(20);
/// How long it may take once a signal asked the process to end.
const SHIPPING_INTERRUPTED: Duration = Duration::from_secs(3);

/// The report of the verb that is executed, if that is one that acts.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Option<UnderWay>>>);

impl Recorder {
    fn with<T>(&self, work: impl FnOnce(&mut Option<UnderWay>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins the report of a verb. A job that is not known here has none: the verb says so itself.
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

    /// Records what the verb did.
    pub(crate) fn made(&self, made: impl Into<Made>) {
        self.with(|under_way| under_way.as_mut().map_or((), |under_way| under_way.made(made.into())));
    }

    /// Records the error that ended it.
    pub(crate) fn failed(&self, error: &Error) {
        self.with(|under_way| under_way.as_mut().map_or((), |under_way| under_way.failed(error)));
    }

    /// Ends the report and ships it.
    pub(crate) async fn end(&self, exit: Exit, signals: &mut Signals, output: &Output) {
        let Some(mut under_way) = self.with(Option::take) else { return };
        let outcome = outcome(exit);
        under_way.end(outcome, exit as u8);
        let limit = if outcome == Outcome::Interrupted { SHIPPING_INTERRUPTED } else { SHIPPING };
        let warnings = tokio::select! {
            shipped = timeout(limit, under_way.ship()) => shipped.unwrap_or_else(|_| {
                vec!["the run report is not at every destination: one did not take it in time".to_owned()]
            }),
            _ = signals.first() => Vec::new(),
        };
        for warning in warnings {
            output.warning(warning);
        }
    }
}

/// How a run ended that ends with this code.
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
