//! Retention runs after a new backup is complete, explains its decisions, and never removes the
//! last good backup.

use crate::support::{Job, TestEnv, file_with, files};

fn with_policy(policy: &str) -> TestEnv {
    let test_env = TestEnv::new();
    let more = format!("retention = 'standard'\n[retention.standard]\n{policy}");
    test_env.configure(&Job { more: &more, ..Job::default() });
    test_env
}

fn count(test_env: &TestEnv, subject: &str) -> usize {
    let all = test_env.json(&["list", "--json"]);
    all.as_array().unwrap().iter().filter(|backup| is_of(backup, subject)).count()
}

/// Returns true if a backup is of this database, or of this kind of subject.
fn is_of(backup: &serde_json::Value, subject: &str) -> bool {
    backup["subject"]["name"] == subject || backup["subject"]["kind"] == subject
}

#[test]
fn run_prunes_only_after_its_backup() {
    let test_env = with_policy("keep_last = 2");
    for _ in 0..4 {
        test_env.longshore(&["run"]).expect(0);
    }
    assert_eq!((count(&test_env, "postgres"), count(&test_env, "globals")), (2, 2));
    // With the server unreachable, the run fails and removes nothing.
    test_env.configure_with_connection(
        &Job { more: "retention = 'standard'\n[retention.standard]\nkeep_last = 1", ..Job::default() },
        "host=127.0.0.1 port=1",
    );
    test_env.longshore(&["run"]).expect(2);
    assert_eq!(count(&test_env, "postgres"), 2);
}

#[test]
fn dry_run_explains_and_removes_nothing() {
    let test_env = TestEnv::new();
    for _ in 0..3 {
        test_env.longshore(&["run"]).expect(0);
    }
    test_env.configure(&Job { more: "retention = 'one'\n[retention.one]\nkeep_daily = 1", ..Job::default() });
    test_env.longshore(&["prune", "--dry-run"]).expect(0).shows("would remove").shows("newest, daily");
    let plan = test_env.json(&["prune", "--dry-run", "--json"]);
    assert_eq!(plan[0]["series"][0]["remove"].as_array().unwrap().len(), 2);
    assert_eq!(count(&test_env, "postgres"), 3);
    test_env.longshore(&["prune"]).expect(0).shows("removed");
    assert_eq!(count(&test_env, "postgres"), 1);
    test_env.longshore(&["prune"]).expect(0).omits("removed");
    test_env.run_with_identity(&["verify", "--all"]).expect(0);
}

#[test]
fn globals_of_a_kept_database_are_kept() {
    let test_env = TestEnv::new();
    test_env.longshore(&["run"]).expect(0);
    // From here on, only globals are dumped. The database's series does not grow, and its globals
    // must be kept.
    let more = "retention = 'one'\n[retention.one]\nkeep_last = 1";
    test_env.configure(&Job { dump: "[{ type = 'pg_dumpall' }]", more, ..Job::default() });
    for _ in 0..2 {
        test_env.longshore(&["run"]).expect(0);
    }
    assert_eq!((count(&test_env, "postgres"), count(&test_env, "globals")), (1, 2));
    test_env.longshore(&["prune", "--dry-run"]).expect(0).shows("needed by postgres-");
}

#[test]
fn damaged_backup_does_not_count() {
    let test_env = TestEnv::new();
    test_env.longshore(&["run"]).expect(0);
    test_env.configure(&Job {
        dump: "[{ type = 'pg_dump' }]",
        more: "retention = 'one'\n[retention.one]\nkeep_last = 1",
        ..Job::default()
    });
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let before = test_env.json(&["list", "postgres", "--json"])[0]["name"].as_str().unwrap().to_owned();
    test_env.longshore(&["run"]).expect(0);
    let newest = test_env.json(&["list", "postgres", "--json"]);
    let newest = newest.as_array().unwrap().last().unwrap()["artifact"]["key"].as_str().unwrap().to_owned();
    assert!(!newest.starts_with(&before));
    assert_eq!(count(&test_env, "postgres"), 1);
    std::fs::remove_file(file_with(&test_env.local(), &newest)).unwrap();
    test_env.longshore(&["list"]).expect(4).shows("no artifact");
    test_env.longshore(&["run"]).expect(0);
    test_env.longshore(&["prune", "--dry-run"]).expect(0).shows("damaged: run `longshore verify`");
}

#[test]
fn policy_that_keeps_nothing_is_refused() {
    let test_env = TestEnv::new();
    for empty in ["", "keep_last = 0", "min_keep = 3\nmin_age = '7d'"] {
        test_env.configure(&Job { more: &format!("[retention.x]\n{empty}"), ..Job::default() });
        test_env.longshore(&["prune"]).expect(6).shows("keeps nothing").shows("keep_last");
    }
}

#[test]
fn invalid_policy_is_a_config_error() {
    let test_env = TestEnv::new();
    for (policy, expected) in [
        ("keep_last = -1", "whole number"),
        ("keep_daily = 'most'", "\"all\""),
        ("keep_within = '30m'", "such as \"30d\""),
        ("keep_within_daily = 30", "string"),
        ("keep_daily = 7\ntimezone = 'Berlin'", "Europe/Berlin"),
        ("keep_daily = 7\nmin_keep = 0", "nonzero"),
        ("keep_daily = 7\nkeep_dayly = 7", "keep_dayly"),
    ] {
        test_env.configure(&Job { more: &format!("[retention.x]\n{policy}"), ..Job::default() });
        test_env.longshore(&["prune"]).expect(1).shows(expected);
    }
}

#[test]
fn held_backup_is_kept_until_released() {
    let test_env = with_policy("keep_last = 1");
    test_env.longshore(&["run"]).expect(0);
    test_env.longshore(&["hold", "postgres"]).expect(1).shows("--why");
    test_env.longshore(&["hold", "missing", "--why", "x"]).expect(1).shows("no backup of that name");
    let held =
        test_env.longshore(&["hold", "postgres", "--why", "before the great migration", "--until", "2100-01-01"]);
    held.expect(0).stdout_shows("held").stdout_shows("main/postgres/postgres-");
    for _ in 0..2 {
        test_env.longshore(&["run"]).expect(0);
    }
    assert_eq!((count(&test_env, "postgres"), count(&test_env, "globals")), (2, 2));
    test_env
        .longshore(&["prune", "--dry-run"])
        .expect(0)
        .shows("before the great migration")
        .shows("held until 2100-01-01");
    test_env.run_with_identity(&["verify", "--all"]).expect(0);
    let oldest = test_env.json(&["list", "postgres", "--json"])[0]["name"].as_str().unwrap().to_owned();
    test_env.longshore(&["unhold", &oldest]).expect(0).shows("released");
    test_env.longshore(&["unhold", &oldest]).expect(1).shows("is not held");
    test_env.longshore(&["prune"]).expect(0).shows("removed");
    assert_eq!((count(&test_env, "postgres"), count(&test_env, "globals")), (1, 1));
    let left = files(&test_env.local().join("main"));
    assert!(!left.iter().any(|name| name.contains("hold") || name.contains("released")), "{left:?}");
}

#[test]
fn safety_rules_need_an_explicit_override() {
    let test_env = with_policy("keep_last = 5");
    for _ in 0..3 {
        test_env.longshore(&["run"]).expect(0);
    }
    let manifests = files(&test_env.local()).into_iter().filter(|name| name.ends_with(".json"));
    for manifest in manifests.take(4) {
        std::fs::remove_file(test_env.local().join(manifest)).unwrap();
    }
    test_env.longshore(&["prune"]).expect(6).shows("2 backups, but the last prune left 6").shows("--despite listing");
    let refused = test_env.json(&["prune", "--json"]);
    assert_eq!(refused[0]["refused"], true);
    test_env.longshore(&["prune", "--despite", "listing"]).expect(0);
    test_env.longshore(&["prune"]).expect(0);
}

#[test]
fn dropped_database_keeps_last_backups_until_retired() {
    let test_env = with_policy("keep_last = 1");
    test_env.cluster.create_database("fleeting");
    test_env.longshore(&["run"]).expect(0);
    test_env.longshore(&["prune", "--retired", "main/fleeting"]).expect(6).shows("still grows");
    test_env.cluster.psql("postgres", "drop database fleeting");
    for _ in 0..2 {
        test_env.longshore(&["run"]).expect(0);
    }
    test_env.longshore(&["prune"]).expect(0).shows("main/fleeting").shows("has had no new backup since");
    assert_eq!(count(&test_env, "fleeting"), 1);
    let result = test_env.longshore(&["prune", "--retired", "main/fleeting", "--dry-run"]).expect(0);
    result.shows("its series is retired").omits("no new backup since");
    assert_eq!(count(&test_env, "fleeting"), 1);
    test_env.longshore(&["prune", "--retired", "main/fleeting"]).expect(0).shows("removed");
    assert_eq!((count(&test_env, "fleeting"), count(&test_env, "postgres")), (0, 1));
    test_env.longshore(&["prune", "--retired", "main/fleeting"]).expect(1).shows("no such series");
}

#[test]
fn foreign_files_are_kept_and_sweeps_are_reported() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("app");
    let more = "retention = 'short'\n\n[retention.short]\nkeep_last = 5\n";
    let dump = "[{ type = 'pg_dump', databases = ['app'] }]";
    let settings = [("local", "orphan_grace = '1s'")];
    test_env.configure(&Job { dump, settings: &settings, more, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let folder = test_env.local().join("main/app");
    std::fs::create_dir(test_env.local().join("main/old")).unwrap();
    let scripts =
        [folder.join("app-2025-01-01_000000.dump"), test_env.local().join("main/old/old-2025-01-01_000000.dump")];
    scripts.iter().for_each(|path| std::fs::write(path, "a script's").unwrap());
    let half = folder.join("app-2025-01-02_000000.dump.zst.age");
    std::fs::write(&half, "half").unwrap();

    test_env.longshore(&["prune"]).expect(0);
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let result = test_env.longshore(&["run"]).expect(0);
    result.shows(&format!("removed main/app/{}", half.file_name().unwrap().to_str().unwrap()));
    assert!(!half.exists());
    assert!(scripts.iter().all(|path| path.exists()));
}
