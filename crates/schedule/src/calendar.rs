//! A schedule in the syntax of systemd's timers (`OnCalendar=`), and in that of cron.
//!
//! Both start a task at exactly the times of [`Schedule::next`], or the translation fails.
//!
//! systemd reads a time of day in a time zone, with two differences where a clock changes: a time
//! that the change skips does not occur, and a time that the change repeats occurs once. In a
//! [`Schedule`], a run at a fixed time that is skipped is due right after the change, and a run at
//! an interval is due in both hours. [`on_calendar`] adds these times one by one for
//! [`YEARS`] years.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::{CronComponent, CronPattern};

use crate::expression::Schedule;

/// The number of years for which clock changes are considered.
pub const YEARS: u64 = 10;

/// The bits by which croner marks the first to the fifth such weekday of a month.
const NTH: [u8; 5] = [1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5];
/// The bit by which croner marks the last such day of a month.
const LAST: u8 = 1 << 6;
/// The bit by which croner marks the working day nearest to a day.
const NEAREST: u8 = 1 << 7;
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// Returns the values of `OnCalendar=` at which the schedule is due, from `now` on.
///
/// # Errors
/// Fails if systemd has no syntax for the expression: a nearest working day (`W`).
pub fn on_calendar(schedule: &Schedule, now: DateTime<Utc>) -> Result<Vec<String>, String> {
    let pattern = &schedule.expression.cron.pattern;
    let dates = dates(pattern).ok_or_else(|| {
        let expression = schedule.expression();
        format!("systemd has no syntax for the schedule \"{expression}\": use a schedule without W and +")
    })?;
    let [hours, minutes] = [(&pattern.hours, 24), (&pattern.minutes, 60)].map(|(field, all)| list(field, all));
    // In UTC, a run at an interval is due in both hours without more entries.
    let is_hourly = is_every_hour(pattern) && has_whole_hours(schedule.zone(), now);
    let zone = if is_hourly { Tz::UTC } else { schedule.zone() };
    let mut entries: Vec<String> =
        dates.iter().map(|date| format!("{date} {hours}:{minutes}:00 {}", zone.name())).collect();
    if !is_hourly {
        let more = clock_changes(schedule.zone(), now).into_iter().flat_map(|change| missing(schedule, change));
        entries.extend(more.filter(|time| *time > now).map(|time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string()));
    }
    Ok(entries)
}

/// Returns the five fields of the schedule for a cron that uses the local time of `host_zone`.
///
/// # Errors
/// Fails if cron has no syntax for the expression (`L`, `#`, `W`), or if the clocks of the zones
/// differ.
pub fn cron_fields(schedule: &Schedule, host_zone: Tz, now: DateTime<Utc>) -> Result<String, String> {
    let pattern = &schedule.expression.cron.pattern;
    let expression = schedule.expression();
    if pattern.days.has_modifiers() || pattern.days_of_week.has_modifiers() || pattern.matches_dom_and_dow() {
        return Err(format!(
            "cron has no syntax for the schedule \"{expression}\": use a schedule without L, W, # and +, or systemd"
        ));
    }
    let is_any_zone =
        is_every_hour(pattern) && has_whole_hours(schedule.zone(), now) && has_whole_hours(host_zone, now);
    if !is_any_zone && !is_same_clock(schedule.zone(), host_zone, now) {
        return Err(format!(
            "cron uses the time zone of this host, {host_zone}, but the schedule that of {}: use systemd, or \
             timezone = \"{host_zone}\"",
            schedule.zone()
        ));
    }
    // A list of all days is not the same as `*`: with a weekday, cron takes both or either.
    let days = if pattern.is_dom_wildcard() { "*".to_owned() } else { numbers(&pattern.days.values()) };
    let weekdays = if pattern.is_dow_wildcard() { "*".to_owned() } else { numbers(&weekdays(pattern, 1)) };
    let written: Vec<&str> = expression.split_whitespace().collect();
    let field = |component: &CronComponent, all: usize, index: usize| match component.values() {
        values if values.len() == all => "*".to_owned(),
        // As written, if it means the same to every cron.
        values => written
            .get(index)
            .filter(|text| is_plain_field(text))
            .map_or_else(|| numbers(&values), |text| (*text).to_owned()),
    };
    let [minutes, hours, months] =
        [field(&pattern.minutes, 60, 0), field(&pattern.hours, 24, 1), field(&pattern.months, 12, 3)];
    Ok(format!("{minutes} {hours} {days} {months} {weekdays}"))
}

/// Returns true for a list of numbers, ranges and `*`, the latter two perhaps with a step.
fn is_plain_field(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split(',').all(|item| {
        let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
        let is_range =
            range == "*" || range.split_once('-').is_some_and(|(first, last)| is_number(first) && is_number(last));
        (is_range && step.is_none_or(is_number)) || (step.is_none() && is_number(range))
    })
}

/// Returns the dates of a pattern in systemd's syntax, such as `Mon *-*-01..07`. Returns `None` if
/// there is no syntax for them.
fn dates(pattern: &CronPattern) -> Option<Vec<String>> {
    if pattern.days.is_feature_enabled(NEAREST) || pattern.days.count_set_values(NEAREST) > 0 {
        return None;
    }
    let months = list(&pattern.months, 12);
    let days = pattern.days.values();
    let mut of_month: Vec<String> = Vec::new();
    if !days.is_empty() {
        of_month.push(format!("-{}", two_digits(&days)));
    }
    if pattern.days.is_feature_enabled(LAST) {
        of_month.push("~01".to_owned());
    }
    let mut of_week: Vec<(String, String)> = Vec::new();
    let mut add = |bit: u8, days: String| {
        let names: Vec<&str> = weekdays(pattern, bit).iter().map(|day| WEEKDAYS[usize::from(*day)]).collect();
        if !names.is_empty() {
            of_week.push((names.join(","), days));
        }
    };
    add(1, "-*".to_owned());
    for (index, bit) in NTH.into_iter().enumerate() {
        // The fifth is missing in some months, where days 29 to 31 are not such a weekday.
        let (first, last) = (index * 7 + 1, (index * 7 + 7).min(31));
        add(bit, format!("-{first:02}..{last:02}"));
    }
    add(LAST, "~07/1".to_owned());
    let month_days = of_month.iter().map(|days| format!("*-{months}{days}"));
    let week_days = of_week.iter().map(|(names, days)| format!("{names} *-{months}{days}"));
    Some(match (pattern.is_dom_wildcard(), pattern.is_dow_wildcard()) {
        (true, true) => vec![format!("*-{months}-*")],
        (false, true) => month_days.collect(),
        (true, false) => week_days.collect(),
        (false, false) if pattern.matches_dom_and_dow() => return None,
        (false, false) => month_days.chain(week_days).collect(),
    })
}

/// Returns the weekdays with this bit, Sunday as 0.
fn weekdays(pattern: &CronPattern, bit: u8) -> Vec<u16> {
    let days: BTreeSet<u16> = pattern.days_of_week.get_set_values(bit).into_iter().map(|day| day % 7).collect();
    days.into_iter().collect()
}

fn numbers(values: &[u16]) -> String {
    values.iter().map(u16::to_string).collect::<Vec<_>>().join(",")
}

fn two_digits(values: &[u16]) -> String {
    values.iter().map(|value| format!("{value:02}")).collect::<Vec<_>>().join(",")
}

/// Returns a field in systemd's syntax, given the number of all its values.
fn list(component: &CronComponent, all: usize) -> String {
    let values = component.values();
    if values.len() == all { "*".to_owned() } else { two_digits(&values) }
}

/// Returns true if the pattern matches in every hour.
fn is_every_hour(pattern: &CronPattern) -> bool {
    let is_every_day = pattern.is_dom_wildcard() && pattern.is_dow_wildcard();
    is_every_day && pattern.months.values().len() == 12 && pattern.hours.values().len() == 24
}

/// Returns the offset of a zone from UTC, in seconds.
fn offset(zone: Tz, time: DateTime<Utc>) -> i32 {
    zone.offset_from_utc_datetime(&time.naive_utc()).fix().local_minus_utc()
}

/// Returns the midnights in UTC of the years to consider, from the day before `now` on.
fn midnights(now: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
    let first = now.date_naive();
    (0..=YEARS * 366)
        .filter_map(move |day| first.checked_add_days(Days::new(day)))
        .map(|date| date.and_time(Default::default()).and_utc() - TimeDelta::days(1))
}

/// Returns the midnights in UTC before each change of a zone's clock.
fn clock_changes(zone: Tz, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    midnights(now).filter(|midnight| offset(zone, *midnight) != offset(zone, *midnight + TimeDelta::days(1))).collect()
}

/// Returns true if the offsets of a zone are whole hours.
fn has_whole_hours(zone: Tz, now: DateTime<Utc>) -> bool {
    midnights(now).all(|midnight| offset(zone, midnight) % 3600 == 0)
}

/// Returns true if the clocks of both zones show the same time.
fn is_same_clock(one: Tz, other: Tz, now: DateTime<Utc>) -> bool {
    let is_same = |time: DateTime<Utc>| offset(one, time) == offset(other, time);
    let quarters = |midnight: DateTime<Utc>| (0..96).map(move |quarter| midnight + TimeDelta::minutes(15 * quarter));
    midnights(now).all(is_same) && clock_changes(one, now).into_iter().flat_map(quarters).all(is_same)
}

/// Returns the due times around a change of the clock at which systemd does not start.
fn missing(schedule: &Schedule, midnight: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let (zone, cron) = (schedule.zone(), &schedule.expression.cron);
    let is_occurring = |time: &DateTime<Utc>| {
        let local = time.with_timezone(&zone);
        let first = zone.from_local_datetime(&local.naive_local()).earliest();
        first.as_ref() == Some(&local) && cron.is_time_matching(&local).unwrap_or(false)
    };
    let due = std::iter::successors(schedule.next(midnight), |time| schedule.next(*time));
    let end = midnight + TimeDelta::days(1) + TimeDelta::hours(3);
    due.take_while(|time| *time < end).filter(|time| !is_occurring(time)).collect()
}
