//! Timers of systemd start at exactly the due times of a schedule, as `systemd-analyze` computes
//! them.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::process::Command;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use longshore_schedule::calendar::{YEARS, cron_fields, on_calendar};
use longshore_schedule::{Expression, Schedule};

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn schedule(expression: &str, zone: Tz) -> Schedule {
    Schedule::new(Expression::try_from(expression.to_owned()).unwrap(), zone)
}

/// Returns the first times of a timer after `after`, as systemd computes them.
fn elapses(entries: &[String], after: DateTime<Utc>, count: usize) -> Vec<DateTime<Utc>> {
    let base = after.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    let mut command = Command::new("systemd-analyze");
    command.args(["calendar", &format!("--iterations={count}"), &format!("--base-time={base}")]).args(entries);
    let output = command.env("TZ", "UTC").env("LC_ALL", "C").output();
    let output = output.expect("systemd-analyze is missing: run `cargo xtask test`, which installs it");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{entries:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    let time = |line: &str| {
        let (label, value) = line.split_once(": ")?;
        let label = label.trim();
        if label != "Next elapse" && !label.starts_with("Iter. #") {
            return None;
        }
        // Such as `Sun 2026-10-25 00:30:00 UTC`.
        let value = value.trim().split_once(' ')?.1.strip_suffix(" UTC")?;
        Some(NaiveDateTime::parse_from_str(value, "%Y-%m-%d %H:%M:%S").unwrap().and_utc())
    };
    let all: BTreeSet<_> = text.lines().filter_map(time).collect();
    all.into_iter().take(count).collect()
}

#[track_caller]
fn expect_same(expression: &str, zone: Tz, after: &str, count: usize) {
    let (schedule, after) = (schedule(expression, zone), time(after));
    let entries = on_calendar(&schedule, after).unwrap();
    let end = after + TimeDelta::days(365 * (YEARS as i64 - 1));
    let due = std::iter::successors(schedule.next(after), |due| schedule.next(*due)).take(count);
    let due: Vec<_> = due.take_while(|due| *due < end).collect();
    let mut elapses = elapses(&entries, after, count);
    elapses.retain(|time| *time < end);
    assert_eq!(elapses, due, "{expression} in {zone}: {entries:?}");
}

const EXPRESSIONS: [&str; 24] = [
    "0 3 * * *",
    "30 2 * * *",
    "0 2 * * *",
    "59 1 * * *",
    "0 0 * * *",
    "15 * * * *",
    "*/15 * * * *",
    "*/20 1-3 * * *",
    "7,37 0,2,12 * * *",
    "30 */2 * * *",
    "30 2 * * sun",
    "30 2 * * mon-fri",
    "0 4 1 * *",
    "0 4 1,15 * *",
    "0 4 */10 * *",
    "0 4 1 * sun",
    "0 4 13 * 5,7",
    "0 4 31 * *",
    "0 4 L * *",
    "0 4 * * mon#1",
    "0 4 * * sunL",
    "30 2 * 3,10 sun#L",
    "0 4 29 2 *",
    "@weekly",
];

#[test]
fn timer_starts_at_the_due_times() {
    for expression in EXPRESSIONS {
        // Both changes of the clocks, and the turn of a year.
        for after in ["2026-03-28T23:30:00Z", "2026-10-24T23:30:00Z", "2026-12-30T00:00:00Z"] {
            expect_same(expression, Tz::Europe__Berlin, after, 14);
        }
    }
    for (zone, changes) in [
        (Tz::America__New_York, ["2026-03-08T05:30:00Z", "2026-11-01T04:30:00Z"]),
        (Tz::Australia__Lord_Howe, ["2026-04-04T13:30:00Z", "2026-10-03T14:00:00Z"]),
        (Tz::UTC, ["2026-03-28T23:30:00Z", "2026-10-24T23:30:00Z"]),
    ] {
        for expression in ["10 2 * * *", "15 * * * *", "*/20 0-3 * * *"] {
            for after in changes {
                expect_same(expression, zone, after, 14);
            }
        }
    }
}

#[test]
fn nearest_working_day_is_refused() {
    let now = time("2026-06-07T00:00:00Z");
    let error = on_calendar(&schedule("0 4 15W * *", Tz::UTC), now).unwrap_err();
    assert!(error.contains("15W"), "{error}");
}

#[test]
fn entries_are_readable() {
    let entries = |expression, zone| on_calendar(&schedule(expression, zone), time("2026-06-07T00:00:00Z")).unwrap();
    assert_eq!(entries("0 3 * * *", Tz::UTC), ["*-*-* 03:00:00 UTC"]);
    assert_eq!(entries("0 3 * * mon-fri", Tz::Europe__Berlin), ["Mon,Tue,Wed,Thu,Fri *-*-* 03:00:00 Europe/Berlin"]);
    assert_eq!(entries("*/30 * * * *", Tz::Europe__Berlin), ["*-*-* *:00,30:00 UTC"]);
    let nightly = entries("30 2 * * *", Tz::Europe__Berlin);
    assert_eq!(nightly[..2], ["*-*-* 02:30:00 Europe/Berlin", "2027-03-28 01:00:00 UTC"]);
    assert_eq!(nightly.len(), 11, "a change of the clock in each of ten years: {nightly:?}");
}

#[test]
fn cron_needs_the_zone_of_the_host() {
    let now = time("2026-06-07T00:00:00Z");
    let fields = |expression, zone, host| cron_fields(&schedule(expression, zone), host, now);
    assert_eq!(fields("0 3 * * mon-fri", Tz::Europe__Berlin, Tz::Europe__Berlin).unwrap(), "0 3 * * 1,2,3,4,5");
    assert_eq!(fields("0 3 * * *", Tz::Europe__Berlin, Tz::Europe__Paris).unwrap(), "0 3 * * *");
    assert_eq!(fields("@daily", Tz::UTC, Tz::Etc__UTC).unwrap(), "0 0 * * *");
    assert_eq!(fields("*/30 * * * *", Tz::Europe__Berlin, Tz::UTC).unwrap(), "*/30 * * * *");
    assert_eq!(fields("7,37 1-5/2 * jan *", Tz::UTC, Tz::UTC).unwrap(), "7,37 1-5/2 * 1 *");
    assert_eq!(fields("0 4 */10 * sun", Tz::UTC, Tz::UTC).unwrap(), "0 4 1,11,21,31 * 0", "either, as in the schedule");
    let error = fields("0 3 * * *", Tz::Europe__Berlin, Tz::UTC).unwrap_err();
    assert!(error.contains("timezone = \"UTC\""), "{error}");
    assert!(fields("*/30 * * * *", Tz::Asia__Kolkata, Tz::UTC).is_err());
    assert!(fields("0 3 L * *", Tz::UTC, Tz::UTC).unwrap_err().contains("no syntax"));
}
