//! Metrics of a real destination satisfy Prometheus's own linter, on stdout and in files.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::support::offline_env::{ForgedBackup, NIGHTLY, OfflineEnv};
use crate::support::{CommandOutput, Job, TestEnv};

/// Runs `promtool check metrics`, which reads the metrics from stdin.
fn promtool(metrics: &str) -> CommandOutput {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = promtool.spawn();
    let mut promtool = started.expect("promtool is missing: run `cargo xtask test`, which installs it");
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    CommandOutput::of(promtool.wait_with_output().unwrap())
}

/// Returns the value of the only sample of a metric.
#[track_caller]
fn value(metrics: &str, metric: &str) -> f64 {
    let samples: Vec<_> = metrics.lines().filter(|line| line.starts_with(metric)).collect();
    assert_eq!(samples.len(), 1, "{metric}: {metrics}");
    samples[0].rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn metrics_of_a_run_pass_promtool() {
    let test_env = TestEnv::new();
    test_env.make_folder("metrics");
    let file = test_env.path("metrics/longshore.prom");
    let more = "max_age = '26h'\nschedule = '0 3 * * *'";
    test_env.configure(&Job { dump: "[{ type = 'pg_dumpall' }]", more, ..Job::default() });
    let config = fs::read_to_string(test_env.config_path()).unwrap();
    fs::write(test_env.config_path(), format!("metrics_file = '{}'\n{config}", file.display())).unwrap();
    test_env.longshore(&["run"]).expect(0);
    let after_run = fs::read_to_string(&file).unwrap();
    assert_eq!(value(&after_run, "longshore_run_last_exit_code{"), 0.0);
    assert_eq!(value(&after_run, "longshore_runs_total{job=\"nightly\",verb=\"run\",outcome=\"done\"}"), 1.0);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    test_env.longshore(&["verify"]).expect(0);
    test_env.longshore(&["hold", "globals", "--why", "audit"]).expect(0);
    let printed = test_env.longshore(&["status", "--prometheus"]).expect(0).stdout;
    promtool(&printed).expect(0).omits("metric");
    assert_eq!(value(&printed, "longshore_backups_held{"), 1.0);
    assert_eq!(value(&printed, "longshore_backup_max_age_seconds{"), 93_600.0);
    let verified = value(&printed, "longshore_backup_last_verified_timestamp_seconds{");
    let made = value(&printed, "longshore_backup_last_success_timestamp_seconds{");
    assert!(verified >= made && verified - made < 600.0, "{verified} {made}");
    let after_verify = fs::read_to_string(&file).unwrap();
    assert_eq!(value(&after_verify, "longshore_backup_last_verified_timestamp_seconds{"), verified);
}

#[test]
fn metrics_file_that_cannot_be_written_fails_no_run() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { dump: "[{ type = 'pg_dumpall' }]", ..Job::default() });
    let config = fs::read_to_string(test_env.config_path()).unwrap();
    let file = test_env.path("missing/longshore.prom");
    fs::write(test_env.config_path(), format!("metrics_file = '{}'\n{config}", file.display())).unwrap();
    test_env.longshore(&["run"]).expect(0).shows("the metrics file was not written");
    test_env.longshore(&["status", "--prometheus", file.to_str().unwrap()]).expect(1).shows("cannot write the metrics");
    test_env.longshore(&["check"]).shows("metrics_file").shows("cannot write into the folder");
    test_env.longshore(&["status", "--prometheus", "nightly"]).expect(1).shows("the name of a job");
}

#[test]
fn failed_run_and_lost_destination_are_in_metrics() {
    let offline_env = OfflineEnv::new(&format!("{NIGHTLY}max_age = '26h'"));
    offline_env.add_backup(&ForgedBackup { hours: 30, at: &["disk"], ..ForgedBackup::default() });
    fs::rename(offline_env.path("nas"), offline_env.path("elsewhere")).unwrap();
    let metrics = offline_env.longshore(&["status", "--prometheus"]).expect(0).stdout;
    promtool(&metrics).expect(0).omits("metric");
    assert_eq!(value(&metrics, "longshore_destination_up{destination=\"nas\"}"), 0.0);
    assert_eq!(
        value(&metrics, "longshore_series_state{cluster=\"main\",subject=\"shop\",job=\"nightly\",state=\"critical\"}"),
        1.0
    );
    assert!(!metrics.contains("longshore_look_timestamp_seconds{destination=\"nas\"}"));
    assert!(!metrics.contains("longshore_backup_last_success_timestamp_seconds{cluster=\"main\",subject=\"shop\",job=\"nightly\",destination=\"nas\"}"));
    let file = offline_env.path("longshore.prom");
    offline_env.longshore(&["status", "nightly", "--prometheus", file.to_str().unwrap()]).expect(0);
    assert!(fs::read_to_string(file).unwrap().contains("longshore_build_info"));
}
