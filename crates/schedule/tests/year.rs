//! A year of a scheduler with an injected clock, over both changes of the clock: each due time has
//! exactly one run.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use longshore_model::run_report::Outcome;
use longshore_model::unit::TimeSpan;
use longshore_schedule::task::delay;
use longshore_schedule::{Action, Expression, History, PastRun, Reason, Schedule, Task, Verb, plan};
use proptest::prelude::*;

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn schedule(expression: &str, zone: Tz) -> Schedule {
    Schedule::new(Expression::try_from(expression.to_owned()).unwrap(), zone)
}

fn task(expression: &str, zone: Tz) -> Task {
    Task {
        job: "nightly".to_owned(),
        verb: Verb::Run,
        schedule: schedule(expression, zone),
        delay: TimeDelta::zero(),
        catch_up: true,
        retry: 2,
        retry_wait: TimeDelta::minutes(10),
    }
}

/// A scheduler that starts what the plan starts.
struct Simulation {
    task: Task,
    since: DateTime<Utc>,
    runs: Vec<PastRun>,
    /// The end of the run in progress, and its begin.
    running: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// The due times of the starts, with their reasons.
    starts: Vec<(DateTime<Utc>, DateTime<Utc>, Reason)>,
    takes: TimeDelta,
    outcome: fn(usize) -> Outcome,
}

impl Simulation {
    fn new(task: Task, since: DateTime<Utc>, takes: TimeDelta) -> Self {
        let outcome = |_| Outcome::Done;
        Self { task, since, runs: Vec::new(), running: None, starts: Vec::new(), takes, outcome }
    }

    /// Looks at the clock once, and returns the time of the next event.
    fn tick(&mut self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if let Some((begun, ended)) = self.running.filter(|(_, ended)| *ended <= now) {
            self.runs.push(PastRun { begun, ended, outcome: (self.outcome)(self.runs.len()) });
            self.running = None;
        }
        // Only the newest reports are kept.
        let newest = &self.runs[self.runs.len().saturating_sub(20)..];
        let history = History { runs: newest, running: self.running.map(|(begun, _)| begun), since: self.since };
        let decided = plan(&self.task, &history, now);
        if let Action::Start { due, reason } = decided.action {
            self.starts.push((due, now, reason));
            self.running = Some((now, now + self.takes));
        }
        let end = self.running.map(|(_, ended)| ended);
        decided.next.into_iter().chain(end).min()
    }

    /// Runs until `end`. The clock is looked at up to `late` seconds after each event.
    fn run(&mut self, from: DateTime<Utc>, end: DateTime<Utc>, mut late: impl FnMut() -> i64) {
        let mut now = from;
        while now < end {
            let event = self.tick(now).unwrap();
            now = event.max(now) + TimeDelta::milliseconds(late());
        }
    }
}

/// Returns the due times by the definition: local times that match, of both zones' clocks.
fn due_times(schedule: &Schedule, from: DateTime<Utc>, end: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    std::iter::successors(schedule.next(from), |due| schedule.next(*due)).take_while(|due| *due < end).collect()
}

const ZONES: [Tz; 5] =
    [Tz::Europe__Berlin, Tz::America__New_York, Tz::Australia__Lord_Howe, Tz::Africa__Casablanca, Tz::UTC];

#[test]
fn each_due_time_of_a_year_has_one_run() {
    let (from, end) = (time("2026-01-01T00:00:00Z"), time("2027-01-01T00:00:00Z"));
    for zone in ZONES {
        for (expression, takes) in
            [("0 * * * *", 7), ("30 2 * * *", 45), ("0 3 * * *", 45), ("15 1,2,3 * * *", 20), ("0 0 * * mon", 300)]
        {
            let mut simulation = Simulation::new(task(expression, zone), from, TimeDelta::minutes(takes));
            let mut seed = 17_u64;
            simulation.run(from, end, || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                i64::try_from(seed >> 33).unwrap() % 30_000
            });
            let due: Vec<_> = simulation.starts.iter().map(|(due, _, _)| *due).collect();
            assert_eq!(due, due_times(&simulation.task.schedule, from, end), "{expression} in {zone}");
            assert!(simulation.starts.iter().all(|(_, _, reason)| *reason == Reason::Due), "{expression} in {zone}");
        }
    }
}

#[test]
fn hours_of_a_year_are_counted_across_clock_changes() {
    let (from, end) = (time("2026-01-01T00:00:00Z"), time("2027-01-01T00:00:00Z"));
    let count = |expression, zone| due_times(&schedule(expression, zone), from - TimeDelta::seconds(1), end).len();
    for zone in [Tz::Europe__Berlin, Tz::America__New_York, Tz::UTC] {
        assert_eq!(count("0 * * * *", zone), 365 * 24, "{zone}");
        assert_eq!(count("*/15 * * * *", zone), 365 * 96, "{zone}");
        for nightly in ["30 2 * * *", "0 3 * * *", "59 1 * * *", "0 2 * * *"] {
            assert_eq!(count(nightly, zone), 365, "{nightly} in {zone}");
        }
    }
}

#[test]
fn forty_hours_off_are_caught_up_once() {
    let begin = time("2026-03-01T00:00:00Z");
    for (expression, missed) in [("0 * * * *", 40), ("0 3 * * *", 2)] {
        let mut simulation = Simulation::new(task(expression, Tz::Europe__Berlin), begin, TimeDelta::minutes(5));
        let (down, up) = (time("2026-03-28T20:30:00Z"), time("2026-03-30T12:30:00Z"));
        simulation.run(begin, down, || 0);
        let before = simulation.starts.len();
        // The run in progress ends with the host.
        simulation.running = None;
        let history = History { runs: &simulation.runs, running: None, since: begin };
        assert_eq!(plan(&simulation.task, &history, up).missed, missed, "{expression}");
        simulation.run(up, up + TimeDelta::hours(20), || 0);
        let after = &simulation.starts[before..];
        let (due, started, reason) = after[0];
        assert_eq!((started, reason), (up, Reason::Missed), "{expression}");
        assert_eq!(Some(due), simulation.task.schedule.last(up));
        assert!(after[1..].iter().all(|(due, _, reason)| *reason == Reason::Due && *due > up), "{after:?}");
        assert_eq!(after.len() - 1, due_times(&simulation.task.schedule, up, up + TimeDelta::hours(20)).len());
    }
}

#[test]
fn missed_runs_are_dropped_without_catch_up() {
    let begin = time("2026-06-07T00:00:00Z");
    let task = Task { catch_up: false, ..task("0 3 * * *", Tz::UTC) };
    let runs = [run("2026-06-07T03:00:00Z", 5, Outcome::Done)];
    let at = |now: &str| plan(&task, &History { runs: &runs, running: None, since: begin }, time(now));
    assert!(matches!(at("2026-06-08T03:04:00Z").action, Action::Start { reason: Reason::Due, .. }));
    let late = at("2026-06-08T03:06:00Z");
    assert_eq!((late.action, late.missed, late.next), (Action::Wait, 1, Some(time("2026-06-09T03:00:00Z"))));
}

fn run(begun: &str, minutes: i64, outcome: Outcome) -> PastRun {
    PastRun { begun: time(begun), ended: time(begun) + TimeDelta::minutes(minutes), outcome }
}

#[test]
fn failures_are_retried_but_damage_is_not() {
    let nightly = task("0 3 * * *", Tz::UTC);
    let at = |runs: &[PastRun], now: &str| {
        plan(&nightly, &History { runs, running: None, since: time("2026-01-01T00:00:00Z") }, time(now))
    };
    let tomorrow = Some(time("2026-06-08T03:00:00Z"));
    for outcome in [Outcome::Failed, Outcome::Locked, Outcome::Interrupted, Outcome::Lost] {
        let mut runs = vec![run("2026-06-07T03:00:00Z", 5, outcome)];
        let waiting = at(&runs, "2026-06-07T03:14:59Z");
        assert_eq!((waiting.action, waiting.next), (Action::Wait, Some(time("2026-06-07T03:15:00Z"))), "{outcome}");
        let retried = |attempt| Action::Start { due: time("2026-06-07T03:00:00Z"), reason: Reason::Retry { attempt } };
        assert_eq!(at(&runs, "2026-06-07T03:15:00Z").action, retried(1));
        runs.push(run("2026-06-07T03:15:00Z", 5, outcome));
        assert_eq!(at(&runs, "2026-06-07T03:30:00Z").action, retried(2));
        runs.push(run("2026-06-07T03:30:00Z", 5, outcome));
        let after = at(&runs, "2026-06-07T09:00:00Z");
        assert_eq!((after.action, after.next), (Action::Wait, tomorrow), "{outcome}: two retries");
        // A success ends the retries.
        runs[1].outcome = Outcome::Done;
        assert_eq!(at(&runs[..2], "2026-06-07T09:00:00Z").action, Action::Wait);
        // The next due time starts anew.
        runs[1].outcome = outcome;
        let next = at(&runs, "2026-06-08T03:00:00Z").action;
        assert_eq!(next, Action::Start { due: time("2026-06-08T03:00:00Z"), reason: Reason::Due });
    }
    for outcome in [Outcome::Done, Outcome::Partial, Outcome::Damaged, Outcome::Refused] {
        let plan = at(&[run("2026-06-07T03:00:00Z", 5, outcome)], "2026-06-07T09:00:00Z");
        assert_eq!((plan.action, plan.next), (Action::Wait, tomorrow), "{outcome}");
    }
}

#[test]
fn due_time_during_a_run_is_skipped() {
    let hourly = task("0 * * * *", Tz::UTC);
    let (begun, since) = (time("2026-06-07T03:00:05Z"), time("2026-01-01T00:00:00Z"));
    let running = |now: &str| plan(&hourly, &History { runs: &[], running: Some(begun), since }, time(now));
    assert_eq!(running("2026-06-07T03:59:00Z").action, Action::Running { skipped: None });
    let skipped = Some(time("2026-06-07T04:00:00Z"));
    assert_eq!(running("2026-06-07T04:10:00Z").action, Action::Running { skipped });
    // After its end, the skipped time is not caught up.
    let runs = [run("2026-06-07T03:00:05Z", 70, Outcome::Done)];
    let after = plan(&hourly, &History { runs: &runs, running: None, since }, time("2026-06-07T04:11:00Z"));
    assert_eq!((after.action, after.next), (Action::Wait, Some(time("2026-06-07T05:00:00Z"))));
}

#[test]
fn manual_run_serves_the_delayed_start() {
    let nightly = Task { delay: TimeDelta::minutes(8), ..task("0 3 * * *", Tz::UTC) };
    let since = time("2026-06-06T12:00:00Z");
    let at = |runs: &[PastRun], now: &str| plan(&nightly, &History { runs, running: None, since }, time(now));
    let before = at(&[], "2026-06-07T03:07:59Z");
    assert_eq!((before.action, before.next), (Action::Wait, Some(time("2026-06-07T03:08:00Z"))));
    let start = Action::Start { due: time("2026-06-07T03:00:00Z"), reason: Reason::Due };
    assert_eq!(at(&[], "2026-06-07T03:08:00Z").action, start);
    let manual = [run("2026-06-07T03:02:00Z", 2, Outcome::Done)];
    for now in ["2026-06-07T03:05:00Z", "2026-06-07T03:08:00Z"] {
        let plan = at(&manual, now);
        assert_eq!((plan.action, plan.next), (Action::Wait, Some(time("2026-06-08T03:08:00Z"))), "{now}");
    }
}

#[test]
fn new_schedule_has_missed_nothing() {
    let nightly = task("0 3 * * *", Tz::UTC);
    let since = time("2026-06-07T10:00:00Z");
    let at = |now: &str| plan(&nightly, &History { runs: &[], running: None, since }, time(now));
    assert_eq!((at("2026-06-07T10:00:00Z").action, at("2026-06-07T10:00:00Z").missed), (Action::Wait, 0));
    let late = at("2026-06-09T10:00:00Z");
    assert!(matches!(late.action, Action::Start { reason: Reason::Missed, .. }));
    assert_eq!(late.missed, 2);
}

#[test]
fn runs_of_a_wrong_clock_prevent_no_start() {
    let nightly = task("0 3 * * *", Tz::UTC);
    let mut runs = vec![run("2031-01-01T00:00:00Z", 5, Outcome::Done), run("2026-06-06T03:00:00Z", 5, Outcome::Done)];
    let at = |runs: &[PastRun]| {
        plan(
            &nightly,
            &History { runs, running: None, since: time("2026-01-01T00:00:00Z") },
            time("2026-06-07T03:00:01Z"),
        )
    };
    let start = Action::Start { due: time("2026-06-07T03:00:00Z"), reason: Reason::Due };
    assert_eq!(at(&runs).action, start);
    // A clock that jumped during a run.
    runs[1].ended = time("2031-01-01T00:00:00Z");
    assert_eq!(at(&runs).action, start);
}

proptest! {
    #[test]
    fn last_and_next_agree(
        seconds in 0_i64..4 * 366 * 86_400,
        millis in 0_i64..1000,
        zone in prop::sample::select(&ZONES[..]),
        expression in prop::sample::select(&["0 * * * *", "30 2 * * *", "*/20 1-3 * * *", "0 0 1 * *", "5 0 * * sun"][..]),
    ) {
        let schedule = schedule(expression, zone);
        let now = time("2025-01-01T00:00:00Z") + TimeDelta::seconds(seconds) + TimeDelta::milliseconds(millis);
        let (last, next) = (schedule.last(now).unwrap(), schedule.next(now).unwrap());
        prop_assert!(last <= now && now < next, "{last} {now} {next}");
        prop_assert_eq!(schedule.next(last), Some(next));
        prop_assert_eq!(schedule.last(next - TimeDelta::milliseconds(1)), Some(last));
        prop_assert_eq!(schedule.last(next), Some(next));
    }

    #[test]
    fn retries_end_and_starts_are_apart(
        outcomes in prop::collection::vec(prop::bool::ANY, 1..8),
        takes in 1_i64..180,
        jitter in 0_u64..7200,
        late in 0_i64..30_000,
    ) {
        let from = time("2026-03-28T00:00:00Z");
        let jitter = TimeSpan::new(Duration::from_secs(jitter));
        let task = Task { delay: delay(jitter, "db1", "nightly", Verb::Run), ..task("30 */2 * * *", Tz::Europe__Berlin) };
        let mut simulation = Simulation::new(task, from, TimeDelta::minutes(takes));
        simulation.outcome = |_| Outcome::Failed;
        let end = from + TimeDelta::days(2);
        simulation.run(from, end, || late);
        if outcomes[0] {
            simulation.outcome = |_| Outcome::Done;
        }
        simulation.run(end, end + TimeDelta::days(2), || late);
        for pair in simulation.starts.windows(2) {
            prop_assert!(pair[1].1 - pair[0].1 >= TimeDelta::minutes(takes), "{pair:?}");
            prop_assert!(pair[1].0 >= pair[0].0, "{pair:?}");
        }
        for (due, started, reason) in &simulation.starts {
            prop_assert!(started >= due, "{due} {started}");
            let attempt = match reason { Reason::Retry { attempt } => *attempt, _ => 0 };
            prop_assert!(attempt <= 2);
        }
    }
}
