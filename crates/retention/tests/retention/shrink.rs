//! The search for a scenario that violates an invariant, and its reduction to a small example.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono_tz::Tz;
use longshore_retention::{Candidate, Policy, SeriesMode};

use crate::scenario::Scenario;

/// Checks `count` scenarios on all processors. Panics with a minimal scenario that fails.
pub(crate) fn check_scenarios(count: u64, check: fn(&Scenario) -> Result<(), String>) {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let failed = std::thread::scope(|scope| {
        let mine = |thread| {
            (thread..count).step_by(threads as usize).find(|seed| passes(&Scenario::of(*seed), check).is_err())
        };
        let all: Vec<_> = (0..threads).map(|thread| scope.spawn(move || mine(thread))).collect();
        all.into_iter().filter_map(|thread| thread.join().unwrap()).min()
    });
    if let Some(seed) = failed {
        let scenario = smallest(Scenario::of(seed), check);
        let why = passes(&scenario, check).unwrap_err();
        panic!("scenario {seed}: {why}\nminimal scenario:\n{scenario}");
    }
}

fn passes(scenario: &Scenario, check: fn(&Scenario) -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| check(scenario))).unwrap_or_else(|_| Err("panic".to_owned()))
}

/// Removes parts of a failing scenario as long as it still fails.
fn smallest(mut scenario: Scenario, check: fn(&Scenario) -> Result<(), String>) -> Scenario {
    loop {
        let simpler = simpler(&scenario).into_iter().find(|simpler| passes(simpler, check).is_err());
        match simpler {
            Some(simpler) => scenario = simpler,
            None => return scenario,
        }
    }
}

/// Returns all scenarios that lack one part of this one.
fn simpler(scenario: &Scenario) -> Vec<Scenario> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Scenario)| {
        let mut simpler = scenario.clone();
        change(&mut simpler);
        all.push(simpler);
    };
    for history in 0..scenario.histories.len() {
        with(&|scenario| drop(scenario.histories.remove(history)));
        let half = scenario.histories[history].backups.len() / 2;
        if half > 1 {
            with(&|scenario| drop(scenario.histories[history].backups.drain(..half)));
            with(&|scenario| drop(scenario.histories[history].backups.drain(half..)));
        }
        for backup in 0..scenario.histories[history].backups.len() {
            with(&|scenario| drop(scenario.histories[history].backups.remove(backup)));
        }
        if scenario.histories[history].series_mode != SeriesMode::Policy {
            with(&|scenario| scenario.histories[history].series_mode = SeriesMode::Policy);
        }
        for (place, backup) in scenario.histories[history].backups.iter().enumerate() {
            let mut plain = |change: &dyn Fn(&mut Candidate)| {
                let mut changed = backup.clone();
                change(&mut changed);
                if changed != *backup {
                    with(&|scenario| scenario.histories[history].backups[place] = changed.clone());
                }
            };
            plain(&|backup| drop(backup.needs.pop()));
            plain(&|backup| backup.good = true);
            plain(&|backup| (backup.verified, backup.drilled) = (false, false));
            plain(&|backup| backup.held = None);
            plain(&|backup| backup.locked_until = None);
            plain(&|backup| backup.restoring_until = None);
            plain(&|backup| backup.bytes = backup.bytes.min(1));
        }
    }
    for needed in scenario.needed.keys() {
        with(&|scenario| drop(scenario.needed.remove(needed)));
    }
    let mut ruled = |change: &dyn Fn(&mut Policy)| {
        let mut policy = scenario.policy.clone();
        change(&mut policy);
        if policy != scenario.policy && policy.check("").is_ok() {
            with(&|scenario| scenario.policy = policy.clone());
        }
    };
    let usual = Policy::default();
    ruled(&|policy| policy.keep_last = usual.keep_last);
    ruled(&|policy| policy.keep_hourly = usual.keep_hourly);
    ruled(&|policy| policy.keep_daily = usual.keep_daily);
    ruled(&|policy| policy.keep_weekly = usual.keep_weekly);
    ruled(&|policy| policy.keep_monthly = usual.keep_monthly);
    ruled(&|policy| policy.keep_quarterly = usual.keep_quarterly);
    ruled(&|policy| policy.keep_yearly = usual.keep_yearly);
    ruled(&|policy| policy.keep_within = None);
    ruled(&|policy| policy.keep_within_hourly = None);
    ruled(&|policy| policy.keep_within_daily = None);
    ruled(&|policy| policy.keep_within_weekly = None);
    ruled(&|policy| policy.keep_within_monthly = None);
    ruled(&|policy| policy.keep_within_quarterly = None);
    ruled(&|policy| policy.keep_within_yearly = None);
    ruled(&|policy| policy.min_keep = usual.min_keep);
    ruled(&|policy| policy.min_age = None);
    ruled(&|policy| policy.max_delete = None);
    ruled(&|policy| policy.max_total_size = None);
    ruled(&|policy| policy.timezone = Tz::UTC);
    all
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "now {}, trust_clock {}, needed from outside {:?}", self.now, self.trust_clock, self.needed)?;
        let usual = format!("{:#?}", Policy::default());
        let policy = format!("{:#?}", self.policy);
        let set: Vec<&str> =
            policy.lines().filter(|line| !usual.lines().any(|usual| usual == *line)).map(str::trim).collect();
        writeln!(f, "policy {}", set.join(" "))?;
        for (place, history) in self.histories.iter().enumerate() {
            writeln!(f, "history {place}: {:?}", history.series_mode)?;
            for backup in &history.backups {
                write!(f, "  {} {} {} bytes", backup.name, backup.time, backup.bytes)?;
                let marks = [(!backup.good, "NOT GOOD"), (backup.verified, "verified"), (backup.drilled, "drilled")];
                marks.iter().filter(|(is, _)| *is).try_for_each(|(_, mark)| write!(f, ", {mark}"))?;
                if let Some(hold) = &backup.held {
                    write!(f, ", held until {:?}", hold.until)?;
                }
                for (until, what) in [(backup.locked_until, "locked"), (backup.restoring_until, "restoring")] {
                    until.map_or(Ok(()), |until| write!(f, ", {what} until {until}"))?;
                }
                backup.needs.iter().try_for_each(|needed| write!(f, ", needs {needed}"))?;
                writeln!(f)?;
            }
        }
        Ok(())
    }
}
