//! A calendar independent of the engine's: days are numbers, periods are names, and only the
//! offsets of time zones come from the library.

use chrono::{DateTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;
use longshore_retention::{CalendarSpan, CalendarUnit};

const DAY: i64 = 86_400;

/// Returns the name of the period that contains a moment, such as `2026-W53`.
pub(crate) fn period(unit: CalendarUnit, time: DateTime<Utc>, zone: Tz) -> String {
    let offset = offset(time.timestamp(), zone);
    let local = time.timestamp() + offset;
    let (year, month, day) = date(local.div_euclid(DAY));
    match unit {
        CalendarUnit::Hour => {
            format!("{year:04}-{month:02}-{day:02}T{:02} at {offset:+}", local.rem_euclid(DAY) / 3600)
        }
        CalendarUnit::Day => format!("{year:04}-{month:02}-{day:02}"),
        CalendarUnit::Week => {
            // A week belongs to the year of its Thursday. Day 0 is a Thursday.
            let thursday = local.div_euclid(DAY).div_euclid(7) * 7;
            let thursday = if local.div_euclid(DAY) - thursday >= 4 { thursday + 7 } else { thursday };
            let (year, ..) = date(thursday);
            format!("{year:04}-W{:02}", (thursday - day_number(year, 1, 1)) / 7 + 1)
        }
        CalendarUnit::Month => format!("{year:04}-{month:02}"),
        CalendarUnit::Quarter => format!("{year:04}-Q{}", (month + 2) / 3),
        CalendarUnit::Year => format!("{year:04}"),
    }
}

/// Returns the moment `span` before another, in seconds since 1970. The fraction of a second does
/// not change.
pub(crate) fn before(span: CalendarSpan, time: DateTime<Utc>, zone: Tz) -> i64 {
    let (months, days, hours) = units(&span.to_string());
    let mut moment = time.timestamp();
    if months > 0 || days > 0 {
        let local = moment + offset(moment, zone);
        let (year, month, day) = date(local.div_euclid(DAY));
        let month = year * 12 + (month - 1) - months;
        let (year, month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
        let day = day.min(length(year, month));
        moment = earliest((day_number(year, month, day) - days) * DAY + local.rem_euclid(DAY), zone);
    }
    moment - hours * 3600
}

/// Parses the months, days and hours of a span.
fn units(text: &str) -> (i64, i64, i64) {
    let (mut months, mut days, mut hours, mut number) = (0, 0, 0, 0);
    for char in text.replace("mo", "m").chars() {
        match char {
            'y' => months += 12 * number,
            'm' => months += number,
            'w' => days += 7 * number,
            'd' => days += number,
            'h' => hours += number,
            digit => {
                number = number * 10 + i64::from(digit.to_digit(10).unwrap());
                continue;
            }
        }
        number = 0;
    }
    (months, days, hours)
}

/// Returns the first moment with a given local time, found by trying every offset of the zone
/// around it.
fn earliest(local: i64, zone: Tz) -> i64 {
    let offsets: Vec<i64> = (-48..=48).map(|hour| offset(local + hour * 3600, zone)).collect();
    let shown =
        offsets.iter().map(|offset| local - offset).filter(|moment| moment + offset(*moment, zone) == local).min();
    shown.unwrap_or_else(|| local - offsets.iter().max().unwrap())
}

fn offset(moment: i64, zone: Tz) -> i64 {
    let moment = DateTime::from_timestamp(moment, 0).unwrap().naive_utc();
    i64::from(zone.offset_from_utc_datetime(&moment).fix().local_minus_utc())
}

fn leaps(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn length(year: i64, month: i64) -> i64 {
    match month {
        2 if leaps(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the number of a day since 1 January 1970: whole years, then whole months, then days.
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let past = year - 1;
    let years = past * 365 + past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400);
    let months: i64 = (1..month).map(|month| length(year, month)).sum();
    years + months + day - 1 - 719_162
}

/// Returns the year, month and day of a day number.
fn date(number: i64) -> (i64, i64, i64) {
    let mut year = 1970 + number.div_euclid(366);
    while day_number(year + 1, 1, 1) <= number {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| day_number(year, *month, 1) <= number).unwrap();
    (year, month, number - day_number(year, month, 1) + 1)
}

#[test]
fn oracle_agrees_with_printed_calendars() {
    let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
    for (time, week) in [
        ("2005-01-01T12:00:00Z", "2004-W53"),
        ("2005-12-31T12:00:00Z", "2005-W52"),
        ("2007-12-31T12:00:00Z", "2008-W01"),
        ("2021-01-03T12:00:00Z", "2020-W53"),
        ("2021-01-04T00:00:00Z", "2021-W01"),
        ("1969-12-28T23:59:59Z", "1969-W52"),
        ("1969-12-29T00:00:00Z", "1970-W01"),
    ] {
        assert_eq!(period(CalendarUnit::Week, at(time), Tz::UTC), week, "{time}");
    }
    let kathmandu = |unit| period(unit, at("2026-12-31T18:30:00Z"), Tz::Asia__Kathmandu);
    assert_eq!(kathmandu(CalendarUnit::Hour), "2027-01-01T00 at +20700");
    assert_eq!(kathmandu(CalendarUnit::Quarter), "2027-Q1");
    assert_eq!(period(CalendarUnit::Day, at("2000-02-29T00:00:00Z"), Tz::UTC), "2000-02-29");
    assert_eq!(period(CalendarUnit::Day, at("2000-02-29T00:00:00Z"), Tz::America__St_Johns), "2000-02-28");
}
