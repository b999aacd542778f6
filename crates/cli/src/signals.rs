//! Who asks us to end, and what is waited for then.

use std::time::Duration;

use longshore_core::aftercare;
use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, timeout, timeout_at};

use crate::exit_code::Exit;
use crate::output::Output;

/// How long what was interrupted may take to clean up: elsewhere, and then here.
const CLEAN_UP: Duration = Duration::from_secs(15);
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
    /// Begins to listen; a signal that cannot be listened to does what it does to every program.
    pub(crate) fn listen() -> Self {
        let listen = |kind| signal(kind).ok();
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
    let wait = async {
        if timeout(UNNOTICED, aftercare::done()).await.is_err() {
            output.note("waiting until what was begun at destinations is ended or taken back; Ctrl-C ends the wait");
            if timeout_at(deadline, aftercare::done()).await.is_err() {
                output.warning(
                    "what was begun at a destination may still be there, hidden: a later `longshore prune` removes it",
                );
            }
        }
    };
    tokio::select! {
        () = wait => deadline.saturating_duration_since(Instant::now()),
        () = signals.another() => Duration::ZERO,
    }
}
