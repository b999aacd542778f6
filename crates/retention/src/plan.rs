//! The plan: a decision with reasons for every backup of a job at a destination.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use longshore_model::clock::CLOCK_TOLERANCE;
use longshore_model::error::{Error, Kind, Result, Stage};
use longshore_model::key::BackupName;

use super::calendar::CalendarUnit;
use super::candidate::Candidate;
use super::need::{Index, Needs};
use super::own_runs::OwnRuns;
use super::policy::Policy;
use super::reason::{Reason, RemoveReason};
use super::removal_order::{RemovalKey, RemovalOrder};

/// The backups of one series at one destination.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// The backups, in any order.
    pub backups: Vec<Candidate>,
    /// The treatment of the series.
    pub series_mode: SeriesMode,
}

/// The treatment of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeriesMode {
    /// The policy applies.
    Policy,
    /// No backup is removed. Dependencies of these backups count.
    KeepAll,
    /// The policy and its floors do not apply: an operator has retired the series.
    Retire,
}

/// The context of a plan.
#[derive(Debug, Clone, Copy)]
pub struct PlanContext<'a> {
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
    pub future_dated: Vec<(usize, BackupName)>,
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
    pub action: Action,
}

/// The outcome of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The backup is kept, for all these reasons.
    Keep(Vec<Reason>),
    /// The backup is removed.
    Remove(RemoveReason),
}

impl Plan {
    /// Returns the removals in order.
    pub fn removed(&self) -> impl Iterator<Item = &Decision> {
        self.removals.iter().map(|(history, index)| &self.decisions[*history][*index])
    }
}

/// Plans the removals of one job at one destination.
pub fn plan(policy: &Policy, histories: &[History], context: PlanContext<'_>) -> Result<Plan> {
    policy.check("")?;
    let mut plan = Plan::default();
    let mut series: Vec<SeriesPlan<'_>> = Vec::new();
    for (index, history) in histories.iter().enumerate() {
        let mut newest_first: Vec<&Candidate> = history.backups.iter().collect();
        // Backups of the same time are ordered by name, so that the order is always the same.
        newest_first.sort_unstable_by(|a, b| (b.time, &b.name).cmp(&(a.time, &a.name)));
        let series_mode = match check_clock(&newest_first, context) {
            Some(ClockCheck::Unknown(error)) if history.series_mode == SeriesMode::Policy => {
                plan.refused.push((index, error));
                SeriesMode::KeepAll
            }
            Some(ClockCheck::Right) if history.series_mode == SeriesMode::Policy => {
                let ahead = newest_first.iter().filter(|backup| future_dated(backup, context.now));
                plan.future_dated.extend(ahead.map(|backup| (index, backup.name.clone())));
                history.series_mode
            }
            _ => history.series_mode,
        };
        series.push(evaluate(policy, newest_first, series_mode, context));
    }
    let all: Vec<Vec<&Candidate>> = series.iter().map(|series| series.newest_first.clone()).collect();
    let all: Vec<&[&Candidate]> = all.iter().map(Vec::as_slice).collect();
    let needs = Needs::resolve(&all, context.needed);
    let order = RemovalOrder::of(&all, &needs);
    keep_dependencies(&mut series, &needs, &order);
    if let Some(size) = policy.max_total_size {
        plan.excess_bytes = enforce_max_size(&mut series, &needs, size.bytes());
        // A removed backup may be named as a dependent.
        for reasons in series.iter_mut().flat_map(|series| &mut series.reasons) {
            reasons.retain(|reason| !matches!(reason, Reason::NeededBy(_)));
        }
        keep_dependencies(&mut series, &needs, &order);
    }
    plan.removals = order.indices().filter(|(history, index)| series[*history].reasons[*index].is_empty()).collect();
    if let Some(maximum) = policy.max_delete {
        let later = plan.removals.split_off(plan.removals.len().min(maximum.get() as usize));
        for (history, index) in later {
            series[history].reasons[index].push(Reason::Later);
        }
    }
    for (series, history) in series.iter().zip(histories) {
        if history.series_mode == SeriesMode::Policy
            && !series.reasons.is_empty()
            && series.reasons.iter().all(Vec::is_empty)
        {
            return Err(Error::new(
                Stage::Retention,
                Kind::Refused,
                series.newest_first[0].name.as_str(),
                "the plan would remove every backup of a series",
            ));
        }
    }
    plan.decisions = series.into_iter().map(SeriesPlan::decisions).collect();
    Ok(plan)
}

/// A series during planning.
struct SeriesPlan<'a> {
    newest_first: Vec<&'a Candidate>,
    /// The reasons to keep each backup; without a reason, it is removed.
    reasons: Vec<Vec<Reason>>,
    /// The reason for removals, except those for size.
    cause: RemoveReason,
    /// The indices of the backups removed for size.
    removed_for_size: HashSet<usize>,
}

impl SeriesPlan<'_> {
    fn decisions(self) -> Vec<Decision> {
        let Self { newest_first, reasons, cause, removed_for_size } = self;
        let actions = reasons.into_iter().enumerate().map(|(index, reasons)| match reasons.is_empty() {
            true if removed_for_size.contains(&index) => Action::Remove(RemoveReason::TotalSize),
            true => Action::Remove(cause),
            false => Action::Keep(reasons),
        });
        let decide = |(backup, action): (&Candidate, Action)| Decision {
            name: backup.name.clone(),
            time: backup.time,
            bytes: backup.bytes,
            action,
        };
        newest_first.into_iter().zip(actions).map(decide).collect()
    }
}

/// The state of this host's clock, given that the newest good backup is ahead of it.
enum ClockCheck {
    /// This host's own runs agree with its clock, so another clock is wrong.
    Right,
    /// Either clock may be wrong, so no decision is possible.
    Unknown(Error),
}

/// Compares this host's clock with the newest good backup. Returns `None` if the backup is not
/// ahead.
fn check_clock(newest_first: &[&Candidate], context: PlanContext<'_>) -> Option<ClockCheck> {
    let newest = newest_first.iter().find(|backup| backup.good)?;
    if context.trust_clock || !future_dated(newest, context.now) {
        return None;
    }
    if context.own_runs.is_some_and(|runs| !runs.are_ahead_of(context.now)) {
        return Some(ClockCheck::Right);
    }
    let message = format!(
        "the newest backup is dated {}, but this host's clock shows {}: one of the clocks is wrong",
        newest.time, context.now
    );
    Some(ClockCheck::Unknown(
        Error::new(Stage::Retention, Kind::Refused, newest.name.as_str(), message)
            .hint("correct the clock; if it is right, run `longshore prune --despite clock` while that backup exists"),
    ))
}

/// Returns true if this host knows its runs, and none of them made the backup.
pub(super) fn unproven(backup: &Candidate, own_runs: Option<&OwnRuns>) -> bool {
    own_runs.is_some_and(|runs| !runs.covers(&backup.name, backup.time))
}

pub(super) fn future_dated(backup: &Candidate, now: DateTime<Utc>) -> bool {
    backup.time > now + CLOCK_TOLERANCE
}

/// Collects the reasons to keep each backup of a series.
fn evaluate<'a>(
    policy: &Policy,
    newest_first: Vec<&'a Candidate>,
    series_mode: SeriesMode,
    context: PlanContext<'_>,
) -> SeriesPlan<'a> {
    let PlanContext { now, own_runs, .. } = context;
    let cause = if series_mode == SeriesMode::Retire { RemoveReason::Retired } else { RemoveReason::NoRule };
    let mut reasons: Vec<Vec<Reason>> = match series_mode {
        SeriesMode::KeepAll => vec![vec![Reason::LeftAlone]; newest_first.len()],
        SeriesMode::Policy | SeriesMode::Retire => {
            newest_first.iter().map(|backup| exempt(policy, backup, series_mode, now).collect()).collect()
        }
    };
    if series_mode == SeriesMode::Policy {
        for (backup, reasons) in newest_first.iter().zip(&mut reasons) {
            reasons.extend(unproven(backup, own_runs).then_some(Reason::Unproven));
            reasons.extend(backup.begins_window.then_some(Reason::RecoveryWindow));
        }
        let counted: Vec<(usize, &Candidate)> = newest_first
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, backup)| backup.good && !future_dated(backup, now) && !unproven(backup, own_runs))
            .collect();
        apply_rules(policy, &counted, |index, reason| reasons[index].push(reason));
    }
    SeriesPlan { newest_first, reasons, cause, removed_for_size: HashSet::new() }
}

/// Returns the reasons to keep a backup that do not depend on the rules.
pub(super) fn exempt(
    policy: &Policy,
    backup: &Candidate,
    series_mode: SeriesMode,
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
        (!backup.good && series_mode == SeriesMode::Policy).then_some(Reason::NotGood),
        held.map(|hold| Reason::Held { until: hold.until, why: hold.why.clone() }),
        backup.locked_until.filter(ahead).map(|until| Reason::Locked { until }),
        backup.restoring_until.filter(ahead).map(|until| Reason::Restoring { until }),
        young.filter(ahead).map(|until| Reason::Young { until }),
    ]
    .into_iter()
    .flatten()
}

/// Applies the rules to the counted backups, newest first, each with its index.
fn apply_rules(policy: &Policy, counted: &[(usize, &Candidate)], mut keep: impl FnMut(usize, Reason)) {
    let Some((_, newest)) = counted.first() else { return };
    let since = |span: super::CalendarSpan| span.before(newest.time, policy.timezone);

    for (index, _) in counted.iter().take(policy.min_keep.get() as usize) {
        keep(*index, Reason::Newest);
    }
    if let Some((index, _)) = counted.iter().find(|(_, backup)| backup.verified) {
        keep(*index, Reason::NewestVerified);
    }
    if let Some((index, _)) = counted.iter().find(|(_, backup)| backup.drilled) {
        keep(*index, Reason::NewestDrilled);
    }
    for (index, _) in counted.iter().take(policy.keep_last.limit()) {
        keep(*index, Reason::Last);
    }
    if let Some(since) = policy.keep_within.map(since) {
        for (index, _) in counted.iter().take_while(|(_, backup)| backup.time > since) {
            keep(*index, Reason::Within);
        }
    }
    for unit in CalendarUnit::ALL {
        let (maximum, since) = (policy.newest_of(unit).limit(), policy.within(unit).map(since));
        let mut periods = HashSet::new();
        for (position, (_, backup)) in counted.iter().enumerate() {
            let is_within = |time| since.is_some_and(|since| time > since);
            let within = is_within(backup.time);
            if periods.len() >= maximum && !within {
                break;
            }
            let period = unit.period(backup.time, policy.timezone);
            if periods.insert(period) {
                let of_period = counted[position..]
                    .iter()
                    .take_while(|(_, other)| unit.period(other.time, policy.timezone) == period);
                let of_period = of_period.filter(|(_, other)| within == is_within(other.time));
                let (index, _) = representative(unit, of_period).unwrap_or(&counted[position]);
                if periods.len() <= maximum {
                    keep(*index, Reason::NewestOf(unit));
                }
                if within {
                    keep(*index, Reason::NewestWithin(unit));
                }
            }
        }
    }
}

/// Returns the backup of a period that represents it, given those of the period, newest first: the
/// newest one. For a week and longer, the newest one that is complete by itself is preferred, since
/// each of the others keeps a second backup.
fn representative<'a, 'b>(
    unit: CalendarUnit,
    mut of_period: impl Iterator<Item = &'b (usize, &'a Candidate)>,
) -> Option<&'b (usize, &'a Candidate)>
where
    'a: 'b,
{
    let newest = of_period.next()?;
    if unit < CalendarUnit::Week || !newest.1.continues_others {
        return Some(newest);
    }
    Some(of_period.find(|(_, backup)| !backup.continues_others).unwrap_or(newest))
}

/// Keeps the direct and indirect dependencies of kept backups, and dependency cycles, which have no
/// order of removal.
fn keep_dependencies(series: &mut [SeriesPlan<'_>], needs: &Needs<'_>, order: &RemovalOrder) {
    let mut needed: HashMap<Index, BTreeSet<&BackupName>> = HashMap::new();
    for (index, by) in needs.outside() {
        needed.entry(index).or_default().insert(by);
    }
    let mut queue: Vec<Index> = needed.keys().copied().chain(order.cyclic()).collect();
    for (history, series) in series.iter().enumerate() {
        let kept = series.reasons.iter().enumerate().filter(|(_, reasons)| !reasons.is_empty());
        queue.extend(kept.map(|(index, _)| (history, index)));
    }
    let mut visited: HashSet<Index> = queue.iter().copied().collect();
    while let Some((history, index)) = queue.pop() {
        for dependency in needs.of((history, index)) {
            needed.entry(*dependency).or_default().insert(&series[history].newest_first[index].name);
            if visited.insert(*dependency) {
                queue.push(*dependency);
            }
        }
    }
    for ((history, index), by) in needed {
        series[history].reasons[index].extend(by.into_iter().cloned().map(Reason::NeededBy));
    }
}

/// Removes the oldest backups that only rules keep and no kept backup needs, each with the backups
/// that only it needs, until the rest takes at most `maximum` bytes. Returns the remaining excess
/// in bytes.
fn enforce_max_size(series: &mut [SeriesPlan<'_>], needs: &Needs<'_>, maximum: u64) -> u64 {
    let is_dependency = |reason: &Reason| matches!(reason, Reason::NeededBy(_));
    let all = series.iter().enumerate();
    let all = all.flat_map(|(history, series)| (0..series.reasons.len()).map(move |index| (history, index)));
    let kept: Vec<Index> = all.filter(|(history, index)| !series[*history].reasons[*index].is_empty()).collect();
    // Manifests may claim any size, so the sum must not overflow.
    let mut total: u128 = 0;
    let mut dependents: HashMap<Index, usize> = needs.outside().map(|(index, _)| (index, 1)).collect();
    for (history, index) in &kept {
        // Backups of unknown origin do not count towards the size.
        if !series[*history].reasons[*index].contains(&Reason::Unproven) {
            total += u128::from(series[*history].newest_first[*index].bytes);
        }
        for dependency in needs.of((*history, *index)) {
            *dependents.entry(*dependency).or_default() += 1;
        }
    }
    let removal_key = |series: &[SeriesPlan<'_>], (history, index): Index| {
        let is_rule_only =
            series[history].reasons[index].iter().all(|reason| reason.is_rule() || is_dependency(reason));
        is_rule_only.then(|| RemovalKey::of((history, index), series[history].newest_first[index]))
    };
    let removable = kept.into_iter().filter(|index| !dependents.contains_key(index));
    let mut removable: BinaryHeap<RemovalKey> = removable.filter_map(|index| removal_key(series, index)).collect();
    while total > maximum.into()
        && let Some(oldest) = removable.pop()
    {
        let mut stack = vec![oldest.index()];
        while let Some((history, index)) = stack.pop() {
            total -= u128::from(series[history].newest_first[index].bytes);
            series[history].reasons[index].clear();
            series[history].removed_for_size.insert(index);
            for dependency in needs.of((history, index)) {
                let count = dependents.entry(*dependency).or_default();
                *count -= 1;
                match *count {
                    0 if series[dependency.0].reasons[dependency.1].iter().all(is_dependency) => {
                        stack.push(*dependency)
                    }
                    0 => removable.extend(removal_key(series, *dependency)),
                    _ => {}
                }
            }
        }
    }
    u64::try_from(total.saturating_sub(maximum.into())).unwrap_or(u64::MAX)
}
