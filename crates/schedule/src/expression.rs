//! Cron expressions, and their times in a time zone.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use serde::Deserialize;

/// A cron expression of five fields.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = r"^\s*(@[A-Za-z]+|\S+(\s+\S+){4})\s*$", "examples" = ["0 3 * * *"]))]
pub struct Expression {
    text: String,
    pub(crate) cron: Cron,
}

impl TryFrom<String> for Expression {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // One line, since units and crontabs contain the text.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(&text).map_err(|_| {
            format!(
                "\"{text}\" is not a schedule: write five fields as in cron (minute, hour, day of the month, month, \
                 day of the week), such as \"0 3 * * *\""
            )
        })?;
        // The parser accepts 30 February, which never occurs.
        match cron.find_next_occurrence(&DateTime::UNIX_EPOCH, false) {
            Ok(_) => Ok(Self { text, cron }),
            Err(_) => Err(format!("\"{text}\" is not a schedule: no such day exists")),
        }
    }
}

/// The times at which runs are due, in the local time of a time zone.
///
/// If the clock is set forward, a run due in the skipped hour is due right after it. If the clock
/// is set back, a run at a fixed time in the repeated hour is due the first time only, and a run at
/// an interval is due in both.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub(crate) expression: Expression,
    zone: Tz,
}

impl Schedule {
    /// Creates a schedule from an expression in a time zone.
    pub fn new(expression: Expression, zone: Tz) -> Self {
        Self { expression, zone }
    }

    /// Returns the expression as written.
    pub fn expression(&self) -> &str {
        &self.expression.text
    }

    /// Returns the time zone.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// Returns the time of the first run that is due after `after`.
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = self.expression.cron.find_next_occurrence(&after.with_timezone(&self.zone), false);
        next.ok().map(|time| time.to_utc())
    }

    /// Returns the time of the last run that was due at or before `until`.
    pub fn last(&self, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let last = self.expression.cron.find_previous_occurrence(&until.with_timezone(&self.zone), true);
        last.ok().map(|time| time.to_utc())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(expression: &str, zone: Tz) -> Schedule {
        Schedule::new(Expression::try_from(expression.to_owned()).unwrap(), zone)
    }

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn parses_five_fields_with_occurrences_only() {
        for good in
            ["0 3 * * *", "*/15 * * * *", "30 2 * * mon-fri", "0 0 29 2 *", "0 3 1 * sun", "@daily", " 0 3 * * * "]
        {
            assert!(Expression::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "daily",
            "0 3 * *",
            "0 0 3 * * *",
            "0 0 3 * * * 2027",
            "60 3 * * *",
            "0 24 * * *",
            "0 3 * * *; rm",
            "@reboot",
        ] {
            let message = Expression::try_from(bad.to_owned()).unwrap_err();
            assert!(message.contains("five fields"), "{bad}: {message}");
        }
        let lines = Schedule::new(Expression::try_from("0 3\n* *\t*".to_owned()).unwrap(), Tz::UTC);
        assert_eq!(lines.expression(), "0 3 * * *");
        assert!(Expression::try_from("0 0 30 2 *".to_owned()).unwrap_err().contains("no such day"));
    }

    #[test]
    fn uses_clock_of_its_time_zone() {
        let utc = schedule("0 3 * * *", Tz::UTC);
        assert_eq!(utc.next(time("2026-06-07T03:00:00Z")), Some(time("2026-06-08T03:00:00Z")));
        assert_eq!(utc.last(time("2026-06-07T03:00:00Z")), Some(time("2026-06-07T03:00:00Z")));
        assert_eq!(utc.last(time("2026-06-07T02:59:59Z")), Some(time("2026-06-06T03:00:00Z")));
        let berlin = schedule("0 3 * * *", Tz::Europe__Berlin);
        assert_eq!(berlin.next(time("2026-06-07T09:00:00Z")), Some(time("2026-06-08T01:00:00Z")));
        assert_eq!(berlin.next(time("2026-12-07T09:00:00Z")), Some(time("2026-12-08T02:00:00Z")));
        let sundays = schedule("0 3 * * sun", Tz::UTC);
        assert_eq!(sundays.last(time("2026-06-11T00:00:00Z")), Some(time("2026-06-07T03:00:00Z")));
    }

    #[test]
    fn run_is_due_once_when_clock_changes() {
        let nightly = schedule("30 2 * * *", Tz::Europe__Berlin);
        // 29 March 2026: 02:00 is 03:00, which is 01:00 UTC.
        assert_eq!(nightly.next(time("2026-03-28T12:00:00Z")), Some(time("2026-03-29T01:00:00Z")));
        assert_eq!(nightly.next(time("2026-03-29T01:00:00Z")), Some(time("2026-03-30T00:30:00Z")));
        assert_eq!(nightly.last(time("2026-03-29T12:00:00Z")), Some(time("2026-03-29T01:00:00Z")));
        // 25 October 2026: 02:30 occurs twice, at 00:30 and 01:30 UTC.
        assert_eq!(nightly.next(time("2026-10-24T12:00:00Z")), Some(time("2026-10-25T00:30:00Z")));
        assert_eq!(nightly.next(time("2026-10-25T00:30:00Z")), Some(time("2026-10-26T01:30:00Z")));
        assert_eq!(nightly.last(time("2026-10-25T12:00:00Z")), Some(time("2026-10-25T00:30:00Z")));
    }
}
