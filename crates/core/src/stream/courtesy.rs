//! Work that lets others go first: what judges, compresses and seals a dump takes the time that is left, so that `pg_dump`, which shares its
//! processors with it, seldom waits for one. A dump is over when the last row has been read, so this is what makes one fast.

use std::fs;
use std::io;
use std::panic;
use std::thread;

use rustix::process::nice;
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// What such a thread, and those that it starts, are called by `top -H`.
const NAME: &str = "longshore-work";

/// By how much such a thread is nicer than the process, where nothing better is to be had.
const NICER: i32 = 10;

/// Does `work` on a thread of its own that lets others go first, and waits for it. Fails where no thread is to be had.
///
/// It is for work on bytes of a backup, such as judging, compressing and sealing, and for nothing else: a thread does not get back in line
/// without privileges, and what it starts stands behind it. To read a dump, to write it and to end its programs is left to others, who do not
/// have to wait; and who restores is in a hurry.
pub fn let_others_first<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let polite = thread::Builder::new().name(NAME.to_owned()).spawn_scoped(scope, || {
            step_back(competes_within_its_group());
            work()
        });
        Ok(polite?.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked)))
    })
}

/// Lets others go before this thread, and tells whether that is allowed. It is a favour to them and no promise: where a sandbox forbids
/// it, the same bytes come out, only later, so that [`let_others_first`] neither fails for it nor warns.
fn step_back(is_grouped: bool) -> bool {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    let is_idle = is_grouped && set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle).is_ok();
    is_idle || nice(NICER).is_ok()
}

/// Whether the kernel shares processors out among groups (sessions, services, containers) before it does among threads
/// ([sched(7)](https://man7.org/linux/man-pages/man7/sched.7.html), the autogroup feature). Then an idle thread steps back behind those
/// of its own group only, and no load elsewhere can starve it: once `pg_dump` waits for us, all that the group is due is ours. Without
/// groups a busy server would leave it nothing, and a snapshot would be held open for hours. So it may in a group that we share with one:
/// in a container whose server keeps all its processors busy, without a pause, for as long as a dump takes.
fn competes_within_its_group() -> bool {
    fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled").is_ok_and(|enabled| enabled.trim() == "1")
}

#[cfg(test)]
mod tests {
    use thread_priority::thread_schedule_policy;

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

    #[test]
    fn work_goes_last_and_whoever_waits_for_it_does_not() {
        let before = courtesy();
        let (policy, niceness) = let_others_first(courtesy).unwrap();
        if competes_within_its_group() {
            assert_eq!(policy, IDLE);
        } else {
            assert_eq!((policy, niceness), (before.0, (before.1 + NICER).min(19)));
        }
        assert_eq!(courtesy(), before);
    }

    #[test]
    fn a_panic_is_told_as_it_was() {
        let panicked = panic::catch_unwind(|| let_others_first(|| panic!("a bug"))).unwrap_err();
        assert_eq!(panicked.downcast_ref(), Some(&"a bug"));
    }
}
