//! Backups of unknown origin: files that others add beside real backups displace none of them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use longshore_model::key::{BackupName, Timestamp};
use longshore_retention::{
    Action, Candidate, Decision, History, OwnRuns, Plan, PlanContext, Policy, Reason, SeriesMode, plan, plan_single,
};

fn at(day: u32, hour: u32) -> DateTime<Utc> {
    Timestamp::parse(&format!("2026-05-{day:02}_{hour:02}0000")).unwrap().time()
}

fn backup(time: DateTime<Utc>) -> Candidate {
    Candidate {
        name: BackupName::new("main", "app", Timestamp::new(time)).unwrap(),
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

/// Returns backups of the nights of 1 to 9 May. The reports begin with the third.
fn real() -> Vec<Candidate> {
    (1..=9).map(|day| backup(at(day, 3))).collect()
}

fn own_runs() -> OwnRuns {
    OwnRuns {
        oldest: at(3, 3),
        newest: at(9, 3),
        made: real().into_iter().skip(2).map(|backup| backup.name).collect(),
        unreported: Vec::new(),
        opened: BTreeSet::new(),
    }
}

fn decide(rules: &str, backups: Vec<Candidate>, own_runs: Option<&OwnRuns>, now: DateTime<Utc>) -> Plan {
    let policy: Policy = serde_json::from_str(rules).unwrap();
    let history = History { backups, series_mode: SeriesMode::Policy };
    plan(&policy, &[history], PlanContext { now, needed: &BTreeMap::new(), trust_clock: false, own_runs }).unwrap()
}

/// Returns the times of the removed backups.
fn removed_times(plan: &Plan) -> Vec<DateTime<Utc>> {
    let mut times: Vec<_> = plan.removed().map(|decision| decision.time).collect();
    times.sort();
    times
}

fn kept_as(plan: &Plan, reason: &Reason) -> usize {
    let has_reason =
        |decision: &&Decision| matches!(&decision.action, Action::Keep(reasons) if reasons.contains(reason));
    plan.decisions[0].iter().filter(has_reason).count()
}

const KEEP_9: &str = r#"{"keep_last": 9, "max_total_size": "100kB"}"#;

#[test]
fn unknown_backups_displace_no_real_ones() {
    let unknown = || (0..7).map(|hour| backup(at(9, 4 + hour)));
    let all = || real().into_iter().chain(unknown()).collect::<Vec<_>>();
    let now = at(9, 12);
    assert_eq!(removed_times(&decide(KEEP_9, all(), None, now)).len(), 7, "without reports, all backups count");
    let plan = decide(KEEP_9, all(), Some(&own_runs()), now);
    assert!(removed_times(&plan).is_empty());
    assert_eq!(kept_as(&plan, &Reason::Unproven), 7, "the added backups are not removed either");
    // Backups decoded on this host count.
    let opened = unknown().map(|backup| backup.name).collect();
    let plan = decide(KEEP_9, all(), Some(&OwnRuns { opened, ..own_runs() }), now);
    assert_eq!(removed_times(&plan).len(), 7);
}

#[test]
fn unknown_backups_do_not_count_towards_max_total_size() {
    let huge = Candidate { bytes: u64::MAX, ..backup(at(9, 4)) };
    let all: Vec<_> = real().into_iter().chain([huge]).collect();
    let plan = decide(r#"{"keep_last": 9, "max_total_size": "1kB"}"#, all, Some(&own_runs()), at(9, 12));
    assert_eq!((removed_times(&plan), plan.excess_bytes), (vec![], 0));
}

#[test]
fn future_backup_is_ignored_if_own_runs_agree_with_the_clock() {
    let ahead = backup(at(11, 3));
    let name = ahead.name.clone();
    let all = || real().into_iter().chain([ahead.clone()]).collect::<Vec<_>>();
    let (rules, now) = (r#"{"keep_last": 2}"#, at(9, 12));
    let plan = decide(rules, all(), Some(&own_runs()), now);
    assert!(plan.refused.is_empty());
    assert_eq!(plan.future_dated, [(0, name.clone())]);
    assert_eq!(removed_times(&plan).len(), 7, "the other backups are pruned");
    assert_eq!(kept_as(&plan, &Reason::FutureDated), 1);
    // This host's own runs are ahead, or it has no reports: its own clock may be wrong.
    let ahead = OwnRuns { newest: at(11, 3), made: BTreeSet::from([name]), ..own_runs() };
    for own_runs in [Some(&ahead), None] {
        let plan = decide(rules, all(), own_runs, now);
        assert_eq!((plan.refused.len(), plan.future_dated.len(), removed_times(&plan).len()), (1, 0, 0));
    }
}

#[test]
fn unknown_backup_is_removable_by_hand() {
    let (real, unknown) = (backup(at(9, 3)), backup(at(9, 4)));
    let policy: Policy = serde_json::from_str(r#"{"keep_last": 1}"#).unwrap();
    let runs = own_runs();
    let going = |name: &BackupName, own_runs| {
        let (now, needed) = (at(9, 12), BTreeMap::new());
        let context = PlanContext { now, needed: &needed, trust_clock: true, own_runs };
        plan_single(&policy, &[real.clone(), unknown.clone()], name, context).removals.len()
    };
    assert_eq!(going(&real.name, None), 1);
    assert_eq!(going(&real.name, Some(&runs)), 0, "the other backup is of unknown origin");
    assert_eq!(going(&unknown.name, Some(&runs)), 1);
}

#[test]
fn backups_of_interrupted_runs_and_older_ones_count() {
    let cut = backup(at(9, 4) + TimeDelta::seconds(5));
    let own_runs = OwnRuns { unreported: vec![at(9, 4)], newest: at(9, 4), ..own_runs() };
    let all: Vec<_> = real().into_iter().chain([cut]).collect();
    let plan = decide(r#"{"keep_last": 2}"#, all, Some(&own_runs), at(9, 12));
    assert_eq!((removed_times(&plan).len(), kept_as(&plan, &Reason::Unproven)), (8, 0));
}
