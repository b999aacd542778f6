//! Threads that let others go first: what judges, compresses and seals wants whatever time is left, and `pg_dump` and the server on the
//! same processors must never wait for it. A backup is over when the last row has been read, so this is what makes one fast.

use std::fs;
use std::io;
use std::thread;

use rustix::process::nice;
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// By how much such a thread is nicer than the process, where nothing better is to be had.
const NICER: i32 = 10;

/// Runs `work` on a thread of its own that lets others go first, as do the threads and programs that it starts; who has no privileges
/// cannot take that back. So it is for work on bytes, and `pg_dump` is started elsewhere. The runtime ends after it.
pub(super) fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name("longshore-work".to_owned()).spawn(move || {
        step_back(competes_within_its_group());
        work();
    })?;
    // The runtime waits for it, as it does for blocking work of its own: what is interrupted ends its child processes before we end.
    tokio::task::spawn_blocking(move || thread.join());
    Ok(())
}

/// Lets others go before this thread, and tells whether that is allowed. It is a favour to them and no promise: where a sandbox forbids
/// it, the same bytes come out, only later, so that [`spawn`] neither fails nor warns.
fn step_back(is_grouped: bool) -> bool {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    let is_idle = is_grouped && set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle).is_ok();
    is_idle || nice(NICER).is_ok()
}

/// Whether the kernel shares processors out among groups (sessions, services, containers) before it does among threads
/// ([sched(7)](https://man7.org/linux/man-pages/man7/sched.7.html), the autogroup feature). Then an idle thread steps back behind those
/// of its own group only, and no load elsewhere can starve it: once `pg_dump` waits for us, all that the group is due is ours. Without
/// groups a busy server would leave it nothing, and a snapshot would be held open for hours. The same goes for a
/// group that we share with one: a container whose server keeps all its processors busy, without a pause, for as long as a dump takes.
fn competes_within_its_group() -> bool {
    fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled").is_ok_and(|enabled| enabled.trim() == "1")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use thread_priority::thread_schedule_policy;
    use tokio::sync::oneshot;

    use super::*;

    const IDLE: ThreadSchedulePolicy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);

    /// How a thread stands to others.
    fn courtesy() -> (ThreadSchedulePolicy, i32) {
        (thread_schedule_policy().unwrap(), nice(0).unwrap())
    }

    #[test]
    fn a_thread_is_idle_within_its_group_and_nicer_where_there_are_no_groups() {
        let stand = |is_grouped| {
            let thread = thread::spawn(move || {
                assert!(step_back(is_grouped));
                // What it starts, such as the threads of zstd, stands as it does.
                assert_eq!(thread::spawn(courtesy).join().unwrap(), courtesy());
                courtesy()
            });
            thread.join().unwrap()
        };
        let (policy, niceness) = courtesy();
        assert_eq!(stand(true).0, IDLE);
        assert_eq!(stand(false), (policy, (niceness + NICER).min(19)));
        assert_eq!(courtesy(), (policy, niceness));
    }

    #[tokio::test]
    async fn work_lets_others_go_first_and_who_started_it_does_not() {
        let (told, heard) = oneshot::channel();
        let before = courtesy();
        spawn(move || told.send(courtesy()).unwrap()).unwrap();
        let worked = heard.await.unwrap();
        assert!(worked.0 == IDLE || worked.1 == (before.1 + NICER).min(19), "{worked:?}");
        assert_eq!(courtesy(), before);
    }

    #[test]
    fn the_runtime_ends_after_the_work() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        runtime.block_on(async {
            spawn(move || {
                thread::sleep(Duration::from_millis(200));
                end.store(true, Ordering::Relaxed);
            })
            .unwrap();
        });
        runtime.shutdown_timeout(Duration::from_secs(60));
        assert!(ended.load(Ordering::Relaxed));
    }
}
