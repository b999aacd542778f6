//! Each run of a command that changes something leaves a report on its host and at every
//! destination of its job, even if the run fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::{TimeDelta, Utc};
use longshore_core::key::Timestamp;
use serde_json::Value;

use crate::support::offline_env::{ForgedBackup, OfflineEnv};
use crate::support::{CommandOutput, Job, TestEnv, files, finish};

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

fn here(test_env: &TestEnv) -> PathBuf {
    test_env.path("state/runs")
}

fn there(test_env: &TestEnv) -> PathBuf {
    test_env.local().join("main/runs/nightly")
}

/// Returns the last report of a command on this host.
#[track_caller]
fn last(test_env: &TestEnv, verb: &str) -> Value {
    let all = reports(&here(test_env), ".json");
    let of_verb = all.into_iter().filter(|(_, report)| report["verb"] == verb);
    of_verb.max_by_key(|(_, report)| report["begun"].as_str().unwrap().to_owned()).expect("a report").1
}

/// Runs Longshore as another host, which has only the destination in its configuration.
fn from_another_host(test_env: &TestEnv, arguments: &[&str]) -> CommandOutput {
    let config = test_env.path("elsewhere.toml");
    let path = test_env.local().display().to_string();
    let state = test_env.path("elsewhere").display().to_string();
    fs::write(&config, format!("state_dir = '{state}'\n[destination.there]\ntype = 'local'\npath = '{path}'\n"))
        .unwrap();
    finish(test_env.command().args(arguments).arg("--config").arg(&config))
}

const AGE: &str = "max_age = '26h'";

#[test]
fn failed_run_is_visible_from_another_host() {
    let test_env = TestEnv::new();
    let job = Job { more: AGE, ..Job::default() };
    test_env.configure(&job);
    test_env.longshore(&["run"]).expect(0);
    test_env.longshore(&["status"]).expect(0).shows("LAST RUN").shows("done");
    from_another_host(&test_env, &["status"]).expect(0).shows("LAST RUN").shows("done");

    test_env.configure_with_connection(&job, "host=/nowhere user=secretive");
    test_env.longshore(&["run"]).expect(2);
    let result = test_env.longshore(&["status"]).expect(3).shows("last run failed").stdout_shows("nightly  failed");
    result.shows("/nowhere");
    test_env.longshore(&["status", "--nagios"]).expect(2).shows("CRITICAL - nightly: last run failed");
    let status = test_env.json(&["status", "--json"]);
    assert_eq!(status["attention"][0]["matter"], "run_failed");
    assert_eq!(
        (&status["jobs"][0]["job"], &status["jobs"][0]["last_run"]["exit_code"]),
        (&"nightly".into(), &2.into())
    );

    // Another host sees the class of the error. The message needs the identity.
    let result = from_another_host(&test_env, &["status"]).expect(3).shows("last run failed").shows("connect: ");
    result.omits("/nowhere");
    from_another_host(&test_env, &["status", "--nagios"]).expect(2).shows("CRITICAL - nightly: last run failed");
    let identity = test_env.identity();
    from_another_host(&test_env, &["status", "--identity", identity.to_str().unwrap()]).expect(3).shows("/nowhere");
    for file in fs::read_dir(there(&test_env)).unwrap() {
        let text = String::from_utf8_lossy(&fs::read(file.unwrap().path()).unwrap()).into_owned();
        assert!(!text.contains("nowhere") && !text.contains("secretive"), "{text}");
    }

    test_env.configure(&job);
    test_env.longshore(&["run"]).expect(0);
    from_another_host(&test_env, &["status"]).expect(0).shows("done");
    test_env.longshore(&["status", "--nagios"]).expect(0).shows("OK - ");
}

#[test]
fn report_lists_backups_and_previous_run() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { more: "max_age = '26h'\nschedule = '0 3 * * *'", ..Job::default() });
    for _ in 0..2 {
        test_env.longshore(&["run"]).expect(0);
    }
    let (kept, shipped) = (reports(&here(&test_env), ".json"), reports(&there(&test_env), ".json"));
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
    assert_eq!(report["previous"]["sha256"], sum(&there(&test_env).join(&shipped[0].0)));
    assert_eq!(shipped[0].1.get("previous"), None);
    let made = report["subjects"].as_array().unwrap();
    assert_eq!(made.len(), 2);
    for subject in made {
        let manifest = test_env.local().join(format!("{}.json", subject["backup"].as_str().unwrap()));
        assert_eq!(subject["destinations"][0]["manifest"]["sha256"], sum(&manifest));
        assert_eq!(read(&manifest)["run"], report["run"]);
    }
    assert_eq!(reports(&here(&test_env), ".begun").len(), 0);
}

#[test]
fn killed_run_is_reported_as_lost() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 64);
    let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
    test_env.configure(&Job { dump, more: AGE, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let mut killed = test_env.start(&["run"]);
    test_env.wait_for_backend("COPY%bulk%");
    test_env.longshore(&["status"]).expect(0).shows("running since");
    killed.kill().unwrap();
    killed.wait().unwrap();
    test_env.longshore(&["status"]).expect(3).shows("last run was lost").stdout_shows("nightly  lost");
    test_env.longshore(&["status", "--nagios"]).expect(2).shows("CRITICAL - nightly: last run was lost");
    from_another_host(&test_env, &["status"]).expect(0);

    // The next run of any command of the job reports the lost run at all destinations.
    test_env.configure(&Job { dump, more: "max_age = '26h'\n[retention.r]\nkeep_last = 9", ..Job::default() });
    test_env.longshore(&["prune", "nightly"]).expect(0);
    from_another_host(&test_env, &["status"]).expect(3).shows("last run was lost");
    test_env.longshore(&["status"]).expect(3).shows("last run was lost");
    let lost = last(&test_env, "run");
    assert_eq!((&lost["outcome"], lost.get("ended"), lost.get("exit_code")), (&"lost".into(), None, None));
    assert_eq!(reports(&here(&test_env), ".begun").len(), 0);
    test_env.longshore(&["run"]).expect(0);
    from_another_host(&test_env, &["status"]).expect(0);
}

#[test]
fn interrupted_locked_and_partial_runs_differ() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 64);
    let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
    let (local, nas) = (test_env.local(), test_env.make_folder("nas"));
    let ship = [("local", local.as_path()), ("nas", nas.as_path())];
    test_env.configure(&Job { dump, ship: &ship, more: AGE, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let run = test_env.start(&["run"]);
    test_env.wait_for_backend("COPY%bulk%");
    test_env.longshore(&["run"]).expect(5);
    assert_eq!(last(&test_env, "run")["outcome"], "locked");
    finish(Command::new("kill").args(["-s", "TERM", &run.id().to_string()])).expect(0);
    CommandOutput::of(run.wait_with_output().unwrap()).expect(143);
    let shipped = reports(&there(&test_env), ".json").into_iter();
    let mut outcomes: Vec<_> = shipped.map(|(_, report)| report["outcome"].as_str().unwrap().to_owned()).collect();
    outcomes.sort();
    assert_eq!(outcomes, ["done", "interrupted", "locked"]);
    // The report of the locked run does not hide the interrupted run.
    test_env.longshore(&["status"]).expect(3).shows("last run was interrupted");

    fs::rename(&nas, test_env.path("away")).unwrap();
    test_env.longshore(&["run"]).expect(3);
    fs::rename(test_env.path("away"), &nas).unwrap();
    test_env.longshore(&["status"]).expect(3).shows("last run was partial").stdout_shows("nightly  partial");
    test_env.longshore(&["status", "--nagios"]).expect(1).shows("WARNING - nightly: last run was partial");
    from_another_host(&test_env, &["status"]).expect(3).shows("last run was partial").shows("nas (");
    test_env.longshore(&["run"]).expect(0);
    test_env.longshore(&["status", "--nagios"]).expect(0);
}

#[test]
fn every_changing_verb_leaves_a_report() {
    let test_env = TestEnv::new();
    test_env.longshore(&["run"]).expect(0);
    let connection = test_env.cluster.connection();
    for (arguments, verb, exit) in [
        (&["verify"][..], "verify", 0),
        (&["hold", "globals", "--why", "an audit"], "hold", 0),
        (&["unhold", "globals"], "unhold", 0),
        (&["sync"], "sync", 1),
        (&["prune"], "prune", 0),
        (&["drill", "--identity", "/nowhere"], "drill", 1),
        (&["restore", "globals", "--to", &connection], "restore", 1),
    ] {
        let result = test_env.longshore(arguments);
        let report = last(&test_env, verb);
        assert_eq!(report["exit_code"].as_i64(), result.code.map(i64::from), "{verb}: {result:?}");
        assert_eq!(exit == 0, result.code == Some(0), "{verb}: {result:?}");
        assert_eq!(report["outcome"], if exit == 0 { "done" } else { "failed" }, "{verb}");
    }
    let shipped = reports(&there(&test_env), ".json").into_iter().map(|(_, report)| report["verb"].clone());
    let mut shipped: Vec<_> = shipped.map(|verb| verb.as_str().unwrap().to_owned()).collect();
    shipped.sort();
    assert_eq!(shipped, ["drill", "run", "sync"], "the other verbs have no job");
    let before = reports(&here(&test_env), ".json").len();
    for looks in [&["list"][..], &["status"], &["prune", "--dry-run"], &["check"], &["restore", "globals", "--list"]] {
        test_env.longshore(looks);
    }
    test_env.longshore(&["run", "nosuch"]).expect(1);
    assert_eq!(reports(&here(&test_env), ".json").len(), before, "read-only verbs leave no report");
}

#[test]
fn any_host_applies_the_terms_of_a_report() {
    let offline_env = OfflineEnv::new("");
    offline_env.add_backup(&ForgedBackup { hours: 30, ..ForgedBackup::default() });
    offline_env.longshore(&["status"]).expect(3).shows("no age limit is set");
    offline_env.put("disk", &report_key(30), &report(30, r#"{"max_age":"26h","destinations":["disk","nas"]}"#));
    let result = offline_env.longshore(&["status"]).expect(3).shows("critical  main/shop").shows("max_age is 26h");
    result.omits("no age limit");
    offline_env.put("nas", &report_key(29), &report(29, r#"{"max_age":"none","destinations":[]}"#));
    offline_env.longshore(&["status"]).expect(0).shows("good");
    offline_env.put(
        "nas",
        &report_key(28),
        &report(28, r#"{"schedule":"0 3 * * *","timezone":"UTC","destinations":[]}"#),
    );
    offline_env.longshore(&["status"]).expect(3).shows("the run due at");
    // The local configuration takes precedence.
    offline_env.configure(&format!("{}max_age = '90d'", crate::support::offline_env::NIGHTLY));
    offline_env.longshore(&["status"]).expect(0);
    offline_env.put("nas", &report_key(27), b"{ no report");
    offline_env.longshore(&["status"]).expect(0).shows("a run report cannot be read");
}

/// Returns the key of the report of a run that many hours ago.
fn report_key(hours: i64) -> String {
    format!("main/runs/nightly/{}.json", report_id(hours))
}

fn report_id(hours: i64) -> String {
    format!("{}-run-0123abcd", Timestamp::new(Utc::now() - TimeDelta::hours(hours)))
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
fn prunes_reports_by_count_and_age() {
    for more in ["", "retention = 'r'\n[retention.r]\nkeep_last = 2"] {
        let test_env = TestEnv::new();
        let dump = "[{ type = 'pg_dumpall' }]";
        test_env.configure(&Job { dump, more, ..Job::default() });
        test_env.longshore(&["run"]).expect(0);
        let (mine, _) = reports(&here(&test_env), ".json").remove(0);
        let prefix = mine.split_once('.').unwrap().0;
        for hours in (1..=430).chain([401 * 24]) {
            let name = format!("{}.json", report_id(hours));
            fs::write(there(&test_env).join(&name), report(hours, "null")).unwrap();
            fs::write(here(&test_env).join(format!("{prefix}.{name}")), report(hours, "null")).unwrap();
        }
        test_env.longshore(&["run"]).expect(0);
        // The report of this run is written after the pruning.
        let (kept, shipped) = (reports(&here(&test_env), ".json").len(), reports(&there(&test_env), ".json").len());
        assert!(kept == 400 && (400..=401).contains(&shipped), "{kept} on this host, {shipped} at the destination");
        test_env.longshore(&["list"]).expect(0);
    }
}

#[test]
fn database_named_runs_is_no_report() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("runs");
    test_env.cluster.psql("runs", "create table t as select 1 as a");
    let odd = "runs-2026-06-07_091500.json";
    test_env
        .configure(&Job { more: "max_age = 'none'\nretention = 'r'\n[retention.r]\nkeep_last = 1", ..Job::default() });
    let config = fs::read_to_string(test_env.config_path()).unwrap();
    fs::write(test_env.config_path(), config.replace("[job.nightly]", &format!("[job.\"{odd}\"]"))).unwrap();
    for _ in 0..2 {
        test_env.longshore(&["run"]).expect(0);
    }
    assert_eq!(reports(&test_env.local().join("main/runs").join(odd.replace("runs-", "%72uns-")), ".json").len(), 2);
    let listed = test_env.longshore(&["list", "--json"]).expect(0);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let mut subjects: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["name"].as_str().unwrap().split('/').nth(1).unwrap())
        .collect();
    subjects.sort_unstable();
    assert_eq!(subjects, ["globals", "postgres", "runs"]);
    test_env.longshore(&["list"]).expect(0).omits("to no backup");
    test_env.longshore(&["verify", "--all"]).expect(0);
    test_env.longshore(&["status"]).expect(0).shows("main/runs").shows(odd);
    test_env
        .run_with_identity(&["restore", "runs", "--output", test_env.path("runs.dump").to_str().unwrap()])
        .expect(0);
    let pruned = test_env.longshore(&["prune", "--dry-run", "--json"]).expect(0);
    assert!(!pruned.stdout.contains("-run-"), "{}", pruned.stdout);
}

#[test]
fn unshipped_report_fails_no_run() {
    let test_env = TestEnv::new();
    fs::create_dir(test_env.local().join("main")).unwrap();
    // A file in place of the folder of reports.
    fs::write(test_env.local().join("main/runs"), "another program's file").unwrap();
    test_env.longshore(&["run"]).expect(0).shows("warning: the run report is not at destination \"local\"");
    assert_eq!(last(&test_env, "run")["outcome"], "done");
    fs::remove_file(test_env.local().join("main/runs")).unwrap();
    // A report that cannot be written on this host fails no run either.
    fs::remove_dir_all(test_env.path("state")).unwrap();
    fs::write(test_env.path("state"), "").unwrap();
    test_env.longshore(&["run"]).expect(0).shows("warning: the run report: ");
    assert_eq!(reports(&there(&test_env), ".json").len(), 1);
}

#[test]
fn reports_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let test_env = TestEnv::new();
    test_env.configure_with_connection(&Job::default(), "host=/nowhere");
    test_env.longshore(&["run"]).expect(2);
    for file in files(&here(&test_env)) {
        assert_eq!(fs::metadata(here(&test_env).join(&file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    let details = fs::read_dir(there(&test_env)).unwrap().map(|entry| entry.unwrap().path());
    let details = details.filter(|path| path.to_str().unwrap().ends_with(".details.json.age")).collect::<Vec<_>>();
    let opened = Command::new("age").arg("-d").arg("-i").arg(test_env.identity()).arg(&details[0]).output().unwrap();
    let opened: Value = serde_json::from_slice(&opened.stdout).unwrap();
    assert!(opened["error"].as_str().unwrap().contains("/nowhere"), "{opened}");
}
