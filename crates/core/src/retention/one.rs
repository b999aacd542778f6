//! One backup that a person removes by hand: whether it may go, and why not.

use std::collections::BTreeSet;

use super::Regime;
use super::plan::{Candidate, Circumstances, Decision, Fate, Plan, exempt, future_dated, unproven};
use super::policy::Policy;
use super::reason::{Cause, Reason};
use crate::key::BackupName;

/// Decides whether the backup `name` of a series may be removed by hand. All others stay.
///
/// The policy's rules count for nothing here, and its floors do: `min_keep` other good backups stay, and with them one that was
/// verified and one that was drilled, where this one was. What is held, locked, being restored, too young, or needed by another
/// backup stays as well. `circumstances.needed` names what any other backup at the destination needs.
pub fn plan_one(policy: &Policy, series: &[Candidate], name: &BackupName, circumstances: Circumstances<'_>) -> Plan {
    let mut newest_first: Vec<&Candidate> = series.iter().collect();
    newest_first.sort_unstable_by(|a, b| (b.time, &b.name).cmp(&(a.time, &a.name)));
    let mut plan = Plan::default();
    let mut decisions = Vec::with_capacity(newest_first.len());
    for (place, backup) in newest_first.iter().enumerate() {
        let reasons = match backup.name == *name {
            true => reasons(policy, &newest_first, backup, circumstances),
            false => vec![Reason::LeftAlone],
        };
        if reasons.is_empty() {
            plan.removals.push((0, place));
        }
        let fate = if reasons.is_empty() { Fate::Remove(Cause::ByHand) } else { Fate::Keep(reasons) };
        decisions.push(Decision { name: backup.name.clone(), time: backup.time, bytes: backup.bytes, fate });
    }
    plan.decisions.push(decisions);
    plan
}

/// The reason that the backup stays even if its removal is asked for.
fn reasons(
    policy: &Policy,
    series: &[&Candidate],
    backup: &Candidate,
    circumstances: Circumstances<'_>,
) -> Vec<Reason> {
    let Circumstances { now, needed, own_runs, .. } = circumstances;
    let counts = |other: &Candidate| other.good && !future_dated(other, now) && !unproven(other, own_runs);
    let others: Vec<&&Candidate> = series.iter().filter(|other| other.name != backup.name && counts(other)).collect();
    let is_last = |of: fn(&Candidate) -> bool| of(backup) && !others.iter().any(|other| of(other));
    let floors = [
        (others.len() < policy.min_keep.get() as usize, Reason::LastGood),
        (is_last(|backup| backup.verified), Reason::NewestVerified),
        (is_last(|backup| backup.drilled), Reason::NewestDrilled),
    ];
    // A damaged backup is no floor, nor is one of unknown origin.
    let is_floor = backup.good && !unproven(backup, own_runs);
    let floors = floors.into_iter().filter(|(holds, _)| *holds && is_floor).map(|(_, reason)| reason);
    // A person may well remove what a wrong clock dated in the future.
    let exempt = exempt(policy, backup, Regime::Retire, now).filter(|reason| *reason != Reason::FutureDated);
    let within = series.iter().filter(|other| other.needs.contains(&backup.name)).map(|other| &other.name);
    let needed: BTreeSet<&BackupName> = needed.get(&backup.name).into_iter().flatten().chain(within).collect();
    let needed = needed.into_iter().filter(|by| **by != backup.name).map(|by| Reason::NeededBy(by.clone()));
    floors.chain(exempt).chain(needed).collect()
}
