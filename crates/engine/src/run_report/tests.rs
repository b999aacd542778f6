//! Reports from the start of a run to a destination in memory, which can refuse them.

use longshore_config::Config;
use longshore_config::registry::Registry;
use longshore_core::key::Key;
use longshore_core::plugin::{Identities, Passphrase};
use longshore_core::run_report::{Outcome, ReportName, RunReport};
use longshore_core::{Error, Kind, Stage};
use longshore_retention::Policy;
use longshore_testkit::memory::{Fault, MemoryStore, Operation};
use tempfile::TempDir;

use super::*;
use crate::fixture::{catalogued, config};
use crate::run_history::{RUN, last_runs};

/// A configuration with one job and one destination.
struct Case {
    store: MemoryStore,
    config: Config,
    _folder: TempDir,
}

impl Case {
    fn new() -> Self {
        let (folder, store) = (TempDir::new().unwrap(), MemoryStore::new());
        let config = config(folder.path(), &store, None::<Policy>);
        Self { store, config, _folder: folder }
    }

    fn begin(&self, verb: &str) -> RunRecorder {
        // Runs of one millisecond have no order.
        std::thread::sleep(std::time::Duration::from_millis(2));
        RunRecorder::begin(&self.config, verb, self.config.jobs.values().next())
    }

    /// Runs a command to its end, and returns the warnings.
    async fn run(&self, verb: &str, outcome: Outcome) -> Vec<String> {
        let mut recorder = self.begin(verb);
        if outcome != Outcome::Done {
            recorder.record_error(&Error::new(Stage::Connect, Kind::Unavailable, "main", "cannot connect"));
        }
        recorder.end(outcome, if outcome == Outcome::Done { 0 } else { 2 });
        recorder.ship().await
    }

    /// Returns the reports at the destination, in order of arrival.
    fn shipped(&self) -> Vec<RunReport> {
        let keys = self.store.shipped().into_iter().filter(|key| !ReportName::is_details(key));
        let read = |key: Key| RunReport::from_bytes(key.as_str(), &self.store.get(&key)?).ok();
        keys.filter_map(read).collect()
    }

    /// Returns the outcome of the last run, as read on this host.
    async fn last(&self) -> Option<(Outcome, Option<String>)> {
        let identities = Identities {
            files: Vec::new(),
            texts: Vec::new(),
            passphrase: Passphrase::Unused,
            ask: std::sync::Arc::new(Silent),
            programs: Default::default(),
        };
        let at = [catalogued(&self.store).await];
        let (mut all, errors) = last_runs(&self.config, &Registry::default(), &identities, &at, None).await;
        assert!(errors.is_empty(), "{errors:?}");
        let found = all.pop_first()?.1.verbs.remove(RUN)?;
        Some((found.report.outcome, found.destination))
    }
}

/// Provides no passphrase.
struct Silent;

impl longshore_core::plugin::Ask for Silent {
    fn secret(&self, _: &str) -> Option<secrecy::SecretString> {
        None
    }
}

#[tokio::test]
async fn run_without_report_is_lost() {
    let case = Case::new();
    assert_eq!(case.last().await, None);
    drop(case.begin("run"));
    assert_eq!(case.last().await, Some((Outcome::Lost, None)));
    let recorder = case.begin("drill");
    assert_eq!(case.last().await, Some((Outcome::Lost, None)), "and its report is on this host");
    recorder.ship().await;
    assert_eq!(case.shipped()[0].outcome, Outcome::Lost);
    assert_eq!(case.run("run", Outcome::Done).await, [""; 0]);
    assert_eq!(case.last().await, Some((Outcome::Done, None)));
    assert!(case.shipped().last().unwrap().previous.is_some());
}

#[tokio::test]
async fn run_in_progress_is_not_lost() {
    let case = Case::new();
    assert_eq!(case.run("run", Outcome::Done).await, [""; 0]);
    let recorder = case.begin("run");
    assert_eq!(case.run("drill", Outcome::Done).await, [""; 0]);
    assert_eq!(case.last().await, Some((Outcome::Done, None)));
    drop(recorder);
    assert_eq!(case.last().await, Some((Outcome::Lost, None)));
}

#[tokio::test]
async fn write_only_store_receives_reports() {
    let case = Case::new();
    for operation in [Operation::List, Operation::Fetch, Operation::Remove] {
        case.store.fault(operation, Fault::Deny);
    }
    assert_eq!(case.run("run", Outcome::Failed).await, [""; 0]);
    let shipped = case.shipped();
    assert_eq!((shipped.len(), shipped[0].outcome), (1, Outcome::Failed));
    assert_eq!(shipped[0].error.as_ref().unwrap().to_string(), "connect: unavailable");
    let details = case.store.shipped().into_iter().find(ReportName::is_details).unwrap();
    assert!(String::from_utf8_lossy(&case.store.get(&details).unwrap()).contains("cannot connect"));
}

#[tokio::test]
async fn rejected_report_is_a_warning() {
    let case = Case::new();
    case.store.fault(Operation::Ship, Fault::Deny);
    let warnings = case.run("run", Outcome::Done).await;
    assert!(warnings.len() == 1 && warnings[0].contains("is not at destination \"memory\""), "{warnings:?}");
    // A failed run has already reported an unreachable destination.
    case.store.heal();
    case.store.fault(Operation::Ship, Fault::FailAfter(0));
    assert_eq!(case.run("run", Outcome::Failed).await, [""; 0]);
    // The names of reports order runs by the second.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(case.run("run", Outcome::Done).await.len(), 1);
    assert_eq!(case.last().await, Some((Outcome::Done, None)));
}

#[tokio::test]
async fn undeletable_reports_are_no_failure() {
    let case = Case::new();
    for hour in 0..24 {
        for minute in 0..20 {
            let id = format!("2026-05-01_{hour:02}{minute:02}00-run-0123abcd");
            case.store.put(&Key::parse(&format!("main/runs/nightly/{id}.json")).unwrap(), "{}");
        }
    }
    case.store.fault(Operation::Remove, Fault::Deny);
    assert_eq!(case.run("run", Outcome::Done).await, [""; 0]);
    assert_eq!(case.store.keys().len(), 481);
    case.store.heal();
    assert_eq!(case.run("run", Outcome::Done).await, [""; 0]);
    assert_eq!(case.store.keys().len(), 400);
}

#[tokio::test]
async fn locked_run_does_not_hide_failure() {
    let case = Case::new();
    case.run("run", Outcome::Failed).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    case.run("run", Outcome::Locked).await;
    assert_eq!(case.last().await, Some((Outcome::Failed, None)));
}
