//! Random histories of a job's backups at a destination, each with a policy.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use longshore_model::Result;
use longshore_model::key::{BackupName, Timestamp};
use longshore_model::unit::{ByteSize, TimeSpan};
use longshore_retention::{
    Action, CalendarSpan, Candidate, Count, History, Hold, Plan, PlanContext, Policy, SeriesMode, plan,
};

use crate::rng::Rng;

/// The input of a plan.
#[derive(Clone)]
pub(crate) struct Scenario {
    pub(crate) policy: Policy,
    pub(crate) histories: Vec<History>,
    pub(crate) now: DateTime<Utc>,
    pub(crate) needed: BTreeMap<BackupName, BTreeSet<BackupName>>,
    pub(crate) trust_clock: bool,
}

/// Zones with unusual clock changes.
const ZONES: [Tz; 14] = [
    Tz::UTC,
    Tz::UTC,
    Tz::Europe__Berlin,
    Tz::Europe__Berlin,
    Tz::America__New_York,
    Tz::America__St_Johns,    // half-hour offset; until 2011 set back at 00:01, into the day before
    Tz::Pacific__Apia,        // had no 30 December 2011
    Tz::Australia__Lord_Howe, // set forward by half an hour
    Tz::Asia__Kathmandu,      // 5:45 ahead
    Tz::America__Havana,      // set back from one to midnight
    Tz::America__Sao_Paulo,   // set forward at midnight: days that begin at one
    Tz::Asia__Beirut,         // set back at midnight, into the day before
    Tz::Pacific__Kiritimati,  // 14 hours ahead
    Tz::Africa__Casablanca,   // set back for Ramadan
];

/// Moments of clock changes and other calendar events.
const MOMENTS: [&str; 14] = [
    "2026-03-29T01:00:00Z", // Berlin: set forward
    "2026-10-25T01:00:00Z", // and set back
    "2010-11-07T02:31:00Z", // St John's: Sunday becomes Saturday again
    "2011-12-30T10:00:00Z", // Apia: Thursday, then Saturday
    "2026-04-04T15:00:00Z", // Lord Howe: set back by half an hour
    "2026-10-03T15:30:00Z", // and set forward
    "2026-11-01T05:00:00Z", // Havana: two midnights
    "2018-11-04T03:00:00Z", // Sao Paulo: no midnight
    "2026-10-24T21:00:00Z", // Beirut: Sunday becomes Saturday again
    "2021-01-03T23:59:59Z", // the end of week 53 of 2020
    "2026-12-31T23:30:00Z", // a year's end inside week 53
    "2028-02-29T12:00:00Z", // a leap day
    "2026-03-31T03:00:00Z", // a month before is shorter
    "2026-06-07T09:15:00Z", // an ordinary moment
];

/// The maximum time between two backups, in seconds.
const STEPS: [i64; 9] = [0, 1, 60, 1800, 3600, 6 * 3600, 86_400, 7 * 86_400, 31 * 86_400];

const SPANS: [&str; 16] =
    ["1h", "5h", "24h", "48h", "1d", "2d", "7d", "30d", "2w", "1mo", "3mo", "18mo", "1y", "1y2mo3w4d5h", "5y", "90d"];

impl Scenario {
    /// Returns the scenario of this seed, always the same.
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let rng = &mut rng;
        let anchor = DateTime::parse_from_rfc3339(rng.choose::<&str>(&MOMENTS)).unwrap().to_utc();
        let newest = anchor + TimeDelta::seconds(rng.between(-7200, 7200));
        let most = *rng.choose(&[2, 4, 6, 8, 20]);
        let step = *rng.choose(&STEPS);
        let runs = runs(rng, newest, most, step);
        let now = match rng.below(10) {
            0 => newest,
            1 => newest - TimeDelta::seconds(rng.between(1, 900)), // within the tolerance
            2 => newest - TimeDelta::seconds(rng.between(890, 3 * step + 910)), // a clock that was set back
            3 => newest + TimeDelta::days(rng.between(1, 400)),
            _ => newest + TimeDelta::seconds(rng.between(1, 86_400)),
        };
        let mut names = 0;
        let histories = (0..rng.between(1, 3)).map(|series| history(rng, series, &runs, now, &mut names)).collect();
        let mut scenario =
            Self { policy: Policy::default(), histories, now, needed: BTreeMap::new(), trust_clock: rng.happens(60) };
        scenario.add_needs(rng);
        scenario.policy = scenario.policy(rng);
        scenario
    }

    pub(crate) fn plan(&self) -> Result<Plan> {
        let context =
            PlanContext { now: self.now, needed: &self.needed, trust_clock: self.trust_clock, own_runs: None };
        plan(&self.policy, &self.histories, context)
    }

    /// Returns the scenario after the first `removals` removals of a plan.
    pub(crate) fn after(&self, plan: &Plan, removals: usize) -> Self {
        let gone: Vec<&BackupName> = plan.removed().take(removals).map(|decision| &decision.name).collect();
        let mut scenario = self.clone();
        for history in &mut scenario.histories {
            history.backups.retain(|backup| !gone.contains(&&backup.name));
        }
        scenario
    }

    /// Returns all backups, each with the index of its history.
    pub(crate) fn backups(&self) -> impl Iterator<Item = (usize, &Candidate)> {
        self.histories
            .iter()
            .enumerate()
            .flat_map(|(place, history)| history.backups.iter().map(move |backup| (place, backup)))
    }

    fn add_needs(&mut self, rng: &mut Rng) {
        let names: Vec<BackupName> = self.backups().map(|(_, backup)| backup.name.clone()).collect();
        match rng.below(6) {
            // The first history contains the globals of each run.
            0 | 1 => {
                let globals: Vec<_> =
                    self.histories[0].backups.iter().map(|backup| (backup.time, backup.name.clone())).collect();
                for backup in self.histories.iter_mut().skip(1).flat_map(|history| &mut history.backups) {
                    backup
                        .needs
                        .extend(globals.iter().find(|(time, _)| *time == backup.time).map(|(_, name)| name.clone()));
                }
            }
            // Each backup is incremental to the previous one, up to a full backup.
            2 => {
                for history in &mut self.histories {
                    history.backups.sort_by_key(|backup| backup.time);
                    for place in 1..history.backups.len() {
                        if rng.happens(75) {
                            let before = history.backups[place - 1].name.clone();
                            history.backups[place].needs.push(before);
                        }
                    }
                }
            }
            // Arbitrary dependencies: on older, newer and missing backups, on itself, and on each
            // other.
            3 if !names.is_empty() => {
                for backup in self.histories.iter_mut().flat_map(|history| &mut history.backups) {
                    while rng.happens(30) {
                        backup.needs.push(if rng.happens(5) { name("lost", 1) } else { rng.choose(&names).clone() });
                    }
                }
            }
            _ => {}
        }
        if rng.happens(20) {
            for _ in 0..rng.below(3) {
                let needed = if names.is_empty() { name("lost", 2) } else { rng.choose(&names).clone() };
                self.needed.entry(needed).or_default().insert(name("outside", rng.between(1, 3)));
            }
        }
        for history in &mut self.histories {
            rng.shuffle(&mut history.backups);
        }
    }

    fn policy(&self, rng: &mut Rng) -> Policy {
        let mut policy = Policy { timezone: *rng.choose(&ZONES), ..Policy::default() };
        let few = rng.happens(50);
        let mut count = |percent| match (rng.happens(percent), rng.happens(8)) {
            (false, _) => Count::NONE,
            (true, true) => Count::All,
            (true, false) => Count::AtMost(rng.between(1, if few { 3 } else { 12 }) as u32),
        };
        policy.keep_last = count(40);
        policy.keep_hourly = count(20);
        policy.keep_daily = count(40);
        policy.keep_weekly = count(30);
        policy.keep_monthly = count(30);
        policy.keep_quarterly = count(15);
        policy.keep_yearly = count(20);
        let mut span = |percent| rng.happens(percent).then(|| parse_span(rng.choose::<&str>(&SPANS)));
        policy.keep_within = span(30);
        policy.keep_within_hourly = span(10);
        policy.keep_within_daily = span(10);
        policy.keep_within_weekly = span(10);
        policy.keep_within_monthly = span(10);
        policy.keep_within_quarterly = span(6);
        policy.keep_within_yearly = span(6);
        if policy.check("").is_err() {
            policy.keep_last = Count::AtMost(1);
        }
        if rng.happens(25) {
            policy.min_keep = NonZeroU32::new(rng.between(1, 5) as u32).unwrap();
        }
        if rng.happens(25) {
            policy.min_age =
                Some(TimeSpan::new(Duration::from_secs(rng.choose(&STEPS).unsigned_abs() * (rng.number() % 5))));
        }
        if rng.happens(25) {
            policy.max_delete = NonZeroU32::new(rng.between(1, 6) as u32);
        }
        if rng.happens(30) {
            let total: u128 = self.backups().map(|(_, backup)| u128::from(backup.bytes)).sum();
            policy.max_total_size =
                Some(ByteSize::new((total * rng.between(0, 110).unsigned_abs() as u128 / 100) as u64));
        }
        policy
    }
}

/// Returns the times of runs: none, some or a burst, with gaps.
fn runs(rng: &mut Rng, newest: DateTime<Utc>, most: i64, step: i64) -> Vec<DateTime<Utc>> {
    let mut time = newest;
    (0..rng.between(0, most))
        .map(|_| {
            let run = time;
            let step = if rng.happens(10) { *rng.choose(&STEPS) } else { step };
            time -= TimeDelta::seconds(if rng.happens(50) { step } else { rng.between(0, step) });
            if step <= 1 && rng.happens(50) {
                time -= TimeDelta::milliseconds(rng.between(0, 900)); // within a second
            }
            if rng.happens(4) {
                time -= TimeDelta::days(rng.between(2, 400)); // a host that was off
            }
            run
        })
        .collect()
}

fn history(rng: &mut Rng, series: i64, runs: &[DateTime<Utc>], now: DateTime<Utc>, names: &mut i64) -> History {
    let ill = *rng.choose(&[0, 0, 10, 60]);
    let (checked, special, jumps) = (*rng.choose(&[0, 10, 50]), *rng.choose(&[0, 0, 6]), *rng.choose(&[0, 0, 0, 4]));
    let missed = *rng.choose(&[0, 0, 20]);
    let runs: Vec<_> = runs.iter().filter(|_| !rng.happens(missed)).copied().collect();
    let until = |rng: &mut Rng| now + TimeDelta::seconds(rng.between(-5, 5));
    let backups = runs.into_iter().map(|time| {
        *names += 1 + rng.between(0, 1);
        let time = if rng.happens(jumps) {
            now + TimeDelta::seconds(rng.between(0, 4000) * rng.between(0, 4000))
        } else {
            time
        };
        Candidate {
            // Names are independent of times, so that names of equal times are in any order.
            name: name(&if rng.happens(50) { format!("s{series}") } else { "t".to_owned() }, *names),
            time,
            bytes: if rng.happens(10) { 0 } else { rng.between(1, 1000).unsigned_abs() },
            good: !rng.happens(ill),
            verified: rng.happens(checked),
            drilled: rng.happens(checked / 2),
            held: rng
                .happens(special)
                .then(|| Hold { until: rng.happens(70).then(|| until(rng)), why: "a request".into() }),
            locked_until: rng.happens(special).then(|| until(rng)),
            restoring_until: rng.happens(special).then(|| until(rng)),
            begins_window: rng.happens(special),
            continues_others: false,
            needs: Vec::new(),
        }
    });
    let backups = backups.collect();
    let series_mode =
        *rng.choose(&[[SeriesMode::Policy; 12].as_slice(), &[SeriesMode::KeepAll, SeriesMode::Retire]].concat());
    History { backups, series_mode }
}

/// Returns the name of the `number`th backup in a folder.
pub(crate) fn name(subject: &str, number: i64) -> BackupName {
    let timestamp = Timestamp::new(DateTime::from_timestamp(1_780_000_000 + number, 0).unwrap());
    BackupName::new("main", subject, timestamp).unwrap()
}

pub(crate) fn parse_span(text: &str) -> CalendarSpan {
    CalendarSpan::try_from(text.to_owned()).unwrap()
}

/// Returns the names of the kept backups.
pub(crate) fn kept(plan: &Plan) -> Vec<&BackupName> {
    let all = plan.decisions.iter().flatten();
    let mut kept: Vec<_> =
        all.filter(|decision| matches!(decision.action, Action::Keep(_))).map(|decision| &decision.name).collect();
    kept.sort();
    kept
}
