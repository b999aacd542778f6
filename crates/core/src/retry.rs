//! The retries of requests to an unavailable destination: one policy for all.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder, Retryable};

use crate::error::{Error, Kind, Result};

/// The pause before the first retry. Each further one is four times as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The number of retries.
const RETRIES: usize = 3;

/// Returns the pauses before successive retries: about 0.5, 2 and 8 seconds, each lengthened at
/// random, so that many hosts do not return at the same moment.
pub fn policy() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(Duration::from_secs(60))
        .with_factor(4.0)
        .with_max_times(RETRIES)
        .with_jitter()
}

/// The retries of one operation, for callers that need to know more than its error.
#[derive(Debug)]
pub struct Retries {
    subject: String,
    pauses: backon::ExponentialBackoff,
    /// The number of failed attempts.
    failed: u32,
}

impl Retries {
    /// Returns the retries of an operation on `subject`, a name for the log.
    pub fn new(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), pauses: policy().build(), failed: 0 }
    }

    /// Starts from the beginning, after progress.
    pub fn reset(&mut self) {
        self.pauses = policy().build();
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
    work.retry(policy()).when(|error| error.kind() == Kind::Unavailable).notify(notify).await
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
        assert_eq!(attempts.take(), 1 + RETRIES);
        let pauses = begun.elapsed();
        assert!(pauses >= Duration::from_secs(10) && pauses < Duration::from_secs(60), "{pauses:?}");
        while_unavailable("far", attempt(Kind::Denied)).await.unwrap_err();
        assert_eq!(attempts.take(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn retries_start_again_after_progress() {
        let mut retries = Retries::new("far");
        let cut = error(Kind::Unavailable);
        for _ in 0..RETRIES {
            assert!(retries.pause(&cut).await);
        }
        assert!(!retries.pause(&cut).await);
        retries.reset();
        assert!(retries.pause(&cut).await);
    }
}
