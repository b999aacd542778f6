//! What works on the bytes of a dump lets `pg_dump` have the processors; `pg_dump`, and who reads and ships, stand as they were started.

use std::fs;

use crate::support::{Ended, Job, Workshop, wait_for};

/// How a thread stands to others: its scheduling policy and its niceness, as in [proc(5)](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
type Stand = (u32, i32);

/// How the threads of a process stand.
fn stands(process: u32) -> Vec<Stand> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    // A thread may have ended since.
    threads
        .filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("stat")).ok())
        .map(|line| stand(&line))
        .collect()
}

fn stand(line: &str) -> Stand {
    // Its name may be anything; the state, the third field, follows it.
    let fields: Vec<_> = line.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[41 - 3].parse().unwrap(), fields[19 - 3].parse().unwrap())
}

/// The processes that a process has started.
fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("children")).ok());
    children.flat_map(|line| line.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<_>>()).collect()
}

#[test]
fn those_that_judge_compress_and_seal_step_back_and_pg_dump_does_not() {
    let ours = stands(std::process::id())[0];
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 1);
    workshop.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['bulk'] }]", ..Job::default() });
    let held = workshop.hold("bulk", "bulk");
    let run = workshop.start(&["run"]);
    workshop.wait_for_backend("LOCK TABLE%");
    // One that judges, one that compresses and one that seals. Those that these start are still to come: nothing has been read.
    let stepped_back = || stands(run.id()).into_iter().filter(|stand| *stand != ours).count();
    wait_for("threads that step back", || (stepped_back() >= 3).then_some(()));
    workshop.wait_for_backend("LOCK TABLE%");
    assert_eq!(stepped_back(), 3, "who reads, ships and waits for signals does not");
    let programs = children(run.id());
    assert!(!programs.is_empty());
    for program in programs {
        assert_eq!(stands(program), [ours], "{program}");
    }
    drop(held);
    Ended::of(run.wait_with_output().unwrap()).expect(0);
}
