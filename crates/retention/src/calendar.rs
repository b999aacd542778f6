//! The calendar of a policy: periods of a time zone, and calendar spans before a moment.

use std::fmt;

use chrono::{DateTime, Datelike, Days, LocalResult, Months, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// The length of the periods of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CalendarUnit {
    /// An hour of local time. A repeated hour counts as two.
    Hour,
    /// A day of local time: 23 to 25 hours.
    Day,
    /// An ISO week: Monday to Sunday, also across years.
    Week,
    /// A month.
    Month,
    /// A quarter of a year.
    Quarter,
    /// A calendar year, not a year of ISO weeks.
    Year,
}

impl CalendarUnit {
    /// All lengths, from the shortest to the longest.
    pub const ALL: [Self; 6] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Quarter, Self::Year];

    /// Returns the adverb, such as `daily`.
    pub fn adverb(self) -> &'static str {
        match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Quarter => "quarterly",
            Self::Year => "yearly",
        }
    }

    /// Returns the period that contains a moment.
    pub fn period(self, time: DateTime<Utc>, zone: Tz) -> Period {
        let local = time.with_timezone(&zone);
        let month = i64::from(local.year()) * 12 + i64::from(local.month0());
        match self {
            Self::Hour => Period(
                local.naive_local().and_utc().timestamp().div_euclid(3600),
                // Only the offset distinguishes the two hours of a repeated one.
                local.offset().fix().local_minus_utc(),
            ),
            Self::Day => Period(i64::from(local.num_days_from_ce()), 0),
            Self::Week => Period(i64::from(local.iso_week().year()) * 100 + i64::from(local.iso_week().week()), 0),
            Self::Month => Period(month, 0),
            Self::Quarter => Period(month.div_euclid(3), 0),
            Self::Year => Period(i64::from(local.year()), 0),
        }
    }
}

/// An hour, day, week, month, quarter or year, comparable with others of the same length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(i64, i32);

/// A span of calendar units, such as `"1y6mo"` or `"30d"`. Its duration depends on the date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
#[schemars(
    with = "String",
    extend("minLength" = 1, "pattern" = r"^([0-9]+y)?([0-9]+mo)?([0-9]+w)?([0-9]+d)?([0-9]+h)?$")
)]
pub struct CalendarSpan {
    months: u32,
    days: u32,
    hours: u32,
}

/// The units of a [`CalendarSpan`], the longest first, each in months, days and hours.
const UNITS: [(&str, u32, u32, u32); 5] =
    [("y", 12, 0, 0), ("mo", 1, 0, 0), ("w", 0, 7, 0), ("d", 0, 1, 0), ("h", 0, 0, 1)];

impl CalendarSpan {
    /// Returns the moment this span before `time`: first the months, then the days in the calendar
    /// of `zone`, then elapsed hours. A missing day becomes the last day of its month (31 March
    /// less a month is 28 or 29 February). A local time that is skipped or repeated becomes the
    /// earlier of its two possible moments.
    pub fn before(self, time: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
        let local = time.with_timezone(&zone).naive_local();
        let back = local
            .checked_sub_months(Months::new(self.months))
            .and_then(|local| local.checked_sub_days(Days::new(self.days.into())));
        let moment = back.map_or(DateTime::<Utc>::MIN_UTC, |back| earliest(back, zone));
        // Without months and days, local time is irrelevant.
        let moment = if self.months == 0 && self.days == 0 { time } else { moment };
        moment.checked_sub_signed(TimeDelta::hours(self.hours.into())).unwrap_or(DateTime::<Utc>::MIN_UTC)
    }
}

/// Returns the first moment with the local time `local` in `zone`. A skipped time is read with the
/// offset after the change, which gives the earlier of its two possible moments.
fn earliest(local: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => time.to_utc(),
        // Clock changes skip less than a day, or a whole day at the date line.
        LocalResult::None => {
            let before = zone.offset_from_utc_datetime(&(local - TimeDelta::days(2))).fix().local_minus_utc();
            let after = zone.offset_from_utc_datetime(&(local + TimeDelta::days(2))).fix().local_minus_utc();
            (local - TimeDelta::seconds(before.max(after).into())).and_utc()
        }
    }
}

impl TryFrom<String> for CalendarSpan {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let invalid = || {
            format!(
                "\"{text}\" is not a calendar span: use numbers with y, mo, w, d or h, the longest first, such as \"30d\" or \"1y6mo\""
            )
        };
        let mut span = Self { months: 0, days: 0, hours: 0 };
        let (mut rest, mut units) = (text.as_str(), &UNITS[..]);
        while !rest.is_empty() {
            let (number, after) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
            let (unit, next) = after.split_at(after.bytes().take_while(u8::is_ascii_alphabetic).count());
            let index = units.iter().position(|(name, ..)| *name == unit).ok_or_else(invalid)?;
            let (_, months, days, hours) = units[index];
            let number: u32 = number.parse().map_err(|_| invalid())?;
            let add = |sum: u32, each: u32| number.checked_mul(each).and_then(|more| sum.checked_add(more));
            let sums = (add(span.months, months), add(span.days, days), add(span.hours, hours));
            let (Some(months), Some(days), Some(hours)) = sums else { return Err(invalid()) };
            span = Self { months, days, hours };
            (rest, units) = (next, &units[index + 1..]);
        }
        if span == (Self { months: 0, days: 0, hours: 0 }) { Err(invalid()) } else { Ok(span) }
    }
}

impl fmt::Display for CalendarSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.months / 12, "y"), (self.months % 12, "mo"), (self.days, "d"), (self.hours, "h")];
        parts.into_iter().filter(|(number, _)| *number > 0).try_for_each(|(number, unit)| write!(f, "{number}{unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn parse_span(text: &str) -> CalendarSpan {
        CalendarSpan::try_from(text.to_owned()).unwrap()
    }

    fn before(span: &str, time: &str, zone: Tz) -> String {
        parse_span(span).before(at(time), zone).to_rfc3339()
    }

    const BERLIN: Tz = Tz::Europe__Berlin;

    #[test]
    fn day_follows_local_time() {
        // 23:30 UTC is 01:30 of the next day in Berlin in summer.
        let (late, later) = (at("2026-06-07T23:30:00Z"), at("2026-06-08T12:00:00Z"));
        assert_eq!(CalendarUnit::Day.period(late, BERLIN), CalendarUnit::Day.period(later, BERLIN));
        assert_ne!(CalendarUnit::Day.period(late, Tz::UTC), CalendarUnit::Day.period(later, Tz::UTC));
    }

    #[test]
    fn repeated_hour_counts_twice() {
        // On 25 October 2026, 02:30 in Berlin occurs at 00:30 and at 01:30 UTC.
        let (first, second) = (at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z"));
        assert_ne!(CalendarUnit::Hour.period(first, BERLIN), CalendarUnit::Hour.period(second, BERLIN));
        assert_eq!(CalendarUnit::Day.period(first, BERLIN), CalendarUnit::Day.period(second, BERLIN));
    }

    #[test]
    fn day_of_a_clock_change_has_23_hours() {
        // 29 March 2026 in Berlin lasts from 23:00 UTC of the day before to 21:59:59 UTC.
        let day = |time| CalendarUnit::Day.period(at(time), BERLIN);
        assert_eq!(day("2026-03-28T23:00:00Z"), day("2026-03-29T21:59:59Z"));
        assert_ne!(day("2026-03-28T23:00:00Z"), day("2026-03-29T22:00:00Z"));
    }

    #[test]
    fn weeks_are_iso_weeks_and_years_are_not_iso_years() {
        let (eve, new_year) = (at("2026-12-31T03:00:00Z"), at("2027-01-01T03:00:00Z"));
        assert_eq!(CalendarUnit::Week.period(eve, Tz::UTC), CalendarUnit::Week.period(new_year, Tz::UTC));
        for unit in
            [CalendarUnit::Hour, CalendarUnit::Day, CalendarUnit::Month, CalendarUnit::Quarter, CalendarUnit::Year]
        {
            assert_ne!(unit.period(eve, Tz::UTC), unit.period(new_year, Tz::UTC), "{unit:?}");
        }
        // Week 1 of 2026 and week 1 of 2027 differ.
        let week = |time| CalendarUnit::Week.period(at(time), Tz::UTC);
        assert_ne!(week("2026-01-01T00:00:00Z"), week("2027-01-04T00:00:00Z"));
    }

    #[test]
    fn month_before_ends_with_the_shorter_month() {
        assert_eq!(before("1mo", "2027-01-31T03:00:00Z", Tz::UTC), "2026-12-31T03:00:00+00:00");
        assert_eq!(before("1mo", "2026-03-31T03:00:00Z", Tz::UTC), "2026-02-28T03:00:00+00:00");
        assert_eq!(before("1mo", "2028-03-31T03:00:00Z", Tz::UTC), "2028-02-29T03:00:00+00:00");
        assert_eq!(before("1y", "2028-02-29T03:00:00Z", Tz::UTC), "2027-02-28T03:00:00+00:00");
    }

    #[test]
    fn days_keep_the_local_time_and_hours_do_not() {
        // In Berlin, clocks were set forward on 29 March 2026.
        assert_eq!(before("1d", "2026-03-29T10:00:00Z", BERLIN), "2026-03-28T11:00:00+00:00");
        assert_eq!(before("24h", "2026-03-29T10:00:00Z", BERLIN), "2026-03-28T10:00:00+00:00");
        assert_eq!(before("1d", "2026-03-29T10:00:00Z", Tz::UTC), "2026-03-28T10:00:00+00:00");
    }

    #[test]
    fn skipped_or_repeated_time_is_the_earlier() {
        // 02:30 on 29 March 2026 does not occur; with the summer offset it is 00:30 UTC.
        assert_eq!(before("1d", "2026-03-30T00:30:00Z", BERLIN), "2026-03-29T00:30:00+00:00");
        // 02:30 on 25 October 2026 occurs twice: at 00:30 and at 01:30 UTC.
        assert_eq!(before("1d", "2026-10-26T01:30:00Z", BERLIN), "2026-10-25T00:30:00+00:00");
        // Samoa had no 30 December 2011.
        let samoa = before("1d", "2011-12-30T20:00:00Z", Tz::Pacific__Apia);
        assert!(samoa.as_str() < "2011-12-30T10:00:01+00:00", "{samoa}");
        // Clock changes do not affect elapsed hours.
        assert_eq!(before("1h", "2026-10-25T01:30:00Z", BERLIN), "2026-10-25T00:30:00+00:00");
    }

    #[test]
    fn span_begins_with_its_longest_unit() {
        for (text, expected) in
            [("30d", "30d"), ("2w", "14d"), ("18mo", "1y6mo"), ("1y2mo3w4d5h", "1y2mo25d5h"), ("48h", "48h")]
        {
            assert_eq!(parse_span(text).to_string(), expected);
        }
        for bad in ["", "30", "d", "0d", "1m", "1 d", "-1d", "1d1y", "1d1d", "1.5d", "99999999999d", "4294967295y"] {
            assert!(CalendarSpan::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn span_before_the_first_date_is_the_first_date() {
        assert_eq!(parse_span("4000000000d").before(at("2026-06-07T00:00:00Z"), BERLIN), DateTime::<Utc>::MIN_UTC);
    }
}
