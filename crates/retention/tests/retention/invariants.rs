//! Invariants of retention for any history and policy.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use longshore_model::key::BackupName;
use longshore_retention::{Action, CLOCK_TOLERANCE, Candidate, Decision, History, Plan, Reason, SeriesMode};

use crate::rng::Rng;
use crate::scenario::{Scenario, kept, name};
use crate::shrink::check_scenarios;

/// The number of scenarios for each invariant. With two histories per scenario on average, these
/// are a hundred thousand histories.
const SCENARIOS: u64 = 50_000;

fn ensure(is_so: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(what()) }
}

fn planned(scenario: &Scenario) -> Result<Plan, String> {
    scenario.plan().map_err(|error| error.to_string())
}

fn is_removed(decision: &Decision) -> bool {
    matches!(decision.action, Action::Remove(_))
}

/// Returns true if the engine must not decide a series.
fn is_left_alone(scenario: &Scenario, history: &History) -> bool {
    let ahead = |backup: &Candidate| backup.good && backup.time > scenario.now + CLOCK_TOLERANCE;
    let refused =
        history.series_mode == SeriesMode::Policy && !scenario.trust_clock && history.backups.iter().any(ahead);
    history.series_mode == SeriesMode::KeepAll || refused
}

/// Every backup has one decision, newest first; each removal is listed once, up to the limit; and
/// the sizes add up.
fn plan_is_complete(scenario: &Scenario) -> Result<(), String> {
    let plan = planned(scenario)?;
    for (history, decisions) in scenario.histories.iter().zip(&plan.decisions) {
        let ordered = |pair: &[Decision]| (pair[0].time, &pair[0].name) > (pair[1].time, &pair[1].name);
        ensure(decisions.windows(2).all(ordered), || "not newest first, or a backup twice".into())?;
        let decided: BTreeSet<_> =
            decisions.iter().map(|decided| (&decided.name, decided.time, decided.bytes)).collect();
        let input: BTreeSet<_> = history.backups.iter().map(|input| (&input.name, input.time, input.bytes)).collect();
        ensure(decided == input, || "not the given backups".into())?;
    }
    ensure(scenario.histories.len() == plan.decisions.len(), || "a history without decisions".into())?;
    let all = plan.decisions.iter().enumerate().flat_map(|(history, decisions)| {
        decisions
            .iter()
            .enumerate()
            .filter(|(_, decision)| is_removed(decision))
            .map(move |(place, _)| (history, place))
    });
    let listed: BTreeSet<_> = plan.removals.iter().copied().collect();
    ensure(listed.len() == plan.removals.len(), || "a removal twice".into())?;
    ensure(listed == all.collect(), || "the removals differ from the decisions".into())?;
    let most = scenario.policy.max_delete.map_or(usize::MAX, |most| most.get() as usize);
    ensure(plan.removals.len() <= most, || "more than max_delete".into())?;

    let is_late = |decision: &Decision| matches!(&decision.action, Action::Keep(why) if why.contains(&Reason::Later));
    let staying = plan.decisions.iter().flatten().filter(|decision| !is_removed(decision) && !is_late(decision));
    let total: u64 = staying.map(|decision| decision.bytes).sum();
    let excess = scenario.policy.max_total_size.map_or(0, |most| total.saturating_sub(most.bytes()));
    ensure(plan.excess_bytes == excess, || format!("an excess of {} bytes, not {excess}", plan.excess_bytes))
}

/// Protected backups are never removed.
fn protected_backups_are_kept(scenario: &Scenario) -> Result<(), String> {
    let plan = planned(scenario)?;
    let removed: BTreeSet<&BackupName> = plan.removed().map(|decision| &decision.name).collect();
    let stays =
        |backup: &Candidate, why: &str| ensure(!removed.contains(&backup.name), || format!("{}: {why}", backup.name));
    let now = scenario.now;
    for history in &scenario.histories {
        for backup in &history.backups {
            let held = backup.held.as_ref().is_some_and(|hold| hold.until.is_none_or(|until| until > now));
            let reserved = [backup.locked_until, backup.restoring_until].into_iter().flatten().any(|until| until > now);
            let young = scenario
                .policy
                .min_age
                .is_some_and(|age| now - backup.time < TimeDelta::from_std(age.duration()).unwrap());
            if held || reserved || young {
                stays(backup, "removed, but held, locked, being restored or young")?;
            }
            if backup.begins_window && history.series_mode == SeriesMode::Policy {
                stays(backup, "removed, but the recovery window begins with it")?;
            }
            if is_left_alone(scenario, history) {
                stays(backup, "removed from an excluded series")?;
            }
            if backup.time > now + CLOCK_TOLERANCE || (!backup.good && history.series_mode == SeriesMode::Policy) {
                stays(backup, "removed, but future-dated or damaged")?;
            }
        }
        if history.series_mode != SeriesMode::Policy {
            continue;
        }
        let mut good: Vec<_> =
            history.backups.iter().filter(|backup| backup.good && backup.time <= now + CLOCK_TOLERANCE).collect();
        good.sort_by_key(|backup| std::cmp::Reverse((backup.time, &backup.name)));
        for backup in good.iter().take(scenario.policy.min_keep.get() as usize) {
            stays(backup, "removed, but one of the newest")?;
        }
        if let Some(backup) = good.iter().find(|backup| backup.verified) {
            stays(backup, "removed, but the newest verified")?;
        }
        if let Some(backup) = good.iter().find(|backup| backup.drilled) {
            stays(backup, "removed, but the newest drilled")?;
        }
    }
    for (_, backup) in scenario.backups() {
        if scenario.needed.contains_key(&backup.name) {
            stays(backup, "removed, but needed from outside")?;
        }
        for (_, needed) in scenario.backups().filter(|(_, needed)| backup.needs.contains(&needed.name)) {
            ensure(removed.contains(&backup.name) || !removed.contains(&needed.name), || {
                format!("{} is kept without {}, which it needs", backup.name, needed.name)
            })?;
        }
    }
    Ok(())
}

/// After any number of removals, no remaining backup has lost a backup that it needs.
fn every_prefix_keeps_dependencies(scenario: &Scenario) -> Result<(), String> {
    let plan = planned(scenario)?;
    let order: BTreeMap<&BackupName, usize> =
        plan.removed().enumerate().map(|(position, decision)| (&decision.name, position)).collect();
    for (_, backup) in scenario.backups() {
        for needed in backup.needs.iter().filter_map(|needed| order.get(needed)) {
            let own = order.get(&backup.name);
            ensure(own.is_some_and(|own| own < needed), || {
                format!("{} is removed after a backup that it needs", backup.name)
            })?;
        }
    }
    // The oldest removable backup is removed first.
    let removed: Vec<&Decision> = plan.removed().collect();
    for (position, decision) in removed.iter().enumerate() {
        for other in &removed[position + 1..] {
            let waits = |name: &BackupName| {
                scenario
                    .backups()
                    .any(|(_, by)| by.needs.contains(name) && order.get(&by.name).is_some_and(|by| *by >= position))
            };
            ensure(other.time >= decision.time || waits(&other.name), || {
                format!("{} is removed before {}, which is older", decision.name, other.name)
            })?;
        }
    }
    Ok(())
}

/// After a plan was executed, a second plan removes nothing. With `max_delete`, repeated plans
/// reach the same result.
fn second_plan_removes_nothing(scenario: &Scenario) -> Result<(), String> {
    let mut all_at_once = scenario.clone();
    all_at_once.policy.max_delete = None;
    let plan = planned(&all_at_once)?;
    let after = all_at_once.after(&plan, plan.removals.len());
    let second = planned(&after)?;
    ensure(second.removals.is_empty(), || format!("a second plan removes {:?}", second.removed().collect::<Vec<_>>()))?;
    ensure(second.excess_bytes == plan.excess_bytes, || "a second plan has another excess".into())?;
    // The reasons are the same, too, except with `max_total_size`: older backups may take the place
    // of removed ones.
    let stayed = plan.decisions.iter().flatten().filter(|decision| !is_removed(decision));
    ensure(scenario.policy.max_total_size.is_some() || second.decisions.iter().flatten().eq(stayed), || {
        "a second plan has other reasons".into()
    })?;
    if scenario.policy.max_delete.is_none() {
        return Ok(());
    }
    let mut scenario = scenario.clone();
    for _ in 0..=scenario.backups().count() {
        let step = planned(&scenario)?;
        if step.removals.is_empty() {
            return ensure(has_same_result(&scenario, &step, &plan), || {
                format!("step by step, {:?} are kept, at once {:?}", kept(&step), kept(&plan))
            });
        }
        scenario = scenario.after(&step, step.removals.len());
    }
    Err("the plans do not end".into())
}

/// Returns true if the kept backups are the planned ones. With `max_total_size` more may be kept:
/// when the newest backup of a period is removed, an older one takes its place, if the size
/// permits.
fn has_same_result(scenario: &Scenario, end: &Plan, planned: &Plan) -> bool {
    let (end, planned) = (kept(end), kept(planned));
    end == planned || scenario.policy.max_total_size.is_some() && planned.iter().all(|name| end.contains(name))
}

/// A prune that is interrupted at any point and planned again reaches the same result.
fn interrupted_prune_converges(scenario: &Scenario) -> Result<(), String> {
    let mut scenario = scenario.clone();
    scenario.policy.max_delete = None;
    let plan = planned(&scenario)?;
    for done in 0..plan.removals.len() {
        let rest = planned(&scenario.after(&plan, done))?;
        ensure(has_same_result(&scenario, &rest, &plan), || {
            format!("after {done} removals, {:?} are kept, not {:?}", kept(&rest), kept(&plan))
        })?;
    }
    Ok(())
}

/// The order of the listing does not affect the plan.
fn listing_order_is_irrelevant(scenario: &Scenario) -> Result<(), String> {
    let plan = planned(scenario)?;
    let mut other = scenario.clone();
    other.histories.iter_mut().for_each(|history| history.backups.reverse());
    let again = planned(&other)?;
    ensure(again.decisions == plan.decisions && again.removals == plan.removals, || {
        "another order gives another plan".into()
    })
}

/// Adding `extra` to a scenario removes no backup that was kept before.
fn nothing_is_displaced_by(extra: &[Candidate], scenario: &Scenario, what: &str) -> Result<(), String> {
    let mut before = scenario.clone();
    // Ignore the limits that the added backups legitimately use up.
    (before.policy.max_total_size, before.policy.max_delete) = (None, None);
    let mut after = before.clone();
    let Some(history) = after.histories.first_mut() else { return Ok(()) };
    history.backups.extend(extra.iter().cloned());
    let (before, after) = (planned(&before)?, planned(&after)?);
    let stays: BTreeSet<_> = kept(&after).into_iter().collect();
    let lost: Vec<_> = kept(&before).into_iter().filter(|name| !stays.contains(name)).collect();
    ensure(lost.is_empty(), || format!("{what} displaced {lost:?}"))
}

/// Returns a backup at `time` without special properties.
fn plain(number: i64, time: chrono::DateTime<chrono::Utc>) -> Candidate {
    Candidate {
        name: name("a-newcomer", number),
        time,
        bytes: 1,
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

/// Only newer good backups displace a backup: no older, failed or future ones.
fn only_newer_good_backups_displace(scenario: &Scenario) -> Result<(), String> {
    let mut rng = Rng::new(scenario.backups().map(|(_, backup)| backup.bytes).sum());
    let times: Vec<_> =
        scenario.histories.iter().take(1).flat_map(|history| &history.backups).map(|backup| backup.time).collect();
    let oldest = times.iter().min().copied().unwrap_or(scenario.now).min(scenario.now);
    let some =
        |rng: &mut Rng| Candidate { verified: rng.happens(50), drilled: rng.happens(50), ..plain(1, scenario.now) };
    let older = Candidate { time: oldest - TimeDelta::seconds(rng.between(1, 100_000)), ..some(&mut rng) };
    nothing_is_displaced_by(&[older], scenario, "an older backup")?;
    let mut failed = Vec::new();
    for number in 0..rng.between(1, 3) {
        let time = scenario.now + TimeDelta::seconds(rng.between(-300_000, 3000));
        failed.push(Candidate { name: name("a-newcomer", number), good: false, time, ..some(&mut rng) });
    }
    nothing_is_displaced_by(&failed, scenario, "failed backups")?;
    let mut future = Vec::new();
    for number in 0..rng.between(1, 3) {
        let time = scenario.now + CLOCK_TOLERANCE + TimeDelta::seconds(rng.between(1, 3_000_000));
        future.push(Candidate { name: name("a-newcomer", number), time, ..some(&mut rng) });
    }
    nothing_is_displaced_by(&future, scenario, "future backups")
}

/// The passage of time removes no backup that a rule keeps.
fn waiting_removes_nothing(scenario: &Scenario) -> Result<(), String> {
    let mut scenario = scenario.clone();
    (scenario.policy.max_delete, scenario.policy.min_age) = (None, None);
    for history in &mut scenario.histories {
        history.backups.retain(|backup| backup.time <= scenario.now + CLOCK_TOLERANCE);
        for backup in &mut history.backups {
            (backup.held, backup.locked_until, backup.restoring_until) = (None, None, None);
        }
    }
    let before = planned(&scenario)?;
    scenario.now += TimeDelta::days(60);
    let after = planned(&scenario)?;
    ensure(after.decisions == before.decisions, || "the plan differs after 60 days".into())
}

/// A larger count or span keeps all backups that the smaller one keeps.
fn larger_rule_keeps_more(scenario: &Scenario) -> Result<(), String> {
    let mut scenario = scenario.clone();
    (scenario.policy.max_delete, scenario.policy.max_total_size) = (None, None);
    let before = planned(&scenario)?;
    let mut rng = Rng::new(scenario.now.timestamp().unsigned_abs());
    let more = |count: &mut longshore_retention::Count| {
        if let longshore_retention::Count::AtMost(count) = count {
            *count += 1;
        }
    };
    let policy = &mut scenario.policy;
    match rng.below(4) {
        0 => more(&mut policy.keep_last),
        1 => more(&mut policy.keep_daily),
        2 => more(&mut policy.keep_weekly),
        _ => policy.keep_within = policy.keep_within.map(|_| crate::scenario::parse_span("6y")),
    }
    let after = planned(&scenario)?;
    let stays: BTreeSet<_> = kept(&after).into_iter().collect();
    ensure(kept(&before).iter().all(|name| stays.contains(name)), || "a rule that keeps more keeps less".into())
}

#[test]
fn plan_decides_every_backup() {
    check_scenarios(SCENARIOS, plan_is_complete);
}

#[test]
fn plan_never_removes_protected_backups() {
    check_scenarios(SCENARIOS, protected_backups_are_kept);
}

#[test]
fn interrupted_prune_leaves_complete_backups() {
    check_scenarios(SCENARIOS, every_prefix_keeps_dependencies);
}

#[test]
fn repeated_plan_removes_nothing() {
    check_scenarios(SCENARIOS, second_plan_removes_nothing);
}

#[test]
fn interrupted_prune_ends_with_the_same_backups() {
    check_scenarios(SCENARIOS, interrupted_prune_converges);
}

#[test]
fn plan_ignores_the_order_of_the_listing() {
    check_scenarios(SCENARIOS, listing_order_is_irrelevant);
}

#[test]
fn only_newer_good_backups_displace_others() {
    check_scenarios(SCENARIOS, only_newer_good_backups_displace);
}

#[test]
fn passing_time_removes_nothing() {
    check_scenarios(SCENARIOS, waiting_removes_nothing);
}

#[test]
fn larger_rules_keep_at_least_as_much() {
    check_scenarios(SCENARIOS, larger_rule_keeps_more);
}
