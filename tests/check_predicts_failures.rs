//! `check` reports in advance the problems that would fail a nightly run, with hints.

use crate::support::{Job, TestEnv, files};

#[test]
fn valid_configuration_passes_and_leaves_nothing() {
    let test_env = TestEnv::new();
    let result = test_env.run_with_identity(&["check"]).expect(0);
    result
        .shows("PostgreSQL")
        .shows("the server's clock agrees with this host's")
        .shows("pg_dump 15")
        .shows("write, read back, list and remove work")
        .shows("identity: decrypts new backups");
    assert_eq!(files(&test_env.local()), [""; 0]);
}

#[test]
fn every_failure_has_a_hint() {
    let test_env = TestEnv::new();
    let missing = test_env.path("unmounted");
    test_env.configure_with_connection(
        &Job { ship: &[("offsite", &missing)], ..Job::default() },
        "host=127.0.0.1 port=1 user=postgres",
    );
    let result = test_env.longshore(&["check"]).expect(2);
    result
        .shows("failed   cluster main")
        .shows("check that the server is running")
        .shows("failed   destination offsite");
    let findings = test_env.json(&["check", "--json"]);
    let failed = findings.as_array().unwrap().iter().filter(|finding| finding["outcome"] == "failed");
    for finding in failed {
        assert!(finding["remedy"].is_string(), "{finding}");
    }
}

#[test]
fn unreachable_server_has_no_size() {
    let test_env = TestEnv::new();
    test_env.longshore(&["check"]).expect(0).shows("MiB free; the databases take");
    test_env.configure_with_connection(&Job::default(), "host=127.0.0.1 port=1 user=postgres");
    test_env.longshore(&["check"]).expect(2).shows("MiB free").omits("on disk");
}

#[test]
fn check_detects_a_foreign_identity() {
    let test_env = TestEnv::new();
    let other = TestEnv::new();
    let check = test_env.command().args(["check", "--identity"]).arg(other.identity()).output().unwrap();
    crate::support::CommandOutput::of(check).expect(2).shows("failed   identity");
}

#[test]
fn warns_of_missing_retention_and_encryption() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { encrypt: Some("{ type = 'none' }"), ..Job::default() });
    let result = test_env.longshore(&["check"]).expect(0);
    result.shows("nothing is ever removed there").shows("anyone who can read a destination can read the databases");
}

#[test]
fn pattern_without_match_fails_the_check() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['nothing_*'] }]", ..Job::default() });
    test_env.longshore(&["check"]).expect(2).shows("failed   databases").shows("0 to dump");
}

#[test]
fn check_tests_the_directory_dump_folder() {
    let test_env = TestEnv::new();
    let check = |folder: &std::path::Path| {
        let more = format!("scratch_dir = '{}'", folder.display());
        test_env.configure(&Job {
            dump: "[{ type = 'pg_dump', format = 'directory' }]",
            more: &more,
            ..Job::default()
        });
        test_env.longshore(&["check"])
    };
    check(&test_env.path("none")).expect(2).shows("failed   scratch_dir");
    let scratch = test_env.make_folder("scratch");
    check(&scratch).expect(0).shows("MiB free");
    assert_eq!(files(&scratch), [""; 0]);
}
