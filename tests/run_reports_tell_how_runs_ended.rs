//! Each run of a command that changes something leaves a report on its host and at every
//! destination of its job, even if the run fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::{TimeDelta, Utc};
use longshore_core::key::Stamp;
use serde_json::Value;

use crate::support::fleet::{Fleet, Made};
use crate::support::{Ended, Job, Workshop, files, finish};

/// Returns the JSON files in a folder whose names have this ending, sorted by name.
fn reports(folder: &Path, end: &str) -> Vec<(String, Value)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(end) && !name.ends_with(".details.json")).collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), read(&folder.join(name)))).collect()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn here(workshop: &Workshop) -> PathBuf {
    workshop.path("state/runs")
}

fn there(workshop: &Workshop) -> PathBuf {
    workshop.local().join("main/runs/nightly")
}

/// Returns the last report of a command on this host.
#[track_caller]
fn last(workshop: &Workshop, verb: &str) -> Value {
    let all = reports(&here(workshop), ".json");
    let of_verb = all.into_iter().filter(|(_, report)| report["verb"] == verb);
    of_verb.max_by_key(|(_, report)| report["begun"].as_str().unwrap().to_owned()).expect("a report").1
}

/// Runs Longshore as another host, which has only the destination in its configuration.
fn elsewhere(workshop: &Workshop, arguments: &[&str]) -> Ended {
    let config = workshop.path("elsewhere.toml");
    let path = workshop.local().display().to_string();
    let state = workshop.path("elsewhere").display().to_string();
    fs::write(&config, format!("state_dir = '{state}'\n[destination.there]\ntype = 'local'\npath = '{path}'\n"))
        .unwrap();
    finish(workshop.command().args(arguments).arg("--config").arg(&config))
}

const AGE: &str = "max_age = '26h'";

#[test]
fn a_failed_run_is_seen_from_another_host() {
    let workshop = Workshop::new();
    let job = Job { more: AGE, ..Job::default() };
    workshop.configure(&job);
    workshop.longshore(&["run"]).expect(0);
    workshop.longshore(&["status"]).expect(0).says("LAST RUN").says("done");
    elsewhere(&workshop, &["status"]).expect(0).says("LAST RUN").says("done");

    workshop.configure_with_connection(&job, "host=/nowhere user=secretive");
    workshop.longshore(&["run"]).expect(2);
    let told = workshop.longshore(&["status"]).expect(3).says("last run failed").says("FAILED");
    told.says("/nowhere");
    workshop.longshore(&["status", "--nagios"]).expect(2).says("CRITICAL - nightly: last run failed");
    let status = workshop.json(&["status", "--json"]);
    assert_eq!(status["attention"][0]["matter"], "run_failed");
    assert_eq!(
        (&status["jobs"][0]["job"], &status["jobs"][0]["last_run"]["exit_code"]),
        (&"nightly".into(), &2.into())
    );

    // Another host sees the class of the error. The message needs the identity.
    let told = elsewhere(&workshop, &["status"]).expect(3).says("last run failed").says("connect: ");
    told.keeps_quiet_about("/nowhere");
    elsewhere(&workshop, &["status", "--nagios"]).expect(2).says("CRITICAL - nightly: last run failed");
    let identity = workshop.identity();
    elsewhere(&workshop, &["status", "--identity", identity.to_str().unwrap()]).expect(3).says("/nowhere");
    for file in fs::read_dir(there(&workshop)).unwrap() {
        let text = String::from_utf8_lossy(&fs::read(file.unwrap().path()).unwrap()).into_owned();
        assert!(!text.contains("nowhere") && !text.contains("secretive"), "{text}");
    }

    workshop.configure(&job);
    workshop.longshore(&["run"]).expect(0);
    elsewhere(&workshop, &["status"]).expect(0).says("done");
    workshop.longshore(&["status", "--nagios"]).expect(0).says("OK - ");
}

#[test]
fn a_report_holds_what_a_run_made_and_the_one_before() {
    let workshop = Workshop::new();
    workshop.configure(&Job { more: "max_age = '26h'\nschedule = '0 3 * * *'", ..Job::default() });
    for _ in 0..2 {
        workshop.longshore(&["run"]).expect(0);
    }
    let (kept, shipped) = (reports(&here(&workshop), ".json"), reports(&there(&workshop), ".json"));
    assert_eq!((kept.len(), shipped.len()), (2, 2));
    assert!(kept.iter().zip(&shipped).all(|((_, kept), (_, shipped))| kept == shipped));
    let (name, report) = &shipped[1];
    assert_eq!(*name, format!("{}.json", report["id"].as_str().unwrap()));
    for (field, value) in [("verb", "run"), ("job", "nightly"), ("cluster", "main"), ("outcome", "done")] {
        assert_eq!(report[field], value);
    }
    assert_eq!((&report["format"], &report["exit_code"]), (&1.into(), &0.into()));
    assert_eq!(report["terms"]["max_age"], "26h");
    assert_eq!((&report["terms"]["schedule"], &report["terms"]["timezone"]), (&"0 3 * * *".into(), &"UTC".into()));
    assert_eq!(report["terms"]["destinations"], serde_json::json!(["local"]));
    let sum = |path: &Path| {
        let sum = finish(Command::new("sha256sum").arg(path)).expect(0).stdout;
        Value::from(sum.split(' ').next().unwrap())
    };
    assert_eq!(report["previous"]["sha256"], sum(&there(&workshop).join(&shipped[0].0)));
    assert_eq!(shipped[0].1.get("previous"), None);
    let made = report["subjects"].as_array().unwrap();
    assert_eq!(made.len(), 2);
    for subject in made {
        let manifest = workshop.local().join(format!("{}.json", subject["backup"].as_str().unwrap()));
        assert_eq!(subject["destinations"][0]["manifest"]["sha256"], sum(&manifest));
        assert_eq!(read(&manifest)["run"], report["run"]);
    }
    assert_eq!(reports(&here(&workshop), ".begun").len(), 0);
}

#[test]
fn a_killed_run_is_reported_as_lost() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 64);
    let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
    workshop.configure(&Job { dump, more: AGE, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let mut killed = workshop.start(&["run"]);
    workshop.wait_for_backend("COPY%bulk%");
    workshop.longshore(&["status"]).expect(0).says("running since");
    killed.kill().unwrap();
    killed.wait().unwrap();
    workshop.longshore(&["status"]).expect(3).says("last run was lost").says("LOST");
    workshop.longshore(&["status", "--nagios"]).expect(2).says("CRITICAL - nightly: last run was lost");
    elsewhere(&workshop, &["status"]).expect(0);

    // The next run of any command of the job reports the lost run at all destinations.
    workshop.configure(&Job { dump, more: "max_age = '26h'\n[retention.r]\nkeep_last = 9", ..Job::default() });
    workshop.longshore(&["prune", "nightly"]).expect(0);
    elsewhere(&workshop, &["status"]).expect(3).says("last run was lost");
    workshop.longshore(&["status"]).expect(3).says("last run was lost");
    let lost = last(&workshop, "run");
    assert_eq!((&lost["outcome"], lost.get("ended"), lost.get("exit_code")), (&"lost".into(), None, None));
    assert_eq!(reports(&here(&workshop), ".begun").len(), 0);
    workshop.longshore(&["run"]).expect(0);
    elsewhere(&workshop, &["status"]).expect(0);
}

#[test]
fn an_interrupted_a_locked_and_a_partial_run_are_told_apart() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 64);
    let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
    let (local, nas) = (workshop.local(), workshop.make_folder("nas"));
    let ship = [("local", local.as_path()), ("nas", nas.as_path())];
    workshop.configure(&Job { dump, ship: &ship, more: AGE, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let run = workshop.start(&["run"]);
    workshop.wait_for_backend("COPY%bulk%");
    workshop.longshore(&["run"]).expect(5);
    assert_eq!(last(&workshop, "run")["outcome"], "locked");
    finish(Command::new("kill").args(["-s", "TERM", &run.id().to_string()])).expect(0);
    Ended::of(run.wait_with_output().unwrap()).expect(143);
    let shipped = reports(&there(&workshop), ".json").into_iter();
    let mut outcomes: Vec<_> = shipped.map(|(_, report)| report["outcome"].as_str().unwrap().to_owned()).collect();
    outcomes.sort();
    assert_eq!(outcomes, ["done", "interrupted", "locked"]);
    // The report of the locked run does not hide the interrupted run.
    workshop.longshore(&["status"]).expect(3).says("last run was interrupted");

    fs::rename(&nas, workshop.path("away")).unwrap();
    workshop.longshore(&["run"]).expect(3);
    fs::rename(workshop.path("away"), &nas).unwrap();
    workshop.longshore(&["status"]).expect(3).says("last run was partial").says("PARTIAL");
    workshop.longshore(&["status", "--nagios"]).expect(1).says("WARNING - nightly: last run was partial");
    elsewhere(&workshop, &["status"]).expect(3).says("last run was partial").says("nas (");
    workshop.longshore(&["run"]).expect(0);
    workshop.longshore(&["status", "--nagios"]).expect(0);
}

#[test]
fn every_verb_that_acts_leaves_a_report() {
    let workshop = Workshop::new();
    workshop.longshore(&["run"]).expect(0);
    let connection = workshop.cluster.connection();
    for (arguments, verb, exit) in [
        (&["verify"][..], "verify", 0),
        (&["hold", "globals", "--why", "an audit"], "hold", 0),
        (&["unhold", "globals"], "unhold", 0),
        (&["sync"], "sync", 1),
        (&["prune"], "prune", 0),
        (&["drill", "--identity", "/nowhere"], "drill", 1),
        (&["restore", "globals", "--to", &connection], "restore", 1),
    ] {
        let ended = workshop.longshore(arguments);
        let report = last(&workshop, verb);
        assert_eq!(report["exit_code"].as_i64(), ended.code.map(i64::from), "{verb}: {ended:?}");
        assert_eq!(exit == 0, ended.code == Some(0), "{verb}: {ended:?}");
        assert_eq!(report["outcome"], if exit == 0 { "done" } else { "failed" }, "{verb}");
    }
    let shipped = reports(&there(&workshop), ".json").into_iter().map(|(_, report)| report["verb"].clone());
    let mut shipped: Vec<_> = shipped.map(|verb| verb.as_str().unwrap().to_owned()).collect();
    shipped.sort();
    assert_eq!(shipped, ["drill", "run", "sync"], "the other verbs have no job");
    let before = reports(&here(&workshop), ".json").len();
    for looks in [&["list"][..], &["status"], &["prune", "--dry-run"], &["check"], &["restore", "globals", "--list"]] {
        workshop.longshore(looks);
    }
    workshop.longshore(&["run", "nosuch"]).expect(1);
    assert_eq!(reports(&here(&workshop), ".json").len(), before, "read-only verbs leave no report");
}

#[test]
fn any_host_judges_by_the_terms_that_a_report_states() {
    let fleet = Fleet::new("");
    fleet.make(&Made { hours: 30, ..Made::default() });
    fleet.longshore(&["status"]).expect(3).says("no age limit is set");
    fleet.put("disk", &report_key(30), &report(30, r#"{"max_age":"26h","destinations":["disk","nas"]}"#));
    let told = fleet.longshore(&["status"]).expect(3).says("CRITICAL  main/shop").says("max_age is 26h");
    told.keeps_quiet_about("no age limit");
    fleet.put("nas", &report_key(29), &report(29, r#"{"max_age":"none","destinations":[]}"#));
    fleet.longshore(&["status"]).expect(0).says("good");
    fleet.put("nas", &report_key(28), &report(28, r#"{"schedule":"0 3 * * *","timezone":"UTC","destinations":[]}"#));
    fleet.longshore(&["status"]).expect(3).says("the run due at");
    // The local configuration takes precedence.
    fleet.configure(&format!("{}max_age = '90d'", crate::support::fleet::NIGHTLY));
    fleet.longshore(&["status"]).expect(0);
    fleet.put("nas", &report_key(27), b"{ no report");
    fleet.longshore(&["status"]).expect(0).says("a run report cannot be read");
}

/// Returns the key of the report of a run that many hours ago.
fn report_key(hours: i64) -> String {
    format!("main/runs/nightly/{}.json", report_id(hours))
}

fn report_id(hours: i64) -> String {
    format!("{}-run-0123abcd", Stamp::new(Utc::now() - TimeDelta::hours(hours)))
}

fn report(hours: i64, terms: &str) -> Vec<u8> {
    let time = (Utc::now() - TimeDelta::hours(hours)).to_rfc3339();
    let id = report_id(hours);
    format!(
        r#"{{"format":1,"longshore":"0.2.0","id":"{id}","verb":"run","job":"nightly","cluster":"main","host":"db1",
            "begun":"{time}","ended":"{time}","exit_code":0,"outcome":"done","terms":{terms}}}"#
    )
    .into_bytes()
}

#[test]
fn reports_are_pruned_by_count_and_age() {
    for more in ["", "retention = 'r'\n[retention.r]\nkeep_last = 2"] {
        let workshop = Workshop::new();
        let dump = "[{ type = 'pg_dumpall' }]";
        workshop.configure(&Job { dump, more, ..Job::default() });
        workshop.longshore(&["run"]).expect(0);
        let (mine, _) = reports(&here(&workshop), ".json").remove(0);
        let prefix = mine.split_once('.').unwrap().0;
        for hours in (1..=430).chain([401 * 24]) {
            let name = format!("{}.json", report_id(hours));
            fs::write(there(&workshop).join(&name), report(hours, "null")).unwrap();
            fs::write(here(&workshop).join(format!("{prefix}.{name}")), report(hours, "null")).unwrap();
        }
        workshop.longshore(&["run"]).expect(0);
        // The report of this run is written after the pruning.
        let (kept, shipped) = (reports(&here(&workshop), ".json").len(), reports(&there(&workshop), ".json").len());
        assert!(kept == 400 && (400..=401).contains(&shipped), "{kept} on this host, {shipped} at the destination");
        workshop.longshore(&["list"]).expect(0);
    }
}

#[test]
fn a_database_called_runs_and_odd_jobs_are_no_reports() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("runs");
    workshop.cluster.psql("runs", "create table t as select 1 as a");
    let odd = "runs-2026-06-07_091500.json";
    workshop
        .configure(&Job { more: "max_age = 'none'\nretention = 'r'\n[retention.r]\nkeep_last = 1", ..Job::default() });
    let config = fs::read_to_string(workshop.config_path()).unwrap();
    fs::write(workshop.config_path(), config.replace("[job.nightly]", &format!("[job.\"{odd}\"]"))).unwrap();
    for _ in 0..2 {
        workshop.longshore(&["run"]).expect(0);
    }
    assert_eq!(reports(&workshop.local().join("main/runs").join(odd.replace("runs-", "%72uns-")), ".json").len(), 2);
    let listed = workshop.longshore(&["list", "--json"]).expect(0);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let mut subjects: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["name"].as_str().unwrap().split('/').nth(1).unwrap())
        .collect();
    subjects.sort_unstable();
    assert_eq!(subjects, ["globals", "postgres", "runs"]);
    workshop.longshore(&["list"]).expect(0).keeps_quiet_about("no backup");
    workshop.longshore(&["verify", "--all"]).expect(0);
    workshop.longshore(&["status"]).expect(0).says("main/runs").says(odd);
    workshop.opening(&["restore", "runs", "--output", workshop.path("runs.dump").to_str().unwrap()]).expect(0);
    let pruned = workshop.longshore(&["prune", "--dry-run", "--json"]).expect(0);
    assert!(!pruned.stdout.contains("-run-"), "{}", pruned.stdout);
}

#[test]
fn a_report_that_cannot_be_shipped_fails_no_run() {
    let workshop = Workshop::new();
    fs::create_dir(workshop.local().join("main")).unwrap();
    // A file in place of the folder of reports.
    fs::write(workshop.local().join("main/runs"), "another program's file").unwrap();
    workshop.longshore(&["run"]).expect(0).says("warning: the run report is not at destination \"local\"");
    assert_eq!(last(&workshop, "run")["outcome"], "done");
    fs::remove_file(workshop.local().join("main/runs")).unwrap();
    // A report that cannot be written on this host fails no run either.
    fs::remove_dir_all(workshop.path("state")).unwrap();
    fs::write(workshop.path("state"), "").unwrap();
    workshop.longshore(&["run"]).expect(0).says("warning: the run report: ");
    assert_eq!(reports(&there(&workshop), ".json").len(), 1);
}

#[test]
fn a_report_is_the_business_of_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let workshop = Workshop::new();
    workshop.configure_with_connection(&Job::default(), "host=/nowhere");
    workshop.longshore(&["run"]).expect(2);
    for file in files(&here(&workshop)) {
        assert_eq!(fs::metadata(here(&workshop).join(&file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    let details = fs::read_dir(there(&workshop)).unwrap().map(|entry| entry.unwrap().path());
    let details = details.filter(|path| path.to_str().unwrap().ends_with(".details.json.age")).collect::<Vec<_>>();
    let opened = Command::new("age").arg("-d").arg("-i").arg(workshop.identity()).arg(&details[0]).output().unwrap();
    let opened: Value = serde_json::from_slice(&opened.stdout).unwrap();
    assert!(opened["error"].as_str().unwrap().contains("/nowhere"), "{opened}");
}
