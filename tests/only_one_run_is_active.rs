//! Only one run of a job is active at a time. The lock is an open file, so a lock ends with its
//! process.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{CommandOutput, Job, TestEnv, files, finish};

const ONE: &str = "[{ type = 'pg_dump', databases = ['postgres'] }]";

#[test]
fn second_run_exits_5_and_names_the_holder() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 64);
    test_env.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['bulk'] }]", ..Job::default() });
    let first = test_env.start(&["run"]);
    test_env.wait_for_backend("COPY%bulk%");
    let second = test_env.longshore(&["run"]).expect(5);
    second.shows(&format!("run of job \\\"nightly\\\", process {}", first.id()).replace("\\\"", "\""));

    // The same job on another host: other local locks, the same destination.
    let config = std::fs::read_to_string(test_env.config_path()).unwrap();
    let other_config = test_env.path("elsewhere.toml");
    std::fs::write(&other_config, config.replace("/locks'", "/other-locks'")).unwrap();
    let third = crate::support::finish(test_env.command().arg("run").arg("--config").arg(&other_config)).expect(5);
    third.shows(&format!("process {}", first.id()));
    CommandOutput::of(first.wait_with_output().unwrap()).expect(0);
    test_env.longshore(&["run"]).expect(0);
}

#[test]
fn killed_run_holds_no_lock() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 64);
    test_env.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['bulk'] }]", ..Job::default() });
    let mut first = test_env.start(&["run"]);
    test_env.wait_for_backend("COPY%bulk%");
    first.kill().unwrap();
    first.wait().unwrap();
    test_env.longshore(&["run"]).expect(0);
}

/// Returns the paths of the job's lock and of the locks at its destination.
fn locks(test_env: &TestEnv) -> Vec<PathBuf> {
    let folders = [test_env.path("locks"), test_env.local()];
    let all = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    all.filter(|path| path.extension().is_some_and(|extension| extension == "lock")).collect()
}

#[test]
fn link_or_pipe_as_lock_is_refused() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { dump: ONE, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let (kept, gone) = (test_env.path("kept"), test_env.path("gone"));
    fs::write(&kept, "kept").unwrap();
    let locks = locks(&test_env);
    assert_eq!(locks.len(), 2, "{locks:?}");
    for lock in locks {
        let begun = Instant::now();
        let puts: [&dyn Fn(); 3] = [&|| symlink(&kept, &lock).unwrap(), &|| symlink(&gone, &lock).unwrap(), &|| {
            finish(Command::new("mkfifo").arg(&lock)).expect(0);
        }];
        for put in puts {
            fs::remove_file(&lock).unwrap();
            put();
            let result = test_env.longshore(&["run"]);
            assert_ne!(result.code, Some(0), "{lock:?}");
            result.shows("is not a lock file");
        }
        assert!(begun.elapsed() < Duration::from_secs(60));
        // Binary content in a lock file is ignored.
        fs::remove_file(&lock).unwrap();
        fs::write(&lock, b"\xff\xfe\0").unwrap();
        test_env.longshore(&["run"]).expect(0);
    }
    assert_eq!(fs::read_to_string(&kept).unwrap(), "kept");
    assert!(!gone.exists());
}

#[test]
fn jobs_with_equal_subject_can_run_in_one_second() {
    let test_env = TestEnv::new();
    let second =
        format!("[job.second]\ncluster = 'main'\ndump = {ONE}\nencrypt = {{ type = 'none' }}\nship = ['local']\n");
    test_env.configure(&Job { dump: ONE, more: &second, ..Job::default() });
    for round in 1..=3 {
        let runs = ["nightly", "second"].map(|job| test_env.start(&["run", job]));
        for run in runs {
            CommandOutput::of(run.wait_with_output().unwrap()).expect(0);
        }
        let files = files(&test_env.local());
        let manifests = files.iter().filter(|file| file.ends_with(".json") && file.matches('.').count() == 1);
        assert_eq!(manifests.count(), 2 * round, "{files:?}");
    }
}
