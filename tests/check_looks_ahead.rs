//! `check` reports in advance the problems that would fail a nightly run, with hints.

use crate::support::{Job, Workshop, files};

#[test]
fn a_sound_configuration_passes_and_leaves_nothing_behind() {
    let workshop = Workshop::new();
    let ended = workshop.opening(&["check"]).expect(0);
    ended
        .says("PostgreSQL")
        .says("the server's clock agrees with this host's")
        .says("pg_dump 15")
        .says("write, read back, list and remove work")
        .says("identity: decrypts new backups");
    assert_eq!(files(&workshop.local()), [""; 0]);
}

#[test]
fn everything_that_fails_has_its_remedy() {
    let workshop = Workshop::new();
    let missing = workshop.path("unmounted");
    workshop.configure_with_connection(
        &Job { ship: &[("offsite", &missing)], ..Job::default() },
        "host=127.0.0.1 port=1 user=postgres",
    );
    let ended = workshop.longshore(&["check"]).expect(2);
    ended.says("FAILED   cluster main").says("check that the server is running").says("FAILED   destination offsite");
    let findings = workshop.json(&["check", "--json"]);
    let failed = findings.as_array().unwrap().iter().filter(|finding| finding["outcome"] == "failed");
    for finding in failed {
        assert!(finding["remedy"].is_string(), "{finding}");
    }
}

#[test]
fn of_a_server_that_cannot_be_asked_no_size_is_told() {
    let workshop = Workshop::new();
    workshop.longshore(&["check"]).expect(0).says("MiB free; the databases take");
    workshop.configure_with_connection(&Job::default(), "host=127.0.0.1 port=1 user=postgres");
    workshop.longshore(&["check"]).expect(2).says("MiB free").keeps_quiet_about("on disk");
}

#[test]
fn an_identity_that_opens_nothing_is_found() {
    let workshop = Workshop::new();
    let other = Workshop::new();
    let check = workshop.command().args(["check", "--identity"]).arg(other.identity()).output().unwrap();
    crate::support::Ended::of(check).expect(2).says("FAILED   identity");
}

#[test]
fn a_job_without_retention_and_one_without_sealing_are_warned_of() {
    let workshop = Workshop::new();
    workshop.configure(&Job { encrypt: Some("{ type = 'none' }"), ..Job::default() });
    let ended = workshop.longshore(&["check"]).expect(0);
    ended.says("nothing is ever removed there").says("anyone who can read a destination can read the databases");
}

#[test]
fn a_pattern_that_selects_nothing_fails_the_check() {
    let workshop = Workshop::new();
    workshop.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['nothing_*'] }]", ..Job::default() });
    workshop.longshore(&["check"]).expect(2).says("FAILED   databases").says("0 to dump");
}

#[test]
fn the_folder_of_a_directory_dump_is_looked_at() {
    let workshop = Workshop::new();
    let check = |folder: &std::path::Path| {
        let more = format!("scratch_dir = '{}'", folder.display());
        workshop.configure(&Job {
            dump: "[{ type = 'pg_dump', format = 'directory' }]",
            more: &more,
            ..Job::default()
        });
        workshop.longshore(&["check"])
    };
    check(&workshop.path("none")).expect(2).says("FAILED   scratch_dir");
    let scratch = workshop.make_folder("scratch");
    check(&scratch).expect(0).says("MiB free");
    assert_eq!(files(&scratch), [""; 0]);
}
