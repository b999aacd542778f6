//! The fields of a time in a file name, written as for `date` and `strftime`.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};

/// The names of the months, as written by `%B`; `%b` writes their first three letters.
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The names of the days of the week, as written by `%A`; `%a` writes their first three letters.
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// The number of letters of a short name of a month or a day.
const SHORT: usize = 3;

/// All fields, for the error about an unknown one.
pub(super) const KNOWN: &str =
    "%Y %y %m %b %B %d %j %F %G %V %A %a %H %I %p %M %S %T %s %z %:z %%, {database} and {uuid}";

/// A field of a time. Each field ends before the first character that cannot belong to it, so a
/// text contains it in one way only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// `%Y`
    Year,
    /// `%y`, of the years from 2000 to 2099
    YearOfCentury,
    /// `%m`
    Month,
    /// `%b`
    MonthName,
    /// `%B`
    LongMonthName,
    /// `%d`
    Day,
    /// `%j`
    DayOfYear,
    /// `%a`
    Weekday,
    /// `%A`
    LongWeekday,
    /// `%G`
    WeekYear,
    /// `%V`
    Week,
    /// `%H`
    Hour,
    /// `%I`
    HourOfHalfDay,
    /// `%p`
    HalfDay,
    /// `%M`
    Minute,
    /// `%S`
    Second,
    /// `%s`
    UnixTime,
    /// `%z`
    Offset,
    /// `%:z`, also written as `Z`
    OffsetWithColon,
}

/// A quantity that one or several fields state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Quantity {
    Year,
    Month,
    Day,
    DayOfYear,
    Weekday,
    WeekYear,
    Week,
    Hour,
    HourOfHalfDay,
    HalfDay,
    Minute,
    Second,
    UnixTime,
    Offset,
}

impl Field {
    /// Returns the field of a letter after a percent sign.
    pub(super) fn from_letter(letter: char) -> Option<Self> {
        Some(match letter {
            'Y' => Self::Year,
            'y' => Self::YearOfCentury,
            'm' => Self::Month,
            'b' => Self::MonthName,
            'B' => Self::LongMonthName,
            'd' => Self::Day,
            'j' => Self::DayOfYear,
            'a' => Self::Weekday,
            'A' => Self::LongWeekday,
            'G' => Self::WeekYear,
            'V' => Self::Week,
            'H' => Self::Hour,
            'I' => Self::HourOfHalfDay,
            'p' => Self::HalfDay,
            'M' => Self::Minute,
            'S' => Self::Second,
            's' => Self::UnixTime,
            'z' => Self::Offset,
            _ => return None,
        })
    }

    fn quantity(self) -> Quantity {
        match self {
            Self::Year | Self::YearOfCentury => Quantity::Year,
            Self::Month | Self::MonthName | Self::LongMonthName => Quantity::Month,
            Self::Day => Quantity::Day,
            Self::DayOfYear => Quantity::DayOfYear,
            Self::Weekday | Self::LongWeekday => Quantity::Weekday,
            Self::WeekYear => Quantity::WeekYear,
            Self::Week => Quantity::Week,
            Self::Hour => Quantity::Hour,
            Self::HourOfHalfDay => Quantity::HourOfHalfDay,
            Self::HalfDay => Quantity::HalfDay,
            Self::Minute => Quantity::Minute,
            Self::Second => Quantity::Second,
            Self::UnixTime => Quantity::UnixTime,
            Self::Offset | Self::OffsetWithColon => Quantity::Offset,
        }
    }

    /// Reads the field at the start of a text. Returns its value and its length in bytes.
    pub(super) fn read(self, text: &str) -> Option<(i64, usize)> {
        let named = |names: &[&str], letters: Option<usize>| {
            let mut names = names.iter().map(|name| &name[..letters.unwrap_or(name.len())]).enumerate();
            let (index, name) = names.find(|(_, name)| text.starts_with(name))?;
            Some((index as i64 + 1, name.len()))
        };
        match self {
            Self::Year | Self::WeekYear => digits(text, 4),
            Self::YearOfCentury => digits(text, 2).map(|(year, length)| (2000 + year, length)),
            Self::DayOfYear => digits(text, 3),
            // Times of ten digits: from 2001 to 2286.
            Self::UnixTime => digits(text, 10),
            Self::MonthName => named(&MONTHS, Some(SHORT)),
            Self::LongMonthName => named(&MONTHS, None),
            Self::Weekday => named(&WEEKDAYS, Some(SHORT)),
            Self::LongWeekday => named(&WEEKDAYS, None),
            Self::HalfDay => match text.get(..2)? {
                "AM" | "am" => Some((0, 2)),
                "PM" | "pm" => Some((12, 2)),
                _ => None,
            },
            Self::Offset => offset(text, ""),
            Self::OffsetWithColon if text.starts_with('Z') => Some((0, 1)),
            Self::OffsetWithColon => offset(text, ":"),
            Self::Month | Self::Day | Self::Week | Self::Hour | Self::HourOfHalfDay | Self::Minute | Self::Second => {
                digits(text, 2)
            }
        }
    }

    /// Returns an example of the field.
    pub(super) fn example(self) -> &'static str {
        match self {
            Self::Year | Self::WeekYear => "2026",
            Self::MonthName => "Jun",
            Self::LongMonthName => "June",
            Self::Weekday => "Sun",
            Self::LongWeekday => "Sunday",
            Self::DayOfYear => "158",
            Self::HalfDay => "AM",
            Self::UnixTime => "1780815601",
            Self::Offset => "+0200",
            Self::OffsetWithColon => "+02:00",
            _ => "06",
        }
    }
}

/// Reads a number of a fixed number of digits.
fn digits(text: &str, length: usize) -> Option<(i64, usize)> {
    let digits = text.get(..length).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some((digits.parse().ok()?, length))
}

/// Reads an offset from UTC: its seconds and its length.
fn offset(text: &str, separator: &str) -> Option<(i64, usize)> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, _) = digits(text.get(1..)?, 2)?;
    let (minutes, _) = digits(text.get(3..)?.strip_prefix(separator)?, 2)?;
    (hours < 24 && minutes < 60).then_some((sign * (hours * 3600 + minutes * 60), 5 + separator.len()))
}

/// The fields that a pattern has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FieldSet(Vec<Quantity>);

impl FieldSet {
    /// Creates the set of these fields. Fails with the reason if they do not state one time.
    pub(super) fn new(fields: impl Iterator<Item = Field>) -> Result<Self, &'static str> {
        let set = Self(fields.map(Field::quantity).collect());
        if set.has(Quantity::UnixTime) {
            let is_alone = set.0.iter().all(|quantity| *quantity == Quantity::UnixTime);
            return if is_alone {
                Ok(set)
            } else {
                Err("has %s, which is a whole time, beside other fields of a time")
            };
        }
        let is_of_day = set.has(Quantity::Year)
            && (set.has(Quantity::Month) && set.has(Quantity::Day) || set.has(Quantity::DayOfYear));
        let is_of_period = set.has(Quantity::WeekYear) && set.has(Quantity::Week)
            || set.has(Quantity::Year) && set.has(Quantity::Month) && !set.has(Quantity::Day);
        if set.has(Quantity::HourOfHalfDay) != set.has(Quantity::HalfDay) {
            return Err("has an incomplete time of day: %I requires %p, and %p requires %I");
        }
        if set.has(Quantity::Hour) && set.has(Quantity::HourOfHalfDay) {
            return Err("has both %H and %I");
        }
        if set.has(Quantity::Minute) && !set.has_hour() || set.has(Quantity::Second) && !set.has(Quantity::Minute) {
            return Err("has an incomplete time of day: %S requires %M, and %M requires %H");
        }
        if set.has(Quantity::Offset) && !set.has_hour() {
            return Err("has an offset from UTC without a time of day: %z and %:z require %H");
        }
        if !is_of_day && (!is_of_period || set.has_hour()) {
            return Err("must contain a year, a month and a day: %Y, %m (or %b) and %d");
        }
        Ok(set)
    }

    fn has(&self, quantity: Quantity) -> bool {
        self.0.contains(&quantity)
    }

    fn has_hour(&self) -> bool {
        self.has(Quantity::Hour) || self.has(Quantity::HourOfHalfDay)
    }

    /// Returns the length of the period that the fields state, unless they state a time of day.
    pub(super) fn period(&self) -> Option<TimeDelta> {
        let is_of_day = self.has(Quantity::Day) || self.has(Quantity::DayOfYear);
        match () {
            () if self.has_time_of_day() => None,
            () if is_of_day => Some(TimeDelta::days(1)),
            () if self.has(Quantity::Week) => Some(TimeDelta::days(7)),
            () => Some(TimeDelta::days(31)),
        }
    }

    /// Returns true if the fields state a time of day.
    pub(super) fn has_time_of_day(&self) -> bool {
        self.has_hour() || self.has(Quantity::UnixTime)
    }
}

/// The values of the fields in a name.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    values: BTreeMap<Quantity, i64>,
    /// True if two fields state different values of one quantity.
    is_contradictory: bool,
}

impl Values {
    /// Adds the value of a field.
    pub(super) fn add(&mut self, field: Field, value: i64) {
        self.is_contradictory |= self.values.insert(field.quantity(), value).is_some_and(|other| other != value);
    }

    fn get(&self, quantity: Quantity) -> Option<u32> {
        self.values.get(&quantity).and_then(|value| u32::try_from(*value).ok())
    }

    /// Returns the time, and its offset from UTC if the name states one. Returns `None` for an
    /// invalid time, and if the fields contradict each other. A year before 1970 is not a date of a
    /// dump.
    pub(super) fn time(&self) -> Option<(NaiveDateTime, Option<FixedOffset>)> {
        if self.is_contradictory {
            return None;
        }
        if let Some(seconds) = self.values.get(&Quantity::UnixTime) {
            let utc = FixedOffset::east_opt(0)?;
            return Some((DateTime::from_timestamp(*seconds, 0)?.naive_utc(), Some(utc)));
        }
        let date = self.date().filter(|date| date.year() >= 1970 && self.agrees_with(*date))?;
        let hour = match (self.get(Quantity::HourOfHalfDay), self.get(Quantity::HalfDay)) {
            (Some(hour @ 1..=12), Some(half)) => hour % 12 + half,
            (Some(_), _) => return None,
            (None, _) => self.get(Quantity::Hour).unwrap_or(0),
        };
        let (minute, second) = (self.get(Quantity::Minute).unwrap_or(0), self.get(Quantity::Second).unwrap_or(0));
        let offset = self.values.get(&Quantity::Offset).and_then(|seconds| i32::try_from(*seconds).ok());
        let offset = offset.map(FixedOffset::east_opt);
        Some((date.and_time(NaiveTime::from_hms_opt(hour, minute, second)?), offset.flatten()))
    }

    /// Returns the date; for a month or a week, its first day.
    fn date(&self) -> Option<NaiveDate> {
        let year = |quantity| self.get(quantity).and_then(|year| i32::try_from(year).ok());
        match (year(Quantity::Year), self.get(Quantity::Month), self.get(Quantity::Day), self.get(Quantity::DayOfYear))
        {
            (Some(year), Some(month), Some(day), _) => NaiveDate::from_ymd_opt(year, month, day),
            (Some(year), _, _, Some(day)) => NaiveDate::from_yo_opt(year, day),
            (Some(year), Some(month), None, None) => NaiveDate::from_ymd_opt(year, month, 1),
            _ => NaiveDate::from_isoywd_opt(year(Quantity::WeekYear)?, self.get(Quantity::Week)?, chrono::Weekday::Mon),
        }
    }

    /// Returns true if the fields that also follow from the date have the values of this date.
    fn agrees_with(&self, date: NaiveDate) -> bool {
        let is = |quantity, value: u32| self.get(quantity).is_none_or(|stated| stated == value);
        let week = date.iso_week();
        is(Quantity::Month, date.month())
            && is(Quantity::DayOfYear, date.ordinal())
            && is(Quantity::Weekday, date.weekday().number_from_monday())
            && is(Quantity::Week, week.week())
            && is(Quantity::WeekYear, week.year().unsigned_abs())
    }
}
