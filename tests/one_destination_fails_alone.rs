//! One read serves many destinations, each with its own outcome.

use longshore_testkit::sshd::Sshd;

use crate::support::{Ended, Job, Tmpfs, Workshop, files};

#[test]
fn one_destination_failing_leaves_the_other_whole() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 32);
    let small = workshop.make_folder("small");
    let _disk = Tmpfs::mount(&small, "2m");
    let local = workshop.local();
    let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
    workshop.configure(&Job { dump, ship: &[("small", &small), ("local", &local)], ..Job::default() });
    workshop.longshore(&["run"]).expect(3).says("small FAILED").says("no space left");
    assert_eq!(files(&small), [""; 0]);
    workshop.opening(&["verify", "--destination", "local"]).expect(0).says("verified: ");
    let report = workshop.json(&["run", "--json"]);
    let destinations = report["artifacts"][0]["destinations"].as_array().unwrap();
    assert!(destinations[0]["error"]["message"].as_str().unwrap().contains("no space left"));
    assert!(destinations[1]["error"].is_null());
    let [warning] = &report["warnings"].as_array().unwrap()[..] else { panic!("{}", report["warnings"]) };
    assert!(warning.as_str().unwrap().starts_with("destination \"small\" has 1 MiB free, less than the "), "{warning}");
}

/// One error explains all failures of a host.
#[test]
fn a_host_that_refuses_is_reported_once() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("appdb");
    let sshd = Sshd::start();
    let host = ["ssh", "sftp"].map(|kind| (kind, workshop.on_host(kind, &sshd, "")));
    drop(sshd);
    let local = workshop.local();
    workshop.configure(&Job { ship: &[("local", &local)], elsewhere: &host[..1], ..Job::default() });
    let count = |told: &Ended| format!("{}{}", told.stdout, told.stderr).matches("Connection refused").count();
    let told = workshop.longshore(&["run"]).expect(3).says("\"ssh\" failed").says("globals, ").says("ssh FAILED");
    assert_eq!(count(&told), 1, "{told:?}");
    // With two destinations on the host, the error is still printed once.
    workshop.configure(&Job { ship: &[("local", &local)], elsewhere: &host, ..Job::default() });
    let told =
        workshop.longshore(&["list"]).expect(3).says("\"ssh\" could not be read").says("\"sftp\" could not be read");
    assert_eq!(count(&told), 1, "{told:?}");
}

#[test]
fn an_identity_that_cannot_be_read_is_reported_once() {
    let workshop = Workshop::new();
    let (one, two) = (workshop.make_folder("one"), workshop.make_folder("two"));
    workshop.configure(&Job { ship: &[("one", &one), ("two", &two)], ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    for verb in ["verify", "status", "drill"] {
        let told = workshop.longshore(&[verb, "--identity", "/nowhere/identity.txt"]).expect(2).says("hint:");
        let told = format!("{}{}", told.stdout, told.stderr);
        assert_eq!(told.matches("cannot read the identity file").count(), 1, "{told}");
    }
}

#[test]
fn a_destination_that_is_not_there_is_left_out() {
    let workshop = Workshop::new();
    let (local, missing) = (workshop.local(), workshop.path("unmounted"));
    workshop.configure(&Job { ship: &[("offsite", &missing), ("local", &local)], ..Job::default() });
    workshop.longshore(&["run"]).expect(3).says("destination \"offsite\" skipped").says("hint:");
    assert!(!missing.exists(), "a missing root is never made");
    workshop.opening(&["verify", "--destination", "local"]).expect(0);
}

#[test]
fn two_destinations_get_the_same_bytes_from_one_read() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("appdb");
    let (first, second) = (workshop.local(), workshop.make_folder("second"));
    workshop.configure(&Job { ship: &[("first", &first), ("second", &second)], ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    assert_eq!(files(&first), files(&second));
    for file in files(&first) {
        assert_eq!(std::fs::read(first.join(&file)).unwrap(), std::fs::read(second.join(&file)).unwrap(), "{file}");
    }
    let lines = workshop.json(&["list", "appdb", "--json"]);
    assert_eq!(lines[0]["destinations"], serde_json::json!({ "first": "whole", "second": "whole" }));
}
