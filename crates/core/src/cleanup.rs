//! Cleanup at a destination that outlives its caller: pending work is completed or rolled back. A
//! program waits for the cleanup before it exits, up to a limit of its own.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::error::{Error, Kind, Result, Stage};

/// The tasks in progress in this process. The tracker is closed from the beginning, which permits
/// waiting for the tasks.
static TASKS: LazyLock<TaskTracker> = LazyLock::new(|| {
    let tracker = TaskTracker::new();
    tracker.close();
    tracker
});

/// The errors of failed cleanup since the last call of [`failures`].
static FAILURES: Mutex<Vec<Error>> = Mutex::new(Vec::new());

/// Spawns `work` as a task that outlives its caller, to clean up after dropped values. [`failures`]
/// returns its error. Without a runtime, `work` is dropped, and a later sweep has to clean up.
pub fn spawn_cleanup(work: impl Future<Output = Result<()>> + Send + 'static) {
    let recorded = async {
        if let Err(error) = work.await {
            lock_failures().push(error);
        }
    };
    if let Ok(runtime) = Handle::try_current() {
        TASKS.spawn_on(recorded, &runtime);
    }
}

/// Runs `work` like [`spawn_cleanup`], and waits for its end, successful or not.
pub async fn run_cleanup(work: impl Future<Output = Result<()>> + Send + 'static) {
    let (running, mut ended) = mpsc::channel::<()>(1);
    spawn_cleanup(async {
        let result = work.await;
        drop(running);
        result
    });
    // Nothing is sent: the channel closes.
    ended.recv().await;
}

/// Runs `work` to its end even if the caller is cancelled, since the effect of an interrupted
/// request is unknown. The result is then dropped.
pub async fn shield<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    // A result without a receiver is dropped within this task, and so is its own cleanup.
    let task = TASKS.spawn(async { drop(sender.send(work.await)) });
    if let Ok(result) = receiver.await {
        return result;
    }
    let aborted = Error::new(Stage::Ship, Kind::Failed, "", "a task at the destination was aborted");
    Err(match task.await {
        Ok(()) => aborted,
        Err(panicked) => aborted.because(panicked),
    })
}

/// Waits until all tasks have ended.
pub async fn wait() {
    TASKS.wait().await;
}

/// Returns and clears the errors of failed cleanup.
pub fn failures() -> Vec<Error> {
    std::mem::take(&mut *lock_failures())
}

fn lock_failures() -> MutexGuard<'static, Vec<Error>> {
    FAILURES.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    /// A value whose cleanup takes a while when it is dropped.
    struct PendingCleanup(Arc<AtomicBool>);

    impl Drop for PendingCleanup {
        fn drop(&mut self) {
            let cleaned_up = Arc::clone(&self.0);
            spawn_cleanup(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                cleaned_up.store(true, Ordering::Relaxed);
                Ok(())
            });
        }
    }

    #[tokio::test]
    async fn abandoned_work_ends_and_is_cleaned_up() {
        let cleaned_up = Arc::new(AtomicBool::new(false));
        let pending = PendingCleanup(Arc::clone(&cleaned_up));
        let call = shield(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(pending)
        });
        // The caller is cancelled while the task runs.
        assert!(tokio::time::timeout(Duration::from_millis(10), call).await.is_err());
        assert!(!cleaned_up.load(Ordering::Relaxed));
        wait().await;
        assert!(cleaned_up.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn run_cleanup_waits_and_survives_a_panic() {
        let cleaned_up = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&cleaned_up);
        run_cleanup(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            done.store(true, Ordering::Relaxed);
            Ok(())
        })
        .await;
        assert!(cleaned_up.load(Ordering::Relaxed));
        run_cleanup(async { panic!("a bug") }).await;
    }

    #[tokio::test]
    async fn failed_cleanup_is_reported() {
        let denied = Error::new(Stage::Ship, Kind::Denied, "a file of this test", "may not be removed");
        let failure = denied.clone();
        run_cleanup(async { Err(failure) }).await;
        // Tests of one process share the list of failures.
        assert!(failures().iter().any(|error| error.subject() == denied.subject()));
    }

    #[tokio::test]
    async fn shield_returns_the_result() {
        assert_eq!(shield(async { Ok(7) }).await.unwrap(), 7);
        let aborted = shield::<()>(async { panic!("a bug") }).await.unwrap_err();
        assert!(aborted.chain().contains("was aborted") && aborted.chain().contains("a bug"), "{}", aborted.chain());
    }
}
