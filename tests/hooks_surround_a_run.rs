//! Hooks run before and after a job, without secrets, and after every end of a run.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::support::{CommandOutput, Job, TestEnv, files, wait_for};

const SECRET: &str = "hunter2-geheim";

/// Creates an executable script in the environment.
fn script(test_env: &TestEnv, name: &str, body: &str) -> PathBuf {
    let path = test_env.path(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    path
}

/// Configures the job with hooks: the moment, the name and body of a script, and further settings.
fn configure(test_env: &TestEnv, hooks: &[(&str, &str, &str, &str)]) {
    let hook = |(when, name, body, more): &(&str, &str, &str, &str)| {
        let path = script(test_env, name, body);
        format!("[[job.nightly.hook]]\nwhen = '{when}'\nprogram = ['{}', 'argument']\n{more}\n", path.display())
    };
    let more: String = hooks.iter().map(hook).collect();
    test_env.configure(&Job { dump: "[{ type = 'pg_dumpall' }]", more: &more, ..Job::default() });
}

/// Returns the body of a hook that records the outcome, the exit code and the report.
fn record(test_env: &TestEnv) -> String {
    let path = test_env.path("after.txt");
    format!("echo \"$LONGSHORE_JOB $LONGSHORE_OUTCOME $LONGSHORE_EXIT\" >>{0}; cat >>{0}", path.display())
}

/// Returns the first line and the report that the hook after the run recorded.
fn recorded(test_env: &TestEnv) -> (String, serde_json::Value) {
    let text = fs::read_to_string(test_env.path("after.txt")).unwrap();
    let (line, report) = text.split_once('\n').unwrap();
    (line.to_owned(), serde_json::from_str(report).unwrap_or_else(|error| panic!("{error}: {text}")))
}

#[test]
fn failing_before_hook_dumps_nothing() {
    let test_env = TestEnv::new();
    configure(
        &test_env,
        &[
            ("before", "before", "echo 'the disk is not mounted' >&2; exit 3", ""),
            ("before", "second", "touch \"$0.ran\"", ""),
            ("after", "after", &record(&test_env), ""),
            ("after", "on_success", "touch \"$0.ran\"", "on = ['done']"),
        ],
    );
    test_env.longshore(&["run"]).expect(2).shows("exit status 3").shows("the disk is not mounted");
    let printed = test_env.longshore(&["run", "--json"]).expect(2).stdout;
    let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&printed["outcome"], &printed["exit_code"]), (&"failed".into(), &2.into()));
    assert!(printed["error"]["message"].as_str().unwrap().contains("the disk is not mounted"), "{printed}");
    fs::remove_file(test_env.path("after.txt")).unwrap();
    test_env.longshore(&["run"]).expect(2);
    assert_eq!(files(&test_env.local()), [""; 0]);
    let (line, report) = recorded(&test_env);
    assert_eq!(line, "nightly failed 2");
    assert_eq!((&report["outcome"], &report["error"]["stage"]), (&"failed".into(), &"hook".into()));
    assert!(!test_env.path("second.ran").exists() && !test_env.path("on_success.ran").exists());
    test_env.longshore(&["status"]).expect(3).shows("last run failed");
}

#[test]
fn hook_can_skip_a_run() {
    let test_env = TestEnv::new();
    let hooks = [
        ("before", "before", "echo 'this host is a standby'; exit 75", ""),
        ("after", "after", &record(&test_env) as &str, ""),
    ];
    configure(&test_env, &hooks);
    test_env.longshore(&["run"]).expect(0).shows("the run was skipped").shows("this host is a standby");
    assert_eq!(files(&test_env.local()), [""; 0]);
    assert_eq!(recorded(&test_env).0, "nightly skipped 0");
    let printed: serde_json::Value =
        serde_json::from_str(&test_env.longshore(&["run", "--json"]).expect(0).stdout).unwrap();
    assert_eq!((&printed["job"], &printed["outcome"]), (&"nightly".into(), &"skipped".into()));
    assert!(printed["reason"].as_str().unwrap().contains("this host is a standby"), "{printed}");
    // A skipped run is no success: the job still has no backup.
    test_env.longshore(&["status"]).expect(3).shows("has no backup");
}

#[test]
fn failing_after_hook_keeps_the_backup() {
    let test_env = TestEnv::new();
    configure(&test_env, &[("before", "before", "cat >\"$0.in\"", ""), ("after", "after", "echo broken; exit 1", "")]);
    test_env.longshore(&["run"]).expect(3).shows("after").shows("exit status 1").shows("broken");
    assert!(!files(&test_env.local()).is_empty());
    let input: serde_json::Value = serde_json::from_slice(&fs::read(test_env.path("before.in")).unwrap()).unwrap();
    assert_eq!((&input["job"], &input["cluster"]), (&"nightly".into(), &"main".into()));
    let status = test_env.json(&["status", "--json"]);
    assert_eq!(
        (&status["jobs"][0]["last_run"]["outcome"], &status["series"][0]["copies"]["wanted"]),
        (&"partial".into(), &1.into())
    );
}

#[test]
fn hooks_see_no_secret() {
    let test_env = TestEnv::new();
    let print = |name: &str| format!("env >{0}; cat >>{0}", test_env.path(name).display());
    configure(
        &test_env,
        &[("before", "before", &print("one"), "env = { TARGET = 'x' }"), ("after", "after", &print("two"), "")],
    );
    let config = fs::read_to_string(test_env.config_path()).unwrap();
    let with_password = config.replace("connection = \"", &format!("connection = \"password={SECRET} "));
    assert_ne!(config, with_password);
    fs::write(test_env.config_path(), with_password).unwrap();
    let mut command = test_env.command();
    command.args(["run", "-vv"]).env("PGPASSWORD", SECRET).env("AWS_SECRET_ACCESS_KEY", SECRET);
    CommandOutput::of(command.output().unwrap()).expect(0).omits(SECRET);
    for name in ["one", "two"] {
        let seen = fs::read_to_string(test_env.path(name)).unwrap();
        assert!(seen.contains("LONGSHORE_RUN=") && !seen.contains(SECRET), "{seen}");
    }
    assert!(fs::read_to_string(test_env.path("one")).unwrap().contains("TARGET=x"));
}

#[test]
fn program_that_others_could_replace_is_refused_before_a_run() {
    let test_env = TestEnv::new();
    configure(&test_env, &[("after", "after", "true", "")]);
    test_env.longshore(&["check"]).expect(0).shows("only root and this user can replace");
    fs::set_permissions(test_env.path("after"), Permissions::from_mode(0o722)).unwrap();
    test_env.longshore(&["check"]).expect(2).shows("is writable by other users");
    configure(&test_env, &[("before", "before", "true", "")]);
    fs::set_permissions(test_env.path("before"), Permissions::from_mode(0o722)).unwrap();
    test_env.longshore(&["run"]).expect(6).shows("is writable by other users");
    assert_eq!(files(&test_env.local()), [""; 0]);
    for (hook, message) in [
        ("when = 'before'\nprogram = ['true']", "absolute path"),
        ("when = 'before'\nprogram = []", "is empty"),
        ("when = 'before'\nprogram = ['/bin/true']\non = ['done']", "applies only"),
        ("when = 'later'\nprogram = ['/bin/true']", "before"),
        (
            "when = 'after'\nprogram = ['/bin/true']\non = ['locked']",
            "unknown variant `locked`, expected one of `done`",
        ),
        ("when = 'after'\nprogram = ['/bin/true']\non = ['lost']", "`interrupted`"),
        ("when = 'after'\nprogram = '/bin/true'", "program: must be a list, such as [\"…\"]"),
    ] {
        let more = format!("[[job.nightly.hook]]\n{hook}");
        test_env.configure(&Job { more: &more, ..Job::default() });
        test_env.longshore(&["check"]).expect(1).shows(message);
    }
}

#[test]
fn hook_with_one_bracket_shows_the_right_form() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { more: "[job.nightly.hook]\nwhen = 'before'\nprogram = ['/bin/true']", ..Job::default() });
    let result = test_env.longshore(&["config", "check"]).expect(1);
    result.shows("hook must be a list, not a table: write [[job.nightly.hook]], with two brackets");
}

fn terminate(child: &Child) {
    kill_process(Pid::from_raw(child.id().try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
}

/// Returns the process id in a file, once it is there.
fn pid(path: &PathBuf) -> Pid {
    wait_for("the hook to begin", || {
        let text = fs::read_to_string(path).ok()?;
        Pid::from_raw(text.strip_suffix('\n')?.parse().ok()?)
    })
}

#[test]
fn after_hook_runs_after_a_signal() {
    let test_env = TestEnv::new();
    let sleeper = test_env.path("sleeper");
    let before = format!("sleep 1000 & echo $! >{}; wait", sleeper.display());
    configure(&test_env, &[("before", "before", &before, ""), ("after", "after", &record(&test_env), "")]);
    let child = test_env.start(&["run"]);
    let sleeper = pid(&sleeper);
    // A second run does not get the lock, and runs no hook.
    test_env.longshore(&["run"]).expect(5);
    assert!(!test_env.path("after.txt").exists());
    terminate(&child);
    let output = CommandOutput::of(child.wait_with_output().unwrap()).expect(143);
    assert_eq!(recorded(&test_env).0, "nightly interrupted 143", "{output:?}");
    wait_for("the process group of the hook to end", || test_kill_process(sleeper).is_err().then_some(()));
}

#[test]
fn hook_that_hangs_is_killed() {
    let test_env = TestEnv::new();
    let sleeper = test_env.path("sleeper");
    let before = format!("sleep 1000 & echo $! >{}; wait", sleeper.display());
    configure(
        &test_env,
        &[("before", "before", &before, "timeout = '1s'"), ("after", "after", &record(&test_env), "")],
    );
    test_env.longshore(&["run"]).expect(2).shows("did not end within 1 s");
    let sleeper = pid(&sleeper);
    wait_for("the process group of the hook to end", || test_kill_process(sleeper).is_err().then_some(()));
    assert_eq!(recorded(&test_env).0, "nightly failed 2");
}
