//! The plan: a decision with reasons for every backup of a job at a destination.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use longshore_model::clock::CLOCK_TOLERANCE;
use longshore_model::error::{Error, Kind, Result, Stage};
use longshore_model::key::BackupName;

use super::calendar::Every;
use super::candidate::Candidate;
use super::need::{Needs, Place};
use super::order::{Order, Turn};
use super::own_runs::OwnRuns;
use super::policy::Policy;
use super::reason::{Cause, Reason};

/// The backups of one series at one destination.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// The backups, in any order.
    pub backups: Vec<Candidate>,
    /// The treatment of the series.
    pub regime: Regime,
}

/// The treatment of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Regime {
    /// The policy applies.
    Policy,
    /// No backup is removed. Dependencies of these backups count.
    LeaveAlone,
    /// The policy and its floors do not apply: an operator has retired the series.
    Retire,
}

/// The circumstances of a plan.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The time by this host's clock.
    pub now: DateTime<Utc>,
    /// The backups that backups outside the plan need, each with its dependents.
    pub needed: &'a BTreeMap<BackupName, BTreeSet<BackupName>>,
    /// True if an operator has confirmed that this host's clock is right.
    pub trust_clock: bool,
    /// The reported runs of the job; `None` without reports, and then every backup counts.
    pub own_runs: Option<&'a OwnRuns>,
}

/// The plan for all series of one job at one destination.
#[derive(Debug, Default)]
pub struct Plan {
    /// The decisions about each history's backups, newest first, in the order of the histories.
    pub decisions: Vec<Vec<Decision>>,
    /// The removals in order, as indices in `decisions`: always the oldest backup without remaining
    /// dependents.
    pub removals: Vec<(usize, usize)>,
    /// The histories, by index, that could not be decided, each with the error. All their backups
    /// are kept.
    pub refused: Vec<(usize, Error)>,
    /// Backups dated in the future by another host's wrong clock, each with the index of its
    /// history. They are kept, and do not count.
    pub ahead: Vec<(usize, BackupName)>,
    /// The number of bytes by which the kept backups exceed `max_total_size`.
    pub excess_bytes: u64,
}

/// The decision about one backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The backup's name.
    pub name: BackupName,
    /// The time of the run.
    pub time: DateTime<Utc>,
    /// The stored size in bytes.
    pub bytes: u64,
    /// The outcome, with reasons.
    pub fate: Fate,
}

/// The outcome of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The backup is kept, for all these reasons.
    Keep(Vec<Reason>),
    /// The backup is removed.
    Remove(Cause),
}

impl Plan {
    /// Returns the removals in order.
    pub fn removed(&self) -> impl Iterator<Item = &Decision> {
        self.removals.iter().map(|(history, place)| &self.decisions[*history][*place])
    }
}

/// Plans the removals of one job at one destination.
pub fn plan(policy: &Policy, histories: &[History], circumstances: Circumstances<'_>) -> Result<Plan> {
    policy.check("")?;
    let mut plan = Plan::default();
    let mut judged: Vec<Judged<'_>> = Vec::new();
    for (place, history) in histories.iter().enumerate() {
        let mut newest_first: Vec<&Candidate> = history.backups.iter().collect();
        // Backups of the same time are ordered by name, so that the order is always the same.
        newest_first.sort_unstable_by(|a, b| (b.time, &b.name).cmp(&(a.time, &a.name)));
        let regime = match wrong_clock(&newest_first, circumstances) {
            Some(Clock::Unknown(error)) if history.regime == Regime::Policy => {
                plan.refused.push((place, error));
                Regime::LeaveAlone
            }
            Some(Clock::Right) if history.regime == Regime::Policy => {
                let ahead = newest_first.iter().filter(|backup| future_dated(backup, circumstances.now));
                plan.ahead.extend(ahead.map(|backup| (place, backup.name.clone())));
                history.regime
            }
            _ => history.regime,
        };
        judged.push(judge(policy, newest_first, regime, circumstances));
    }
    let all: Vec<Vec<&Candidate>> = judged.iter().map(|judged| judged.newest_first.clone()).collect();
    let all: Vec<&[&Candidate]> = all.iter().map(Vec::as_slice).collect();
    let needs = Needs::of_all(&all, circumstances.needed);
    let order = Order::of(&all, &needs);
    keep_what_is_needed(&mut judged, &needs, &order);
    if let Some(size) = policy.max_total_size {
        plan.excess_bytes = shed(&mut judged, &needs, size.bytes());
        // A removed backup may be named as a dependent.
        for reasons in judged.iter_mut().flat_map(|judged| &mut judged.reasons) {
            reasons.retain(|reason| !matches!(reason, Reason::NeededBy(_)));
        }
        keep_what_is_needed(&mut judged, &needs, &order);
    }
    plan.removals = order.places().filter(|(history, place)| judged[*history].reasons[*place].is_empty()).collect();
    if let Some(most) = policy.max_delete {
        let later = plan.removals.split_off(plan.removals.len().min(most.get() as usize));
        for (history, place) in later {
            judged[history].reasons[place].push(Reason::Later);
        }
    }
    for (judged, history) in judged.iter().zip(histories) {
        if history.regime == Regime::Policy && !judged.reasons.is_empty() && judged.reasons.iter().all(Vec::is_empty) {
            return Err(Error::new(
                Stage::Retention,
                Kind::Refused,
                judged.newest_first[0].name.as_str(),
                "the plan would remove every backup of a series",
            ));
        }
    }
    plan.decisions = judged.into_iter().map(Judged::decisions).collect();
    Ok(plan)
}

/// A series during planning.
struct Judged<'a> {
    newest_first: Vec<&'a Candidate>,
    /// The reasons to keep each backup; without a reason, it is removed.
    reasons: Vec<Vec<Reason>>,
    /// The cause of removals, except those for size.
    cause: Cause,
    /// The indices of the backups removed for size.
    shed: HashSet<usize>,
}

impl Judged<'_> {
    fn decisions(self) -> Vec<Decision> {
        let Self { newest_first, reasons, cause, shed } = self;
        let fates = reasons.into_iter().enumerate().map(|(place, reasons)| match reasons.is_empty() {
            true if shed.contains(&place) => Fate::Remove(Cause::TotalSize),
            true => Fate::Remove(cause),
            false => Fate::Keep(reasons),
        });
        let decide = |(backup, fate): (&Candidate, Fate)| Decision {
            name: backup.name.clone(),
            time: backup.time,
            bytes: backup.bytes,
            fate,
        };
        newest_first.into_iter().zip(fates).map(decide).collect()
    }
}

/// The state of this host's clock, given that the newest good backup is ahead of it.
enum Clock {
    /// This host's own runs agree with its clock, so another clock is wrong.
    Right,
    /// Either clock may be wrong, so no decision is possible.
    Unknown(Error),
}

/// Compares this host's clock with the newest good backup. Returns `None` if the backup is not
/// ahead.
fn wrong_clock(newest_first: &[&Candidate], circumstances: Circumstances<'_>) -> Option<Clock> {
    let newest = newest_first.iter().find(|backup| backup.good)?;
    if circumstances.trust_clock || !future_dated(newest, circumstances.now) {
        return None;
    }
    if circumstances.own_runs.is_some_and(|runs| !runs.are_ahead_of(circumstances.now)) {
        return Some(Clock::Right);
    }
    let message = format!(
        "the newest backup is dated {}, but this host's clock shows {}: one of the clocks is wrong",
        newest.time, circumstances.now
    );
    Some(Clock::Unknown(
        Error::new(Stage::Retention, Kind::Refused, newest.name.as_str(), message)
            .hint("correct the clock; if it is right, run `longshore prune --despite clock` while that backup exists"),
    ))
}

/// Returns true if this host knows its runs, and none of them made the backup.
pub(super) fn unproven(backup: &Candidate, own_runs: Option<&OwnRuns>) -> bool {
    own_runs.is_some_and(|runs| !runs.vouch_for(&backup.name, backup.time))
}

pub(super) fn future_dated(backup: &Candidate, now: DateTime<Utc>) -> bool {
    backup.time > now + CLOCK_TOLERANCE
}

/// Collects the reasons to keep each backup of a series.
fn judge<'a>(
    policy: &Policy,
    newest_first: Vec<&'a Candidate>,
    regime: Regime,
    circumstances: Circumstances<'_>,
) -> Judged<'a> {
    let Circumstances { now, own_runs, .. } = circumstances;
    let cause = if regime == Regime::Retire { Cause::Retired } else { Cause::NoRule };
    let mut reasons: Vec<Vec<Reason>> = match regime {
        Regime::LeaveAlone => vec![vec![Reason::LeftAlone]; newest_first.len()],
        Regime::Policy | Regime::Retire => {
            newest_first.iter().map(|backup| exempt(policy, backup, regime, now).collect()).collect()
        }
    };
    if regime == Regime::Policy {
        for (backup, reasons) in newest_first.iter().zip(&mut reasons) {
            reasons.extend(unproven(backup, own_runs).then_some(Reason::Unproven));
        }
        let counted: Vec<(usize, &Candidate)> = newest_first
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, backup)| backup.good && !future_dated(backup, now) && !unproven(backup, own_runs))
            .collect();
        count(policy, &counted, |place, reason| reasons[place].push(reason));
    }
    Judged { newest_first, reasons, cause, shed: HashSet::new() }
}

/// Returns the reasons to keep a backup that do not depend on the rules.
pub(super) fn exempt(
    policy: &Policy,
    backup: &Candidate,
    regime: Regime,
    now: DateTime<Utc>,
) -> impl Iterator<Item = Reason> {
    let ahead = |until: &DateTime<Utc>| *until > now;
    // An age beyond the range of dates never ends.
    let young = policy.min_age.map(|age| {
        let age = TimeDelta::from_std(age.duration()).ok();
        age.and_then(|age| backup.time.checked_add_signed(age)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    });
    let held = backup.held.as_ref().filter(|hold| hold.until.as_ref().is_none_or(ahead));
    [
        future_dated(backup, now).then_some(Reason::FutureDated),
        (!backup.good && regime == Regime::Policy).then_some(Reason::NotGood),
        held.map(|hold| Reason::Held { until: hold.until, why: hold.why.clone() }),
        backup.locked_until.filter(ahead).map(|until| Reason::Locked { until }),
        backup.restoring_until.filter(ahead).map(|until| Reason::Restoring { until }),
        young.filter(ahead).map(|until| Reason::Young { until }),
    ]
    .into_iter()
    .flatten()
}

/// Applies the rules to the counted backups, newest first, each with its index.
fn count(policy: &Policy, counted: &[(usize, &Candidate)], mut keep: impl FnMut(usize, Reason)) {
    let Some((_, newest)) = counted.first() else { return };
    let since = |ago: super::Ago| ago.before(newest.time, policy.timezone);

    for (place, _) in counted.iter().take(policy.min_keep.get() as usize) {
        keep(*place, Reason::Newest);
    }
    if let Some((place, _)) = counted.iter().find(|(_, backup)| backup.verified) {
        keep(*place, Reason::NewestVerified);
    }
    if let Some((place, _)) = counted.iter().find(|(_, backup)| backup.drilled) {
        keep(*place, Reason::NewestDrilled);
    }
    for (place, _) in counted.iter().take(policy.keep_last.limit()) {
        keep(*place, Reason::Last);
    }
    if let Some(since) = policy.keep_within.map(since) {
        for (place, _) in counted.iter().take_while(|(_, backup)| backup.time > since) {
            keep(*place, Reason::Within);
        }
    }
    for every in Every::ALL {
        let (most, since) = (policy.newest_of(every).limit(), policy.within(every).map(since));
        let mut periods = HashSet::new();
        for (place, backup) in counted {
            let within = since.is_some_and(|since| backup.time > since);
            if periods.len() >= most && !within {
                break;
            }
            if periods.insert(every.period(backup.time, policy.timezone)) {
                if periods.len() <= most {
                    keep(*place, Reason::NewestOf(every));
                }
                if within {
                    keep(*place, Reason::NewestWithin(every));
                }
            }
        }
    }
}

/// Keeps the direct and indirect dependencies of kept backups, and dependency cycles, which have no
/// order of removal.
fn keep_what_is_needed(judged: &mut [Judged<'_>], needs: &Needs<'_>, order: &Order) {
    let mut needed: HashMap<Place, BTreeSet<&BackupName>> = HashMap::new();
    for (place, by) in needs.outside() {
        needed.entry(place).or_default().insert(by);
    }
    let mut fresh: Vec<Place> = needed.keys().copied().chain(order.circular()).collect();
    for (history, judged) in judged.iter().enumerate() {
        let kept = judged.reasons.iter().enumerate().filter(|(_, reasons)| !reasons.is_empty());
        fresh.extend(kept.map(|(place, _)| (history, place)));
    }
    let mut known: HashSet<Place> = fresh.iter().copied().collect();
    while let Some((history, place)) = fresh.pop() {
        for need in needs.of((history, place)) {
            needed.entry(*need).or_default().insert(&judged[history].newest_first[place].name);
            if known.insert(*need) {
                fresh.push(*need);
            }
        }
    }
    for ((history, place), by) in needed {
        judged[history].reasons[place].extend(by.into_iter().cloned().map(Reason::NeededBy));
    }
}

/// Removes the oldest backups that only rules keep and no kept backup needs, each with the backups
/// that only it needs, until the rest takes at most `most` bytes. Returns the remaining excess in
/// bytes.
fn shed(judged: &mut [Judged<'_>], needs: &Needs<'_>, most: u64) -> u64 {
    let is_need = |reason: &Reason| matches!(reason, Reason::NeededBy(_));
    let all = judged.iter().enumerate();
    let all = all.flat_map(|(history, judged)| (0..judged.reasons.len()).map(move |place| (history, place)));
    let staying: Vec<Place> = all.filter(|(history, place)| !judged[*history].reasons[*place].is_empty()).collect();
    // Manifests may claim any size, so the sum must not overflow.
    let mut total: u128 = 0;
    let mut needing: HashMap<Place, usize> = needs.outside().map(|(place, _)| (place, 1)).collect();
    for (history, place) in &staying {
        // Backups of unknown origin do not count towards the size.
        if !judged[*history].reasons[*place].contains(&Reason::Unproven) {
            total += u128::from(judged[*history].newest_first[*place].bytes);
        }
        for need in needs.of((*history, *place)) {
            *needing.entry(*need).or_default() += 1;
        }
    }
    let turn = |judged: &[Judged<'_>], (history, place): Place| {
        let is_wished = judged[history].reasons[place].iter().all(|reason| reason.is_wish() || is_need(reason));
        is_wished.then(|| Turn::of((history, place), judged[history].newest_first[place]))
    };
    let free = staying.into_iter().filter(|place| !needing.contains_key(place));
    let mut free: BinaryHeap<Turn> = free.filter_map(|place| turn(judged, place)).collect();
    while total > most.into()
        && let Some(oldest) = free.pop()
    {
        let mut going = vec![oldest.place()];
        while let Some((history, place)) = going.pop() {
            total -= u128::from(judged[history].newest_first[place].bytes);
            judged[history].reasons[place].clear();
            judged[history].shed.insert(place);
            for need in needs.of((history, place)) {
                let count = needing.entry(*need).or_default();
                *count -= 1;
                match *count {
                    0 if judged[need.0].reasons[need.1].iter().all(is_need) => going.push(*need),
                    0 => free.extend(turn(judged, *need)),
                    _ => {}
                }
            }
        }
    }
    u64::try_from(total.saturating_sub(most.into())).unwrap_or(u64::MAX)
}
