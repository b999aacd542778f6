//! Known faults of other tools' retention. `owner/repo#number` is the public issue.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use longshore_model::Kind;
use longshore_model::key::{BackupName, Timestamp};
use longshore_model::unit::{ByteSize, TimeSpan};
use longshore_retention::{Action, Candidate, History, Hold, Plan, Policy, Reason, RemoveReason, SeriesMode};

use crate::scenario::Scenario;

fn at(text: &str) -> DateTime<Utc> {
    let text = if text.len() == 10 { format!("{text}T03:00:00Z") } else { text.to_owned() };
    DateTime::parse_from_rfc3339(&text).unwrap().to_utc()
}

/// Returns a good backup of `subject`, named by its time.
fn good(subject: &str, time: DateTime<Utc>) -> Candidate {
    Candidate {
        name: BackupName::new("main", subject, Timestamp::new(time)).unwrap(),
        time,
        bytes: 100,
        good: true,
        verified: false,
        drilled: false,
        held: None,
        locked_until: None,
        restoring_until: None,
        begins_window: false,
        continues_others: false,
        needs: Vec::new(),
    }
}

fn good_backups(subject: &str, times: &[&str]) -> Vec<Candidate> {
    times.iter().map(|time| good(subject, at(time))).collect()
}

/// Returns `count` good backups, a day apart, the last at `last`.
fn daily(subject: &str, count: i64, last: &str) -> Vec<Candidate> {
    (0..count).rev().map(|days| good(subject, at(last) - TimeDelta::days(days))).collect()
}

fn policy(text: &str) -> Policy {
    serde_json::from_str(text).unwrap()
}

/// Returns a scenario of several series under a policy, with an unconfirmed clock.
fn scenario(policy: Policy, series: impl IntoIterator<Item = Vec<Candidate>>, now: DateTime<Utc>) -> Scenario {
    let histories = series.into_iter().map(|backups| History { backups, series_mode: SeriesMode::Policy }).collect();
    Scenario { policy, histories, now, needed: BTreeMap::new(), trust_clock: false }
}

/// Returns the times of the kept backups of a history, oldest first.
fn kept_times(plan: &Plan, history: usize) -> Vec<DateTime<Utc>> {
    let kept = plan.decisions[history].iter().filter(|decision| matches!(decision.action, Action::Keep(_)));
    kept.map(|decision| decision.time).rev().collect()
}

/// Returns the kept times of one series, in text form.
fn kept_texts<'a>(rules: &str, times: &[&'a str]) -> Vec<&'a str> {
    let newest = times.iter().map(|time| at(time)).max().unwrap();
    let plan = scenario(policy(rules), [good_backups("app", times)], newest).plan().unwrap();
    let kept = kept_times(&plan, 0);
    times.iter().filter(|time| kept.contains(&at(time))).copied().collect()
}

fn reasons(plan: &Plan, name: &BackupName) -> Vec<Reason> {
    let found = plan.decisions.iter().flatten().find(|decision| decision.name == *name).unwrap();
    match &found.action {
        Action::Keep(reasons) => reasons.clone(),
        Action::Remove(_) => Vec::new(),
    }
}

/// eduardolat/pgbackweb#121, offen/docker-volume-backup#631, kopia/kopia#3758
#[test]
fn sixty_days_of_failures_remove_no_good_backup() {
    for rules in [r#"{"keep_within": "30d"}"#, r#"{"keep_daily": 7}"#, r#"{"keep_within_daily": "14d"}"#] {
        let before = scenario(policy(rules), [daily("app", 30, "2026-04-08")], at("2026-04-08")).plan().unwrap();
        let mut backups = daily("app", 30, "2026-04-08");
        backups.retain(|backup| kept_times(&before, 0).contains(&backup.time));
        let good_backups = backups.len();
        let failed = daily("app", 60, "2026-06-07").into_iter().map(|backup| Candidate { good: false, ..backup });
        backups.extend(failed);
        let after = scenario(policy(rules), [backups], at("2026-06-07")).plan().unwrap();
        assert_eq!(after.removals, [], "{rules}");
        let counted = |decision: &&longshore_retention::Decision| match &decision.action {
            Action::Keep(reasons) => *reasons != [Reason::NotGood],
            Action::Remove(_) => false,
        };
        assert_eq!(after.decisions[0].iter().filter(counted).count(), good_backups, "{rules}");
    }
}

#[test]
fn sixty_days_without_runs_remove_nothing() {
    for rules in [r#"{"keep_within": "7d"}"#, r#"{"keep_hourly": 3, "keep_daily": 7}"#, r#"{"keep_last": 7}"#] {
        let backups = daily("app", 7, "2026-04-08");
        let plan = scenario(policy(rules), [backups], at("2026-06-07")).plan().unwrap();
        assert_eq!(kept_times(&plan, 0).len(), 7, "{rules}");
    }
}

/// prodrigestivill/docker-postgres-backup-local, borgbackup/borg#1790, Dokploy/dokploy#4914,
/// nfrastack/db-backup#478
#[test]
fn similar_series_are_pruned_separately() {
    for [one, other] in [["app", "app-prod"], ["a%2Fb", "a_b"], ["app", "App"]] {
        // The first series has a few old backups, the second many newer ones.
        let series = [daily(one, 3, "2026-01-03"), daily(other, 50, "2026-06-07")];
        let plan = scenario(policy(r#"{"keep_last": 3}"#), series, at("2026-06-07")).plan().unwrap();
        assert_eq!(kept_times(&plan, 0).len(), 3, "{one}");
        assert_eq!(
            kept_times(&plan, 1),
            daily(other, 3, "2026-06-07").iter().map(|backup| backup.time).collect::<Vec<_>>()
        );
        assert!(plan.removed().all(|decision| decision.name.as_str().starts_with(&format!("main/{other}/"))));
    }
}

/// cloudnative-pg/klio#168
#[test]
fn backups_of_one_run_are_kept_together() {
    // The runs begin one minute before midnight and end after it: every part has the run's time.
    let run = |day: i64| at("2026-06-01T23:59:00Z") + TimeDelta::days(day);
    let part = |subject: &str| (0..20).map(|day| good(subject, run(day))).collect::<Vec<_>>();
    let rules = r#"{"keep_daily": 3, "keep_weekly": 2, "timezone": "Europe/Berlin"}"#;
    let plan = scenario(policy(rules), ["app", "billing", "globals"].map(part), run(19)).plan().unwrap();
    assert_eq!(kept_times(&plan, 0).len(), 4);
    assert_eq!(kept_times(&plan, 0), kept_times(&plan, 1));
    assert_eq!(kept_times(&plan, 0), kept_times(&plan, 2));
}

#[test]
fn a_kept_dump_keeps_the_globals_of_its_run() {
    let globals = daily("globals", 10, "2026-06-07");
    let mut dumps = daily("app", 10, "2026-06-07");
    for (dump, globals) in dumps.iter_mut().zip(&globals) {
        dump.needs.push(globals.name.clone());
    }
    // An old drill is the only reason to keep its dump.
    dumps[2].drilled = true;
    let plan =
        scenario(policy(r#"{"keep_last": 1}"#), [globals.clone(), dumps.clone()], at("2026-06-07")).plan().unwrap();
    assert_eq!(kept_times(&plan, 0), kept_times(&plan, 1));
    assert_eq!(reasons(&plan, &globals[2].name), [Reason::NeededBy(dumps[2].name.clone())]);
    assert_eq!(plan.removals.len(), 16);
}

/// restic/restic#2233
#[test]
fn days_follow_the_time_zone_of_the_policy() {
    // 23:30 and 01:30 in Berlin; the same day in UTC.
    let times = ["2026-06-06T21:30:00Z", "2026-06-06T23:30:00Z", "2026-06-07T21:00:00Z"];
    assert_eq!(kept_texts(r#"{"keep_daily": 3}"#, &times), times[1..]);
    assert_eq!(kept_texts(r#"{"keep_daily": 3, "timezone": "Europe/Berlin"}"#, &times), [times[0], times[2]]);
    // In Kathmandu, hours begin at a quarter past the UTC hour.
    let times = ["2026-06-07T09:10:00Z", "2026-06-07T09:20:00Z", "2026-06-07T10:10:00Z"];
    assert_eq!(kept_texts(r#"{"keep_hourly": 3, "timezone": "Asia/Kathmandu"}"#, &times), [times[0], times[2]]);
}

/// jimsalterjrs/sanoid#155
#[test]
fn clock_changes_remove_no_backup() {
    // Hourly backups around both clock changes: the last one of each day is kept, and each hour.
    for change in ["2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"] {
        let hours: Vec<_> = (-48..48).map(|hour| at(change) + TimeDelta::hours(hour)).collect();
        let plan = |rules| {
            let backups = hours.iter().map(|time| good("app", *time)).collect();
            kept_times(&scenario(policy(rules), [backups], hours[95]).plan().unwrap(), 0).len()
        };
        assert_eq!(plan(r#"{"keep_hourly": 96, "timezone": "Europe/Berlin"}"#), 96, "{change}");
        assert_eq!(plan(r#"{"keep_daily": 96, "timezone": "Europe/Berlin"}"#), 5, "{change}");
        assert_eq!(plan(r#"{"keep_within": "48h", "timezone": "Europe/Berlin"}"#), 48, "{change}");
    }
}

#[test]
fn repeated_start_of_a_day_is_one_day() {
    // In November 2010 clocks in St John's were set back at one minute past midnight on Sunday,
    // into Saturday.
    let times = ["2010-11-07T02:30:30Z", "2010-11-07T02:45:00Z", "2010-11-07T03:30:30Z"];
    assert_eq!(kept_texts(r#"{"keep_daily": 9, "timezone": "America/St_Johns"}"#, &times), times[1..]);
}

#[test]
fn week_across_two_years_is_one_week() {
    let times = ["2026-12-27", "2026-12-31", "2027-01-03", "2027-01-04"];
    assert_eq!(kept_texts(r#"{"keep_weekly": 9}"#, &times), ["2026-12-27", "2027-01-03", "2027-01-04"]);
    // The same days are in two years, months and quarters.
    assert_eq!(kept_texts(r#"{"keep_yearly": 9}"#, &times), ["2026-12-31", "2027-01-04"]);
}

/// kopia/kopia, found by reading the source
#[test]
fn periods_of_different_years_are_different_periods() {
    for (rule, times) in [
        ("weekly", ["2024-12-30", "2026-01-01", "2027-01-07"]), // week 1, three times
        ("monthly", ["2024-01-11", "2025-01-11", "2026-01-11"]), // January, three times
        ("quarterly", ["2024-02-11", "2025-01-11", "2026-03-11"]), // the first, three times
        ("daily", ["2026-01-11", "2026-11-01", "2027-01-11"]),  // 1 and 11, 11 and 1
        ("daily", ["2025-06-07", "2026-06-07", "2027-06-07"]),  // one day of a year
        ("hourly", ["2026-06-05", "2026-06-06", "2026-06-07"]), // one hour of a day
        ("weekly", ["2025-05-26", "2026-01-12", "2026-01-19"]), // 5 and 26, 1 and 12
    ] {
        assert_eq!(kept_texts(&format!(r#"{{"keep_{rule}": 3}}"#), &times), times, "{rule}");
        assert_eq!(kept_texts(&format!(r#"{{"keep_{rule}": 2}}"#), &times), times[1..], "{rule}");
    }
}

#[test]
fn future_backups_displace_no_good_backup() {
    let mut backups = daily("app", 10, "2026-06-07");
    let jumped = daily("app", 10, "2031-01-10");
    backups.extend(jumped.iter().cloned());
    let mut scenario = scenario(policy(r#"{"keep_last": 3, "keep_within": "5d"}"#), [backups], at("2026-06-07"));
    // At first the series is not decided: this host's clock may be wrong.
    let plan = scenario.plan().unwrap();
    assert!(plan.removals.is_empty());
    assert_eq!(plan.refused.len(), 1);
    assert_eq!(plan.refused[0].1.kind(), Kind::Refused);
    // After an operator has confirmed the clock, future backups do not count, and are kept for
    // examination.
    scenario.trust_clock = true;
    let plan = scenario.plan().unwrap();
    assert_eq!(kept_times(&plan, 0).len(), 5 + 10);
    assert!(jumped.iter().all(|backup| reasons(&plan, &backup.name) == [Reason::FutureDated]));
}

#[test]
fn clock_seconds_behind_still_counts_the_newest() {
    let backups = daily("app", 10, "2026-06-07");
    let newest = backups.iter().max_by_key(|backup| backup.time).unwrap().clone();
    let behind = newest.time - TimeDelta::seconds(2);
    let plan = scenario(policy(r#"{"keep_last": 3}"#), [backups], behind).plan().unwrap();
    assert_eq!(kept_times(&plan, 0).len(), 3);
    assert!(!reasons(&plan, &newest.name).contains(&Reason::FutureDated));
}

#[test]
fn clock_set_back_removes_nothing() {
    let backups = daily("app", 100, "2026-06-07");
    for (now, refused) in [("1970-01-01", 1), ("2026-06-06", 1), ("2026-06-07T02:50:00Z", 0)] {
        let plan = scenario(policy(r#"{"keep_within": "3d"}"#), [backups.clone()], at(now)).plan().unwrap();
        assert_eq!(plan.refused.len(), refused, "{now}");
        assert!(plan.removals.is_empty() || refused == 0, "{now}");
    }
}

#[test]
fn wrong_clock_of_one_series_affects_no_other() {
    let series = [daily("app", 10, "2026-06-07"), daily("billing", 10, "2031-01-10")];
    let plan = scenario(policy(r#"{"keep_last": 3}"#), series, at("2026-06-07")).plan().unwrap();
    assert_eq!(plan.refused.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [1]);
    assert_eq!((kept_times(&plan, 0).len(), kept_times(&plan, 1).len()), (3, 10));
}

/// Skyfay/DBackup#154
#[test]
fn failed_dump_displaces_no_backup() {
    let mut backups = daily("app", 10, "2026-06-07");
    for failed in [6, 8, 9] {
        (backups[failed].good, backups[failed].verified, backups[failed].bytes) = (false, true, 0);
    }
    let plan =
        scenario(policy(r#"{"keep_last": 2, "keep_daily": 3}"#), [backups.clone()], at("2026-06-07")).plan().unwrap();
    let kept: Vec<_> = [4, 5, 6, 7, 8, 9].map(|place: usize| backups[place].time).into();
    assert_eq!(kept_times(&plan, 0), kept);
    assert_eq!(reasons(&plan, &backups[9].name), [Reason::NotGood]);
    assert!(reasons(&plan, &backups[7].name).contains(&Reason::Newest));
}

/// pgbackrest/pgbackrest#2622
#[test]
fn backups_in_use_are_kept() {
    let now = at("2026-06-07");
    let mut backups = daily("app", 10, "2026-06-07");
    let (soon, past) = (Some(now + TimeDelta::hours(1)), Some(now - TimeDelta::hours(1)));
    backups[0].restoring_until = soon;
    backups[1].locked_until = soon;
    backups[2].held = Some(Hold { until: None, why: "the auditors' copy".into() });
    backups[3].held = Some(Hold { until: soon, why: "migration".into() });
    // Expired protection does not prevent removal.
    backups[4].restoring_until = past;
    backups[5].locked_until = past;
    backups[6].held = Some(Hold { until: past, why: "migration".into() });
    let plan = scenario(policy(r#"{"keep_last": 1, "max_total_size": "1B"}"#), [backups.clone()], now).plan().unwrap();
    assert_eq!(kept_times(&plan, 0), [0, 1, 2, 3, 9].map(|place: usize| backups[place].time));
    assert_eq!(plan.excess_bytes, 499);
}

/// EnterpriseDB/barman, found by reading the source
#[test]
fn dependencies_are_found_by_name() {
    // Segments of a log: the kept base backup needs one of them, which is newer.
    let mut bases = daily("base", 3, "2026-06-05");
    let segments = daily("log", 7, "2026-06-07");
    bases[0].needs.push(segments[2].name.clone());
    bases[0].held = Some(Hold { until: None, why: "before the migration".into() });
    let plan =
        scenario(policy(r#"{"keep_last": 1}"#), [bases.clone(), segments.clone()], at("2026-06-07")).plan().unwrap();
    assert_eq!(kept_times(&plan, 1), [segments[2].time, segments[6].time]);
}

#[test]
fn an_incremental_keeps_its_whole_chain() {
    let mut chain = daily("app", 8, "2026-06-07");
    for place in [1, 2, 3, 5, 6, 7] {
        let parent = chain[place - 1].name.clone();
        chain[place].needs.push(parent);
    }
    let kept =
        |rules: &str| kept_times(&scenario(policy(rules), [chain.clone()], at("2026-06-07")).plan().unwrap(), 0).len();
    assert_eq!(kept(r#"{"keep_last": 2}"#), 4);
    assert_eq!(kept(r#"{"keep_last": 4}"#), 4);
    assert_eq!(kept(r#"{"keep_last": 5}"#), 8, "the fifth backup needs three more");
    // A size limit removes the older chain from its end, and keeps the newer chain complete.
    let plan = scenario(policy(r#"{"keep_last": 8, "max_total_size": "500B"}"#), [chain.clone()], at("2026-06-07"))
        .plan()
        .unwrap();
    assert_eq!(plan.removals, [(0, 4), (0, 5), (0, 6)]);
    let plan = scenario(policy(r#"{"keep_last": 8, "max_total_size": "1B"}"#), [chain.clone()], at("2026-06-07"))
        .plan()
        .unwrap();
    assert_eq!((kept_times(&plan, 0).len(), plan.excess_bytes), (4, 399));
}

#[test]
fn newest_verified_and_drilled_are_always_kept() {
    let mut backups = daily("app", 30, "2026-06-07");
    (backups[2].verified, backups[5].verified, backups[1].drilled, backups[0].drilled) = (true, true, true, true);
    let rules = policy(r#"{"keep_last": 1, "max_total_size": "1B"}"#);
    let plan = scenario(rules, [backups.clone()], at("2026-06-07")).plan().unwrap();
    assert_eq!(kept_times(&plan, 0), [1, 5, 29].map(|place: usize| backups[place].time));
    assert_eq!(reasons(&plan, &backups[5].name), [Reason::NewestVerified]);
    assert_eq!(reasons(&plan, &backups[1].name), [Reason::NewestDrilled]);
}

#[test]
fn dropped_database_keeps_its_last_backups() {
    let rules = r#"{"keep_daily": 7, "keep_within": "2d", "min_keep": 2}"#;
    let first = scenario(policy(rules), [daily("gone", 30, "2026-01-31")], at("2026-01-31")).plan().unwrap();
    let ten_years_on = scenario(policy(rules), [daily("gone", 30, "2026-01-31")], at("2036-01-31")).plan().unwrap();
    assert_eq!(first.decisions, ten_years_on.decisions);
    // An operator may retire the series; even then, a held backup is kept.
    let mut scenario = scenario(policy(rules), [daily("gone", 30, "2026-01-31")], at("2036-01-31"));
    scenario.histories[0].series_mode = SeriesMode::Retire;
    scenario.histories[0].backups[7].held = Some(Hold { until: None, why: "the auditors' copy".into() });
    let plan = scenario.plan().unwrap();
    assert_eq!(kept_times(&plan, 0), [scenario.histories[0].backups[7].time]);
    assert!(plan.removed().all(|decision| decision.action == Action::Remove(RemoveReason::Retired)));
}

/// databasus/databasus#423, #773
#[test]
fn every_decision_has_a_reason() {
    let mut backups = daily("app", 30, "2026-06-07");
    backups[3].good = false;
    let rules = r#"{"keep_daily": 7, "keep_weekly": 3, "max_delete": 2, "min_age": "2d"}"#;
    let plan = scenario(policy(rules), [backups.clone()], at("2026-06-07")).plan().unwrap();
    assert_eq!(plan.decisions[0].len(), 30);
    for decision in &plan.decisions[0] {
        match &decision.action {
            Action::Keep(reasons) => {
                assert!(!reasons.is_empty() && reasons.iter().all(|why| !why.to_string().is_empty()))
            }
            Action::Remove(cause) => assert_eq!(cause.to_string(), "no rule keeps it"),
        }
    }
    assert_eq!(reasons(&plan, &backups[2].name), [Reason::Later]);
}

#[test]
fn backups_of_equal_time_are_ordered_by_name() {
    let time = at("2026-06-07");
    let names = [3, 1, 2]
        .map(|second| BackupName::new("main", "old", Timestamp::new(time + TimeDelta::seconds(second))).unwrap());
    let backups = names.clone().map(|name| Candidate { name, ..good("old", time) });
    let plan = scenario(policy(r#"{"keep_last": 1, "keep_daily": 2}"#), [backups.into()], time).plan().unwrap();
    let kept: Vec<_> = plan.decisions[0].iter().filter(|decision| matches!(decision.action, Action::Keep(_))).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].name, names[0]);
}

#[test]
fn the_months_of_a_leap_year_lose_no_day() {
    let days = ["2028-01-28", "2028-01-29", "2028-01-31", "2028-02-28", "2028-02-29"];
    assert_eq!(kept_texts(r#"{"keep_within": "1mo"}"#, &days), ["2028-01-31", "2028-02-28", "2028-02-29"]);
    let days = ["2027-02-27", "2027-02-28", "2027-03-01", "2028-02-29"];
    assert_eq!(kept_texts(r#"{"keep_within": "1y"}"#, &days), ["2027-03-01", "2028-02-29"]);
    let days = ["2027-02-27", "2027-02-28", "2027-03-01", "2027-03-31"];
    assert_eq!(kept_texts(r#"{"keep_within": "1mo"}"#, &days), ["2027-03-01", "2027-03-31"]);
}

#[test]
fn total_size_cannot_overflow() {
    let mut backups = daily("app", 4, "2026-06-07");
    backups.iter_mut().skip(1).for_each(|backup| backup.bytes = u64::MAX);
    let rules = Policy { max_total_size: Some(ByteSize::new(0)), ..policy(r#"{"keep_last": 4}"#) };
    let plan = scenario(rules.clone(), [backups.clone()], at("2026-06-07")).plan().unwrap();
    assert_eq!((kept_times(&plan, 0).len(), plan.excess_bytes), (1, u64::MAX));
    backups.iter_mut().for_each(|backup| backup.held = Some(Hold { until: None, why: "all".into() }));
    let plan = scenario(rules, [backups], at("2026-06-07")).plan().unwrap();
    assert_eq!((kept_times(&plan, 0).len(), plan.excess_bytes), (4, u64::MAX));
}

#[test]
fn min_age_overflow_keeps_everything() {
    for seconds in [1 << 40, 1 << 45, 1 << 60, u64::MAX] {
        let min_age = Some(TimeSpan::new(std::time::Duration::from_secs(seconds)));
        let rules = Policy { min_age, ..policy(r#"{"keep_last": 1}"#) };
        let plan = scenario(rules, [daily("app", 4, "2026-06-07")], at("2026-06-07")).plan().unwrap();
        assert_eq!(kept_times(&plan, 0).len(), 4, "{seconds}");
    }
}
