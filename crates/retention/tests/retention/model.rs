//! A model written from the engine's documentation alone: for each backup and rule it compares the
//! backup with all others. The engine must equal the model.

use std::collections::{BTreeMap, BTreeSet};

use longshore_model::key::BackupName;
use longshore_retention::{CLOCK_TOLERANCE, Candidate, Cause, Every, Fate, History, Reason, Regime};

use crate::almanac;
use crate::search::in_worlds;
use crate::world::World;

/// The expected outcome of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expected {
    Stays(BTreeSet<Reason>),
    Goes(Cause),
}

/// The expected outcomes of all backups of a world, without `max_delete`.
struct Model<'a> {
    world: &'a World,
    /// The reasons to keep each backup, except dependencies.
    own: BTreeMap<&'a BackupName, BTreeSet<Reason>>,
    /// The backups in dependency cycles.
    circular: BTreeSet<&'a BackupName>,
    /// The kept backups before `max_total_size` applies.
    wished: BTreeSet<&'a BackupName>,
    /// The backups removed by `max_total_size`.
    shed: BTreeSet<&'a BackupName>,
}

fn future_dated(world: &World, backup: &Candidate) -> bool {
    backup.time - world.now > CLOCK_TOLERANCE
}

/// Returns true if the clock permits no decision.
fn refused(world: &World, history: &History) -> bool {
    let ahead = history.backups.iter().any(|backup| backup.good && future_dated(world, backup));
    history.regime == Regime::Policy && ahead && !world.trust_clock
}

fn newer(one: &Candidate, other: &Candidate) -> bool {
    (one.time, &one.name) > (other.time, &other.name)
}

/// Returns the rules and floors that keep one backup of a series under the policy.
fn rules(world: &World, counted: &[&Candidate], backup: &Candidate) -> BTreeSet<Reason> {
    let policy = &world.policy;
    let period = |every, backup: &Candidate| almanac::period(every, backup.time, policy.timezone);
    let newest = counted.iter().find(|one| !counted.iter().any(|other| newer(other, one))).unwrap();
    let newer_ones: Vec<_> = counted.iter().filter(|other| newer(other, backup)).collect();
    let within = |ago| {
        let start = almanac::before(ago, newest.time, policy.timezone);
        (backup.time.timestamp(), backup.time.timestamp_subsec_nanos()) > (start, newest.time.timestamp_subsec_nanos())
    };
    let mut reasons = BTreeSet::new();
    let mut keeps = |is_so: bool, reason| is_so.then(|| reasons.insert(reason));
    keeps(newer_ones.len() < policy.min_keep.get() as usize, Reason::Newest);
    keeps(backup.verified && !newer_ones.iter().any(|other| other.verified), Reason::NewestVerified);
    keeps(backup.drilled && !newer_ones.iter().any(|other| other.drilled), Reason::NewestDrilled);
    keeps(newer_ones.len() < policy.keep_last.limit(), Reason::Last);
    keeps(policy.keep_within.is_some_and(within), Reason::Within);
    for every in Every::ALL {
        let own = period(every, backup);
        let newer_periods: BTreeSet<_> = newer_ones.iter().map(|other| period(every, other)).collect();
        let is_newest_of_its = !newer_periods.contains(&own);
        keeps(is_newest_of_its && newer_periods.len() < policy.newest_of(every).limit(), Reason::NewestOf(every));
        keeps(is_newest_of_its && policy.within(every).is_some_and(within), Reason::NewestWithin(every));
    }
    reasons
}

/// Returns the reasons to keep one backup, except dependencies.
fn own_reasons(world: &World, history: &History, backup: &Candidate) -> BTreeSet<Reason> {
    if history.regime == Regime::LeaveAlone || refused(world, history) {
        return BTreeSet::from([Reason::LeftAlone]);
    }
    let counts = |backup: &&Candidate| backup.good && !future_dated(world, backup);
    let counted: Vec<_> = history.backups.iter().filter(counts).collect();
    let mut reasons = BTreeSet::new();
    if history.regime == Regime::Policy {
        if counts(&backup) {
            reasons = rules(world, &counted, backup);
        }
        if !backup.good {
            reasons.insert(Reason::NotGood);
        }
    }
    if future_dated(world, backup) {
        reasons.insert(Reason::FutureDated);
    }
    let now = world.now;
    if let Some(hold) = &backup.held
        && hold.until.is_none_or(|until| until > now)
    {
        reasons.insert(Reason::Held { until: hold.until, why: hold.why.clone() });
    }
    let ahead = |until: &chrono::DateTime<chrono::Utc>| *until > now;
    reasons.extend(backup.locked_until.filter(ahead).map(|until| Reason::Locked { until }));
    reasons.extend(backup.restoring_until.filter(ahead).map(|until| Reason::Restoring { until }));
    let grown = world.policy.min_age.map(|age| backup.time + age.duration());
    reasons.extend(grown.filter(ahead).map(|until| Reason::Young { until }));
    reasons
}

/// Returns the backups that indirectly need themselves.
fn circular(world: &World) -> BTreeSet<&BackupName> {
    let all: Vec<_> = world.backups().map(|(_, backup)| backup).collect();
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
    fn of(world: &'a World) -> Self {
        let own =
            world.backups().map(|(place, backup)| (&backup.name, own_reasons(world, &world.histories[place], backup)));
        let (own, circular) = (own.collect(), circular(world));
        let mut model = Self { world, own, circular, wished: BTreeSet::new(), shed: BTreeSet::new() };
        model.wished = model.staying().into_keys().collect();
        while let Some(oldest) = model.sheddable() {
            model.shed.insert(oldest);
        }
        model
    }

    /// Returns all kept backups with all reasons: those with a reason of their own, and their
    /// direct and indirect dependencies.
    fn staying(&self) -> BTreeMap<&'a BackupName, BTreeSet<Reason>> {
        let mut staying = BTreeMap::<&BackupName, BTreeSet<Reason>>::new();
        for (_, backup) in self.world.backups() {
            let own = &self.own[&backup.name];
            if !own.is_empty() && !self.shed.contains(&backup.name) {
                staying.insert(&backup.name, own.clone());
            }
            // Dependency cycles have no order of removal.
            if self.circular.contains(&backup.name) {
                staying.entry(&backup.name).or_default();
            }
            if let Some(all) = self.world.needed.get(&backup.name) {
                staying.entry(&backup.name).or_default().extend(all.iter().cloned().map(Reason::NeededBy));
            }
        }
        loop {
            let before = staying.clone();
            for (_, by) in self.world.backups().filter(|(_, by)| before.contains_key(&by.name)) {
                for needed in by.needs.iter().filter_map(|need| self.own.get_key_value(need)).map(|(name, _)| *name) {
                    staying.entry(needed).or_default().insert(Reason::NeededBy(by.name.clone()));
                }
            }
            if staying == before {
                return staying;
            }
        }
    }

    /// Returns the oldest backup to remove for `max_total_size`, if the total is too large: only
    /// rules keep it, and no kept backup needs it.
    fn sheddable(&self) -> Option<&'a BackupName> {
        let staying = self.staying();
        if self.excess(&staying) == 0 {
            return None;
        }
        let wish = |reason: &Reason| {
            matches!(reason, Reason::Last | Reason::Within | Reason::NewestOf(_) | Reason::NewestWithin(_))
        };
        let all = self.world.backups();
        let can_go =
            all.filter(|(_, backup)| staying.get(&backup.name).is_some_and(|reasons| reasons.iter().all(wish)));
        can_go.min_by_key(|(place, backup)| (backup.time, *place, &backup.name)).map(|(_, oldest)| &oldest.name)
    }

    /// Returns the excess of the kept backups over `max_total_size`, in bytes.
    fn excess(&self, staying: &BTreeMap<&BackupName, BTreeSet<Reason>>) -> u64 {
        let stays = self.world.backups().filter(|(_, backup)| staying.contains_key(&backup.name));
        let total: u64 = stays.map(|(_, backup)| backup.bytes).sum();
        self.world.policy.max_total_size.map_or(0, |most| total.saturating_sub(most.bytes()))
    }

    fn expected(&self) -> BTreeMap<&'a BackupName, Expected> {
        let mut staying = self.staying();
        let all = self.world.backups().map(|(place, backup)| {
            let cause = match self.world.histories[place].regime {
                _ if self.wished.contains(&backup.name) => Cause::TotalSize,
                Regime::Retire => Cause::Retired,
                _ => Cause::NoRule,
            };
            (&backup.name, staying.remove(&backup.name).map_or(Expected::Goes(cause), Expected::Stays))
        });
        all.collect()
    }
}

fn equals_the_model(world: &World) -> Result<(), String> {
    let plan = world.plan().map_err(|error| error.to_string())?;
    let model = Model::of(world);
    let mut expected = model.expected();
    if let Some(most) = world.policy.max_delete {
        // Other tests check the order of removals. Here, all removals beyond the limit must wait.
        let mut unlimited = world.clone();
        unlimited.policy.max_delete = None;
        for late in unlimited.plan().unwrap().removed().skip(most.get() as usize) {
            expected.insert(
                world.backups().find(|(_, backup)| backup.name == late.name).map(|(_, backup)| &backup.name).unwrap(),
                Expected::Stays(BTreeSet::from([Reason::Later])),
            );
        }
    }
    for decision in plan.decisions.iter().flatten() {
        let found = match &decision.fate {
            Fate::Keep(reasons) => {
                let set: BTreeSet<_> = reasons.iter().cloned().collect();
                if set.len() < reasons.len() {
                    return Err(format!("{}: a reason twice in {reasons:?}", decision.name));
                }
                Expected::Stays(set)
            }
            Fate::Remove(cause) => Expected::Goes(*cause),
        };
        let expected = expected.remove(&decision.name);
        if expected.as_ref() != Some(&found) {
            return Err(format!("{}: {found:?}, but the model expects {expected:?}", decision.name));
        }
    }
    let refused_places: Vec<usize> = plan.refused.iter().map(|(place, _)| *place).collect();
    let expected_places: Vec<usize> =
        (0..world.histories.len()).filter(|place| refused(world, &world.histories[*place])).collect();
    if !expected.is_empty() || refused_places != expected_places {
        return Err(format!("undecided: {:?}; refused: {refused_places:?}, not {expected_places:?}", expected.keys()));
    }
    let excess = model.excess(&model.staying());
    if plan.excess_bytes != excess {
        return Err(format!("an excess of {}, but the model expects {excess}", plan.excess_bytes));
    }
    Ok(())
}

#[test]
fn the_engine_equals_the_model() {
    in_worlds(100_000, equals_the_model);
}
