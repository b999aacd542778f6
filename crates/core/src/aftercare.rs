//! Work at a destination that goes on when nobody waits for it any more: what was begun there is ended, or taken back. A program that
//! ends waits for it first, for as long as it sees fit.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::error::{Error, Kind, Result, Stage};

/// What is under way in this process. Closed from the beginning, which only means that it may be waited for.
static UNDER_WAY: LazyLock<TaskTracker> = LazyLock::new(|| {
    let tracker = TaskTracker::new();
    tracker.close();
    tracker
});

/// What could not be ended or taken back, and why, until somebody asks.
static LEFT: Mutex<Vec<Error>> = Mutex::new(Vec::new());

/// Does `work` on a task of its own, whoever goes away; that is how what is dropped takes back what it has left elsewhere. [`failures`]
/// tells of its own. Where no runtime is left, a later sweep has to do it.
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

/// As [`see_to`], and waits for it, however it ends.
pub async fn see_out(work: impl Future<Output = Result<()>> + Send + 'static) {
    let (under_way, mut ended) = mpsc::channel::<()>(1);
    see_to(async {
        let result = work.await;
        drop(under_way);
        result
    });
    // Nothing is ever sent: the channel closes.
    ended.recv().await;
}

/// Sees `work` through to its end even if the caller goes away, since nobody can tell what a request that was cut has done. What it results
/// in is then dropped.
pub async fn see_through<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let (tell, heard) = oneshot::channel();
    // What nobody hears is dropped within this task, and so is what that has seen to.
    let task = UNDER_WAY.spawn(async { drop(tell.send(work.await)) });
    if let Ok(result) = heard.await {
        return result;
    }
    let cut = Error::new(Stage::Ship, Kind::Failed, "", "work at a destination was cut");
    Err(match task.await {
        Ok(()) => cut,
        Err(panicked) => cut.because(panicked),
    })
}

/// Waits until nothing of the kind is under way.
pub async fn done() {
    UNDER_WAY.wait().await;
}

/// What could not be ended or taken back since somebody asked last, and why.
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

    /// Takes back what it stands for when it is dropped, which takes a while.
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
        // Its caller goes away while it is under way.
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
        let denied = Error::new(Stage::Ship, Kind::Denied, "a file that only this test knows", "may not be removed");
        let told = denied.clone();
        see_out(async { Err(told) }).await;
        // Tests of one process share what is left.
        assert!(failures().iter().any(|error| error.subject() == denied.subject()));
    }

    #[tokio::test]
    async fn who_waits_hears_what_it_results_in() {
        assert_eq!(see_through(async { Ok(7) }).await.unwrap(), 7);
        let cut = see_through::<()>(async { panic!("a bug") }).await.unwrap_err();
        assert!(cut.chain().contains("was cut") && cut.chain().contains("a bug"), "{}", cut.chain());
    }
}
