//! Invariants of retention for any history and policy.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use longshore_model::key::BackupName;
use longshore_retention::{CLOCK_TOLERANCE, Candidate, Decision, Fate, History, Plan, Reason, Regime};

use crate::chance::Chance;
use crate::search::in_worlds;
use crate::world::{World, kept, name};

/// The number of worlds for each invariant. With two histories per world on average, these are a
/// hundred thousand histories.
const WORLDS: u64 = 50_000;

fn ensure(is_so: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(what()) }
}

fn planned(world: &World) -> Result<Plan, String> {
    world.plan().map_err(|error| error.to_string())
}

fn goes(decision: &Decision) -> bool {
    matches!(decision.fate, Fate::Remove(_))
}

/// Returns true if the engine must not decide a series.
fn is_left_alone(world: &World, history: &History) -> bool {
    let ahead = |backup: &Candidate| backup.good && backup.time > world.now + CLOCK_TOLERANCE;
    let refused = history.regime == Regime::Policy && !world.trust_clock && history.backups.iter().any(ahead);
    history.regime == Regime::LeaveAlone || refused
}

/// Every backup has one decision, newest first; each removal is listed once, up to the limit; and
/// the sizes add up.
fn the_plan_is_whole(world: &World) -> Result<(), String> {
    let plan = planned(world)?;
    for (history, decisions) in world.histories.iter().zip(&plan.decisions) {
        let ordered = |pair: &[Decision]| (pair[0].time, &pair[0].name) > (pair[1].time, &pair[1].name);
        ensure(decisions.windows(2).all(ordered), || "not newest first, or a backup twice".into())?;
        let told: BTreeSet<_> = decisions.iter().map(|told| (&told.name, told.time, told.bytes)).collect();
        let given: BTreeSet<_> = history.backups.iter().map(|given| (&given.name, given.time, given.bytes)).collect();
        ensure(told == given, || "not the given backups".into())?;
    }
    ensure(world.histories.len() == plan.decisions.len(), || "a history without decisions".into())?;
    let all = plan.decisions.iter().enumerate().flat_map(|(history, decisions)| {
        decisions.iter().enumerate().filter(|(_, decision)| goes(decision)).map(move |(place, _)| (history, place))
    });
    let listed: BTreeSet<_> = plan.removals.iter().copied().collect();
    ensure(listed.len() == plan.removals.len(), || "a removal twice".into())?;
    ensure(listed == all.collect(), || "the removals differ from the decisions".into())?;
    let most = world.policy.max_delete.map_or(usize::MAX, |most| most.get() as usize);
    ensure(plan.removals.len() <= most, || "more than max_delete".into())?;

    let is_late = |decision: &Decision| matches!(&decision.fate, Fate::Keep(why) if why.contains(&Reason::Later));
    let staying = plan.decisions.iter().flatten().filter(|decision| !goes(decision) && !is_late(decision));
    let total: u64 = staying.map(|decision| decision.bytes).sum();
    let excess = world.policy.max_total_size.map_or(0, |most| total.saturating_sub(most.bytes()));
    ensure(plan.excess_bytes == excess, || format!("an excess of {} bytes, not {excess}", plan.excess_bytes))
}

/// Protected backups are never removed.
fn what_must_stay_stays(world: &World) -> Result<(), String> {
    let plan = planned(world)?;
    let gone: BTreeSet<&BackupName> = plan.removed().map(|decision| &decision.name).collect();
    let stays =
        |backup: &Candidate, why: &str| ensure(!gone.contains(&backup.name), || format!("{}: {why}", backup.name));
    let now = world.now;
    for history in &world.histories {
        for backup in &history.backups {
            let held = backup.held.as_ref().is_some_and(|hold| hold.until.is_none_or(|until| until > now));
            let reserved = [backup.locked_until, backup.restoring_until].into_iter().flatten().any(|until| until > now);
            let young = world
                .policy
                .min_age
                .is_some_and(|age| now - backup.time < TimeDelta::from_std(age.duration()).unwrap());
            if held || reserved || young {
                stays(backup, "removed, but held, locked, being restored or young")?;
            }
            if is_left_alone(world, history) {
                stays(backup, "removed from an excluded series")?;
            }
            if backup.time > now + CLOCK_TOLERANCE || (!backup.good && history.regime == Regime::Policy) {
                stays(backup, "removed, but future-dated or damaged")?;
            }
        }
        if history.regime != Regime::Policy {
            continue;
        }
        let mut good: Vec<_> =
            history.backups.iter().filter(|backup| backup.good && backup.time <= now + CLOCK_TOLERANCE).collect();
        good.sort_by_key(|backup| std::cmp::Reverse((backup.time, &backup.name)));
        for backup in good.iter().take(world.policy.min_keep.get() as usize) {
            stays(backup, "removed, but one of the newest")?;
        }
        if let Some(backup) = good.iter().find(|backup| backup.verified) {
            stays(backup, "removed, but the newest verified")?;
        }
        if let Some(backup) = good.iter().find(|backup| backup.drilled) {
            stays(backup, "removed, but the newest drilled")?;
        }
    }
    for (_, backup) in world.backups() {
        if world.needed.contains_key(&backup.name) {
            stays(backup, "removed, but needed from outside")?;
        }
        for (_, needed) in world.backups().filter(|(_, needed)| backup.needs.contains(&needed.name)) {
            ensure(gone.contains(&backup.name) || !gone.contains(&needed.name), || {
                format!("{} is kept without {}, which it needs", backup.name, needed.name)
            })?;
        }
    }
    Ok(())
}

/// After any number of removals, no remaining backup has lost a backup that it needs.
fn every_prefix_leaves_whole_backups(world: &World) -> Result<(), String> {
    let plan = planned(world)?;
    let turns: BTreeMap<&BackupName, usize> =
        plan.removed().enumerate().map(|(turn, decision)| (&decision.name, turn)).collect();
    for (_, backup) in world.backups() {
        for needed in backup.needs.iter().filter_map(|needed| turns.get(needed)) {
            let own = turns.get(&backup.name);
            ensure(own.is_some_and(|own| own < needed), || {
                format!("{} is removed after a backup that it needs", backup.name)
            })?;
        }
    }
    // The oldest removable backup is removed first.
    let removed: Vec<&Decision> = plan.removed().collect();
    for (turn, decision) in removed.iter().enumerate() {
        for other in &removed[turn + 1..] {
            let waits = |name: &BackupName| {
                world
                    .backups()
                    .any(|(_, by)| by.needs.contains(name) && turns.get(&by.name).is_some_and(|by| *by >= turn))
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
fn a_second_plan_removes_nothing(world: &World) -> Result<(), String> {
    let mut all_at_once = world.clone();
    all_at_once.policy.max_delete = None;
    let plan = planned(&all_at_once)?;
    let after = all_at_once.after(&plan, plan.removals.len());
    let second = planned(&after)?;
    ensure(second.removals.is_empty(), || format!("a second plan removes {:?}", second.removed().collect::<Vec<_>>()))?;
    ensure(second.excess_bytes == plan.excess_bytes, || "a second plan has another excess".into())?;
    // The reasons are the same, too, except with `max_total_size`: older backups may take the place
    // of removed ones.
    let stayed = plan.decisions.iter().flatten().filter(|decision| !goes(decision));
    ensure(world.policy.max_total_size.is_some() || second.decisions.iter().flatten().eq(stayed), || {
        "a second plan has other reasons".into()
    })?;
    if world.policy.max_delete.is_none() {
        return Ok(());
    }
    let mut world = world.clone();
    for _ in 0..=world.backups().count() {
        let step = planned(&world)?;
        if step.removals.is_empty() {
            return ensure(is_the_same_end(&world, &step, &plan), || {
                format!("step by step, {:?} are kept, at once {:?}", kept(&step), kept(&plan))
            });
        }
        world = world.after(&step, step.removals.len());
    }
    Err("the plans do not end".into())
}

/// Returns true if the kept backups are the planned ones. With `max_total_size` more may be kept:
/// when the newest backup of a period is removed, an older one takes its place, if the size
/// permits.
fn is_the_same_end(world: &World, end: &Plan, planned: &Plan) -> bool {
    let (end, planned) = (kept(end), kept(planned));
    end == planned || world.policy.max_total_size.is_some() && planned.iter().all(|name| end.contains(name))
}

/// A prune that is interrupted at any point and planned again reaches the same result.
fn an_interrupted_prune_ends_the_same(world: &World) -> Result<(), String> {
    let mut world = world.clone();
    world.policy.max_delete = None;
    let plan = planned(&world)?;
    for done in 0..plan.removals.len() {
        let rest = planned(&world.after(&plan, done))?;
        ensure(is_the_same_end(&world, &rest, &plan), || {
            format!("after {done} removals, {:?} are kept, not {:?}", kept(&rest), kept(&plan))
        })?;
    }
    Ok(())
}

/// The order of the listing does not affect the plan.
fn the_order_of_listing_is_nothing(world: &World) -> Result<(), String> {
    let plan = planned(world)?;
    let mut other = world.clone();
    other.histories.iter_mut().for_each(|history| history.backups.reverse());
    let again = planned(&other)?;
    ensure(again.decisions == plan.decisions && again.removals == plan.removals, || {
        "another order gives another plan".into()
    })
}

/// Adding `extra` to a world removes no backup that was kept before.
fn nothing_goes_for(extra: &[Candidate], world: &World, what: &str) -> Result<(), String> {
    let mut before = world.clone();
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
        needs: Vec::new(),
    }
}

/// Only newer good backups displace a backup: no older, failed or future ones.
fn only_newer_good_ones_push_out(world: &World) -> Result<(), String> {
    let mut chance = Chance::new(world.backups().map(|(_, backup)| backup.bytes).sum());
    let times: Vec<_> =
        world.histories.iter().take(1).flat_map(|history| &history.backups).map(|backup| backup.time).collect();
    let oldest = times.iter().min().copied().unwrap_or(world.now).min(world.now);
    let some = |chance: &mut Chance| Candidate {
        verified: chance.happens(50),
        drilled: chance.happens(50),
        ..plain(1, world.now)
    };
    let older = Candidate { time: oldest - TimeDelta::seconds(chance.between(1, 100_000)), ..some(&mut chance) };
    nothing_goes_for(&[older], world, "an older backup")?;
    let mut failed = Vec::new();
    for number in 0..chance.between(1, 3) {
        let time = world.now + TimeDelta::seconds(chance.between(-300_000, 3000));
        failed.push(Candidate { name: name("a-newcomer", number), good: false, time, ..some(&mut chance) });
    }
    nothing_goes_for(&failed, world, "failed backups")?;
    let mut future = Vec::new();
    for number in 0..chance.between(1, 3) {
        let time = world.now + CLOCK_TOLERANCE + TimeDelta::seconds(chance.between(1, 3_000_000));
        future.push(Candidate { name: name("a-newcomer", number), time, ..some(&mut chance) });
    }
    nothing_goes_for(&future, world, "future backups")
}

/// The passage of time removes no backup that a rule keeps.
fn nothing_goes_while_nothing_comes(world: &World) -> Result<(), String> {
    let mut world = world.clone();
    (world.policy.max_delete, world.policy.min_age) = (None, None);
    for history in &mut world.histories {
        history.backups.retain(|backup| backup.time <= world.now + CLOCK_TOLERANCE);
        for backup in &mut history.backups {
            (backup.held, backup.locked_until, backup.restoring_until) = (None, None, None);
        }
    }
    let before = planned(&world)?;
    world.now += TimeDelta::days(60);
    let after = planned(&world)?;
    ensure(after.decisions == before.decisions, || "the plan differs after 60 days".into())
}

/// A larger count or span keeps all backups that the smaller one keeps.
fn more_of_a_rule_keeps_more(world: &World) -> Result<(), String> {
    let mut world = world.clone();
    (world.policy.max_delete, world.policy.max_total_size) = (None, None);
    let before = planned(&world)?;
    let mut chance = Chance::new(world.now.timestamp().unsigned_abs());
    let more = |count: &mut longshore_retention::Count| {
        if let longshore_retention::Count::AtMost(count) = count {
            *count += 1;
        }
    };
    let policy = &mut world.policy;
    match chance.below(4) {
        0 => more(&mut policy.keep_last),
        1 => more(&mut policy.keep_daily),
        2 => more(&mut policy.keep_weekly),
        _ => policy.keep_within = policy.keep_within.map(|_| crate::world::ago("6y")),
    }
    let after = planned(&world)?;
    let stays: BTreeSet<_> = kept(&after).into_iter().collect();
    ensure(kept(&before).iter().all(|name| stays.contains(name)), || "a rule that keeps more keeps less".into())
}

#[test]
fn a_plan_is_whole() {
    in_worlds(WORLDS, the_plan_is_whole);
}

#[test]
fn what_a_person_would_miss_never_goes() {
    in_worlds(WORLDS, what_must_stay_stays);
}

#[test]
fn a_prune_that_is_cut_short_leaves_no_backup_without_what_it_needs() {
    in_worlds(WORLDS, every_prefix_leaves_whole_backups);
}

#[test]
fn a_plan_applied_twice_removes_nothing_more() {
    in_worlds(WORLDS, a_second_plan_removes_nothing);
}

#[test]
fn a_prune_that_is_cut_short_ends_the_same_the_next_time() {
    in_worlds(WORLDS, an_interrupted_prune_ends_the_same);
}

#[test]
fn a_listing_may_come_in_any_order() {
    in_worlds(WORLDS, the_order_of_listing_is_nothing);
}

#[test]
fn only_newer_good_backups_push_others_out() {
    in_worlds(WORLDS, only_newer_good_ones_push_out);
}

#[test]
fn time_alone_removes_nothing() {
    in_worlds(WORLDS, nothing_goes_while_nothing_comes);
}

#[test]
fn a_rule_that_keeps_more_loses_nothing() {
    in_worlds(WORLDS, more_of_a_rule_keeps_more);
}
