//! Full backups and those that continue them: a full one represents a week or a longer period.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use longshore_model::key::{BackupName, Timestamp};
use longshore_retention::{Action, Candidate, History, PlanContext, Policy, Reason, SeriesMode, plan};

/// Returns daily backups from Sunday, 4 January 2026 on: a full one each Sunday, and others that
/// need it.
fn daily(days: i64) -> Vec<Candidate> {
    let start: DateTime<Utc> = "2026-01-04T03:00:00Z".parse().unwrap();
    let name = |day: i64| BackupName::new("main", "app", Timestamp::new(start + TimeDelta::days(day))).unwrap();
    let backup = |day: i64| Candidate {
        name: name(day),
        time: start + TimeDelta::days(day),
        bytes: if day % 7 == 0 { 100 } else { 4 },
        good: true,
        verified: false,
        drilled: false,
        held: None,
        locked_until: None,
        restoring_until: None,
        begins_window: false,
        continues_others: day % 7 != 0,
        needs: if day % 7 == 0 { Vec::new() } else { vec![name(day / 7 * 7)] },
    };
    (0..days).map(backup).collect()
}

/// Returns the kept backups, newest first, each with its day, its size and its reasons.
fn kept(rules: &str, backups: Vec<Candidate>) -> Vec<(String, u64, Vec<Reason>)> {
    let policy: Policy = serde_json::from_str(rules).unwrap();
    let now = backups.last().unwrap().time;
    let history = History { backups, series_mode: SeriesMode::Policy };
    let context = PlanContext { now, needed: &BTreeMap::new(), trust_clock: false, own_runs: None };
    let decisions = plan(&policy, &[history], context).unwrap().decisions.remove(0);
    let kept = decisions.into_iter().filter_map(|decision| match decision.action {
        Action::Keep(reasons) => Some((decision.time.format("%m-%d").to_string(), decision.bytes, reasons)),
        Action::Remove(_) => None,
    });
    kept.collect()
}

#[test]
fn full_backups_represent_weeks_and_months() {
    // Until Wednesday, 25 March.
    let kept = kept(r#"{ "keep_weekly": 4, "keep_monthly": 3 }"#, daily(81));
    let days: Vec<_> = kept.iter().map(|(day, ..)| day.as_str()).collect();
    // The newest, which has no full backup in its own week, needs that of Sunday.
    assert_eq!(days, ["03-25", "03-22", "03-15", "03-08", "02-22", "01-25"]);
    assert!(kept[1..].iter().all(|(_, bytes, _)| *bytes == 100), "only the newest keeps two: {kept:?}");
}

#[test]
fn days_are_represented_by_the_newest_backup() {
    let kept = kept(r#"{ "keep_daily": 3 }"#, daily(17));
    let days: Vec<_> = kept.iter().map(|(day, ..)| day.as_str()).collect();
    assert_eq!(days, ["01-20", "01-19", "01-18"]);
    assert!(matches!(&kept[2].2[..], [Reason::NewestOf(_), Reason::NeededBy(_), Reason::NeededBy(_)]), "{kept:?}");
}

#[test]
fn spans_keep_no_older_full_backup_in_place_of_a_newer_one() {
    let kept = kept(r#"{ "keep_within_monthly": "1d" }"#, daily(17));
    let own = kept.iter().filter(|(_, _, reasons)| !reasons.iter().all(|reason| matches!(reason, Reason::NeededBy(_))));
    let days: Vec<_> = own.map(|(day, ..)| day.as_str()).collect();
    assert_eq!(days, ["01-20"], "the last full backup is two days old");
}
