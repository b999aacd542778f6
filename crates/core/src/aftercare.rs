//! Cleanup at a destination that outlives its caller: pending work is completed or rolled back. A
//! program waits for the cleanup before it exits, up to a limit of its own.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::error::{Error, Kind, Result, Stage};

/// The tasks in progress in this process. The tracker is closed from the beginning, which permits
/// waiting for the tasks.
static UNDER_WAY: LazyLock<TaskTracker> = LazyLock::new(|| {
    let tracker = TaskTracker::new();
    tracker.close();
    tracker
});

/// The errors of failed cleanup since the last call of [`failures`].
static LEFT: Mutex<Vec<Error>> = Mutex::new(Vec::new());

/// Spawns `work` as a task that outlives its caller, to clean up after dropped values. [`failures`]
/// returns its error. Without a runtime, `work` is dropped, and a later sweep has to clean up.
pub fn see_to(work: impl Future<Output = Result<()>> + Send + 'static) {
    let noted = async {
        if let Err(error) = work.await {
            left().push(error);
        }
    };
    if let Ok(runtime) = Handle::try_current() {
        UNDER_WAY.spawn_on(noted, &runtime);
    }
}

/// Runs `work` like [`see_to`], and waits for its end, successful or not.
pub async fn see_out(work: impl Future<Output = Result<()>> + Send + 'static) {
    let (under_way, mut ended) = mpsc::channel::<()>(1);
    see_to(async {
        let result = work.await;
        drop(under_way);
        result
    });
    // Nothing is sent: the channel closes.
    ended.recv().await;
}

/// Runs `work` to its end even if the caller is cancelled, since the effect of an interrupted
/// request is unknown. The result is then dropped.
pub async fn see_through<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let (tell, heard) = oneshot::channel();
    // A result without a receiver is dropped within this task, and so is its own cleanup.
    let task = UNDER_WAY.spawn(async { drop(tell.send(work.await)) });
    if let Ok(result) = heard.await {
        return result;
    }
    let cut = Error::new(Stage::Ship, Kind::Failed, "", "a task at the destination was aborted");
    Err(match task.await {
        Ok(()) => cut,
        Err(panicked) => cut.because(panicked),
    })
}

/// Waits until all tasks have ended.
pub async fn done() {
    UNDER_WAY.wait().await;
}

/// Returns and clears the errors of failed cleanup.
pub fn failures() -> Vec<Error> {
    std::mem::take(&mut *left())
}

fn left() -> MutexGuard<'static, Vec<Error>> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    /// A value whose cleanup takes a while when it is dropped.
    struct Begun(Arc<AtomicBool>);

    impl Drop for Begun {
        fn drop(&mut self) {
            let taken_back = Arc::clone(&self.0);
            see_to(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                taken_back.store(true, Ordering::Relaxed);
                Ok(())
            });
        }
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_ended_and_taken_back() {
        let taken_back = Arc::new(AtomicBool::new(false));
        let begun = Begun(Arc::clone(&taken_back));
        let begin = see_through(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(begun)
        });
        // The caller is cancelled while the task runs.
        assert!(tokio::time::timeout(Duration::from_millis(10), begin).await.is_err());
        assert!(!taken_back.load(Ordering::Relaxed));
        done().await;
        assert!(taken_back.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn what_is_taken_back_is_waited_for_and_a_panic_there_keeps_nobody_waiting() {
        let taken_back = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&taken_back);
        see_out(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            done.store(true, Ordering::Relaxed);
            Ok(())
        })
        .await;
        assert!(taken_back.load(Ordering::Relaxed));
        see_out(async { panic!("a bug") }).await;
    }

    #[tokio::test]
    async fn what_could_not_be_taken_back_is_told() {
        let denied = Error::new(Stage::Ship, Kind::Denied, "a file of this test", "may not be removed");
        let told = denied.clone();
        see_out(async { Err(told) }).await;
        // Tests of one process share the list of failures.
        assert!(failures().iter().any(|error| error.subject() == denied.subject()));
    }

    #[tokio::test]
    async fn who_waits_hears_what_it_results_in() {
        assert_eq!(see_through(async { Ok(7) }).await.unwrap(), 7);
        let cut = see_through::<()>(async { panic!("a bug") }).await.unwrap_err();
        assert!(cut.chain().contains("was aborted") && cut.chain().contains("a bug"), "{}", cut.chain());
    }
}
