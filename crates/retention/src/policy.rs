//! The retention policy of a destination.

use std::fmt;
use std::num::NonZeroU32;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use longshore_model::error::{Error, Kind, Result, Stage};
use longshore_model::unit::{ByteSize, TimeSpan};
use serde::{Deserialize, Deserializer};

use super::calendar::{CalendarSpan, CalendarUnit};

/// The retention policy of a series. A backup is kept if any `keep_` setting keeps it. Periods are
/// those of the policy's time zone, and only periods with a good backup count.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The newest backups, of any age.
    pub keep_last: Count,
    /// The newest backup of each of the newest hours.
    pub keep_hourly: Count,
    /// The newest backup of each of the newest days.
    pub keep_daily: Count,
    /// The newest backup of each of the newest ISO weeks.
    pub keep_weekly: Count,
    /// The newest backup of each of the newest months.
    pub keep_monthly: Count,
    /// The newest backup of each of the newest quarters.
    pub keep_quarterly: Count,
    /// The newest backup of each of the newest years.
    pub keep_yearly: Count,
    /// All backups within this span before the newest one.
    pub keep_within: Option<CalendarSpan>,
    /// The newest backup of each hour within this span before the newest one.
    pub keep_within_hourly: Option<CalendarSpan>,
    /// The newest backup of each day within this span before the newest one.
    pub keep_within_daily: Option<CalendarSpan>,
    /// The newest backup of each ISO week within this span before the newest one.
    pub keep_within_weekly: Option<CalendarSpan>,
    /// The newest backup of each month within this span before the newest one.
    pub keep_within_monthly: Option<CalendarSpan>,
    /// The newest backup of each quarter within this span before the newest one.
    pub keep_within_quarterly: Option<CalendarSpan>,
    /// The newest backup of each year within this span before the newest one.
    pub keep_within_yearly: Option<CalendarSpan>,
    /// The minimum number of good backups of each series, always kept.
    pub min_keep: NonZeroU32,
    /// The minimum age of removed backups.
    pub min_age: Option<TimeSpan>,
    /// The maximum number of backups to remove at once.
    pub max_delete: Option<NonZeroU32>,
    /// The maximum total size of the job's backups at the destination. The oldest backups that only
    /// `keep_` settings keep are removed first.
    pub max_total_size: Option<ByteSize>,
    /// The time zone of periods, by its name in the IANA database.
    #[serde(deserialize_with = "zone")]
    #[schemars(with = "String")]
    pub timezone: Tz,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            keep_last: Count::NONE,
            keep_hourly: Count::NONE,
            keep_daily: Count::NONE,
            keep_weekly: Count::NONE,
            keep_monthly: Count::NONE,
            keep_quarterly: Count::NONE,
            keep_yearly: Count::NONE,
            keep_within: None,
            keep_within_hourly: None,
            keep_within_daily: None,
            keep_within_weekly: None,
            keep_within_monthly: None,
            keep_within_quarterly: None,
            keep_within_yearly: None,
            min_keep: NonZeroU32::MIN,
            min_age: None,
            max_delete: None,
            max_total_size: None,
            timezone: Tz::UTC,
        }
    }
}

/// A limited or unlimited number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "WrittenCount")]
#[schemars(with = "WrittenCount")]
pub enum Count {
    /// At most this number.
    AtMost(u32),
    /// No limit.
    All,
}

impl Count {
    /// Zero.
    pub const NONE: Self = Self::AtMost(0);

    /// Returns the number, or the largest one for `All`.
    pub fn limit(self) -> usize {
        match self {
            Self::AtMost(count) => count as usize,
            Self::All => usize::MAX,
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(count) => count.fmt(f),
            Self::All => f.write_str("all"),
        }
    }
}

/// A [`Count`] in the configuration: a number, or `"all"`.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "expected a whole number from 0, or \"all\"")]
enum WrittenCount {
    Number(u32),
    Word(#[schemars(extend("const" = "all"))] String),
}

impl TryFrom<WrittenCount> for Count {
    type Error = String;

    fn try_from(written: WrittenCount) -> Result<Self, String> {
        match written {
            WrittenCount::Number(count) => Ok(Self::AtMost(count)),
            WrittenCount::Word(word) if word == "all" => Ok(Self::All),
            WrittenCount::Word(word) => Err(format!("\"{word}\" is not a count: use a whole number, or \"all\"")),
        }
    }
}

/// Parses a time zone, given its name in the IANA database.
pub fn zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tz, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse().map_err(|_| {
        serde::de::Error::custom(format!(
            "unknown time zone \"{name}\": use a name in the IANA database, such as \"Europe/Berlin\""
        ))
    })
}

impl Policy {
    /// Fails for a policy that keeps nothing, which is a configuration error.
    pub fn check(&self, name: &str) -> Result<()> {
        let nothing = self.keep_last == Count::NONE
            && self.keep_within.is_none()
            && CalendarUnit::ALL
                .iter()
                .all(|unit| self.newest_of(*unit) == Count::NONE && self.within(*unit).is_none());
        if nothing {
            return Err(Error::new(Stage::Retention, Kind::Refused, name, "the policy keeps nothing")
                .hint("set at least one keep_ setting, such as keep_last, keep_daily or keep_within"));
        }
        Ok(())
    }

    /// Returns the number of periods of this length for which to keep the newest backup.
    pub fn newest_of(&self, unit: CalendarUnit) -> Count {
        match unit {
            CalendarUnit::Hour => self.keep_hourly,
            CalendarUnit::Day => self.keep_daily,
            CalendarUnit::Week => self.keep_weekly,
            CalendarUnit::Month => self.keep_monthly,
            CalendarUnit::Quarter => self.keep_quarterly,
            CalendarUnit::Year => self.keep_yearly,
        }
    }

    /// Returns the span within which to keep the newest backup of each period of this length.
    pub fn within(&self, unit: CalendarUnit) -> Option<CalendarSpan> {
        match unit {
            CalendarUnit::Hour => self.keep_within_hourly,
            CalendarUnit::Day => self.keep_within_daily,
            CalendarUnit::Week => self.keep_within_weekly,
            CalendarUnit::Month => self.keep_within_monthly,
            CalendarUnit::Quarter => self.keep_within_quarterly,
            CalendarUnit::Year => self.keep_within_yearly,
        }
    }

    /// Returns the time for which a backup made at `time` is kept independent of later backups,
    /// which can serve as the duration of a store's lock. Returns `None` if the policy guarantees
    /// no time.
    pub fn guaranteed_span(&self, time: DateTime<Utc>) -> Option<TimeSpan> {
        let within = self.keep_within.and_then(|within| (time - within.before(time, self.timezone)).to_std().ok());
        within.max(self.min_age.map(TimeSpan::duration)).map(TimeSpan::new)
    }
}

/// The settings in effect, in short form: `keep_last 3, keep_within_daily 30d`.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |count: Count| Some(count).filter(|count| *count != Count::NONE).map(|count| count.to_string());
        let mut settings = vec![("keep_last".to_owned(), counted(self.keep_last))];
        settings
            .extend(CalendarUnit::ALL.map(|unit| (format!("keep_{}", unit.adverb()), counted(self.newest_of(unit)))));
        settings.push(("keep_within".to_owned(), self.keep_within.map(|span| span.to_string())));
        settings
            .extend(CalendarUnit::ALL.map(|unit| {
                (format!("keep_within_{}", unit.adverb()), self.within(unit).map(|span| span.to_string()))
            }));
        let floor = Some(self.min_keep).filter(|floor| *floor > NonZeroU32::MIN);
        settings.extend([
            ("min_keep".to_owned(), floor.map(|floor| floor.to_string())),
            ("min_age".to_owned(), self.min_age.map(|age| age.to_string())),
            ("max_delete".to_owned(), self.max_delete.map(|most| most.to_string())),
            ("max_total_size".to_owned(), self.max_total_size.map(|size| format!("{} bytes", size.bytes()))),
            ("timezone".to_owned(), Some(self.timezone.name().to_owned())),
        ]);
        let set = settings.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?)));
        f.write_str(&set.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Result<Policy, String> {
        toml_like(text).and_then(|value| serde_json::from_value(value).map_err(|error| error.to_string()))
    }

    /// Parses JSON, which represents the same values as TOML.
    fn toml_like(text: &str) -> Result<serde_json::Value, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_count_is_a_number_or_all() {
        let policy = policy(r#"{"keep_last": 3, "keep_yearly": "all"}"#).unwrap();
        assert_eq!((policy.keep_last, policy.keep_yearly), (Count::AtMost(3), Count::All));
        for bad in [r#"{"keep_last": -1}"#, r#"{"keep_last": "some"}"#, r#"{"keep_last": 1.5}"#, r#"{"min_keep": 0}"#] {
            assert!(self::policy(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_zone_has_a_name() {
        assert_eq!(policy(r#"{"timezone": "Europe/Berlin"}"#).unwrap().timezone, Tz::Europe__Berlin);
        assert!(policy(r#"{"timezone": "Berlin"}"#).unwrap_err().contains("\"Berlin\""));
    }

    #[test]
    fn refuses_a_policy_that_keeps_nothing() {
        for (text, is_valid) in [
            ("{}", false),
            (r#"{"keep_last": 0, "min_keep": 5, "min_age": "30d"}"#, false),
            (r#"{"keep_quarterly": 1}"#, true),
            (r#"{"keep_within_daily": "30d"}"#, true),
        ] {
            let checked = policy(text).unwrap().check("standard");
            assert_eq!(checked.is_ok(), is_valid, "{text}");
            assert!(checked.is_ok() || checked.unwrap_err().kind() == Kind::Refused);
        }
    }

    #[test]
    fn only_spans_guarantee_a_time() {
        let time = DateTime::from_timestamp(1_780_000_000, 0).unwrap();
        let days = |text| policy(text).unwrap().guaranteed_span(time).map(|span| span.duration().as_secs() / 86_400);
        assert_eq!(days(r#"{"keep_last": 30, "keep_within_daily": "30d"}"#), None);
        assert_eq!(days(r#"{"keep_within": "30d", "min_age": "7d"}"#), Some(30));
        assert_eq!(days(r#"{"keep_last": 1, "min_age": "7d"}"#), Some(7));
    }

    #[test]
    fn policy_prints_only_its_settings() {
        for (text, expected) in [
            (r#"{"keep_daily": 7}"#, "keep_daily 7, timezone UTC"),
            (
                r#"{"keep_yearly": "all", "keep_within_hourly": "2w", "min_keep": 2, "min_age": "48h", "max_delete": 9,
                    "max_total_size": "1kB", "timezone": "Europe/Berlin", "keep_within": "1mo", "keep_last": 1}"#,
                "keep_last 1, keep_yearly all, keep_within 1mo, keep_within_hourly 14d, min_keep 2, min_age 2d, \
                 max_delete 9, max_total_size 1000 bytes, timezone Europe/Berlin",
            ),
        ] {
            assert_eq!(policy(text).unwrap().to_string(), expected);
        }
    }
}
