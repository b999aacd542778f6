//! `status` reports the age, state and number of the newest backups from the destinations alone.
//! Its exit code is an alarm.

use chrono::{TimeDelta, Utc};
use longshore_core::drill::{Drill, Phase, Verdict};
use longshore_core::key::{BackupName, Stamp};
use longshore_core::mark::{MarkName, Says};

use crate::support::fleet::{Fleet, Made, NIGHTLY};
use crate::support::{Job, Workshop, finish};

/// Returns the kinds of problems in `attention`.
fn matters(status: &serde_json::Value) -> Vec<String> {
    let matter = |attention: &serde_json::Value| attention["matter"].as_str().unwrap().to_owned();
    status["attention"].as_array().unwrap().iter().map(matter).collect()
}

#[test]
fn what_a_run_made_is_fresh_and_its_copies_space_and_next_run_are_told() {
    let workshop = Workshop::new();
    let more = "max_age = '26h'\nschedule = '0 3 * * *'\ntimezone = 'Europe/Berlin'";
    workshop.configure(&Job { more, ..Job::default() });
    workshop.longshore(&["status"]).expect(3).says("job \"nightly\" has no backup");
    workshop.longshore(&["run"]).expect(0);
    let told = workshop.longshore(&["status"]).expect(0).says("main/globals").says("1 of 1").says("never");
    assert!(!told.stdout.contains("STATE  SERIES") && !told.stdout.contains('\u{1b}'), "{}", told.stdout);
    workshop.longshore(&["verify"]).expect(0);
    let status = workshop.json(&["status", "--json"]);
    assert_eq!(matters(&status), [""; 0]);
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
    workshop.longshore(&["status", "--nagios"]).expect(0).says("OK - 2 series at 1 destination are good | series=2");
}

#[test]
fn tables_that_vanished_are_counted_and_named_to_whoever_has_the_key() {
    let workshop = Workshop::new();
    workshop.configure(&Job { more: "max_age = 'none'", ..Job::default() });
    workshop.cluster.create_database("shop");
    workshop.cluster.psql("shop", "create table orders (); create table customers ()");
    workshop.longshore(&["run"]).expect(0);
    workshop.cluster.psql("shop", "drop table customers");
    workshop.longshore(&["run"]).expect(0);
    let counted = workshop.longshore(&["status"]).expect(0).says("tables vanished: 1, before 2");
    counted.keeps_quiet_about("customers");
    workshop.opening(&["status"]).expect(0).says("tables vanished: 1, before 2: public.customers");
    workshop.longshore(&["status", "--nagios"]).expect(1).says("WARNING - main/shop: tables vanished");
}

#[test]
fn what_init_writes_alarms_after_two_days() {
    let (workshop, fleet) = (Workshop::new(), Fleet::new(""));
    let (config, destination) = (workshop.path("etc/config.toml"), fleet.path("disk"));
    let longshore = |arguments: &[&str]| finish(workshop.command().args(arguments).arg("--config").arg(&config));
    let connection = workshop.cluster.connection();
    longshore(&["init", "--connection", &connection, "--destination", destination.to_str().unwrap()]).expect(0);
    longshore(&["status"]).expect(3).says("job \"nightly\" has no backup");
    fleet.make(&Made { hours: 48, at: &["disk"], ..Made::default() });
    longshore(&["status"]).expect(3).says("CRITICAL  main/shop").says("max_age is 26h");
    longshore(&["status", "--nagios"]).expect(2).says("CRITICAL - main/shop");
    fleet.make(&Made { hours: 24, at: &["disk"], ..Made::default() });
    longshore(&["status"]).expect(0).says("03:00");
}

#[test]
fn a_series_without_terms_is_unknown_and_alarms() {
    let fleet = Fleet::new(NIGHTLY);
    fleet.make(&Made::default());
    fleet.longshore(&["status"]).expect(3).says("unknown  main/shop").says("no age limit is set");
    let (status, code) = fleet.status(&[]);
    assert_eq!((matters(&status), code), (vec!["unjudged".to_owned()], Some(3)));
    assert_eq!(status["series"][0]["level"], "unknown");
    fleet.longshore(&["status", "--nagios"]).expect(3).says("UNKNOWN - main/shop: no age limit is set");
    fleet.configure(&format!("{NIGHTLY}max_age = 'none'"));
    fleet.longshore(&["status"]).expect(0);
    fleet.longshore(&["status", "--nagios"]).expect(0).says("OK - 1 series");
    fleet.configure(&format!("{NIGHTLY}max_age = 'never'"));
    fleet.longshore(&["status"]).expect(1).says("is not a length of time").says("\"none\"");
}

#[test]
fn what_is_older_than_it_may_be_is_stale_where_it_is() {
    let fleet = Fleet::new(&format!("{NIGHTLY}max_age = '26h'"));
    fleet.make(&Made { hours: 30, ..Made::default() });
    fleet.longshore(&["status"]).expect(3).says("CRITICAL  main/shop  all").says("30 h old").says("max_age is 26h");
    fleet.make(&Made { hours: 3, at: &["disk"], ..Made::default() });
    let (status, code) = fleet.status(&[]);
    assert_eq!((matters(&status), code), (vec!["stale".to_owned()], Some(3)));
    assert_eq!(status["attention"][0]["destination"], "nas");
    let stale = |place: usize| &status["series"][0]["destinations"][place]["stale"];
    assert_eq!((stale(0), stale(1)), (&false.into(), &true.into()));
    // Without a max_age in the configuration, `--max-age` sets the limit.
    fleet.configure(NIGHTLY);
    fleet.longshore(&["status"]).expect(3).says("the newest backup").says("is missing").says("--max-age");
    fleet.longshore(&["status", "--max-age", "none"]).expect(0).says("is missing").keeps_quiet_about("--max-age");
    fleet.longshore(&["status", "--max-age", "1h"]).expect(3).says("max_age is 1h");
}

#[test]
fn a_run_that_did_not_come_is_late_by_its_schedule() {
    let fleet = Fleet::new("");
    fleet.make(&Made { hours: 5, ..Made::default() });
    // With an hour of grace, a run due four hours ago is late; a run due in two hours is not.
    let due = |hours: i64| (Utc::now() + TimeDelta::hours(hours)).format("%M %H * * *").to_string();
    fleet.configure(&format!("{NIGHTLY}schedule = '{}'", due(2)));
    fleet.longshore(&["status"]).expect(0);
    fleet.configure(&format!("{NIGHTLY}schedule = '{}'", due(-4)));
    fleet.longshore(&["status"]).expect(3).says("the run due at").says("made no good backup");
    fleet.make(&Made::default());
    fleet.longshore(&["status"]).expect(0);
}

#[test]
fn a_destination_that_is_away_is_told_and_hides_no_other() {
    let fleet = Fleet::new(&format!("{NIGHTLY}max_age = 'none'"));
    fleet.make(&Made::default());
    std::fs::remove_dir_all(fleet.path("nas")).unwrap();
    let told = fleet.longshore(&["status"]).expect(3).says("CANNOT BE READ").says("main/shop").says("1 of 2");
    let told = told.says("hint: nas: ");
    assert_eq!(
        format!("{}{}", told.stdout, told.stderr).matches("the directory does not exist").count(),
        1,
        "{told:?}"
    );
    let (status, code) = fleet.status(&[]);
    assert_eq!((matters(&status), code), (vec!["unreadable".to_owned()], Some(3)));
    assert_eq!(status["series"][0]["copies"]["unseen"], serde_json::json!(["nas"]));
    fleet.longshore(&["status", "--nagios"]).expect(2).says("CRITICAL - nas: cannot be read");
    std::fs::remove_dir_all(fleet.path("disk")).unwrap();
    fleet.longshore(&["status"]).expect(2);
    fleet.longshore(&["status", "--nagios"]).expect(3).says("UNKNOWN - ");
}

#[test]
fn a_newest_backup_that_is_damaged_is_told_and_counts_for_nothing() {
    let fleet = Fleet::new(&format!("{NIGHTLY}max_age = '26h'"));
    fleet.make(&Made { hours: 20, ..Made::default() });
    let newest = fleet.make(&Made { hours: 2, ..Made::default() });
    std::fs::remove_file(fleet.path("disk").join(newest.artifact(".dump").unwrap().as_str())).unwrap();
    fleet.longshore(&["status"]).expect(4).says("is damaged: no artifact").says("20 h DAMAGED");
    let (status, _) = fleet.status(&[]);
    assert_eq!(matters(&status), ["damaged"]);
    assert_eq!(status["series"][0]["copies"]["present"], serde_json::json!(["nas"]));
    fleet.longshore(&["status", "--nagios"]).expect(2).says("CRITICAL - main/shop at disk: the newest backup");
}

#[test]
fn a_dump_that_shrank_by_more_than_a_third_and_lost_tables_is_a_warning() {
    let fleet = Fleet::new(&format!("{NIGHTLY}max_age = 'none'"));
    for hours in [50, 40, 30, 20] {
        fleet.make(&Made { hours, ..Made::default() });
    }
    fleet.make(&Made { hours: 2, plaintext_bytes: 700 << 10, ..Made::default() });
    fleet.longshore(&["status"]).expect(0).says("-32 %").keeps_quiet_about("smaller");
    fleet.make(&Made { hours: 1, plaintext_bytes: 600 << 10, tables: 12, ..Made::default() });
    let (status, code) = fleet.status(&[]);
    assert_eq!((matters(&status), code), (vec!["shrunk".to_owned(), "tables_vanished".to_owned()], Some(0)));
    fleet.longshore(&["status"]).expect(0).says("the newest dump is 42 % smaller").says("12, before 14");
    fleet.longshore(&["status", "--nagios"]).expect(1).says("WARNING - ").says("warnings=2;0;;0");
}

#[test]
fn the_restore_time_is_that_of_the_last_drill_with_its_trend() {
    let fleet = Fleet::new(&format!("{NIGHTLY}max_age = 'none'"));
    for (hours, seconds) in [(30, 200.0), (20, 240.0), (2, 300.0)] {
        let name = fleet.make(&Made { hours, ..Made::default() });
        drilled(&fleet, &name, hours, seconds);
    }
    let (status, code) = fleet.status(&[]);
    let (series, restore) = (&status["series"][0], &status["series"][0]["restore"]);
    assert_eq!((code, &restore["seconds"], &restore["median_seconds"]), (Some(0), &300.0.into(), &240.0.into()));
    assert_eq!(restore["drills"].as_array().unwrap().len(), 3);
    assert_eq!(series["destinations"][0]["drilled"]["backup"], series["newest"]["backup"]);
    assert_eq!(
        series["destinations"][1]["drilled"],
        serde_json::Value::Null,
        "a drill proves the copy at one destination only"
    );
    fleet.longshore(&["status"]).expect(0).says("5 min").says("+25 %");
    fleet.longshore(&["status", "--nagios"]).expect(0).says("restore=300.0s");
}

/// Records a drill of a backup at `disk`.
fn drilled(fleet: &Fleet, name: &BackupName, hours: i64, seconds: f64) {
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
    let mark = MarkName { backup: name.clone(), says: Says::Drilled, time: Stamp::new(time) };
    fleet.put("disk", mark.key().unwrap().as_str(), &serde_json::to_vec(&drill).unwrap());
}

#[test]
fn any_host_that_can_read_sees_the_whole_fleet_without_a_job() {
    let fleet = Fleet::new("");
    fleet.make(&Made { hours: 30, ..Made::default() });
    fleet.make(&Made { database: "crm", at: &["disk"], run_backups: 2, ..Made::default() });
    fleet.longshore(&["status"]).expect(3).says("main/crm").says("main/shop").says("no age limit is set");
    fleet.longshore(&["status", "--max-age", "none"]).expect(0).says("main/crm").says("main/shop");
    fleet.longshore(&["status", "nightly", "--max-age", "26h"]).expect(3).says("main/shop").says("max_age is 26h");
    fleet.longshore(&["status", "weekly"]).expect(1).says("no such job");
    fleet.longshore(&["list"]).expect(0).says("main/crm");
    fleet.longshore(&["verify"]).says("main/crm").keeps_quiet_about("no job");
    fleet.longshore(&["restore", "crm", "--list"]).keeps_quiet_about("no job");
    fleet.longshore(&["run"]).expect(1).says("there is no job").says("add a table [job.NAME]");
    fleet.longshore(&["check"]).says("no job: this host");
    std::fs::write(fleet.path("config.toml"), "").unwrap();
    fleet.longshore(&["list"]).expect(1).says("neither a job nor a destination");
}

#[test]
fn a_database_that_its_job_no_longer_makes_has_ended_and_one_that_failed_is_stale() {
    let fleet = Fleet::new(&format!("{NIGHTLY}max_age = '26h'"));
    fleet.make(&Made { database: "gone", hours: 50, ..Made::default() });
    fleet.make(&Made { hours: 1, run_backups: 2, ..Made::default() });
    let (status, code) = fleet.status(&[]);
    assert_eq!((matters(&status), code), (vec!["stale".to_owned()], Some(3)), "the run is incomplete");
    fleet.make(&Made { hours: 0, run_backups: 1, ..Made::default() });
    let (status, code) = fleet.status(&[]);
    assert_eq!((matters(&status), code), (vec![], Some(0)));
    assert!(status["series"][0]["ended"].is_string() && status["series"][1]["ended"].is_null());
    fleet.longshore(&["status"]).expect(0).says("ended").says("2 d");
}

#[test]
fn a_backup_that_is_dated_in_the_future_does_not_hide_that_others_are_old() {
    let fleet = Fleet::new(&format!("{NIGHTLY}max_age = '26h'"));
    fleet.make(&Made { hours: 30, ..Made::default() });
    fleet.make(&Made { hours: -10, ..Made::default() });
    let told = fleet.longshore(&["status"]).expect(3).says("in the future, and does not count");
    told.says("the newest good backup is 30 h old");
}

#[test]
fn monitoring_gets_one_line_whatever_happens() {
    let fleet = Fleet::new(&format!("{NIGHTLY}max_age = '26h'"));
    for number in 0..20 {
        let database = format!("db{number:02}");
        fleet.make(&Made { database: &database, hours: 40, run_backups: 20, ..Made::default() });
    }
    let line =
        fleet.longshore(&["status", "--nagios"]).expect(2).says("; and 17 more | series=20;;;0 critical=20;;0;0");
    assert_eq!(line.stdout.lines().count(), 1, "{}", line.stdout);
    fleet.longshore(&["status"]).expect(3).says("20 series").says("main/db00, main/db01, main/db02 and 17 more");
    fleet.configure("[job.nightly]\nnonsense = 1");
    let line = fleet.longshore(&["status", "--nagios"]).expect(3).says("UNKNOWN - ");
    assert_eq!(line.stdout.lines().count(), 1, "{}", line.stdout);
}

#[test]
fn terms_that_cannot_be_meant_are_mistakes_with_their_place_in_the_file() {
    let fleet = Fleet::new("");
    for (terms, says) in [
        ("max_age = '26 hours'", "is not a length of time"),
        ("schedule = 'nightly'", "write five fields as in cron"),
        ("schedule = '0 0 3 * * *'", "write five fields as in cron"),
        ("schedule = '0 0 30 2 *'", "no such day exists"),
        ("schedule = '0 3 * * *'\ntimezone = 'Berlin'", "Europe/Berlin"),
        ("timezone = 'Europe/Berlin'", "timezone needs a schedule"),
    ] {
        fleet.configure(&format!("{NIGHTLY}{terms}"));
        fleet.longshore(&["check"]).expect(1).says(says).says("config.toml:");
    }
}
