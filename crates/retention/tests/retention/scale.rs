//! A plan for a hundred thousand backups equals the plan for one series. `cargo xtask bench
//! retention` measures a million.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use longshore_model::key::{BackupName, Stamp};
use longshore_model::quantity::Size;
use longshore_retention::{Candidate, Count, Fate, History, Plan, Policy, Reason, Regime};
use longshore_testkit::sample_backups::{BACKUPS_PER_SERIES, every_six_hours};

use crate::world::World;

const SERIES: usize = 200;

/// Returns a world in which the first series contains the globals that the backups of the same run
/// need.
fn world(policy: Policy) -> World {
    let name = |series: usize, time| BackupName::new("main", &format!("series-{series:04}"), Stamp::new(time)).unwrap();
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
        needs: if series == 0 { Vec::new() } else { vec![name(0, time)] },
    };
    let history = |series| History {
        backups: every_six_hours().map(|time| backup(series, time)).collect(),
        regime: Regime::Policy,
    };
    let histories = (0..SERIES).map(history).collect();
    World { policy, histories, now: every_six_hours().last().unwrap(), needed: BTreeMap::new(), trust_clock: false }
}

/// Returns the times of the kept backups of each series, which must be equal.
fn what_stays_of_all(plan: &Plan) -> BTreeSet<DateTime<Utc>> {
    let kept = |decisions: &Vec<_>| -> BTreeSet<DateTime<Utc>> {
        let kept =
            decisions.iter().filter(|decision: &&longshore_retention::Decision| matches!(decision.fate, Fate::Keep(_)));
        kept.map(|decision| decision.time).collect()
    };
    let all: BTreeSet<_> = plan.decisions.iter().map(kept).collect();
    assert_eq!(all.len(), 1, "series keep different times");
    all.into_iter().next().unwrap()
}

#[test]
fn a_hundred_thousand_backups_are_planned_as_one_would_be() {
    let policy = Policy { keep_daily: Count::AtMost(7), keep_monthly: Count::AtMost(3), ..Policy::default() };
    let one =
        World { histories: world(policy.clone()).histories.into_iter().take(1).collect(), ..world(policy.clone()) };
    let expected = what_stays_of_all(&one.plan().unwrap());
    assert_eq!(expected.len(), 8, "seven days up to 5 May, which include the end of April, and the end of March");

    let all = world(policy);
    assert_eq!(all.backups().count(), 100_000);
    let plan = all.plan().unwrap();
    assert_eq!(what_stays_of_all(&plan), expected);
    assert_eq!(plan.removals.len(), 100_000 - 8 * SERIES);
    // Removals are ordered by run, and the globals of each run come last.
    assert!(plan.removals.chunks(SERIES).all(|run| run.last().is_some_and(|(history, _)| *history == 0)));
    assert!(plan.removed().is_sorted_by_key(|decision| decision.time));
}

#[test]
fn a_hundred_thousand_backups_are_shed_run_by_run() {
    let most = Some(Size::new((100 * SERIES * 10) as u64));
    let policy = Policy { keep_last: Count::All, max_total_size: most, ..Policy::default() };
    let plan = world(policy).plan().unwrap();
    let newest: BTreeSet<_> = every_six_hours().skip(BACKUPS_PER_SERIES - 100).collect();
    assert_eq!(what_stays_of_all(&plan), newest);
    assert_eq!(plan.excess_bytes, 0);
}

#[test]
fn a_chain_of_a_hundred_thousand_is_kept_by_its_end() {
    let mut world = world(Policy { keep_last: Count::AtMost(1), ..Policy::default() });
    // Each history is a chain of dependencies. Its first backup needs the last backup of the next
    // history.
    for history in 0..SERIES {
        let next = world.histories.get(history + 1).map(|next| next.backups[BACKUPS_PER_SERIES - 1].name.clone());
        let backups = &mut world.histories[history].backups;
        for place in 1..backups.len() {
            backups[place].needs = vec![backups[place - 1].name.clone()];
        }
        backups[0].needs = next.into_iter().collect();
    }
    world.histories[1..].iter_mut().for_each(|history| history.regime = Regime::Retire);
    let plan = world.plan().unwrap();
    assert_eq!(plan.removals, []);
    let needed = |decision: &longshore_retention::Decision| matches!(&decision.fate, Fate::Keep(why) if why.iter().all(|why| matches!(why, Reason::NeededBy(_))));
    assert!(plan.decisions.iter().flatten().skip(1).all(needed));
}
