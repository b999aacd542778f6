//! Threads that process the bytes of a dump run at idle priority. `pg_dump`, and the threads that
//! read and ship, keep the priority of their start.

use std::fs;

use crate::support::{CommandOutput, Job, TestEnv, wait_for};

/// The scheduling policy and the niceness of a thread, as in
/// [proc(5)](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
type Priority = (u32, i32);

/// Returns the priorities of a process's threads.
fn priorities(process: u32) -> Vec<Priority> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    // A thread may have ended since.
    threads
        .filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("stat")).ok())
        .map(|line| priority(&line))
        .collect()
}

fn priority(line: &str) -> Priority {
    // The name may contain any character. The state, the third field, follows the name.
    let fields: Vec<_> = line.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[41 - 3].parse().unwrap(), fields[19 - 3].parse().unwrap())
}

/// Returns the processes that a process has started.
fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("children")).ok());
    children.flat_map(|line| line.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<_>>()).collect()
}

#[test]
fn processing_threads_are_idle_and_pg_dump_is_not() {
    let ours = priorities(std::process::id())[0];
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 1);
    test_env.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['bulk'] }]", ..Job::default() });
    let table_lock = test_env.lock_table("bulk", "bulk");
    let run = test_env.start(&["run"]);
    test_env.wait_for_backend("LOCK TABLE%");
    // One thread each to verify, compress and encrypt. Their own threads start with the first
    // bytes.
    let idle_threads = || priorities(run.id()).into_iter().filter(|priority| *priority != ours).count();
    wait_for("threads at idle priority", || (idle_threads() >= 3).then_some(()));
    test_env.wait_for_backend("LOCK TABLE%");
    assert_eq!(idle_threads(), 3, "only the verifying, compressing and encrypting threads are idle");
    let programs = children(run.id());
    assert!(!programs.is_empty());
    for program in programs {
        assert_eq!(priorities(program), [ours], "{program}");
    }
    drop(table_lock);
    CommandOutput::of(run.wait_with_output().unwrap()).expect(0);
}
