//! A plan for a hundred thousand backups equals the plan for one series. `cargo xtask bench
//! retention` measures a million.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use longshore_model::key::{BackupName, Timestamp};
use longshore_model::unit::ByteSize;
use longshore_retention::{Action, Candidate, Count, History, Plan, Policy, Reason, SeriesMode};
use longshore_testkit::sample_backups::{BACKUPS_PER_SERIES, every_six_hours};

use crate::scenario::Scenario;

const SERIES: usize = 200;

/// Returns a scenario in which the first series contains the globals that the backups of the same
/// run need.
fn scenario(policy: Policy) -> Scenario {
    let name =
        |series: usize, time| BackupName::new("main", &format!("series-{series:04}"), Timestamp::new(time)).unwrap();
    let backup = |series: usize, time: DateTime<Utc>| Candidate {
        name: name(series, time),
        time,
        bytes: 10,
        good: true,
        verified: true,
        drilled: false,
        held: None,
        locked_until: None,
        restoring_until: None,
        begins_window: false,
        continues_others: false,
        needs: if series == 0 { Vec::new() } else { vec![name(0, time)] },
    };
    let history = |series| History {
        backups: every_six_hours().map(|time| backup(series, time)).collect(),
        series_mode: SeriesMode::Policy,
    };
    let histories = (0..SERIES).map(history).collect();
    Scenario { policy, histories, now: every_six_hours().last().unwrap(), needed: BTreeMap::new(), trust_clock: false }
}

/// Returns the times of the kept backups of each series, which must be equal.
fn kept_times(plan: &Plan) -> BTreeSet<DateTime<Utc>> {
    let kept = |decisions: &Vec<_>| -> BTreeSet<DateTime<Utc>> {
        let kept = decisions
            .iter()
            .filter(|decision: &&longshore_retention::Decision| matches!(decision.action, Action::Keep(_)));
        kept.map(|decision| decision.time).collect()
    };
    let all: BTreeSet<_> = plan.decisions.iter().map(kept).collect();
    assert_eq!(all.len(), 1, "series keep different times");
    all.into_iter().next().unwrap()
}

#[test]
fn many_series_are_planned_like_one() {
    let policy = Policy { keep_daily: Count::AtMost(7), keep_monthly: Count::AtMost(3), ..Policy::default() };
    let one = Scenario {
        histories: scenario(policy.clone()).histories.into_iter().take(1).collect(),
        ..scenario(policy.clone())
    };
    let expected = kept_times(&one.plan().unwrap());
    assert_eq!(expected.len(), 8, "seven days up to 5 May, which include the end of April, and the end of March");

    let all = scenario(policy);
    assert_eq!(all.backups().count(), 100_000);
    let plan = all.plan().unwrap();
    assert_eq!(kept_times(&plan), expected);
    assert_eq!(plan.removals.len(), 100_000 - 8 * SERIES);
    // Removals are ordered by run, and the globals of each run come last.
    assert!(plan.removals.chunks(SERIES).all(|run| run.last().is_some_and(|(history, _)| *history == 0)));
    assert!(plan.removed().is_sorted_by_key(|decision| decision.time));
}

#[test]
fn max_total_size_removes_whole_runs() {
    let most = Some(ByteSize::new((100 * SERIES * 10) as u64));
    let policy = Policy { keep_last: Count::All, max_total_size: most, ..Policy::default() };
    let plan = scenario(policy).plan().unwrap();
    let newest: BTreeSet<_> = every_six_hours().skip(BACKUPS_PER_SERIES - 100).collect();
    assert_eq!(kept_times(&plan), newest);
    assert_eq!(plan.excess_bytes, 0);
}

#[test]
fn long_chain_is_kept_by_its_end() {
    let mut scenario = scenario(Policy { keep_last: Count::AtMost(1), ..Policy::default() });
    // Each history is a chain of dependencies. Its first backup needs the last backup of the next
    // history.
    for history in 0..SERIES {
        let next = scenario.histories.get(history + 1).map(|next| next.backups[BACKUPS_PER_SERIES - 1].name.clone());
        let backups = &mut scenario.histories[history].backups;
        for place in 1..backups.len() {
            backups[place].needs = vec![backups[place - 1].name.clone()];
        }
        backups[0].needs = next.into_iter().collect();
    }
    scenario.histories[1..].iter_mut().for_each(|history| history.series_mode = SeriesMode::Retire);
    let plan = scenario.plan().unwrap();
    assert_eq!(plan.removals, []);
    let needed = |decision: &longshore_retention::Decision| matches!(&decision.action, Action::Keep(why) if why.iter().all(|why| matches!(why, Reason::NeededBy(_))));
    assert!(plan.decisions.iter().flatten().skip(1).all(needed));
}
