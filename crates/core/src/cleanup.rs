//! Cleanup at a destination that outlives its caller: pending work is completed or rolled back. A
//! program waits for the cleanup before it exits, up to a limit of its own.
//!
//! A [`CleanupScope`] owns the cleanup of one run. The scope is current in the run's task, and in
//! the tasks that the functions of this module start. Cleanup of a task without a scope still runs,
//! but no caller can wait for it, and its error is only logged.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument;

use crate::error::{Error, Kind, Result, Stage};

tokio::task_local! {
    /// The scope of the current task.
    static CURRENT: CleanupScope;
}

/// The cleanup of one run: its tasks in progress, and the errors of those that failed. Clones share
/// both.
#[derive(Debug, Clone, Default)]
pub struct CleanupScope(Arc<Tasks>);

#[derive(Debug)]
struct Tasks {
    /// Closed from the beginning, which permits waiting for the tasks.
    tracker: TaskTracker,
    failures: Mutex<Vec<Error>>,
}

impl Default for Tasks {
    fn default() -> Self {
        let tracker = TaskTracker::new();
        tracker.close();
        Self { tracker, failures: Mutex::default() }
    }
}

impl CleanupScope {
    /// Runs `work` in this scope. If `work` is dropped, its values are dropped in this scope, too.
    pub async fn run<F: Future>(&self, work: F) -> F::Output {
        CURRENT.scope(self.clone(), work).await
    }

    /// Waits until all cleanup of this scope has ended.
    pub async fn wait(&self) {
        self.0.tracker.wait().await;
    }

    /// Returns and clears the errors of failed cleanup.
    pub fn failures(&self) -> Vec<Error> {
        std::mem::take(&mut *self.0.failures.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the scope of the current task, or an empty one.
    fn current() -> Self {
        CURRENT.try_with(Self::clone).unwrap_or_default()
    }

    /// Starts a task in this scope. Without a runtime, `work` is dropped.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Option<JoinHandle<()>> {
        let runtime = Handle::try_current().ok()?;
        let scoped = CURRENT.scope(self.clone(), work).in_current_span();
        Some(self.0.tracker.spawn_on(scoped, &runtime))
    }

    /// Starts cleanup in this scope.
    fn spawn_cleanup(&self, work: impl Future<Output = Result<()>> + Send + 'static) {
        let tasks = Arc::clone(&self.0);
        let recorded = async move {
            tracing::debug!(target: "longshore::cleanup", "started");
            match work.await {
                Ok(()) => tracing::debug!(target: "longshore::cleanup", "ended"),
                Err(error) => {
                    tracing::warn!(target: "longshore::cleanup", error = %error.chain(), "failed");
                    tasks.failures.lock().unwrap_or_else(PoisonError::into_inner).push(error);
                }
            }
        };
        // Without a runtime, a later sweep has to clean up.
        drop(self.spawn(recorded));
    }
}

/// A cleanup that will be needed. The scope of the task that reserves it waits for it from then on,
/// even if its owner is dropped later, by a thread or a task without a scope.
#[derive(Debug)]
pub struct ReservedCleanup {
    scope: CleanupScope,
    runtime: Option<Handle>,
    /// The scope waits until it is dropped.
    _reserved: TaskTrackerToken,
}

impl ReservedCleanup {
    /// Reserves a cleanup in the scope of the current task.
    pub fn new() -> Self {
        let scope = CleanupScope::current();
        Self { runtime: Handle::try_current().ok(), _reserved: scope.0.tracker.token(), scope }
    }

    /// Starts the cleanup, like [`spawn_cleanup`].
    pub fn spawn(self, work: impl Future<Output = Result<()>> + Send + 'static) {
        let _entered = self.runtime.as_ref().map(Handle::enter);
        self.scope.spawn_cleanup(work);
    }
}

impl Default for ReservedCleanup {
    fn default() -> Self {
        Self::new()
    }
}

/// Wraps the work of a task so that it has the scope and the span of the current task. Tasks that
/// poll and drop the streams of a run need this.
pub fn inherit<F: Future>(work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(CleanupScope::current(), work).in_current_span()
}

/// Spawns `work` as a task that outlives its caller, to clean up after dropped values.
/// [`CleanupScope::failures`] returns its error. Without a runtime, `work` is dropped, and a later
/// sweep has to clean up.
pub fn spawn_cleanup(work: impl Future<Output = Result<()>> + Send + 'static) {
    CleanupScope::current().spawn_cleanup(work);
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
    let task = CleanupScope::current().spawn(async { drop(sender.send(work.await)) });
    if let Ok(result) = receiver.await {
        return result;
    }
    let aborted = Error::new(Stage::Ship, Kind::Failed, "", "a task at the destination was aborted");
    Err(match task {
        Some(task) => match task.await {
            Ok(()) => aborted,
            Err(panicked) => aborted.because(panicked),
        },
        None => aborted,
    })
}

#[cfg(test)]
mod tests {
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

    fn denied(subject: &str) -> Error {
        Error::new(Stage::Ship, Kind::Denied, subject, "may not be removed")
    }

    #[tokio::test]
    async fn abandoned_work_ends_and_is_cleaned_up() {
        let (scope, cleaned_up) = (CleanupScope::default(), Arc::new(AtomicBool::new(false)));
        let pending = PendingCleanup(Arc::clone(&cleaned_up));
        let call = scope.run(shield(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(pending)
        }));
        // The caller is cancelled while the task runs.
        assert!(tokio::time::timeout(Duration::from_millis(10), call).await.is_err());
        assert!(!cleaned_up.load(Ordering::Relaxed));
        scope.wait().await;
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
        let scope = CleanupScope::default();
        scope.run(run_cleanup(async { Err(denied("a file")) })).await;
        let subjects = || scope.failures().iter().map(|error| error.subject().to_owned()).collect::<Vec<_>>();
        assert_eq!(subjects(), ["a file"]);
        assert!(subjects().is_empty(), "failures are returned once");
    }

    #[tokio::test]
    async fn reserved_cleanup_is_waited_for() {
        let (scope, cleaned_up) = (CleanupScope::default(), Arc::new(AtomicBool::new(false)));
        let reserved = scope.run(async { ReservedCleanup::new() }).await;
        let done = Arc::clone(&cleaned_up);
        // A thread that has neither a runtime nor a scope drops the owner later.
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            reserved.spawn(async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                done.store(true, Ordering::Relaxed);
                Ok(())
            });
        });
        scope.wait().await;
        assert!(cleaned_up.load(Ordering::Relaxed));
        thread.join().unwrap();
        drop(scope.run(async { ReservedCleanup::new() }).await);
        scope.wait().await;
    }

    #[tokio::test]
    async fn shield_returns_the_result() {
        assert_eq!(shield(async { Ok(7) }).await.unwrap(), 7);
        let aborted = shield::<()>(async { panic!("a bug") }).await.unwrap_err();
        assert!(aborted.chain().contains("was aborted") && aborted.chain().contains("a bug"), "{}", aborted.chain());
    }

    #[tokio::test]
    async fn scopes_report_only_their_own_failures() {
        let scopes = [CleanupScope::default(), CleanupScope::default()];
        let run = async |scope: &CleanupScope, subject: &'static str| {
            // The cleanup of a task in a task, of a dropped value, and of the run itself.
            let nested = async move {
                spawn_cleanup(async move { Err(denied(subject)) });
                tokio::spawn(inherit(async move { run_cleanup(async move { Err(denied(subject)) }).await }));
                Ok(())
            };
            scope.run(shield(nested)).await.unwrap();
            scope.wait().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        tokio::join!(run(&scopes[0], "first"), run(&scopes[1], "second"));
        for (scope, expected) in scopes.iter().zip(["first", "second"]) {
            let failures = scope.failures();
            assert_eq!(failures.len(), 2);
            assert!(failures.iter().all(|error| error.subject() == expected), "{failures:?}");
        }
    }

    #[tokio::test]
    async fn scopes_wait_only_for_their_own_cleanup() {
        let (hanging, idle) = (CleanupScope::default(), CleanupScope::default());
        hanging.run(async { spawn_cleanup(std::future::pending()) }).await;
        tokio::time::timeout(Duration::from_secs(5), idle.wait()).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(50), hanging.wait()).await.is_err());
    }

    #[tokio::test]
    async fn dropped_runs_are_cleaned_up_in_their_scope() {
        let (scope, cleaned_up) = (CleanupScope::default(), Arc::new(AtomicBool::new(false)));
        let pending = PendingCleanup(Arc::clone(&cleaned_up));
        let run = scope.run(async move {
            std::future::pending::<()>().await;
            drop(pending);
        });
        assert!(tokio::time::timeout(Duration::from_millis(10), run).await.is_err());
        scope.wait().await;
        assert!(cleaned_up.load(Ordering::Relaxed));
    }
}
