//! One read serves many destinations, each with its own outcome.

use longshore_testkit::sshd::Sshd;

use crate::support::{CommandOutput, Job, TestEnv, Tmpfs, files};

#[test]
fn failed_destination_leaves_the_other_complete() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 32);
    let small = test_env.make_folder("small");
    let _disk = Tmpfs::mount(&small, "2m");
    let local = test_env.local();
    let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
    test_env.configure(&Job { dump, ship: &[("small", &small), ("local", &local)], ..Job::default() });
    test_env.longshore(&["run"]).expect(3).stdout_shows("small failed").shows("no space left");
    assert_eq!(files(&small), [""; 0]);
    test_env.run_with_identity(&["verify", "--destination", "local"]).expect(0).shows("verified: ");
    let report = test_env.json(&["run", "--json"]);
    let destinations = report["artifacts"][0]["destinations"].as_array().unwrap();
    assert!(destinations[0]["error"]["message"].as_str().unwrap().contains("no space left"));
    assert!(destinations[1]["error"].is_null());
    let [warning] = &report["warnings"].as_array().unwrap()[..] else { panic!("{}", report["warnings"]) };
    assert!(warning.as_str().unwrap().starts_with("destination \"small\" has 1 MiB free, less than the "), "{warning}");
}

/// One error explains all failures of a host.
#[test]
fn refusing_host_is_reported_once() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    let sshd = Sshd::start();
    let host = ["ssh", "sftp"].map(|kind| (kind, test_env.on_host(kind, &sshd, "")));
    drop(sshd);
    let local = test_env.local();
    test_env.configure(&Job { ship: &[("local", &local)], remote: &host[..1], ..Job::default() });
    let count =
        |result: &CommandOutput| format!("{}{}", result.stdout, result.stderr).matches("Connection refused").count();
    let result =
        test_env.longshore(&["run"]).expect(3).shows("\"ssh\" failed").shows("globals, ").stdout_shows("ssh failed");
    assert_eq!(count(&result), 1, "{result:?}");
    // With two destinations on the host, the error is still printed once.
    test_env.configure(&Job { ship: &[("local", &local)], remote: &host, ..Job::default() });
    let result =
        test_env.longshore(&["list"]).expect(3).shows("\"ssh\" could not be read").shows("\"sftp\" could not be read");
    assert_eq!(count(&result), 1, "{result:?}");
}

#[test]
fn unreadable_identity_is_reported_once() {
    let test_env = TestEnv::new();
    let (one, two) = (test_env.make_folder("one"), test_env.make_folder("two"));
    test_env.configure(&Job { ship: &[("one", &one), ("two", &two)], ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    for verb in ["verify", "status", "drill"] {
        let result = test_env.longshore(&[verb, "--identity", "/nowhere/identity.txt"]).expect(2).shows("hint:");
        let result = format!("{}{}", result.stdout, result.stderr);
        assert_eq!(result.matches("cannot read the identity file").count(), 1, "{result}");
    }
}

#[test]
fn missing_destination_is_skipped() {
    let test_env = TestEnv::new();
    let (local, missing) = (test_env.local(), test_env.path("unmounted"));
    test_env.configure(&Job { ship: &[("offsite", &missing), ("local", &local)], ..Job::default() });
    test_env.longshore(&["run"]).expect(3).shows("destination \"offsite\" skipped").shows("hint:");
    assert!(!missing.exists(), "a missing root is never made");
    test_env.run_with_identity(&["verify", "--destination", "local"]).expect(0);
}

#[test]
fn destinations_get_equal_bytes_from_one_read() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    let (first, second) = (test_env.local(), test_env.make_folder("second"));
    test_env.configure(&Job { ship: &[("first", &first), ("second", &second)], ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    assert_eq!(files(&first), files(&second));
    for file in files(&first) {
        assert_eq!(std::fs::read(first.join(&file)).unwrap(), std::fs::read(second.join(&file)).unwrap(), "{file}");
    }
    let lines = test_env.json(&["list", "appdb", "--json"]);
    assert_eq!(lines[0]["destinations"], serde_json::json!({ "first": "whole", "second": "whole" }));
}
