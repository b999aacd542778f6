//! The alerts and the dashboard use only metrics that exist, and every alert fires and clears.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use longshore_metrics::metric::ALL;

use crate::support::finish;

/// Returns a file of the packaging.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.packaging").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap()
}

/// Returns the names of metrics in a text.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    words.filter(|word| word.starts_with("longshore_") || word.starts_with("process_")).collect()
}

/// Returns the names of the alerts.
fn alerts() -> Vec<String> {
    let text = text("alerts.yml");
    text.lines().filter_map(|line| Some(line.trim().strip_prefix("- alert: ")?.to_owned())).collect()
}

#[test]
fn alerts_and_dashboard_use_only_metrics_that_exist() {
    let known: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
    for name in ["alerts.yml", "alerts_test.yml", "grafana.json"] {
        let text = text(name);
        let used = metrics(&text);
        assert!(used.len() > 10, "{name}: {used:?}");
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
}

#[test]
fn expressions_of_the_dashboard_are_valid() {
    let board: serde_json::Value = serde_json::from_str(&text("grafana.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let expressions = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let expressions: Vec<&str> = expressions.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(expressions.len() > 20, "{expressions:?}");
    let rule = |(number, expression): (usize, &&str)| serde_json::json!({ "record": format!("expression_{number}"), "expr": expression.replace("$cluster", "main") });
    let rules: Vec<_> = expressions.iter().enumerate().map(rule).collect();
    // JSON is YAML.
    let rules = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yml"), rules.to_string()).unwrap();
    finish(Command::new("promtool").args(["check", "rules"]).arg(folder.path().join("rules.yml"))).expect(0);
}

#[test]
fn every_alert_fires_and_clears() {
    finish(Command::new("promtool").args(["check", "rules"]).arg(file("alerts.yml"))).expect(0);
    finish(Command::new("promtool").args(["test", "rules"]).arg(file("alerts_test.yml"))).expect(0);
    let tests = text("alerts_test.yml");
    for alert in alerts() {
        let of_alert: Vec<&str> =
            tests.split("alertname: ").filter(|test| test.starts_with(&format!("{alert}\n"))).collect();
        let is_clear = |test: &&&str| test.lines().nth(1).is_some_and(|line| line.trim() == "exp_alerts: []");
        let clear = of_alert.iter().filter(is_clear).count();
        assert!(clear > 0 && clear < of_alert.len(), "{alert} is not tested in both directions");
    }
}

#[test]
fn every_alert_has_a_runbook() {
    let manual = include_str!("../crates/cli/doc/longshore-monitoring.7.md");
    let runbooks: Vec<String> =
        manual.lines().filter_map(|line| Some(line.strip_prefix("## Longshore")?.to_owned())).collect();
    let expected: Vec<String> = alerts().iter().map(|alert| alert.trim_start_matches("Longshore").to_owned()).collect();
    assert_eq!(runbooks, expected);
    let text = text("alerts.yml");
    for alert in alerts() {
        assert!(text.contains(&format!("runbook: longshore-monitoring(7), {alert}\n")), "{alert}");
    }
}
