//! `status` reports the age, state and number of the newest backups from the destinations alone.
//! Its exit code is an alarm.

use chrono::{TimeDelta, Utc};
use longshore_core::drill::{Drill, Phase, Verdict};
use longshore_core::key::{BackupName, Timestamp};
use longshore_core::mark::{MarkKind, MarkName};

use crate::support::offline_env::{ForgedBackup, NIGHTLY, OfflineEnv};
use crate::support::{Job, TestEnv, finish};

/// Returns the kinds of problems in `attention`.
fn problem_kinds(status: &serde_json::Value) -> Vec<String> {
    let matter = |attention: &serde_json::Value| attention["matter"].as_str().unwrap().to_owned();
    status["attention"].as_array().unwrap().iter().map(matter).collect()
}

#[test]
fn reports_copies_space_and_next_run() {
    let test_env = TestEnv::new();
    let more = "max_age = '26h'\nschedule = '0 3 * * *'\ntimezone = 'Europe/Berlin'";
    test_env.configure(&Job { more, ..Job::default() });
    test_env.longshore(&["status"]).expect(3).shows("job \"nightly\" has no backup");
    test_env.longshore(&["run"]).expect(0);
    let result = test_env.longshore(&["status"]).expect(0).shows("main/globals").shows("1 of 1").shows("never");
    assert!(!result.stdout.contains("STATE  SERIES") && !result.stdout.contains('\u{1b}'), "{}", result.stdout);
    test_env.longshore(&["verify"]).expect(0);
    let status = test_env.json(&["status", "--json"]);
    assert_eq!(problem_kinds(&status), [""; 0]);
    let series = &status["series"][0];
    assert_eq!(
        (&series["cluster"], &series["subject"], &series["job"]),
        (&"main".into(), &"globals".into(), &"nightly".into())
    );
    assert_eq!((&series["level"], &series["max_age_seconds"]), (&"good".into(), &93_600.into()));
    assert_eq!(series["copies"]["present"], serde_json::json!(["local"]));
    assert!(series["newest"]["age_seconds"].as_i64().unwrap() < 600);
    assert_eq!(series["destinations"][0]["verified"]["backup"], series["newest"]["backup"]);
    assert!(series["next_run"].as_str().unwrap().ends_with(":00:00Z"));
    let local = &status["destinations"][0];
    assert_eq!((&local["series"], &local["backups"]), (&2.into(), &2.into()));
    assert!(local["bytes"].as_u64().unwrap() > 1000 && local["free_bytes"].as_u64().unwrap() > 0);
    test_env.longshore(&["status", "--nagios"]).expect(0).shows("OK - 2 series at 1 destination are good | series=2");
}

#[test]
fn lost_tables_are_counted_and_named_with_identity() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { more: "max_age = 'none'", ..Job::default() });
    test_env.cluster.create_database("shop");
    test_env.cluster.psql("shop", "create table orders (); create table customers ()");
    test_env.longshore(&["run"]).expect(0);
    test_env.cluster.psql("shop", "drop table customers");
    test_env.longshore(&["run"]).expect(0);
    let counted = test_env.longshore(&["status"]).expect(0).shows("tables vanished: 1, before 2");
    counted.omits("customers");
    test_env.run_with_identity(&["status"]).expect(0).shows("tables vanished: 1, before 2: public.customers");
    test_env.longshore(&["status", "--nagios"]).expect(1).shows("WARNING - main/shop: tables vanished");
}

#[test]
fn init_configuration_alarms_after_two_days() {
    let (test_env, offline_env) = (TestEnv::new(), OfflineEnv::new(""));
    let (config, destination) = (test_env.path("etc/config.toml"), offline_env.path("disk"));
    let longshore = |arguments: &[&str]| finish(test_env.command().args(arguments).arg("--config").arg(&config));
    let connection = test_env.cluster.connection();
    longshore(&["init", "--connection", &connection, "--destination", destination.to_str().unwrap()]).expect(0);
    longshore(&["status"]).expect(3).shows("job \"nightly\" has no backup");
    offline_env.add_backup(&ForgedBackup { hours: 48, at: &["disk"], ..ForgedBackup::default() });
    longshore(&["status"]).expect(3).shows("critical  main/shop").shows("max_age is 26h");
    longshore(&["status", "--nagios"]).expect(2).shows("CRITICAL - main/shop");
    offline_env.add_backup(&ForgedBackup { hours: 24, at: &["disk"], ..ForgedBackup::default() });
    longshore(&["status"]).expect(0).shows("03:00");
}

#[test]
fn series_without_max_age_is_unknown() {
    let offline_env = OfflineEnv::new(NIGHTLY);
    offline_env.add_backup(&ForgedBackup::default());
    offline_env.longshore(&["status"]).expect(3).shows("unknown  main/shop").shows("no age limit is set");
    let (status, code) = offline_env.status(&[]);
    assert_eq!((problem_kinds(&status), code), (vec!["unjudged".to_owned()], Some(3)));
    assert_eq!(status["series"][0]["level"], "unknown");
    offline_env.longshore(&["status", "--nagios"]).expect(3).shows("UNKNOWN - main/shop: no age limit is set");
    offline_env.configure(&format!("{NIGHTLY}max_age = 'none'"));
    offline_env.longshore(&["status"]).expect(0);
    offline_env.longshore(&["status", "--nagios"]).expect(0).shows("OK - 1 series");
    offline_env.configure(&format!("{NIGHTLY}max_age = 'never'"));
    offline_env.longshore(&["status"]).expect(1).shows("is not a length of time").shows("\"none\"");
}

#[test]
fn old_backup_is_stale_per_destination() {
    let offline_env = OfflineEnv::new(&format!("{NIGHTLY}max_age = '26h'"));
    offline_env.add_backup(&ForgedBackup { hours: 30, ..ForgedBackup::default() });
    offline_env
        .longshore(&["status"])
        .expect(3)
        .shows("critical  main/shop  all")
        .shows("30 h old")
        .shows("max_age is 26h");
    offline_env.add_backup(&ForgedBackup { hours: 3, at: &["disk"], ..ForgedBackup::default() });
    let (status, code) = offline_env.status(&[]);
    assert_eq!((problem_kinds(&status), code), (vec!["stale".to_owned()], Some(3)));
    assert_eq!(status["attention"][0]["destination"], "nas");
    let stale = |place: usize| &status["series"][0]["destinations"][place]["stale"];
    assert_eq!((stale(0), stale(1)), (&false.into(), &true.into()));
    // Without a max_age in the configuration, `--max-age` sets the limit.
    offline_env.configure(NIGHTLY);
    offline_env.longshore(&["status"]).expect(3).shows("the newest backup").shows("is missing").shows("--max-age");
    offline_env.longshore(&["status", "--max-age", "none"]).expect(0).shows("is missing").omits("--max-age");
    offline_env.longshore(&["status", "--max-age", "1h"]).expect(3).shows("max_age is 1h");
}

#[test]
fn missed_run_is_late_by_schedule() {
    let offline_env = OfflineEnv::new("");
    offline_env.add_backup(&ForgedBackup { hours: 5, ..ForgedBackup::default() });
    // With an hour of grace, a run due four hours ago is late; a run due in two hours is not.
    let due = |hours: i64| (Utc::now() + TimeDelta::hours(hours)).format("%M %H * * *").to_string();
    offline_env.configure(&format!("{NIGHTLY}schedule = '{}'", due(2)));
    offline_env.longshore(&["status"]).expect(0);
    offline_env.configure(&format!("{NIGHTLY}schedule = '{}'", due(-4)));
    offline_env.longshore(&["status"]).expect(3).shows("the run due at").shows("made no good backup");
    offline_env.add_backup(&ForgedBackup::default());
    offline_env.longshore(&["status"]).expect(0);
}

#[test]
fn missing_destination_hides_no_other() {
    let offline_env = OfflineEnv::new(&format!("{NIGHTLY}max_age = 'none'"));
    offline_env.add_backup(&ForgedBackup::default());
    std::fs::remove_dir_all(offline_env.path("nas")).unwrap();
    let result = offline_env
        .longshore(&["status"])
        .expect(3)
        .shows("nas          cannot be read")
        .shows("main/shop")
        .shows("1 of 2");
    let result = result.shows("hint: nas: ");
    assert_eq!(
        format!("{}{}", result.stdout, result.stderr).matches("the directory does not exist").count(),
        1,
        "{result:?}"
    );
    let (status, code) = offline_env.status(&[]);
    assert_eq!((problem_kinds(&status), code), (vec!["unreadable".to_owned()], Some(3)));
    assert_eq!(status["series"][0]["copies"]["unseen"], serde_json::json!(["nas"]));
    offline_env.longshore(&["status", "--nagios"]).expect(2).shows("CRITICAL - nas: cannot be read");
    std::fs::remove_dir_all(offline_env.path("disk")).unwrap();
    offline_env.longshore(&["status"]).expect(2);
    offline_env.longshore(&["status", "--nagios"]).expect(3).shows("UNKNOWN - ");
}

#[test]
fn damaged_newest_backup_does_not_count() {
    let offline_env = OfflineEnv::new(&format!("{NIGHTLY}max_age = '26h'"));
    offline_env.add_backup(&ForgedBackup { hours: 20, ..ForgedBackup::default() });
    let newest = offline_env.add_backup(&ForgedBackup { hours: 2, ..ForgedBackup::default() });
    std::fs::remove_file(offline_env.path("disk").join(newest.artifact(".dump").unwrap().as_str())).unwrap();
    offline_env.longshore(&["status"]).expect(4).shows("is damaged: no artifact").shows("20 h damaged");
    let (status, _) = offline_env.status(&[]);
    assert_eq!(problem_kinds(&status), ["damaged"]);
    assert_eq!(status["series"][0]["copies"]["present"], serde_json::json!(["nas"]));
    offline_env.longshore(&["status", "--nagios"]).expect(2).shows("CRITICAL - main/shop at disk: the newest backup");
}

#[test]
fn shrunken_dump_is_a_warning() {
    let offline_env = OfflineEnv::new(&format!("{NIGHTLY}max_age = 'none'"));
    for hours in [50, 40, 30, 20] {
        offline_env.add_backup(&ForgedBackup { hours, ..ForgedBackup::default() });
    }
    offline_env.add_backup(&ForgedBackup { hours: 2, plaintext_bytes: 700 << 10, ..ForgedBackup::default() });
    offline_env.longshore(&["status"]).expect(0).shows("-32 %").omits("smaller");
    offline_env.add_backup(&ForgedBackup {
        hours: 1,
        plaintext_bytes: 600 << 10,
        tables: 12,
        ..ForgedBackup::default()
    });
    let (status, code) = offline_env.status(&[]);
    assert_eq!((problem_kinds(&status), code), (vec!["shrunk".to_owned(), "tables_vanished".to_owned()], Some(0)));
    offline_env.longshore(&["status"]).expect(0).shows("the newest dump is 42 % smaller").shows("12, before 14");
    offline_env.longshore(&["status", "--nagios"]).expect(1).shows("WARNING - ").shows("warnings=2;0;;0");
}

#[test]
fn restore_time_comes_from_the_last_drill() {
    let offline_env = OfflineEnv::new(&format!("{NIGHTLY}max_age = 'none'"));
    for (hours, seconds) in [(30, 200.0), (20, 240.0), (2, 300.0)] {
        let name = offline_env.add_backup(&ForgedBackup { hours, ..ForgedBackup::default() });
        drilled(&offline_env, &name, hours, seconds);
    }
    let (status, code) = offline_env.status(&[]);
    let (series, restore) = (&status["series"][0], &status["series"][0]["restore"]);
    assert_eq!((code, &restore["seconds"], &restore["median_seconds"]), (Some(0), &300.0.into(), &240.0.into()));
    assert_eq!(restore["drills"].as_array().unwrap().len(), 3);
    assert_eq!(series["destinations"][0]["drilled"]["backup"], series["newest"]["backup"]);
    assert_eq!(
        series["destinations"][1]["drilled"],
        serde_json::Value::Null,
        "a drill proves the copy at one destination only"
    );
    offline_env.longshore(&["status"]).expect(0).shows("5 min").shows("+25 %");
    offline_env.longshore(&["status", "--nagios"]).expect(0).shows("restore=300.0s");
}

/// Records a drill of a backup at `disk`.
fn drilled(offline_env: &OfflineEnv, name: &BackupName, hours: i64, seconds: f64) {
    let time = Utc::now() - TimeDelta::hours(hours);
    let phase = |name: &str, seconds, restores| Phase { name: name.to_owned(), seconds, restores };
    let drill = Drill {
        longshore: "0.1.0".to_owned(),
        by: "postgres@db1".to_owned(),
        why: String::new(),
        backup: name.clone(),
        destination: "disk".to_owned(),
        started: time,
        finished: time,
        verdict: Verdict::Good,
        scratch: "PostgreSQL 17.4".to_owned(),
        tools: Vec::new(),
        phases: vec![phase("restore", seconds, true), phase("compare", 1000.0, false)],
        compared: 3,
        different: 0,
        comparisons: Vec::new(),
        answers: Vec::new(),
    };
    let mark = MarkName { backup: name.clone(), kind: MarkKind::Drilled, time: Timestamp::new(time) };
    offline_env.put("disk", mark.key().unwrap().as_str(), &serde_json::to_vec(&drill).unwrap());
}

#[test]
fn host_without_jobs_sees_all_series() {
    let offline_env = OfflineEnv::new("");
    offline_env.add_backup(&ForgedBackup { hours: 30, ..ForgedBackup::default() });
    offline_env.add_backup(&ForgedBackup { database: "crm", at: &["disk"], run_backups: 2, ..ForgedBackup::default() });
    offline_env.longshore(&["status"]).expect(3).shows("main/crm").shows("main/shop").shows("no age limit is set");
    offline_env.longshore(&["status", "--max-age", "none"]).expect(0).shows("main/crm").shows("main/shop");
    offline_env
        .longshore(&["status", "nightly", "--max-age", "26h"])
        .expect(3)
        .shows("main/shop")
        .shows("max_age is 26h");
    offline_env.longshore(&["status", "weekly"]).expect(1).shows("no such job");
    offline_env.longshore(&["list"]).expect(0).shows("main/crm");
    offline_env.longshore(&["verify"]).shows("main/crm").omits("no job");
    offline_env.longshore(&["restore", "crm", "--list"]).omits("no job");
    offline_env.longshore(&["run"]).expect(1).shows("there is no job").shows("add a table [job.NAME]");
    offline_env.longshore(&["check"]).shows("no job: this host");
    std::fs::write(offline_env.path("config.toml"), "").unwrap();
    offline_env.longshore(&["list"]).expect(1).shows("neither a job nor a destination");
}

#[test]
fn dropped_series_has_ended_and_failed_is_stale() {
    let offline_env = OfflineEnv::new(&format!("{NIGHTLY}max_age = '26h'"));
    offline_env.add_backup(&ForgedBackup { database: "gone", hours: 50, ..ForgedBackup::default() });
    offline_env.add_backup(&ForgedBackup { hours: 1, run_backups: 2, ..ForgedBackup::default() });
    let (status, code) = offline_env.status(&[]);
    assert_eq!((problem_kinds(&status), code), (vec!["stale".to_owned()], Some(3)), "the run is incomplete");
    offline_env.add_backup(&ForgedBackup { hours: 0, run_backups: 1, ..ForgedBackup::default() });
    let (status, code) = offline_env.status(&[]);
    assert_eq!((problem_kinds(&status), code), (vec![], Some(0)));
    assert!(status["series"][0]["ended"].is_string() && status["series"][1]["ended"].is_null());
    offline_env.longshore(&["status"]).expect(0).shows("ended").shows("2 d");
}

#[test]
fn future_backup_does_not_hide_stale_series() {
    let offline_env = OfflineEnv::new(&format!("{NIGHTLY}max_age = '26h'"));
    offline_env.add_backup(&ForgedBackup { hours: 30, ..ForgedBackup::default() });
    offline_env.add_backup(&ForgedBackup { hours: -10, ..ForgedBackup::default() });
    let result = offline_env.longshore(&["status"]).expect(3).shows("in the future, and does not count");
    result.shows("the newest good backup is 30 h old");
}

#[test]
fn nagios_output_is_always_one_line() {
    let offline_env = OfflineEnv::new(&format!("{NIGHTLY}max_age = '26h'"));
    for number in 0..20 {
        let database = format!("db{number:02}");
        offline_env.add_backup(&ForgedBackup {
            database: &database,
            hours: 40,
            run_backups: 20,
            ..ForgedBackup::default()
        });
    }
    let line = offline_env
        .longshore(&["status", "--nagios"])
        .expect(2)
        .shows("; and 17 more | series=20;;;0 critical=20;;0;0");
    assert_eq!(line.stdout.lines().count(), 1, "{}", line.stdout);
    offline_env
        .longshore(&["status"])
        .expect(3)
        .shows("20 series")
        .shows("main/db00, main/db01, main/db02 and 17 more");
    offline_env.configure("[job.nightly]\nnonsense = 1");
    let line = offline_env.longshore(&["status", "--nagios"]).expect(3).shows("UNKNOWN - ");
    assert_eq!(line.stdout.lines().count(), 1, "{}", line.stdout);
}

#[test]
fn invalid_age_and_schedule_report_their_position() {
    let offline_env = OfflineEnv::new("");
    for (settings, expected) in [
        ("max_age = '26 hours'", "is not a length of time"),
        ("schedule = 'nightly'", "write five fields as in cron"),
        ("schedule = '0 0 3 * * *'", "write five fields as in cron"),
        ("schedule = '0 0 30 2 *'", "no such day exists"),
        ("schedule = '0 3 * * *'\ntimezone = 'Berlin'", "Europe/Berlin"),
        ("timezone = 'Europe/Berlin'", "timezone needs a schedule"),
    ] {
        offline_env.configure(&format!("{NIGHTLY}{settings}"));
        offline_env.longshore(&["check"]).expect(1).shows(expected).shows("config.toml:");
    }
}
