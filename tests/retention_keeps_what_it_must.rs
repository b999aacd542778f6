//! Retention runs after a new backup is complete, explains its decisions, and never removes the
//! last good backup.

use crate::support::{Job, Workshop, file_with, files};

fn with_policy(policy: &str) -> Workshop {
    let workshop = Workshop::new();
    let more = format!("retention = 'standard'\n[retention.standard]\n{policy}");
    workshop.configure(&Job { more: &more, ..Job::default() });
    workshop
}

fn count(workshop: &Workshop, subject: &str) -> usize {
    let all = workshop.json(&["list", "--json"]);
    all.as_array().unwrap().iter().filter(|backup| is_of(backup, subject)).count()
}

/// Returns true if a backup is of this database, or of this kind of subject.
fn is_of(backup: &serde_json::Value, subject: &str) -> bool {
    backup["subject"]["name"] == subject || backup["subject"]["kind"] == subject
}

#[test]
fn a_run_removes_what_the_policy_does_not_keep_and_only_then() {
    let workshop = with_policy("keep_last = 2");
    for _ in 0..4 {
        workshop.longshore(&["run"]).expect(0);
    }
    assert_eq!((count(&workshop, "postgres"), count(&workshop, "globals")), (2, 2));
    // With the server unreachable, the run fails and removes nothing.
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
    // From here on, only globals are dumped. The database's series does not grow, and its globals
    // must be kept.
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
    workshop.longshore(&["prune", "--dry-run"]).expect(0).says("damaged: run `longshore verify`");
}

#[test]
fn a_policy_that_keeps_nothing_is_refused() {
    let workshop = Workshop::new();
    for empty in ["", "keep_last = 0", "min_keep = 3\nmin_age = '7d'"] {
        workshop.configure(&Job { more: &format!("[retention.x]\n{empty}"), ..Job::default() });
        workshop.longshore(&["prune"]).expect(6).says("keeps nothing").says("keep_last");
    }
}

#[test]
fn a_policy_that_cannot_be_meant_is_a_mistake() {
    let workshop = Workshop::new();
    for (policy, says) in [
        ("keep_last = -1", "whole number"),
        ("keep_daily = 'most'", "\"all\""),
        ("keep_within = '30m'", "such as \"30d\""),
        ("keep_within_daily = 30", "string"),
        ("keep_daily = 7\ntimezone = 'Berlin'", "Europe/Berlin"),
        ("keep_daily = 7\nmin_keep = 0", "nonzero"),
        ("keep_daily = 7\nkeep_dayly = 7", "keep_dayly"),
    ] {
        workshop.configure(&Job { more: &format!("[retention.x]\n{policy}"), ..Job::default() });
        workshop.longshore(&["prune"]).expect(1).says(says);
    }
}

#[test]
fn a_held_backup_stays_until_it_is_released() {
    let workshop = with_policy("keep_last = 1");
    workshop.longshore(&["run"]).expect(0);
    workshop.longshore(&["hold", "postgres"]).expect(1).says("--why");
    workshop.longshore(&["hold", "nobody", "--why", "x"]).expect(1).says("no backup of that name");
    let held =
        workshop.longshore(&["hold", "postgres", "--why", "before the great migration", "--until", "2100-01-01"]);
    held.expect(0).says("held main/postgres/postgres-");
    for _ in 0..2 {
        workshop.longshore(&["run"]).expect(0);
    }
    assert_eq!((count(&workshop, "postgres"), count(&workshop, "globals")), (2, 2));
    workshop
        .longshore(&["prune", "--dry-run"])
        .expect(0)
        .says("before the great migration")
        .says("held until 2100-01-01");
    workshop.opening(&["verify", "--all"]).expect(0);
    let oldest = workshop.json(&["list", "postgres", "--json"])[0]["name"].as_str().unwrap().to_owned();
    workshop.longshore(&["unhold", &oldest]).expect(0).says("released");
    workshop.longshore(&["unhold", &oldest]).expect(1).says("is not held");
    workshop.longshore(&["prune"]).expect(0).says("removed");
    assert_eq!((count(&workshop, "postgres"), count(&workshop, "globals")), (1, 1));
    let left = files(&workshop.local().join("main"));
    assert!(!left.iter().any(|name| name.contains("hold") || name.contains("released")), "{left:?}");
}

#[test]
fn what_a_safety_rule_forbids_is_refused_until_a_person_says_so() {
    let workshop = with_policy("keep_last = 5");
    for _ in 0..3 {
        workshop.longshore(&["run"]).expect(0);
    }
    let manifests = files(&workshop.local()).into_iter().filter(|name| name.ends_with(".json"));
    for manifest in manifests.take(4) {
        std::fs::remove_file(workshop.local().join(manifest)).unwrap();
    }
    workshop.longshore(&["prune"]).expect(6).says("2 backups, but the last prune left 6").says("--despite listing");
    let refused = workshop.json(&["prune", "--json"]);
    assert_eq!(refused[0]["refused"], true);
    workshop.longshore(&["prune", "--despite", "listing"]).expect(0);
    workshop.longshore(&["prune"]).expect(0);
}

#[test]
fn a_database_that_is_gone_is_told_and_its_last_backups_stay_until_they_are_retired() {
    let workshop = with_policy("keep_last = 1");
    workshop.cluster.create_database("fleeting");
    workshop.longshore(&["run"]).expect(0);
    workshop.longshore(&["prune", "--retired", "main/fleeting"]).expect(6).says("still grows");
    workshop.cluster.psql("postgres", "drop database fleeting");
    for _ in 0..2 {
        workshop.longshore(&["run"]).expect(0);
    }
    workshop.longshore(&["prune"]).expect(0).says("main/fleeting").says("has had no new backup since");
    assert_eq!(count(&workshop, "fleeting"), 1);
    let ended = workshop.longshore(&["prune", "--retired", "main/fleeting", "--dry-run"]).expect(0);
    ended.says("its series is retired").keeps_quiet_about("no new backup since");
    assert_eq!(count(&workshop, "fleeting"), 1);
    workshop.longshore(&["prune", "--retired", "main/fleeting"]).expect(0).says("removed");
    assert_eq!((count(&workshop, "fleeting"), count(&workshop, "postgres")), (0, 1));
    workshop.longshore(&["prune", "--retired", "main/fleeting"]).expect(1).says("no such series");
}

#[test]
fn what_a_script_left_under_such_a_name_stays_and_what_is_swept_is_named() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("app");
    let more = "retention = 'short'\n\n[retention.short]\nkeep_last = 5\n";
    let dump = "[{ type = 'pg_dump', databases = ['app'] }]";
    let terms = [("local", "orphan_grace = '1s'")];
    workshop.configure(&Job { dump, terms: &terms, more, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let folder = workshop.local().join("main/app");
    std::fs::create_dir(workshop.local().join("main/old")).unwrap();
    let scripts =
        [folder.join("app-2025-01-01_000000.dump"), workshop.local().join("main/old/old-2025-01-01_000000.dump")];
    scripts.iter().for_each(|path| std::fs::write(path, "a script's").unwrap());
    let half = folder.join("app-2025-01-02_000000.dump.zst.age");
    std::fs::write(&half, "half").unwrap();

    workshop.longshore(&["prune"]).expect(0);
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let told = workshop.longshore(&["run"]).expect(0);
    told.says(&format!("removed main/app/{}", half.file_name().unwrap().to_str().unwrap()));
    assert!(!half.exists());
    assert!(scripts.iter().all(|path| path.exists()));
}
