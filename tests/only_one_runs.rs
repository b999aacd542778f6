//! One run of a job at a time: the lock is an open file, so it ends with its process.

use crate::support::{Ended, Job, Workshop};

#[test]
fn a_second_run_exits_5_and_says_who_holds_it() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 64);
    workshop.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['bulk'] }]", ..Job::default() });
    let first = workshop.start(&["run"]);
    workshop.wait_for_backend("COPY%bulk%");
    let second = workshop.longshore(&["run"]).expect(5);
    second.says(&format!("run of job \\\"nightly\\\", process {}", first.id()).replace("\\\"", "\""));

    // The same job from another host, so to speak: other locks on the host, the same destination.
    let config = std::fs::read_to_string(workshop.config_path()).unwrap();
    let elsewhere = workshop.path("elsewhere.toml");
    std::fs::write(&elsewhere, config.replace("/locks'", "/other-locks'")).unwrap();
    let third = crate::support::finish(workshop.command().arg("run").arg("--config").arg(&elsewhere)).expect(5);
    third.says(&format!("process {}", first.id()));
    Ended::of(first.wait_with_output().unwrap()).expect(0);
    workshop.longshore(&["run"]).expect(0);
}

#[test]
fn a_killed_run_holds_no_lock() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 64);
    workshop.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['bulk'] }]", ..Job::default() });
    let mut first = workshop.start(&["run"]);
    workshop.wait_for_backend("COPY%bulk%");
    first.kill().unwrap();
    first.wait().unwrap();
    workshop.longshore(&["run"]).expect(0);
}
