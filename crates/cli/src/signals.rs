//! Signals, and cleanup before exit.

use std::fs;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use longshore_core::Stage;
use longshore_core::cleanup::CleanupScope;
use rustix::process::Signal as Number;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::exit_code::Exit;
use crate::output::Output;

/// The time limit for cleanup: first at servers and destinations, then on this host.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(15);
/// The hint for files that remain at a destination.
const LEFTOVERS_HINT: &str = "`longshore prune` and later runs remove files of incomplete backups after orphan_grace";
/// The time after which a note about the wait is printed.
const NOTE_DELAY: Duration = Duration::from_secs(1);

/// The signals that end the process. Listens from the start, since earlier signals are lost.
pub(crate) struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hang_up: Option<Signal>,
    /// Listening prevents the default action: a write beyond the file size limit then fails like a
    /// write to a full disk.
    _too_large: Option<Signal>,
}

impl Signals {
    /// Starts to listen, except for ignored signals. A signal that cannot be listened for keeps its
    /// default action.
    pub(crate) fn listen() -> Self {
        let ignored = ignored();
        let listen = |kind: SignalKind| {
            let bit = 1_u64 << (kind.as_raw_value() - 1);
            if ignored & bit == 0 { signal(kind).ok() } else { None }
        };
        Self {
            interrupt: listen(SignalKind::interrupt()),
            terminate: listen(SignalKind::terminate()),
            hang_up: listen(SignalKind::hangup()),
            _too_large: listen(SignalKind::from_raw(Number::XFSZ.as_raw())),
        }
    }

    /// Waits for the first signal. The caller then drops its work, which rolls it back.
    pub(crate) async fn first(&mut self) -> Exit {
        tokio::select! {
            () = next(&mut self.interrupt) => Exit::Interrupted,
            () = next(&mut self.terminate) => Exit::Terminated,
            () = next(&mut self.hang_up) => Exit::HungUp,
        }
    }

    /// Waits for the first signal that ends the verb.
    pub(crate) async fn first_end(&mut self, stop: &OrderlyStop) -> Exit {
        loop {
            let signal = self.first().await;
            if signal != Exit::HungUp || !stop.handles_hang_up() {
                return signal;
            }
        }
    }

    /// Waits for a second signal, which ends the wait for cleanup. SIGHUP does not count: a closed
    /// terminal causes two, from its shell and from the kernel.
    pub(crate) async fn second(&mut self) {
        tokio::select! {
            () = next(&mut self.interrupt) => {}
            () = next(&mut self.terminate) => {}
        }
    }
}

/// The end of a verb that runs until a signal, and then ends by itself instead of being dropped.
#[derive(Debug, Clone, Default)]
pub(crate) struct OrderlyStop(Arc<StopRequest>);

#[derive(Debug, Default)]
struct StopRequest {
    is_supported: AtomicBool,
    /// True if SIGHUP has another meaning.
    handles_hang_up: AtomicBool,
    requested: Notify,
}

impl OrderlyStop {
    /// Declares that the verb ends by itself, and waits for the request.
    pub(crate) fn supported(&self) -> impl Future<Output = ()> + 'static {
        let request = Arc::clone(&self.0);
        request.is_supported.store(true, Ordering::Relaxed);
        async move { request.requested.notified().await }
    }

    /// Declares the same, and that SIGHUP does not end the verb.
    pub(crate) fn supported_with_hang_up(&self) -> impl Future<Output = ()> + 'static {
        self.0.handles_hang_up.store(true, Ordering::Relaxed);
        self.supported()
    }

    /// Returns true if the verb handles SIGHUP itself.
    fn handles_hang_up(&self) -> bool {
        self.0.handles_hang_up.load(Ordering::Relaxed)
    }

    /// Requests the end. Returns false if the verb does not end by itself.
    pub(crate) fn request(&self) -> bool {
        self.0.requested.notify_one();
        self.0.is_supported.load(Ordering::Relaxed)
    }
}

/// Returns the signals that this process inherited as ignored, one bit each: SIGHUP from `nohup`,
/// SIGINT from a script that starts a background process.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        // `None` means that the runtime has ended, and then no caller waits.
        Some(signal) => signal.recv().await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}

/// Waits for cleanup at servers and destinations. Returns the time that is left for local cleanup.
pub(crate) async fn clean_up(scope: &CleanupScope, signals: &mut Signals, output: &Output) -> Duration {
    let deadline = Instant::now() + CLEANUP_TIMEOUT;
    let ended = wait(scope.wait(), deadline, signals, output).await;
    for error in scope.failures() {
        let remedy = error.remedy().filter(|_| error.stage() == Stage::Restore).unwrap_or(LEFTOVERS_HINT);
        output.warning(format_args!("not cleaned up: {}; {remedy}", error.chain()));
    }
    if ended {
        return deadline.saturating_duration_since(Instant::now());
    }
    output.warning(format_args!(
        "cleanup did not finish: `longshore check` names databases that a restore left; at destinations, {LEFTOVERS_HINT}"
    ));
    Duration::ZERO
}

/// Ends the runtime. Waits for blocking calls, such as a write to a disk that hangs.
pub(crate) fn shut_down(runtime: Runtime, limit: Duration, signals: &mut Signals, output: &Output) {
    let Ok(own) = Builder::new_current_thread().enable_all().build() else {
        return runtime.shutdown_timeout(limit);
    };
    let (ended, end) = oneshot::channel::<()>();
    let end_it = move || {
        drop(runtime);
        drop(ended);
    };
    // Without a thread, the runtime is dropped on this one.
    let ends = thread::Builder::new().spawn(end_it).is_ok();
    let watched = async {
        // The channel only closes; it carries no message.
        end.await.unwrap_or_default();
    };
    if ends && !own.block_on(wait(watched, Instant::now() + limit, signals, output)) {
        output.warning("exiting while a call cannot be interrupted, such as a read or write of a disk that hangs");
    }
}

/// Waits for `work`. Returns false if the deadline or a second signal comes first.
async fn wait(work: impl Future<Output = ()>, deadline: Instant, signals: &mut Signals, output: &Output) -> bool {
    let mut work = pin!(work);
    let done = async {
        if timeout(NOTE_DELAY, &mut work).await.is_ok() {
            return true;
        }
        output.note("waiting for cleanup; press Ctrl-C to stop waiting");
        timeout_at(deadline, work).await.is_ok()
    };
    tokio::select! {
        done = done => done,
        () = signals.second() => false,
    }
}
