//! Simulation of a retention policy: runs at a fixed interval, each followed by a prune with the
//! planner of real prunes.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use longshore_core::key::{BackupName, Timestamp};
use longshore_core::unit::{ByteSize, TimeSpan};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_retention::{
    Action, CalendarUnit, Candidate, Decision, History, PlanContext, Policy, Reason, SeriesMode, plan,
};
use serde::Serialize;

use crate::prune::{serialize_reasons, serialize_zone};

/// The maximum number of simulated runs.
pub const MAX_RUNS: i64 = 200_000;

/// The maximum number of decisions: each run decides about all existing backups.
const MAX_DECISIONS: usize = 30_000_000;

/// The parameters of a simulation.
#[derive(Debug, Clone)]
pub struct Scenario<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The time of the first run.
    pub start: DateTime<Utc>,
    /// The interval between runs.
    pub every: TimeSpan,
    /// The period in which runs occur, beginning with the first run.
    pub lasting: TimeSpan,
    /// The size of each full backup.
    pub size: Option<ByteSize>,
    /// The backups that are stored as differences, if any are.
    pub differences: Option<Differences>,
    /// The time at which the simulation ends: no run is later.
    pub until: Option<DateTime<Utc>>,
}

/// Backups that are stored as differences from the last full one.
#[derive(Debug, Clone, Copy)]
pub struct Differences {
    /// The time between two full backups.
    pub full_every: TimeSpan,
    /// The size of each difference.
    pub size: Option<ByteSize>,
}

/// The backups that a policy keeps of one series, over time and at the end.
#[derive(Debug, Serialize)]
pub struct Simulation {
    /// The time of the first run.
    pub start: DateTime<Utc>,
    /// The time of the last run.
    pub end: DateTime<Utc>,
    /// The number of runs.
    pub runs: usize,
    /// The time zone of the policy's calendar.
    #[serde(serialize_with = "serialize_zone")]
    pub timezone: Tz,
    /// The size of each full backup in bytes, if given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_bytes: Option<u64>,
    /// The maximum number of backups at any time: after a run, before its prune.
    pub most: usize,
    /// The maximum size of all backups at any time, if sizes are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_bytes: Option<u64>,
    /// The state after the last run of each day.
    pub days: Vec<Day>,
    /// The backups at the end, newest first.
    pub survivors: Vec<Survivor>,
}

/// The state at the end of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Day {
    /// The time of the day's last run.
    pub time: DateTime<Utc>,
    /// The number of backups.
    pub backups: usize,
    /// The size of all backups in bytes, if sizes are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The time of the oldest backup.
    pub oldest: DateTime<Utc>,
}

/// A backup that exists at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Survivor {
    /// The time of the backup.
    pub time: DateTime<Utc>,
    /// True for a difference from a full backup.
    #[serde(rename = "difference", skip_serializing_if = "std::ops::Not::not")]
    pub is_difference: bool,
    /// All reasons for keeping the backup.
    #[serde(serialize_with = "serialize_reasons")]
    pub reasons: Vec<Reason>,
}

impl Simulation {
    /// Returns the size of all backups at the end in bytes, if sizes were given.
    pub fn bytes(&self) -> Option<u64> {
        self.days.last().and_then(|day| day.bytes)
    }

    /// Returns true if any backup at the end is a difference.
    pub fn has_differences(&self) -> bool {
        self.survivors.iter().any(|survivor| survivor.is_difference)
    }

    /// Returns the state after the last run of each of these periods.
    pub fn ends_of(&self, every: CalendarUnit) -> Vec<&Day> {
        let mut ends: BTreeMap<_, &Day> = BTreeMap::new();
        for day in &self.days {
            ends.insert(every.period(day.time, self.timezone), day);
        }
        let mut ends: Vec<_> = ends.into_values().collect();
        ends.sort_by_key(|day| day.time);
        ends
    }
}

/// Simulates the runs, with a prune after each. Only kept backups stay in memory, so years of
/// hourly runs take a moment.
pub fn simulate(scenario: &Scenario<'_>) -> Result<Simulation> {
    let (first, every, runs) = runs(scenario)?;
    let policy = scenario.policy;
    let sizes = Sizes::of(scenario);
    let mut full: Option<Candidate> = None;
    let mut history = [History { backups: Vec::new(), series_mode: SeriesMode::Policy }];
    let mut decisions: Vec<Decision> = Vec::new();
    let (mut days, mut most, mut most_bytes, mut decided, mut now) = (Vec::<Day>::new(), 0, 0, 0, first);
    for run in 0..runs {
        now = first + every * run;
        let compared = scenario.differences.and_then(|differences| {
            let every = TimeDelta::from_std(differences.full_every.duration()).unwrap_or(TimeDelta::MAX);
            full.as_ref().filter(|full| now - full.time < every)
        });
        let made = candidate(now, compared.map(|full| &full.name), &sizes)?;
        if compared.is_none() {
            full = Some(made.clone());
        }
        history[0].backups.push(made);
        most = most.max(history[0].backups.len());
        most_bytes = most_bytes.max(bytes_of(&history[0].backups));
        decided += history[0].backups.len();
        if decided > MAX_DECISIONS {
            let message = format!("the policy keeps too many backups to simulate: {most} by {now}");
            let error = Error::new(Stage::Retention, Kind::Usage, "--for", message);
            return Err(error.hint("use a shorter time or fewer runs"));
        }
        let mut plan =
            plan(policy, &history, PlanContext { now, needed: &BTreeMap::new(), trust_clock: false, own_runs: None })?;
        let gone: HashSet<_> = plan.removed().map(|decision| decision.name.clone()).collect();
        if !gone.is_empty() {
            history[0].backups.retain(|backup| !gone.contains(&backup.name));
        }
        decisions = plan.decisions.remove(0);
        let oldest = history[0].backups.first().map_or(now, |oldest| oldest.time);
        let bytes = sizes.are_known.then(|| bytes_of(&history[0].backups));
        let day = Day { time: now, backups: history[0].backups.len(), bytes, oldest };
        let period = |time| CalendarUnit::Day.period(time, policy.timezone);
        match days.last_mut() {
            Some(last) if period(last.time) == period(now) => *last = day,
            _ => days.push(day),
        }
    }
    let differences: HashSet<_> =
        history[0].backups.iter().filter(|backup| !backup.needs.is_empty()).map(|backup| backup.time).collect();
    let survivors = decisions.into_iter().filter_map(|Decision { time, action, .. }| match action {
        Action::Keep(reasons) => Some(Survivor { time, is_difference: differences.contains(&time), reasons }),
        Action::Remove(_) => None,
    });
    Ok(Simulation {
        start: first,
        end: now,
        runs: usize::try_from(runs).unwrap_or_default(),
        timezone: policy.timezone,
        backup_bytes: scenario.size.map(ByteSize::bytes),
        most,
        most_bytes: sizes.are_known.then_some(most_bytes),
        days,
        survivors: survivors.collect(),
    })
}

/// Returns the time of the first run, the interval, and the number of runs.
fn runs(scenario: &Scenario<'_>) -> Result<(DateTime<Utc>, TimeDelta, i32)> {
    let usage_error = |what: &str, message: &str, hint: &str| {
        Err(Error::new(Stage::Retention, Kind::Usage, what, message).hint(hint.to_owned()))
    };
    let span = |span: TimeSpan| TimeDelta::from_std(span.duration()).unwrap_or(TimeDelta::MAX);
    let (first, every) = (Timestamp::new(scenario.start).time(), span(scenario.every));
    if every <= TimeDelta::zero() {
        return usage_error("--every", "the interval must be longer than zero", "use an interval such as --every 6h");
    }
    let Some(end) = first.checked_add_signed(span(scenario.lasting)).filter(|end| *end > first) else {
        return usage_error("--for", "the period contains no run", "use a period such as --for 3y");
    };
    let last = (end - TimeDelta::seconds(1)).min(scenario.until.unwrap_or(DateTime::<Utc>::MAX_UTC));
    if last < first || scenario.until.is_some_and(|until| until >= end + TimeDelta::days(1)) {
        return usage_error(
            "--on",
            "the day is outside of the simulated period",
            "choose a day within --start and --for",
        );
    }
    let runs = (last - first).num_seconds() / every.num_seconds() + 1;
    match i32::try_from(runs) {
        Ok(number) if runs <= MAX_RUNS => Ok((first, every, number)),
        _ => usage_error(
            "--every",
            &format!("{runs} runs are too many: the maximum is {MAX_RUNS}"),
            "use a shorter time or fewer runs",
        ),
    }
}

/// The sizes of the simulated backups, in bytes.
struct Sizes {
    full: u64,
    difference: u64,
    are_known: bool,
}

impl Sizes {
    fn of(scenario: &Scenario<'_>) -> Self {
        let difference = scenario.differences.and_then(|differences| differences.size);
        let bytes = |size: Option<ByteSize>| size.map_or(0, ByteSize::bytes);
        Self {
            full: bytes(scenario.size),
            difference: bytes(difference),
            are_known: scenario.size.is_some() && (difference.is_some() || scenario.differences.is_none()),
        }
    }
}

fn bytes_of(backups: &[Candidate]) -> u64 {
    backups.iter().map(|backup| backup.bytes).sum()
}

/// Returns a full backup, or a difference from one.
fn candidate(time: DateTime<Utc>, full: Option<&BackupName>, sizes: &Sizes) -> Result<Candidate> {
    Ok(Candidate {
        name: BackupName::new("simulated", "backup", Timestamp::new(time))?,
        time,
        bytes: if full.is_some() { sizes.difference } else { sizes.full },
        good: true,
        verified: false,
        drilled: false,
        held: None,
        locked_until: None,
        restoring_until: None,
        begins_window: false,
        continues_others: full.is_some(),
        needs: full.cloned().into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use longshore_retention::Count;

    use super::*;

    fn span(text: &str) -> TimeSpan {
        TimeSpan::try_from(text.to_owned()).unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn scenario<'a>(policy: &'a Policy, every: &str, lasting: &str) -> Scenario<'a> {
        let (every, lasting) = (span(every), span(lasting));
        Scenario {
            policy,
            start: at("2026-01-01T00:00:00Z"),
            every,
            lasting,
            size: None,
            differences: None,
            until: None,
        }
    }

    fn daily(count: u32) -> Policy {
        Policy { keep_daily: Count::AtMost(count), ..Policy::default() }
    }

    fn times(simulation: &Simulation) -> Vec<String> {
        simulation.survivors.iter().map(|survivor| survivor.time.format("%m-%d %H").to_string()).collect()
    }

    #[test]
    fn keep_daily_keeps_one_backup_of_each_day() {
        let policy = daily(7);
        let simulation = simulate(&scenario(&policy, "6h", "7d")).unwrap();
        assert_eq!((simulation.runs, simulation.survivors.len(), simulation.end), (28, 7, at("2026-01-07T18:00:00Z")));
        let after_two_weeks = simulate(&scenario(&policy, "6h", "14d")).unwrap();
        assert_eq!(
            times(&after_two_weeks),
            ["01-14 18", "01-13 18", "01-12 18", "01-11 18", "01-10 18", "01-09 18", "01-08 18"]
        );
        assert_eq!(after_two_weeks.most, 8, "the new backup exists before the prune");
        let counts: Vec<_> = after_two_weeks.days.iter().map(|day| day.backups).collect();
        assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7, 7, 7, 7, 7, 7, 7, 7]);
    }

    #[test]
    fn until_ends_simulation_at_that_day() {
        let policy = daily(7);
        let until = Some(at("2026-01-03T23:59:59Z"));
        let simulation = simulate(&Scenario { until, ..scenario(&policy, "6h", "1y") }).unwrap();
        assert_eq!(times(&simulation), ["01-03 18", "01-02 18", "01-01 18"]);
        for outside in ["2025-12-31T23:59:59Z", "2027-01-02T23:59:59Z"] {
            let error = simulate(&Scenario { until: Some(at(outside)), ..scenario(&policy, "6h", "1y") }).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{outside}");
        }
    }

    #[test]
    fn three_years_match_a_manual_count() {
        let policy = Policy {
            keep_last: Count::AtMost(3),
            keep_daily: Count::AtMost(7),
            keep_weekly: Count::AtMost(5),
            keep_monthly: Count::AtMost(12),
            ..Policy::default()
        };
        let simulation = simulate(&scenario(&policy, "6h", "3y")).unwrap();
        assert_eq!((simulation.runs, simulation.end), (4_380, at("2028-12-30T18:00:00Z")));
        // The newest three of one day: two more than its last. Seven days. Sundays before those: 24
        // (a day of the seven), 17, 10, 3 December, of which 24 counts once. Months: December's is
        // the newest; 11 more.
        assert_eq!(simulation.survivors.len(), 2 + 7 + 3 + 11);
        let oldest = simulation.survivors.last().unwrap();
        assert_eq!(oldest.time, at("2028-01-31T18:00:00Z"));
        assert_eq!(oldest.reasons, [Reason::NewestOf(CalendarUnit::Month)]);
    }

    #[test]
    fn keep_last_keeps_at_most_its_count() {
        for last in [1, 2, 10, 100] {
            let policy = Policy { keep_last: Count::AtMost(last), ..Policy::default() };
            for (every, lasting, runs) in [("1h", "3d", 72), ("1d", "30d", 30), ("7d", "1y", 53)] {
                let simulation = simulate(&scenario(&policy, every, lasting)).unwrap();
                assert_eq!((simulation.runs, simulation.survivors.len()), (runs, runs.min(last as usize)));
                assert!(simulation.days.iter().all(|day| day.backups <= last as usize));
                assert!(simulation.most <= last as usize + 1);
            }
        }
    }

    #[test]
    fn size_enables_max_total_size() {
        let policy = Policy { max_total_size: Some(ByteSize::new(3_000)), ..daily(7) };
        let unbounded = simulate(&scenario(&policy, "1d", "30d")).unwrap();
        assert_eq!((unbounded.survivors.len(), unbounded.bytes()), (7, None));
        let size = Some(ByteSize::new(1_000));
        let simulation = simulate(&Scenario { size, ..scenario(&policy, "1d", "30d") }).unwrap();
        assert_eq!((simulation.survivors.len(), simulation.bytes()), (3, Some(3_000)));
    }

    #[test]
    fn months_end_in_the_time_zone_of_the_policy() {
        let policy = Policy { timezone: Tz::Pacific__Auckland, ..daily(2) };
        let simulation = simulate(&scenario(&policy, "12h", "60d")).unwrap();
        let ends: Vec<_> = simulation.ends_of(CalendarUnit::Month).iter().map(|day| day.time).collect();
        // Midnight in Auckland is at 11:00 UTC: a run at noon on 31 January is in February there.
        assert_eq!(ends, [at("2026-01-31T00:00:00Z"), at("2026-02-28T00:00:00Z"), at("2026-03-01T12:00:00Z")]);
    }

    #[test]
    fn simulation_refuses_no_runs_and_too_many_runs() {
        let policy = daily(7);
        for (every, lasting) in [("0s", "1y"), ("1h", "0s"), ("1s", "1y")] {
            let error = simulate(&scenario(&policy, every, lasting)).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{every} {lasting}");
        }
        assert!(simulate(&scenario(&Policy::default(), "1d", "1y")).is_err(), "a policy that keeps nothing");
    }

    #[test]
    fn hourly_runs_use_keep_hourly() {
        let policy = Policy { keep_hourly: Count::AtMost(8), ..daily(7) };
        let simulation = simulate(&scenario(&policy, "1h", "90d")).unwrap();
        // The eight hourly backups are of one of the seven days.
        assert_eq!((simulation.runs, simulation.survivors.len()), (2_160, 8 + 6));
    }

    #[test]
    fn kept_difference_keeps_its_full_backup() {
        let policy = daily(3);
        let differences = Some(Differences { full_every: span("7d"), size: Some(ByteSize::new(50)) });
        let size = Some(ByteSize::new(1_000));
        let simulation = simulate(&Scenario { size, differences, ..scenario(&policy, "1d", "12d") }).unwrap();
        // Fulls are of the 1st and the 8th: the days 10 to 12 are differences from the latter.
        assert_eq!(times(&simulation), ["01-12 00", "01-11 00", "01-10 00", "01-08 00"]);
        let kinds: Vec<_> = simulation.survivors.iter().map(|survivor| survivor.is_difference).collect();
        assert_eq!(kinds, [true, true, true, false]);
        let needed = |reason: &Reason| matches!(reason, Reason::NeededBy(_));
        assert!(simulation.survivors[3].reasons.iter().all(needed), "{:?}", simulation.survivors);
        assert_eq!((simulation.bytes(), simulation.most_bytes), (Some(1_150), Some(2_150)));
        let differences = Some(Differences { full_every: span("7d"), size: None });
        let simulation = simulate(&Scenario { size, differences, ..scenario(&policy, "1d", "12d") }).unwrap();
        assert_eq!(simulation.bytes(), None, "the sizes of differences are unknown");
    }
}
