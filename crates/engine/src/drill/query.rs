//! The operator's queries, and the comparison of their results.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use longshore_config::{Expectation, Query};
use longshore_core::drill::AssertionResult;
use longshore_core::stage::Examine;
use longshore_core::{Error, Kind, Result, Stage};

/// The classes of SQLSTATE codes that mean that the rows are not as the query expects: invalid
/// data, a violated constraint, and errors that the operator's own SQL raises. Any other code
/// concerns the query or the server.
const DATA_ERROR_CLASSES: [&str; 3] = ["22", "23", "P0"];

/// Runs a query on a restored database, now called `database`. `backup_start` is the start time
/// of the backup.
pub(super) async fn run(
    examiner: &dyn Examine,
    query: &Query,
    database: &str,
    backup_start: DateTime<Utc>,
) -> Result<AssertionResult> {
    let (found, good) = match examiner.ask(database, &query.sql).await {
        Ok(rows) => match rows.first().and_then(|row| row.first()) {
            Some(Some(value)) => (value.clone(), is_expected(&query.expects, value, backup_start)),
            Some(None) => ("null".to_owned(), false),
            None => ("no row".to_owned(), false),
        },
        Err(error) => {
            let cause = error.chain();
            if !error.sqlstate().is_some_and(|sqlstate| DATA_ERROR_CLASSES.contains(&sqlstate.class())) {
                return Err(Error::new(Stage::Drill, Kind::Usage, &query.database, "the query failed")
                    .because(cause)
                    .hint("check [[job.NAME.drill.query]]; this failure does not mean that the backup is damaged"));
            }
            (cause, false)
        }
    };
    Ok(AssertionResult {
        database: query.database.clone(),
        query: query.sql.clone(),
        expected: describe(&query.expects),
        found,
        good,
    })
}

/// Describes the expected result.
pub(super) fn describe(expects: &Expectation) -> String {
    match expects {
        Expectation::Answer(answer) => answer.clone(),
        Expectation::AtLeast(least) => format!("at least {least}"),
        Expectation::NewerThan(span) => format!("at most {} h before the backup", span.duration().as_secs() / 3600),
    }
}

fn is_expected(expects: &Expectation, value: &str, backup_start: DateTime<Utc>) -> bool {
    match expects {
        Expectation::Answer(answer) => answer == value,
        Expectation::AtLeast(least) => value.trim().parse::<f64>().is_ok_and(|value| value >= *least),
        Expectation::NewerThan(span) => match (parse_time(value), TimeDelta::from_std(span.duration())) {
            (Some(time), Ok(span)) => backup_start - time <= span,
            _ => false,
        },
    }
}

/// Parses a time as PostgreSQL prints it: `2026-06-07 09:15:00.123+00`, in UTC if it has no
/// zone, or a date.
fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    let zoned = ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"];
    if let Some(time) = zoned.iter().find_map(|format| DateTime::parse_from_str(text, format).ok()) {
        return Some(time.to_utc());
    }
    let plain = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
    if let Some(time) = plain.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()) {
        return Some(time.and_utc());
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_time(NaiveTime::MIN).and_utc())
}

#[cfg(test)]
mod tests {
    use longshore_core::unit::TimeSpan;

    use super::*;

    #[test]
    fn answer_is_compared_with_expectation() {
        let backup_start = parse_time("2026-06-07 09:15:00+00").unwrap();
        let answer = Expectation::Answer("42".into());
        assert!(is_expected(&answer, "42", backup_start) && !is_expected(&answer, "42.0", backup_start));
        let least = Expectation::AtLeast(1000.0);
        assert!(is_expected(&least, "1000", backup_start) && is_expected(&least, "1e6", backup_start));
        assert!(!is_expected(&least, "999", backup_start) && !is_expected(&least, "many", backup_start));
        let newer = Expectation::NewerThan(TimeSpan::try_from("26h".to_owned()).unwrap());
        for good in ["2026-06-06 08:00:00.5+00", "2026-06-06 08:00:00", "2026-06-06 10:00:00+0200", "2026-06-07"] {
            assert!(is_expected(&newer, good, backup_start), "{good}");
        }
        for bad in ["2026-06-06 07:00:00+00", "2026-06-06", "soon", ""] {
            assert!(!is_expected(&newer, bad, backup_start), "{bad}");
        }
    }
}
