//! Retention acts after a new backup is in place, explains itself, and never takes the last good one.

use crate::support::{Job, Workshop, file_with};

fn with_policy(policy: &str) -> Workshop {
    let workshop = Workshop::new();
    let more = format!("retention = 'standard'\n[retention.standard]\n{policy}");
    workshop.configure(&Job { more: &more, ..Job::default() });
    workshop
}

fn count(workshop: &Workshop, subject: &str) -> usize {
    workshop.json(&["list", subject, "--json"]).as_array().unwrap().len()
}

#[test]
fn a_run_removes_what_the_policy_does_not_keep_and_only_then() {
    let workshop = with_policy("keep_last = 2");
    for _ in 0..4 {
        workshop.longshore(&["run"]).expect(0);
    }
    assert_eq!((count(&workshop, "postgres"), count(&workshop, "globals")), (2, 2));
    // The server is gone: the run fails, and nothing is let go of.
    workshop.configure_with_connection(
        &Job { more: "retention = 'standard'\n[retention.standard]\nkeep_last = 1", ..Job::default() },
        "host=127.0.0.1 port=1",
    );
    workshop.longshore(&["run"]).expect(2);
    assert_eq!(count(&workshop, "postgres"), 2);
}

#[test]
fn a_dry_run_explains_itself_and_removes_nothing() {
    let workshop = Workshop::new();
    for _ in 0..3 {
        workshop.longshore(&["run"]).expect(0);
    }
    workshop.configure(&Job { more: "retention = 'one'\n[retention.one]\nkeep_daily = 1", ..Job::default() });
    workshop.longshore(&["prune", "--dry-run"]).expect(0).says("would remove").says("newest, daily");
    let plan = workshop.json(&["prune", "--dry-run", "--json"]);
    assert_eq!(plan[0]["series"][0]["remove"].as_array().unwrap().len(), 2);
    assert_eq!(count(&workshop, "postgres"), 3);
    workshop.longshore(&["prune"]).expect(0).says("removed");
    assert_eq!(count(&workshop, "postgres"), 1);
    workshop.longshore(&["prune"]).expect(0).keeps_quiet_about("removed");
    workshop.opening(&["verify", "--all"]).expect(0);
}

#[test]
fn globals_that_a_kept_database_needs_are_kept() {
    let workshop = Workshop::new();
    workshop.longshore(&["run"]).expect(0);
    // From now on only globals are dumped: the database's series does not grow, and its globals must stay.
    let more = "retention = 'one'\n[retention.one]\nkeep_last = 1";
    workshop.configure(&Job { dump: "[{ type = 'pg_dumpall' }]", more, ..Job::default() });
    for _ in 0..2 {
        workshop.longshore(&["run"]).expect(0);
    }
    assert_eq!((count(&workshop, "postgres"), count(&workshop, "globals")), (1, 2));
    workshop.longshore(&["prune", "--dry-run"]).expect(0).says("needed by postgres-");
}

#[test]
fn a_damaged_backup_takes_no_place() {
    let workshop = Workshop::new();
    workshop.longshore(&["run"]).expect(0);
    workshop.configure(&Job {
        dump: "[{ type = 'pg_dump' }]",
        more: "retention = 'one'\n[retention.one]\nkeep_last = 1",
        ..Job::default()
    });
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let before = workshop.json(&["list", "postgres", "--json"])[0]["name"].as_str().unwrap().to_owned();
    workshop.longshore(&["run"]).expect(0);
    let newest = workshop.json(&["list", "postgres", "--json"]);
    let newest = newest.as_array().unwrap().last().unwrap()["artifact"]["key"].as_str().unwrap().to_owned();
    assert!(!newest.starts_with(&before));
    assert_eq!(count(&workshop, "postgres"), 1);
    std::fs::remove_file(file_with(&workshop.local(), &newest)).unwrap();
    workshop.longshore(&["list"]).expect(4).says("no artifact");
    workshop.longshore(&["run"]).expect(0);
    workshop.longshore(&["prune", "--dry-run"]).expect(0).says("damaged: look at it");
}
