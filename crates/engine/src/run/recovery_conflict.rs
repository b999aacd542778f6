//! A second attempt at a dump that a recovery conflict of a standby cancelled.

use std::time::Duration;

use longshore_core::standby::Standby;
use longshore_core::{Error, Kind, Result};

/// The number of checks for a conflict after a failed dump: a session reports its
/// conflicts as it ends.
const POLLS: u32 = 10;
/// The interval between two checks.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Copies `database`, and tries once more if the copy failed while replay cancelled a query in that
/// database. A failed copy leaves nothing at any destination. If the server cannot count conflicts,
/// a failed copy is not repeated.
pub(super) async fn retry_once<T>(
    standby: &dyn Standby,
    database: &str,
    mut attempt: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let Ok(before) = standby.conflicts(database).await else { return attempt().await };
    let first = match attempt().await {
        Err(error) if error.kind() != Kind::Corrupt => error,
        done => return done,
    };
    let Some(after_first) = wait_for_conflict(before, standby, database).await else { return Err(first) };
    match attempt().await {
        Err(error) if wait_for_conflict(after_first, standby, database).await.is_some() => {
            Err(cancelled_twice(database, error))
        }
        done => done,
    }
}

/// Returns the number of conflicts if it grows beyond `before`.
async fn wait_for_conflict(before: u64, standby: &dyn Standby, database: &str) -> Option<u64> {
    for poll in 0..POLLS {
        if poll > 0 {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        // If the server no longer answers, the dump's own error names the cause.
        let now = standby.conflicts(database).await.ok()?;
        if now > before {
            return Some(now);
        }
    }
    None
}

fn cancelled_twice(database: &str, error: Error) -> Error {
    let message = "the standby's replay cancelled the dump twice (a recovery conflict)";
    Error::new(error.stage(), Kind::Unavailable, database, message).because(error).hint(
        "set pause_replay = true in the cluster's table, or on the standby hot_standby_feedback = on and \
         max_standby_streaming_delay = -1, or dump the primary",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;
    use longshore_core::Stage;
    use longshore_core::check::Finding;
    use longshore_core::standby::{Paused, Replay};

    use super::*;

    /// A standby that counts conflicts.
    #[derive(Default)]
    struct FakeStandby(AtomicU64);

    #[async_trait]
    impl Standby for FakeStandby {
        async fn replay_state(&self) -> Result<Option<Replay>> {
            Ok(None)
        }

        async fn pause(&self) -> Result<Paused> {
            Ok(Paused::Stopped)
        }

        async fn resume(&self) -> Result<()> {
            Ok(())
        }

        async fn settings(&self) -> Result<Finding> {
            Ok(Finding::good("", ""))
        }

        async fn conflicts(&self, _: &str) -> Result<u64> {
            Ok(self.0.load(Ordering::Relaxed))
        }
    }

    fn failed(kind: Kind) -> Result<u32> {
        Err(Error::new(Stage::Dump, kind, "app", "pg_dump ended with exit status 1"))
    }

    /// Returns the result of attempts with these outcomes, each with its number of conflicts, and
    /// the number of attempts made.
    async fn attempts(each: &[(Result<u32>, u64)]) -> (Result<u32>, usize) {
        let standby = FakeStandby::default();
        let mut made = 0;
        let result = retry_once(&standby, "app", async || {
            let (result, conflicts) = each[made].clone();
            made += 1;
            standby.0.fetch_add(conflicts, Ordering::Relaxed);
            result
        });
        let result = result.await;
        (result, made)
    }

    #[tokio::test]
    async fn cancelled_dump_is_retried() {
        let (result, made) = attempts(&[(failed(Kind::Failed), 1), (Ok(7), 0)]).await;
        assert_eq!((result.unwrap(), made), (7, 2));
    }

    #[tokio::test]
    async fn dump_cancelled_twice_names_the_standby() {
        let (result, made) = attempts(&[(failed(Kind::Failed), 1), (failed(Kind::Failed), 3)]).await;
        let error = result.unwrap_err();
        assert_eq!((made, error.kind()), (2, Kind::Unavailable));
        assert!(error.remedy().unwrap().contains("pause_replay = true"), "{error:?}");
        assert!(error.chain().contains("exit status 1"), "{}", error.chain());
    }

    #[tokio::test]
    async fn failure_without_conflict_is_final() {
        let (result, made) = attempts(&[(failed(Kind::Denied), 0)]).await;
        assert_eq!((result.unwrap_err().kind(), made), (Kind::Denied, 1));
        let (result, made) = attempts(&[(failed(Kind::Corrupt), 1)]).await;
        assert_eq!((result.unwrap_err().kind(), made), (Kind::Corrupt, 1));
        let (result, made) = attempts(&[(failed(Kind::Failed), 1), (failed(Kind::Denied), 0)]).await;
        assert_eq!((result.unwrap_err().kind(), made), (Kind::Denied, 2));
    }
}
