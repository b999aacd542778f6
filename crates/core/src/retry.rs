//! The retries of requests to an unavailable destination: patient ones for transfers, and brief
//! ones for single requests, which cleanup makes, too, while a program waits for its end.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder, Retryable};

use crate::error::{Error, Kind, Result};

/// The number of retries of a transfer.
const PATIENT_RETRIES: usize = 4;
/// The number of retries of a single request.
const BRIEF_RETRIES: usize = 3;

/// Returns the pauses before successive retries of a transfer: about 0.5, 1.5, 4.5 and 13.5
/// seconds, each lengthened at random, so that many hosts do not return at the same moment.
pub fn patient() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_factor(3.0)
        .with_max_times(PATIENT_RETRIES)
        .with_jitter()
}

/// Returns the pauses before successive retries of a single request: about 0.2, 0.4 and 0.8
/// seconds, each lengthened at random.
pub fn brief() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_factor(2.0)
        .with_max_times(BRIEF_RETRIES)
        .with_jitter()
}

/// Returns the pauses of an operation that is repeated until it succeeds: from 0.2 to 10 seconds,
/// each lengthened at random.
pub fn lasting() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_factor(2.0)
        .with_max_delay(Duration::from_secs(10))
        .without_max_times()
        .with_jitter()
}

/// The retries of one operation, for callers that need to know more than its error.
#[derive(Debug)]
pub struct Retries {
    subject: String,
    policy: ExponentialBuilder,
    pauses: backon::ExponentialBackoff,
    /// The number of failed attempts.
    failed: u32,
}

impl Retries {
    /// Returns the retries of an operation on `subject`, a name for the log.
    pub fn new(subject: impl Into<String>, policy: ExponentialBuilder) -> Self {
        Self { subject: subject.into(), policy, pauses: policy.build(), failed: 0 }
    }

    /// Starts from the beginning, after progress.
    pub fn reset(&mut self) {
        self.pauses = self.policy.build();
    }

    /// Waits before the next attempt. Returns false if the attempts are used up.
    pub async fn pause(&mut self, error: &Error) -> bool {
        self.failed += 1;
        let Some(pause) = self.pauses.next() else { return false };
        log(&self.subject, self.failed, error, pause);
        tokio::time::sleep(pause).await;
        true
    }
}

/// Repeats `work` while it fails because the destination is unavailable. `subject` is for the log.
///
/// # Errors
///
/// Fails with the error of the last attempt.
pub async fn while_unavailable<T, F: Future<Output = Result<T>>>(subject: &str, work: impl FnMut() -> F) -> Result<T> {
    let mut failed = 0;
    let notify = |error: &Error, pause| {
        failed += 1;
        log(subject, failed, error, pause);
    };
    work.retry(patient()).when(|error| error.kind() == Kind::Unavailable).notify(notify).await
}

fn log(subject: &str, failed: u32, error: &Error, pause: Duration) {
    tracing::warn!(target: "longshore::retry", subject, failed_attempts = failed, error = %error.chain(), ?pause, "retrying");
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::error::Stage;

    fn error(kind: Kind) -> Error {
        Error::new(Stage::Ship, kind, "far", "failed on purpose")
    }

    #[tokio::test(start_paused = true)]
    async fn retries_only_while_the_destination_is_unavailable() {
        let attempts = Cell::new(0);
        let attempt = |kind| {
            let attempts = &attempts;
            move || {
                attempts.set(attempts.get() + 1);
                async move { Err::<(), _>(error(kind)) }
            }
        };
        let begun = tokio::time::Instant::now();
        while_unavailable("far", attempt(Kind::Unavailable)).await.unwrap_err();
        assert_eq!(attempts.take(), 1 + PATIENT_RETRIES);
        let pauses = begun.elapsed();
        assert!(pauses >= Duration::from_secs(19) && pauses < Duration::from_secs(60), "{pauses:?}");
        while_unavailable("far", attempt(Kind::Denied)).await.unwrap_err();
        assert_eq!(attempts.take(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn retries_start_again_after_progress() {
        let mut retries = Retries::new("far", patient());
        let cut = error(Kind::Unavailable);
        for _ in 0..PATIENT_RETRIES {
            assert!(retries.pause(&cut).await);
        }
        assert!(!retries.pause(&cut).await);
        retries.reset();
        assert!(retries.pause(&cut).await);
    }
}
