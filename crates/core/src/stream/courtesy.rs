//! Low-priority work: verifying, compressing and encrypting a dump use the processor time that is
//! left, so that `pg_dump` on the same processors seldom waits. The dump's speed depends on this,
//! since a dump is finished when the last row has been read.

use std::fs;
use std::io;
use std::panic;
use std::thread;

use rustix::process::nice;
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// The name of a low-priority thread, and of the threads it starts, in `top -H`.
const NAME: &str = "longshore-work";

/// The niceness added to a low-priority thread if the idle policy is unavailable.
const NICER: i32 = 10;

/// Runs `work` on a low-priority thread of its own, and waits for it. Fails if no thread can be
/// started.
///
/// Use it only for work on the bytes of a backup, such as verifying, compressing and encrypting: an
/// unprivileged thread cannot raise its priority again, and its children inherit it. Reading and
/// writing a dump and stopping its programs run at normal priority, and so does a restore.
pub fn let_others_first<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let polite = thread::Builder::new().name(NAME.to_owned()).spawn_scoped(scope, || {
            step_back(competes_within_its_group());
            work()
        });
        Ok(polite?.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked)))
    })
}

/// Lowers the priority of this thread, and returns true if the system permits it. Where a sandbox
/// forbids it, the work is the same but slows down `pg_dump`, so [`let_others_first`] neither fails
/// nor warns.
fn step_back(is_grouped: bool) -> bool {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    let is_idle = is_grouped && set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle).is_ok();
    is_idle || nice(NICER).is_ok()
}

/// Returns true if the kernel divides processor time among groups (sessions, services, containers)
/// before threads ([sched(7)](https://man7.org/linux/man-pages/man7/sched.7.html), the autogroup
/// feature). An idle thread then yields only to its own group, and load elsewhere cannot starve it:
/// while `pg_dump` waits for this process, the whole share of the group is free. Without groups a
/// busy server would starve the thread, and a snapshot would be held open for hours. Starvation
/// remains possible in a shared group: in a container whose server keeps all processors busy for
/// the whole dump.
fn competes_within_its_group() -> bool {
    fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled").is_ok_and(|enabled| enabled.trim() == "1")
}

#[cfg(test)]
mod tests {
    use thread_priority::thread_schedule_policy;

    use super::*;

    const IDLE: ThreadSchedulePolicy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);

    /// Returns the scheduling policy and niceness of this thread.
    fn courtesy() -> (ThreadSchedulePolicy, i32) {
        (thread_schedule_policy().unwrap(), nice(0).unwrap())
    }

    #[test]
    fn a_thread_is_idle_within_its_group_and_nicer_where_there_are_no_groups() {
        let stand = |is_grouped| {
            let thread = thread::spawn(move || {
                assert!(step_back(is_grouped));
                // Its children, such as the threads of zstd, inherit the priority.
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
