//! Who asks us to end, and what is waited for then.

use std::fs;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use longshore_core::{Stage, aftercare};
use rustix::process::Signal as Number;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::exit_code::Exit;
use crate::output::Output;

/// How long what was interrupted may take to clean up: elsewhere, and then here.
const CLEAN_UP: Duration = Duration::from_secs(15);
/// What becomes of what is left there.
const SWEPT: &str =
    "what is left there and belongs to no backup, `longshore prune` and the runs to come remove after orphan_grace";
/// After how long we say that we wait.
const UNNOTICED: Duration = Duration::from_secs(1);

/// The signals that ask us to end, listened to from the beginning to the end: who begins to listen hears nothing of those before.
pub(crate) struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hang_up: Option<Signal>,
    /// Whoever listens for it is not ended by it: a file that grew too large is an error of its write, then, as a full disk is.
    _too_large: Option<Signal>,
}

impl Signals {
    /// Begins to listen, but not to what we were started to ignore. A signal that cannot be listened to does what it does to every program.
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

    /// Waits for the first of them. What is under way is dropped then, which undoes it.
    pub(crate) async fn first(&mut self) -> Exit {
        tokio::select! {
            () = next(&mut self.interrupt) => Exit::Interrupted,
            () = next(&mut self.terminate) => Exit::Terminated,
            () = next(&mut self.hang_up) => Exit::HungUp,
        }
    }

    /// Waits for one from somebody who does not want to wait. A terminal that goes away hangs up twice, by its shell and by the kernel,
    /// so that this says nothing.
    async fn another(&mut self) {
        tokio::select! {
            () = next(&mut self.interrupt) => {}
            () = next(&mut self.terminate) => {}
        }
    }
}

/// Which signals this process was started to ignore, a bit each: `nohup` has SIGHUP ignored, and a script what it starts in the background
/// SIGINT.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        // Nothing is heard once there is no runtime, and then nobody waits here.
        Some(signal) => signal.recv().await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}

/// Waits until what was begun elsewhere is ended or taken back, and tells how long what is left to do here may take.
pub(crate) async fn clean_up(signals: &mut Signals, output: &Output) -> Duration {
    let deadline = Instant::now() + CLEAN_UP;
    let ended = wait(aftercare::done(), deadline, signals, output).await;
    for error in aftercare::failures() {
        let remedy = error.remedy().filter(|_| error.stage() == Stage::Restore).unwrap_or(SWEPT);
        output.warning(format_args!("not taken back: {}; {remedy}", error.chain()));
    }
    if ended {
        return deadline.saturating_duration_since(Instant::now());
    }
    output.warning(format_args!(
        "not all that was begun has ended: of a restore, `longshore check` names the databases that are left; at a destination, {SWEPT}"
    ));
    Duration::ZERO
}

/// Ends the runtime, which waits for what nothing can interrupt, such as a write to a disk that hangs.
pub(crate) fn shut_down(runtime: Runtime, limit: Duration, signals: &mut Signals, output: &Output) {
    let Ok(own) = Builder::new_current_thread().enable_all().build() else {
        return runtime.shutdown_timeout(limit);
    };
    let (ended, end) = oneshot::channel::<()>();
    let end_it = move || {
        drop(runtime);
        drop(ended);
    };
    // Without a thread for it, it is dropped, and waited for, here.
    let ends = thread::Builder::new().spawn(end_it).is_ok();
    let watched = async {
        // Nothing is ever sent: the channel closes.
        end.await.unwrap_or_default();
    };
    if ends && !own.block_on(wait(watched, Instant::now() + limit, signals, output)) {
        output.warning(
            "something that nothing can interrupt, such as a read or a write of a disk that hangs, was left to the system",
        );
    }
}

/// Waits for `work`, and tells whether it was done before the deadline, and before somebody did not want to wait any more.
async fn wait(work: impl Future<Output = ()>, deadline: Instant, signals: &mut Signals, output: &Output) -> bool {
    let mut work = pin!(work);
    let done = async {
        if timeout(UNNOTICED, &mut work).await.is_ok() {
            return true;
        }
        output.note("waiting until what was begun is ended or taken back; Ctrl-C ends the wait");
        timeout_at(deadline, work).await.is_ok()
    };
    tokio::select! {
        done = done => done,
        () = signals.another() => false,
    }
}
