use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use chrono::{DateTime, Utc};
use longshore_core::key::BackupName;
use longshore_core::run_report::Outcome;
use longshore_engine::counters::{DueKey, NotificationKey, RunKey};
use longshore_engine::status::{
    AtDestination, BackupAge, Copies, DestinationStatus, JobStatus, Level, Proof, RestoreTime, RunStatus, SeriesStatus,
    Size, WalStatus,
};

use super::*;

/// The manual, which lists every metric.
const MANUAL: &str = include_str!("../../cli/doc/longshore-monitoring.7.md");

fn time(hour: u32) -> DateTime<Utc> {
    format!("2026-06-07T{hour:02}:00:00Z").parse().unwrap()
}

fn backup(hour: u32) -> BackupAge {
    let name: BackupName = serde_json::from_str(r#""main/shop/shop-2026-06-07_091500""#).unwrap();
    BackupAge { backup: name, time: time(hour), age_seconds: 60 }
}

fn series() -> SeriesStatus {
    let at = AtDestination {
        destination: "disk".to_owned(),
        backups: 14,
        bytes: 100,
        newest: Some(backup(9)),
        stale: Some(false),
        damaged: None,
        damaged_backups: 1,
        held_backups: 2,
        verified: Some(Proof { newest: backup(9), proved: time(10) }),
        drilled: Some(Proof { newest: backup(9), proved: time(11) }),
    };
    SeriesStatus {
        cluster: "main".to_owned(),
        subject: "shop".to_owned(),
        job: "nightly".to_owned(),
        level: Level::Warning,
        max_age_seconds: Some(93_600),
        newest: Some(backup(9)),
        ended: None,
        next_run: Some(time(12)),
        copies: Copies { wanted: 2, present: vec!["disk".to_owned()], missing: Vec::new(), unseen: Vec::new() },
        size: Some(Size {
            plaintext_bytes: 1000,
            sealed_bytes: 100,
            median_plaintext_bytes: None,
            median_sealed_bytes: None,
            shrunk: false,
        }),
        tables: None,
        restore: Some(RestoreTime { seconds: 1.5, median_seconds: None, drills: Vec::new() }),
        differences: None,
        worst_gap_seconds: Some(86_400),
        bytes: 100,
        destinations: vec![at],
    }
}

fn run(exit_code: Option<u8>) -> RunStatus {
    RunStatus {
        id: "2026-06-07_091500-run-1f0c9a7e".to_owned(),
        verb: "run".to_owned(),
        outcome: Outcome::Done,
        host: "db1".to_owned(),
        begun: time(9),
        ended: exit_code.map(|_| time(10)),
        age_seconds: 60,
        exit_code,
        reason: None,
        destination: None,
    }
}

fn destination(name: &str) -> DestinationStatus {
    DestinationStatus {
        name: name.to_owned(),
        series: 1,
        backups: 14,
        unreadable: 0,
        bytes: 100,
        free_bytes: Some(1000),
        error: None,
    }
}

fn status() -> Status {
    let archive = WalStatus {
        cluster: "main".to_owned(),
        destination: "disk".to_owned(),
        system_identifier: "7".to_owned(),
        timeline: 1,
        last_segment: "000000010000000000000009".to_owned(),
        last_stored: Some(time(9)),
        recoverable_from: Some(time(1)),
        recoverable_until: Some(time(9)),
    };
    Status {
        time: time(12),
        attention: Vec::new(),
        jobs: vec![JobStatus {
            cluster: "main".to_owned(),
            job: "nightly".to_owned(),
            last_run: Some(run(Some(0))),
            running_since: None,
            others: Vec::new(),
        }],
        not_captured: Vec::new(),
        series: vec![series()],
        destinations: vec![destination("disk")],
        wal: vec![archive],
    }
}

fn counters() -> Counters {
    let mut counters = Counters::default();
    let (job, verb) = ("nightly".to_owned(), "run".to_owned());
    counters.runs.insert(RunKey { job: job.clone(), verb: verb.clone(), outcome: Outcome::Done }, 3);
    counters.skipped.insert(DueKey { job: job.clone(), verb: verb.clone() }, 1);
    counters.caught_up.insert(DueKey { job, verb }, 1);
    counters.notifications.insert(NotificationKey { channel: "ops".to_owned(), sent: false }, 2);
    counters
}

fn text(status: &Status, service: Option<&Service>) -> String {
    to_text(&Sources { status, counters: &counters(), service })
}

/// Returns a service that starts jobs and receivers.
fn service() -> Service {
    let receiver = ReceiverSample { cluster: "main".to_owned(), is_up: true, restarts: 2 };
    Service { last_reload_successful: true, last_schedule_successful: Some(false), receivers: vec![receiver] }
}

#[test]
fn service_that_only_shows_has_no_samples_of_jobs_and_receivers() {
    let text = text(&status(), Some(&Service::default()));
    assert!(!text.contains("longshore_schedule_last_evaluation") && !text.contains("longshore_wal_receiver"), "{text}");
    let text = self::text(&status(), Some(&service()));
    for sample in [
        "longshore_schedule_last_evaluation_successful 0.0",
        "longshore_wal_receiver_up{cluster=\"main\"} 1.0",
        "longshore_wal_receiver_restarts_total{cluster=\"main\"} 2.0",
    ] {
        assert!(text.contains(sample), "{sample} in {text}");
    }
}

/// Returns the names of the metrics in a text, each with its type.
fn names(text: &str) -> BTreeSet<(String, String)> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

#[test]
fn every_documented_metric_is_produced_and_no_other() {
    let rows = MANUAL.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let documented: BTreeSet<(String, String)> = rows
        .filter_map(|(name, rest)| Some((name.to_owned(), rest.split_once(" |")?.0.to_owned())))
        .filter(|(name, _)| name.starts_with("longshore_") || name.starts_with("process_"))
        .collect();
    assert_eq!(documented, names(&text(&status(), Some(&service()))));
    assert_eq!(documented.len(), metric::ALL.len());
}

#[test]
fn documented_labels_are_those_of_the_samples() {
    let text = text(&status(), Some(&service()));
    for row in MANUAL.lines().filter(|line| line.starts_with("| `longshore_")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`');
        let sample =
            text.lines().find(|line| line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} ")));
        let sample = sample.unwrap_or_else(|| panic!("no sample of {name}"));
        let labels = sample.split_once('{').map(|(_, rest)| rest.rsplit_once('}').unwrap().0).unwrap_or_default();
        let labels: Vec<&str> = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0)).collect();
        assert_eq!(labels.join(", "), cells[3], "{name}");
    }
}

#[test]
fn sample_has_the_time_and_the_labels() {
    let text = text(&status(), None);
    let sample = "longshore_backup_last_success_timestamp_seconds{cluster=\"main\",subject=\"shop\",job=\"nightly\",destination=\"disk\"} 1780822800.0";
    assert!(text.contains(sample), "{text}");
    assert!(
        text.contains(
            "longshore_series_state{cluster=\"main\",subject=\"shop\",job=\"nightly\",state=\"warning\"} 1.0"
        )
    );
    assert!(text.contains("longshore_runs_total{job=\"nightly\",verb=\"run\",outcome=\"done\"} 3.0"), "{text}");
    assert!(!text.contains("process_") && !text.contains("reload"), "a file has no facts of a process");
}

#[test]
fn unknown_facts_have_no_sample() {
    let mut status = status();
    status.series[0].newest = None;
    status.series[0].size = None;
    status.series[0].copies.unseen = vec!["nas".to_owned()];
    status.series[0].destinations[0].newest = None;
    status.jobs[0].last_run = Some(run(None));
    let error =
        longshore_core::Error::new(longshore_core::Stage::Ship, longshore_core::Kind::Unavailable, "disk", "off");
    status.destinations[0].error = Some((&error).into());
    let text = text(&status, None);
    for absent in ["last_success", "plaintext_bytes", "copies", "exit_code", "last_end", "free_bytes", "look"] {
        assert!(!text.contains(absent), "{absent}: {text}");
    }
    assert!(text.contains("longshore_run_last_start_timestamp_seconds"));
    assert!(text.contains("longshore_destination_up{destination=\"disk\"} 0.0"));
}

#[test]
fn names_are_escaped() {
    let mut status = status();
    status.series[0].subject = "a\"b\\c\nd".to_owned();
    assert!(text(&status, None).contains("subject=\"a\\\"b\\\\c\\nd\""));
}

#[test]
fn file_is_replaced_and_readable_by_others() {
    let folder = std::env::temp_dir().join(format!("longshore-metrics-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("longshore.prom");
    for text in ["one\n", "two\n"] {
        write(&file, text).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(write(&file, "three\n").unwrap_err().remedy().is_some());
}
