//! A model written from the engine's documentation alone: for each backup and rule it compares the
//! backup with all others. The engine must equal the model.

use std::collections::{BTreeMap, BTreeSet};

use longshore_model::key::BackupName;
use longshore_retention::{
    Action, CLOCK_TOLERANCE, CalendarUnit, Candidate, History, Reason, RemoveReason, SeriesMode,
};

use crate::calendar_oracle;
use crate::scenario::Scenario;
use crate::shrink::check_scenarios;

/// The expected outcome of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expected {
    Kept(BTreeSet<Reason>),
    Removed(RemoveReason),
}

/// The expected outcomes of all backups of a scenario, without `max_delete`.
struct Model<'a> {
    scenario: &'a Scenario,
    /// The reasons to keep each backup, except dependencies.
    own: BTreeMap<&'a BackupName, BTreeSet<Reason>>,
    /// The backups in dependency cycles.
    cyclic: BTreeSet<&'a BackupName>,
    /// The kept backups before `max_total_size` applies.
    kept_by_rules: BTreeSet<&'a BackupName>,
    /// The backups removed by `max_total_size`.
    removed_for_size: BTreeSet<&'a BackupName>,
}

fn future_dated(scenario: &Scenario, backup: &Candidate) -> bool {
    backup.time - scenario.now > CLOCK_TOLERANCE
}

/// Returns true if the clock permits no decision.
fn refused(scenario: &Scenario, history: &History) -> bool {
    let ahead = history.backups.iter().any(|backup| backup.good && future_dated(scenario, backup));
    history.series_mode == SeriesMode::Policy && ahead && !scenario.trust_clock
}

fn newer(one: &Candidate, other: &Candidate) -> bool {
    (one.time, &one.name) > (other.time, &other.name)
}

/// Returns the rules and floors that keep one backup of a series under the policy.
fn rules(scenario: &Scenario, counted: &[&Candidate], backup: &Candidate) -> BTreeSet<Reason> {
    let policy = &scenario.policy;
    let period = |unit, backup: &Candidate| calendar_oracle::period(unit, backup.time, policy.timezone);
    let newest = counted.iter().find(|one| !counted.iter().any(|other| newer(other, one))).unwrap();
    let newer_ones: Vec<_> = counted.iter().filter(|other| newer(other, backup)).collect();
    let within = |span| {
        let start = calendar_oracle::before(span, newest.time, policy.timezone);
        (backup.time.timestamp(), backup.time.timestamp_subsec_nanos()) > (start, newest.time.timestamp_subsec_nanos())
    };
    let mut reasons = BTreeSet::new();
    let mut keeps = |is_so: bool, reason| is_so.then(|| reasons.insert(reason));
    keeps(newer_ones.len() < policy.min_keep.get() as usize, Reason::Newest);
    keeps(backup.verified && !newer_ones.iter().any(|other| other.verified), Reason::NewestVerified);
    keeps(backup.drilled && !newer_ones.iter().any(|other| other.drilled), Reason::NewestDrilled);
    keeps(newer_ones.len() < policy.keep_last.limit(), Reason::Last);
    keeps(policy.keep_within.is_some_and(within), Reason::Within);
    for unit in CalendarUnit::ALL {
        let own = period(unit, backup);
        let newer_periods: BTreeSet<_> = newer_ones.iter().map(|other| period(unit, other)).collect();
        let is_newest_of_its = !newer_periods.contains(&own);
        keeps(is_newest_of_its && newer_periods.len() < policy.newest_of(unit).limit(), Reason::NewestOf(unit));
        keeps(is_newest_of_its && policy.within(unit).is_some_and(within), Reason::NewestWithin(unit));
    }
    reasons
}

/// Returns the reasons to keep one backup, except dependencies.
fn own_reasons(scenario: &Scenario, history: &History, backup: &Candidate) -> BTreeSet<Reason> {
    if history.series_mode == SeriesMode::KeepAll || refused(scenario, history) {
        return BTreeSet::from([Reason::LeftAlone]);
    }
    let counts = |backup: &&Candidate| backup.good && !future_dated(scenario, backup);
    let counted: Vec<_> = history.backups.iter().filter(counts).collect();
    let mut reasons = BTreeSet::new();
    if history.series_mode == SeriesMode::Policy {
        if counts(&backup) {
            reasons = rules(scenario, &counted, backup);
        }
        if !backup.good {
            reasons.insert(Reason::NotGood);
        }
        if backup.begins_window {
            reasons.insert(Reason::RecoveryWindow);
        }
    }
    if future_dated(scenario, backup) {
        reasons.insert(Reason::FutureDated);
    }
    let now = scenario.now;
    if let Some(hold) = &backup.held
        && hold.until.is_none_or(|until| until > now)
    {
        reasons.insert(Reason::Held { until: hold.until, why: hold.why.clone() });
    }
    let ahead = |until: &chrono::DateTime<chrono::Utc>| *until > now;
    reasons.extend(backup.locked_until.filter(ahead).map(|until| Reason::Locked { until }));
    reasons.extend(backup.restoring_until.filter(ahead).map(|until| Reason::Restoring { until }));
    let grown = scenario.policy.min_age.map(|age| backup.time + age.duration());
    reasons.extend(grown.filter(ahead).map(|until| Reason::Young { until }));
    reasons
}

/// Returns the backups that indirectly need themselves.
fn cyclic(scenario: &Scenario) -> BTreeSet<&BackupName> {
    let all: Vec<_> = scenario.backups().map(|(_, backup)| backup).collect();
    let needs_itself = |backup: &&&Candidate| {
        let mut reached: BTreeSet<&BackupName> = backup.needs.iter().collect();
        loop {
            let before = reached.len();
            let further = all.iter().filter(|other| reached.contains(&other.name)).flat_map(|other| &other.needs);
            reached.extend(further.collect::<Vec<_>>());
            if reached.len() == before {
                return reached.contains(&backup.name);
            }
        }
    };
    all.iter().filter(needs_itself).map(|backup| &backup.name).collect()
}

impl<'a> Model<'a> {
    fn of(scenario: &'a Scenario) -> Self {
        let own = scenario
            .backups()
            .map(|(place, backup)| (&backup.name, own_reasons(scenario, &scenario.histories[place], backup)));
        let (own, cyclic) = (own.collect(), cyclic(scenario));
        let mut model =
            Self { scenario, own, cyclic, kept_by_rules: BTreeSet::new(), removed_for_size: BTreeSet::new() };
        model.kept_by_rules = model.kept().into_keys().collect();
        while let Some(oldest) = model.next_for_size() {
            model.removed_for_size.insert(oldest);
        }
        model
    }

    /// Returns all kept backups with all reasons: those with a reason of their own, and their
    /// direct and indirect dependencies.
    fn kept(&self) -> BTreeMap<&'a BackupName, BTreeSet<Reason>> {
        let mut kept = BTreeMap::<&BackupName, BTreeSet<Reason>>::new();
        for (_, backup) in self.scenario.backups() {
            let own = &self.own[&backup.name];
            if !own.is_empty() && !self.removed_for_size.contains(&backup.name) {
                kept.insert(&backup.name, own.clone());
            }
            // Dependency cycles have no order of removal.
            if self.cyclic.contains(&backup.name) {
                kept.entry(&backup.name).or_default();
            }
            if let Some(all) = self.scenario.needed.get(&backup.name) {
                kept.entry(&backup.name).or_default().extend(all.iter().cloned().map(Reason::NeededBy));
            }
        }
        loop {
            let before = kept.clone();
            for (_, by) in self.scenario.backups().filter(|(_, by)| before.contains_key(&by.name)) {
                for needed in by.needs.iter().filter_map(|need| self.own.get_key_value(need)).map(|(name, _)| *name) {
                    kept.entry(needed).or_default().insert(Reason::NeededBy(by.name.clone()));
                }
            }
            if kept == before {
                return kept;
            }
        }
    }

    /// Returns the oldest backup to remove for `max_total_size`, if the total is too large: only
    /// rules keep it, and no kept backup needs it.
    fn next_for_size(&self) -> Option<&'a BackupName> {
        let kept = self.kept();
        if self.excess(&kept) == 0 {
            return None;
        }
        let is_rule = |reason: &Reason| {
            matches!(reason, Reason::Last | Reason::Within | Reason::NewestOf(_) | Reason::NewestWithin(_))
        };
        let all = self.scenario.backups();
        let removable =
            all.filter(|(_, backup)| kept.get(&backup.name).is_some_and(|reasons| reasons.iter().all(is_rule)));
        removable.min_by_key(|(place, backup)| (backup.time, *place, &backup.name)).map(|(_, oldest)| &oldest.name)
    }

    /// Returns the excess of the kept backups over `max_total_size`, in bytes.
    fn excess(&self, kept: &BTreeMap<&BackupName, BTreeSet<Reason>>) -> u64 {
        let stays = self.scenario.backups().filter(|(_, backup)| kept.contains_key(&backup.name));
        let total: u64 = stays.map(|(_, backup)| backup.bytes).sum();
        self.scenario.policy.max_total_size.map_or(0, |most| total.saturating_sub(most.bytes()))
    }

    fn expected(&self) -> BTreeMap<&'a BackupName, Expected> {
        let mut kept = self.kept();
        let all = self.scenario.backups().map(|(place, backup)| {
            let cause = match self.scenario.histories[place].series_mode {
                _ if self.kept_by_rules.contains(&backup.name) => RemoveReason::TotalSize,
                SeriesMode::Retire => RemoveReason::Retired,
                _ => RemoveReason::NoRule,
            };
            (&backup.name, kept.remove(&backup.name).map_or(Expected::Removed(cause), Expected::Kept))
        });
        all.collect()
    }
}

fn equals_the_model(scenario: &Scenario) -> Result<(), String> {
    let plan = scenario.plan().map_err(|error| error.to_string())?;
    let model = Model::of(scenario);
    let mut expected = model.expected();
    if let Some(most) = scenario.policy.max_delete {
        // Other tests check the order of removals. Here, all removals beyond the limit must wait.
        let mut unlimited = scenario.clone();
        unlimited.policy.max_delete = None;
        for late in unlimited.plan().unwrap().removed().skip(most.get() as usize) {
            expected.insert(
                scenario
                    .backups()
                    .find(|(_, backup)| backup.name == late.name)
                    .map(|(_, backup)| &backup.name)
                    .unwrap(),
                Expected::Kept(BTreeSet::from([Reason::Later])),
            );
        }
    }
    for decision in plan.decisions.iter().flatten() {
        let found = match &decision.action {
            Action::Keep(reasons) => {
                let set: BTreeSet<_> = reasons.iter().cloned().collect();
                if set.len() < reasons.len() {
                    return Err(format!("{}: a reason twice in {reasons:?}", decision.name));
                }
                Expected::Kept(set)
            }
            Action::Remove(cause) => Expected::Removed(*cause),
        };
        let expected = expected.remove(&decision.name);
        if expected.as_ref() != Some(&found) {
            return Err(format!("{}: {found:?}, but the model expects {expected:?}", decision.name));
        }
    }
    let refused_places: Vec<usize> = plan.refused.iter().map(|(place, _)| *place).collect();
    let expected_places: Vec<usize> =
        (0..scenario.histories.len()).filter(|place| refused(scenario, &scenario.histories[*place])).collect();
    if !expected.is_empty() || refused_places != expected_places {
        return Err(format!("undecided: {:?}; refused: {refused_places:?}, not {expected_places:?}", expected.keys()));
    }
    let excess = model.excess(&model.kept());
    if plan.excess_bytes != excess {
        return Err(format!("an excess of {}, but the model expects {excess}", plan.excess_bytes));
    }
    Ok(())
}

#[test]
fn engine_equals_the_model() {
    check_scenarios(100_000, equals_the_model);
}
