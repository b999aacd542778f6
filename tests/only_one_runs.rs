//! Only one run of a job is active at a time. The lock is an open file, so a lock ends with its
//! process.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Ended, Job, Workshop, files, finish};

const ONE: &str = "[{ type = 'pg_dump', databases = ['postgres'] }]";

#[test]
fn a_second_run_exits_5_and_says_who_holds_it() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 64);
    workshop.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['bulk'] }]", ..Job::default() });
    let first = workshop.start(&["run"]);
    workshop.wait_for_backend("COPY%bulk%");
    let second = workshop.longshore(&["run"]).expect(5);
    second.says(&format!("run of job \\\"nightly\\\", process {}", first.id()).replace("\\\"", "\""));

    // The same job on another host: other local locks, the same destination.
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

/// Returns the paths of the job's lock and of the locks at its destination.
fn locks(workshop: &Workshop) -> Vec<PathBuf> {
    let folders = [workshop.path("locks"), workshop.local()];
    let all = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    all.filter(|path| path.extension().is_some_and(|extension| extension == "lock")).collect()
}

#[test]
fn a_link_or_a_pipe_in_place_of_a_lock_is_refused() {
    let workshop = Workshop::new();
    workshop.configure(&Job { dump: ONE, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let (kept, gone) = (workshop.path("kept"), workshop.path("gone"));
    fs::write(&kept, "kept").unwrap();
    let locks = locks(&workshop);
    assert_eq!(locks.len(), 2, "{locks:?}");
    for lock in locks {
        let begun = Instant::now();
        let puts: [&dyn Fn(); 3] = [&|| symlink(&kept, &lock).unwrap(), &|| symlink(&gone, &lock).unwrap(), &|| {
            finish(Command::new("mkfifo").arg(&lock)).expect(0);
        }];
        for put in puts {
            fs::remove_file(&lock).unwrap();
            put();
            let ended = workshop.longshore(&["run"]);
            assert_ne!(ended.code, Some(0), "{lock:?}");
            ended.says("is not a lock file");
        }
        assert!(begun.elapsed() < Duration::from_secs(60));
        // Binary content in a lock file is ignored.
        fs::remove_file(&lock).unwrap();
        fs::write(&lock, b"\xff\xfe\0").unwrap();
        workshop.longshore(&["run"]).expect(0);
    }
    assert_eq!(fs::read_to_string(&kept).unwrap(), "kept");
    assert!(!gone.exists());
}

#[test]
fn two_jobs_with_one_subject_run_in_one_second() {
    let workshop = Workshop::new();
    let second =
        format!("[job.second]\ncluster = 'main'\ndump = {ONE}\nencrypt = {{ type = 'none' }}\nship = ['local']\n");
    workshop.configure(&Job { dump: ONE, more: &second, ..Job::default() });
    for round in 1..=3 {
        let runs = ["nightly", "second"].map(|job| workshop.start(&["run", job]));
        for run in runs {
            Ended::of(run.wait_with_output().unwrap()).expect(0);
        }
        let files = files(&workshop.local());
        let manifests = files.iter().filter(|file| file.ends_with(".json") && file.matches('.').count() == 1);
        assert_eq!(manifests.count(), 2 * round, "{files:?}");
    }
}
