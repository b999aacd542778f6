//! `--verbose` and `LONGSHORE_LOG` log programs, requests and connections on stderr, but no secret.

use std::fs;

use longshore_testkit::garage::{Garage, Permission};
use longshore_testkit::sshd::Sshd;

use crate::support::{CommandOutput, Job, TestEnv, finish};

const SECRET: &str = "hunter2-geheim";

/// Returns the lines of the log, without those of the usual output.
fn log(output: &CommandOutput) -> Vec<&str> {
    output.stderr.lines().filter(|line| line.contains(" longshore::")).collect()
}

/// Expects a line of the log that contains all `words`.
#[track_caller]
fn expect_logged(output: &CommandOutput, words: &[&str]) {
    let is_found = log(output).iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(is_found, "{words:?} not in\n{}", output.stderr);
}

#[test]
fn log_names_programs_and_holds_no_password() {
    let test_env = TestEnv::new();
    let (keywords, uri) = (
        format!("{} password={SECRET}", test_env.cluster.connection()),
        format!("postgresql://postgres:{SECRET}@127.0.0.1:{}/postgres", test_env.cluster.port()),
    );
    for connection in [&keywords, &uri] {
        test_env.configure_with_connection(&Job::default(), connection);
        test_env.longshore(&["check", "-vv"]).expect(0).omits(SECRET);
        let by_flag = test_env.longshore(&["run", "-vv", "--json"]).expect(0).omits(SECRET);
        let mut command = test_env.command();
        let by_variable = finish(command.args(["run", "--json"]).env("LONGSHORE_LOG", "debug")).expect(0).omits(SECRET);
        for run in [&by_flag, &by_variable] {
            for program in ["pg_dump", "pg_dumpall", "psql"] {
                let program = format!("program=\"{program}\"");
                expect_logged(run, &["longshore::child: started", &program, "pid="]);
                expect_logged(run, &["longshore::child: ended", &program, "pid=", "code=0", "elapsed="]);
            }
            expect_logged(run, &["longshore::sql: executed", "sql=", "elapsed="]);
            expect_logged(run, &["longshore::lock: locked"]);
            assert!(serde_json::from_str::<serde_json::Value>(&run.stdout).is_ok(), "{}", run.stdout);
        }
    }
}

#[test]
fn log_has_the_requested_level() {
    let test_env = TestEnv::new();
    let silent = test_env.longshore(&["run"]).expect(0);
    assert_eq!(log(&silent), [""; 0]);
    let verbose = test_env.longshore(&["-v", "run"]).expect(0);
    expect_logged(&verbose, &["longshore::child: ended"]);
    assert!(!verbose.stderr.contains("longshore::sql"), "{}", verbose.stderr);
    // Flags override the environment.
    let quiet = finish(test_env.command().args(["run", "--quiet"]).env("LONGSHORE_LOG", "debug")).expect(0);
    assert_eq!(quiet.stderr, "");
    let locks = finish(test_env.command().arg("run").env("LONGSHORE_LOG", "longshore::lock=info")).expect(0);
    assert!(!log(&locks).is_empty() && log(&locks).iter().all(|line| line.contains("longshore::lock: locked")));
}

#[test]
fn conflicts_and_unknown_levels_are_usage_errors() {
    let test_env = TestEnv::new();
    test_env.longshore(&["--quiet", "list", "--verbose"]).expect(1).shows("cannot be used with");
    for level in ["debgu", "hyper=debug"] {
        let mut command = test_env.command();
        finish(command.arg("list").env("LONGSHORE_LOG", level))
            .expect(1)
            .shows("\"LONGSHORE_LOG\"")
            .shows("hint: use off");
    }
}

#[test]
fn log_names_requests_and_connections_without_keys() {
    let test_env = TestEnv::new();
    let (garage, sshd) = (Garage::start(), Sshd::start());
    let remote = [
        ("shell", test_env.on_host("ssh", &sshd, "")),
        ("offsite", test_env.in_bucket(&garage, "acme", Permission::Everything, "prefix = 'postgresql'")),
    ];
    test_env.configure(&Job { remote: &remote, ..Job::default() });
    let key = fs::read_to_string(test_env.path("secret-of-acme")).unwrap();
    let run = test_env.longshore(&["run", "-vv"]).expect(0).omits(&key).omits("Signature=");
    expect_logged(
        &run,
        &["longshore::http: request", "method=PUT", "/acme/postgresql/main/", "status=200", "attempt=1"],
    );
    expect_logged(&run, &["longshore::ssh: connected", "elapsed="]);
    expect_logged(&run, &["longshore::ssh: command ended", "name=\"publish\"", "code=0"]);
    let verify = test_env.run_with_identity(&["verify", "-vv"]).expect(0).omits(&key);
    expect_logged(&verify, &["longshore::http: request", "method=GET", "status=200"]);
    verify.omits("AGE-SECRET-KEY");
}
