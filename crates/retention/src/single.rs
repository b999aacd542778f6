//! Removal of a single backup at an operator's request.

use std::collections::BTreeSet;

use longshore_model::key::BackupName;

use super::SeriesMode;
use super::candidate::Candidate;
use super::plan::{Action, Decision, Plan, PlanContext, exempt, future_dated, unproven};
use super::policy::Policy;
use super::reason::{Reason, RemoveReason};

/// Decides whether the backup `name` of a series may be removed. All other backups are kept.
///
/// The policy's rules do not apply here, but its floors do: `min_keep` other good backups remain,
/// including a verified and a drilled one if this backup is one. Backups that are held, locked,
/// being restored, too young or needed by another backup are kept as well. `context.needed`
/// names the backups that other backups at the destination need.
pub fn plan_single(policy: &Policy, series: &[Candidate], name: &BackupName, context: PlanContext<'_>) -> Plan {
    let mut newest_first: Vec<&Candidate> = series.iter().collect();
    newest_first.sort_unstable_by(|a, b| (b.time, &b.name).cmp(&(a.time, &a.name)));
    let mut plan = Plan::default();
    let mut decisions = Vec::with_capacity(newest_first.len());
    for (index, backup) in newest_first.iter().enumerate() {
        let reasons = match backup.name == *name {
            true => reasons(policy, &newest_first, backup, context),
            false => vec![Reason::LeftAlone],
        };
        if reasons.is_empty() {
            plan.removals.push((0, index));
        }
        let action = if reasons.is_empty() { Action::Remove(RemoveReason::ByHand) } else { Action::Keep(reasons) };
        decisions.push(Decision { name: backup.name.clone(), time: backup.time, bytes: backup.bytes, action });
    }
    plan.decisions.push(decisions);
    plan
}

/// Returns the reasons to keep the backup despite the request.
fn reasons(policy: &Policy, series: &[&Candidate], backup: &Candidate, context: PlanContext<'_>) -> Vec<Reason> {
    let PlanContext { now, needed, own_runs, .. } = context;
    let counts = |other: &Candidate| other.good && !future_dated(other, now) && !unproven(other, own_runs);
    let others: Vec<&&Candidate> = series.iter().filter(|other| other.name != backup.name && counts(other)).collect();
    let is_last = |of: fn(&Candidate) -> bool| of(backup) && !others.iter().any(|other| of(other));
    let floors = [
        (others.len() < policy.min_keep.get() as usize, Reason::LastGood),
        (is_last(|backup| backup.verified), Reason::NewestVerified),
        (is_last(|backup| backup.drilled), Reason::NewestDrilled),
    ];
    // A damaged backup or one of unknown origin does not protect the series.
    let is_floor = backup.good && !unproven(backup, own_runs);
    let floors = floors.into_iter().filter(|(holds, _)| *holds && is_floor).map(|(_, reason)| reason);
    // An operator may remove a backup dated in the future by a wrong clock.
    let exempt = exempt(policy, backup, SeriesMode::Retire, now).filter(|reason| *reason != Reason::FutureDated);
    let within = series.iter().filter(|other| other.needs.contains(&backup.name)).map(|other| &other.name);
    let needed: BTreeSet<&BackupName> = needed.get(&backup.name).into_iter().flatten().chain(within).collect();
    let needed = needed.into_iter().filter(|by| **by != backup.name).map(|by| Reason::NeededBy(by.clone()));
    floors.chain(exempt).chain(needed).collect()
}
