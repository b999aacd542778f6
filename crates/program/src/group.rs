//! The process group of a child, and its end.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;
use tokio::time::timeout;

/// The process group that a child leads. It exists until its last process has ended, which may be
/// after the child.
#[derive(Debug, Clone, Copy)]
pub struct ProcessGroup(Pid);

impl ProcessGroup {
    /// Returns the group of a child that was started as its leader, or `None` if the child was
    /// waited for.
    pub fn of(child: &Child) -> Option<Self> {
        child.id().and_then(|id| Pid::from_raw(id.cast_signed())).map(Self)
    }

    /// Returns the id of the group.
    pub fn id(self) -> Pid {
        self.0
    }

    /// Ends the group: sends SIGTERM, so that a program can cancel its work, waits for the child
    /// for `grace_period`, and kills the processes that are left.
    pub async fn end(self, child: &mut Child, grace_period: Duration) {
        self.signal(Signal::TERM);
        let ended = timeout(grace_period, child.wait()).await;
        self.kill();
        if ended.is_err() {
            // Nothing survives SIGKILL, and its status does not matter.
            child.wait().await.ok();
        }
    }

    /// Ends the group like [`end`](Self::end), and blocks the thread meanwhile: for `drop`.
    pub fn end_blocking(self, child: &mut Child, grace_period: Duration) {
        self.signal(Signal::TERM);
        let begun = Instant::now();
        while matches!(child.try_wait(), Ok(None)) && begun.elapsed() < grace_period {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
    }

    /// Kills all processes of the group.
    pub fn kill(self) {
        self.signal(Signal::KILL);
    }

    fn signal(self, signal: Signal) {
        // A group without a process has ended already.
        kill_process_group(self.0, signal).ok();
    }
}
