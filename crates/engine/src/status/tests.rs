//! Tests of the evaluation of series from catalogs, a configuration and a time.

use longshore_core::mark::MarkKind;
use longshore_core::subject::SubjectKind;
use longshore_core::unit::TimeSpan;
use longshore_retention::Policy;
use longshore_schedule::{Expression, Schedule};
use longshore_testkit::memory::MemoryStore;
use tempfile::TempDir;

use super::evaluate::{Criteria, ReadCatalog, evaluate};
use super::*;
use crate::fixture::{DESTINATION, catalogued, config, put_chain, put_partial_run, put_run, put_run_with};

/// A destination with runs of two databases at these times, a job that ships there, and a clock.
struct Case {
    store: MemoryStore,
    config: Config,
    _folder: TempDir,
}

impl Case {
    fn new(times: &[&str]) -> Self {
        let (folder, store) = (TempDir::new().unwrap(), MemoryStore::new());
        for time in times {
            put_run(&store, time, &["app", "crm", "web"]);
        }
        let config = config(folder.path(), &store, None::<Policy>);
        Self { store, config, _folder: folder }
    }

    fn job(&mut self) -> &mut longshore_config::Job {
        self.config.jobs.values_mut().next().unwrap()
    }

    async fn evaluate(&self, now: &str) -> (Vec<SeriesStatus>, Vec<Issue>) {
        let at = catalogued(&self.store).await;
        let criteria = Criteria {
            config: &self.config,
            job: None,
            max_age: None,
            reported: &BTreeMap::new(),
            now: now.parse().unwrap(),
        };
        evaluate(&[ReadCatalog { name: DESTINATION, catalog: &at.catalog }], drills::Drills::new(), &criteria)
    }

    /// Returns the problems, with their series.
    async fn issues(&self, now: &str) -> Vec<(IssueKind, String)> {
        let (_, attention) = self.evaluate(now).await;
        attention.into_iter().map(|it| (it.kind, it.series.unwrap_or_default())).collect()
    }
}

/// A limit of 26 hours.
fn day() -> Option<MaxAge> {
    Some(MaxAge::TimeSpan(TimeSpan::try_from("26h".to_owned()).unwrap()))
}

#[tokio::test]
async fn backup_is_stale_after_its_age_limit() {
    let mut case = Case::new(&["2026-05-01_030000"]);
    case.job().max_age = day();
    assert_eq!(case.issues("2026-05-02T05:00:00Z").await, []);
    let stale = case.issues("2026-05-02T05:00:01Z").await;
    assert_eq!(stale.len(), 4);
    assert!(stale.contains(&(IssueKind::Stale, "main/app".to_owned())));
    case.job().max_age = Some(MaxAge::Unlimited);
    assert_eq!(case.issues("2030-01-01T00:00:00Z").await, [], "no limit is wanted");
}

#[tokio::test]
async fn series_without_limit_is_unknown() {
    let mut case = Case::new(&["2026-05-01_030000"]);
    let (series, attention) = case.evaluate("2026-05-01T04:00:00Z").await;
    assert_eq!((series.len(), attention.len()), (4, 4));
    assert!(series.iter().all(|series| series.level == Level::Unknown), "{series:?}");
    assert!(attention.iter().all(|it| it.kind == IssueKind::NoLimit), "{attention:?}");
    put_run(&case.store, "2026-05-02_030000", &["app", "crm"]);
    assert_eq!(case.issues("2026-05-02T04:00:00Z").await.len(), 3, "one series has ended");
    case.job().max_age = Some(MaxAge::Unlimited);
    assert_eq!(case.issues("2026-05-02T04:00:00Z").await, []);
}

#[tokio::test]
async fn late_run_has_grace_of_an_hour_and_twice_its_duration() {
    // All manifests state that they were finished on 7 June at 09:16:40.5: before the one run, and
    // 400.5 seconds after the other.
    for (time, grace, none_left) in [
        ("2026-06-08_030000", "2026-06-09T03:59:59Z", "2026-06-09T04:00:00Z"),
        ("2026-06-07_091000", "2026-06-08T10:13:20Z", "2026-06-08T10:13:21Z"),
    ] {
        let mut case = Case::new(&[time]);
        let expression = if time.ends_with("030000") { "0 3 * * *" } else { "0 9 * * *" };
        let expression = Expression::try_from(expression.to_owned()).unwrap();
        case.job().schedule = Some(Schedule::new(expression, chrono_tz::Tz::UTC));
        assert_eq!(case.issues(grace).await, [], "{time}");
        assert_eq!(case.issues(none_left).await.len(), 4, "{time}");
    }
}

#[tokio::test]
async fn series_ends_with_complete_run_without_it() {
    let mut case = Case::new(&["2026-05-01_030000"]);
    case.job().max_age = day();
    put_partial_run(&case.store, "2026-05-02_030000", &["app", "crm", "web"], "web");
    assert_eq!(case.issues("2026-05-02T06:00:00Z").await, [(IssueKind::Stale, "main/web".to_owned())]);
    put_run(&case.store, "2026-05-03_030000", &["app", "crm", "new"]);
    assert_eq!(case.issues("2026-05-03T06:00:00Z").await, []);
    let (series, _) = case.evaluate("2026-05-03T06:00:00Z").await;
    let ended: Vec<_> = series.iter().filter(|series| series.ended.is_some()).map(|series| &*series.subject).collect();
    assert_eq!(ended, ["web"]);
}

#[tokio::test]
async fn damaged_backup_counts_again_after_verification() {
    let mut case = Case::new(&["2026-05-01_030000", "2026-05-02_030000"]);
    case.job().max_age = Some(MaxAge::Unlimited);
    let mark = |kind: MarkKind, time: &str| {
        let key = format!("main/app/app-2026-05-02_030000.{kind}.{time}.json");
        case.store.put(&longshore_core::key::Key::parse(&key).unwrap(), "{}");
    };
    mark(MarkKind::Damaged, "2026-05-02_040000");
    let (series, attention) = case.evaluate("2026-05-02T06:00:00Z").await;
    assert_eq!((attention.len(), attention[0].kind), (1, IssueKind::Damaged));
    assert_eq!(series[1].newest.as_ref().unwrap().age_seconds, 27 * 3600);
    assert_eq!(series[1].copies.missing, [DESTINATION]);
    mark(MarkKind::Verified, "2026-05-02_050000");
    let (series, attention) = case.evaluate("2026-05-02T06:00:00Z").await;
    assert_eq!((attention.len(), series[1].newest.as_ref().unwrap().age_seconds), (0, 3 * 3600));
    let verified = series[1].destinations[0].verified.as_ref().unwrap();
    assert_eq!(verified.proved.to_rfc3339(), "2026-05-02T05:00:00+00:00");
}

#[tokio::test]
async fn job_without_backup_is_reported_if_all_are_readable() {
    let case = Case::new(&[]);
    let (series, attention) = case.evaluate("2026-05-02T06:00:00Z").await;
    assert!(series.is_empty());
    assert_eq!(attention[0].message, "job \"nightly\" has no backup");
    let criteria =
        Criteria { config: &case.config, job: None, max_age: None, reported: &BTreeMap::new(), now: Utc::now() };
    assert_eq!(evaluate(&[], drills::Drills::new(), &criteria).1, []);
}

#[tokio::test]
async fn reports_parts_not_captured_by_newest_run() {
    let store = MemoryStore::new();
    put_run_with(&store, "2026-05-01_030000", &["app", "old"], "", |manifest| {
        manifest.run_not_captured = vec!["database \"x\": allows no connections".to_owned()];
    });
    put_run_with(&store, "2026-05-02_030000", &["app"], "", |manifest| {
        manifest.run_not_captured = vec!["database \"y\": allows no connections".to_owned()];
        manifest.not_captured =
            if manifest.subject.kind() == SubjectKind::Database { vec!["rows".to_owned()] } else { Vec::new() };
    });
    let at = catalogued(&store).await;
    let all = at.catalog.series.iter().map(|(series, backups)| (series, backups.as_slice()));
    // Two destinations have the same series.
    let found = not_captured::not_captured(all.clone().chain(all));
    let found: Vec<_> = found.into_iter().map(|left| (left.subject, left.parts)).collect();
    let of_run = vec!["database \"y\": allows no connections".to_owned()];
    assert_eq!(found, [(None, of_run), (Some("app".to_owned()), vec!["rows".to_owned()])]);
}

#[tokio::test]
async fn trusted_parents_are_reported_once_used() {
    let mut case = Case::new(&[]);
    case.job().max_age = Some(MaxAge::Unlimited);
    let settings = |more: &str| toml::from_str(&format!("full_every = '7d'\n{more}")).unwrap();
    case.job().incremental = Some(settings("parent_unseen = 'trust'"));
    put_chain(&case.store, &["2026-05-01_030000"]);
    assert_eq!(case.issues("2026-05-01T04:00:00Z").await, [], "a full backup");
    put_chain(&case.store, &["2026-05-01_030000", "2026-05-02_030000"]);
    let trusted = [(IssueKind::ParentTrusted, "main/base".to_owned())];
    assert_eq!(case.issues("2026-05-02T04:00:00Z").await, trusted);
    case.job().incremental = Some(settings(""));
    assert_eq!(case.issues("2026-05-02T04:00:00Z").await, []);
}
