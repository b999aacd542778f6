//! Backups of unknown origin: files that others add beside real backups displace none of them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use longshore_model::key::{BackupName, Stamp};
use longshore_retention::{
    Candidate, Circumstances, Decision, Fate, History, OwnRuns, Plan, Policy, Reason, Regime, plan, plan_one,
};

fn at(day: u32, hour: u32) -> DateTime<Utc> {
    Stamp::parse(&format!("2026-05-{day:02}_{hour:02}0000")).unwrap().time()
}

fn backup(time: DateTime<Utc>) -> Candidate {
    Candidate {
        name: BackupName::new("main", "app", Stamp::new(time)).unwrap(),
        time,
        bytes: 100,
        good: true,
        verified: false,
        drilled: false,
        held: None,
        locked_until: None,
        restoring_until: None,
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
    let history = History { backups, regime: Regime::Policy };
    plan(&policy, &[history], Circumstances { now, needed: &BTreeMap::new(), trust_clock: false, own_runs }).unwrap()
}

/// Returns the times of the removed backups.
fn gone(plan: &Plan) -> Vec<DateTime<Utc>> {
    let mut times: Vec<_> = plan.removed().map(|decision| decision.time).collect();
    times.sort();
    times
}

fn kept_as(plan: &Plan, reason: &Reason) -> usize {
    let is_so = |decision: &&Decision| matches!(&decision.fate, Fate::Keep(reasons) if reasons.contains(reason));
    plan.decisions[0].iter().filter(is_so).count()
}

const KEEP_9: &str = r#"{"keep_last": 9, "max_total_size": "100kB"}"#;

#[test]
fn junk_pushes_no_real_backup_out() {
    let junk = || (0..7).map(|hour| backup(at(9, 4 + hour)));
    let all = || real().into_iter().chain(junk()).collect::<Vec<_>>();
    let now = at(9, 12);
    assert_eq!(gone(&decide(KEEP_9, all(), None, now)).len(), 7, "without reports, all backups count");
    let plan = decide(KEEP_9, all(), Some(&own_runs()), now);
    assert!(gone(&plan).is_empty());
    assert_eq!(kept_as(&plan, &Reason::Unproven), 7, "the added backups are not removed either");
    // Backups decoded on this host count.
    let opened = junk().map(|backup| backup.name).collect();
    let plan = decide(KEEP_9, all(), Some(&OwnRuns { opened, ..own_runs() }), now);
    assert_eq!(gone(&plan).len(), 7);
}

#[test]
fn junk_takes_no_room_of_max_total_size() {
    let huge = Candidate { bytes: u64::MAX, ..backup(at(9, 4)) };
    let all: Vec<_> = real().into_iter().chain([huge]).collect();
    let plan = decide(r#"{"keep_last": 9, "max_total_size": "1kB"}"#, all, Some(&own_runs()), at(9, 12));
    assert_eq!((gone(&plan), plan.excess_bytes), (vec![], 0));
}

#[test]
fn a_future_backup_is_left_out_where_own_runs_are_not() {
    let ahead = backup(at(11, 3));
    let name = ahead.name.clone();
    let all = || real().into_iter().chain([ahead.clone()]).collect::<Vec<_>>();
    let (rules, now) = (r#"{"keep_last": 2}"#, at(9, 12));
    let plan = decide(rules, all(), Some(&own_runs()), now);
    assert!(plan.refused.is_empty());
    assert_eq!(plan.ahead, [(0, name.clone())]);
    assert_eq!(gone(&plan).len(), 7, "the other backups are pruned");
    assert_eq!(kept_as(&plan, &Reason::FutureDated), 1);
    // This host's own runs are ahead, or it has no reports: its own clock may be wrong.
    let ahead = OwnRuns { newest: at(11, 3), made: BTreeSet::from([name]), ..own_runs() };
    for own_runs in [Some(&ahead), None] {
        let plan = decide(rules, all(), own_runs, now);
        assert_eq!((plan.refused.len(), plan.ahead.len(), gone(&plan).len()), (1, 0, 0));
    }
}

#[test]
fn by_hand_junk_is_no_floor_and_may_go() {
    let (real, junk) = (backup(at(9, 3)), backup(at(9, 4)));
    let policy: Policy = serde_json::from_str(r#"{"keep_last": 1}"#).unwrap();
    let runs = own_runs();
    let going = |name: &BackupName, own_runs| {
        let (now, needed) = (at(9, 12), BTreeMap::new());
        let circumstances = Circumstances { now, needed: &needed, trust_clock: true, own_runs };
        plan_one(&policy, &[real.clone(), junk.clone()], name, circumstances).removals.len()
    };
    assert_eq!(going(&real.name, None), 1);
    assert_eq!(going(&real.name, Some(&runs)), 0, "the other backup is of unknown origin");
    assert_eq!(going(&junk.name, Some(&runs)), 1);
}

#[test]
fn a_cut_off_run_and_an_older_backup_count() {
    let cut = backup(at(9, 4) + TimeDelta::seconds(5));
    let own_runs = OwnRuns { unreported: vec![at(9, 4)], newest: at(9, 4), ..own_runs() };
    let all: Vec<_> = real().into_iter().chain([cut]).collect();
    let plan = decide(r#"{"keep_last": 2}"#, all, Some(&own_runs), at(9, 12));
    assert_eq!((gone(&plan).len(), kept_as(&plan, &Reason::Unproven)), (8, 0));
}
