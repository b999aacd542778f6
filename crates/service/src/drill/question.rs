//! The operator's queries, and the comparison of their results.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use longshore_core::drill::Answer;
use longshore_core::stage::Examine;
use longshore_core::{Error, Kind, Result, Stage};

use crate::config::{Expects, Question};

/// The classes of SQLSTATE codes that mean that the rows are not as the query expects: invalid
/// data, a violated constraint, and errors that the operator's own SQL raises. Any other code
/// concerns the query or the server.
const AGAINST: [&str; 3] = ["22", "23", "P0"];

/// Runs a query on a restored database, now called `database`. `begun` is the start time
/// of the backup.
pub(super) async fn ask(
    examiner: &dyn Examine,
    question: &Question,
    database: &str,
    begun: DateTime<Utc>,
) -> Result<Answer> {
    let (found, good) = match examiner.ask(database, &question.sql).await {
        Ok(rows) => match rows.first().and_then(|row| row.first()) {
            Some(Some(value)) => (value.clone(), is_good(&question.expects, value, begun)),
            Some(None) => ("null".to_owned(), false),
            None => ("no row".to_owned(), false),
        },
        Err(error) => {
            let said = error.chain();
            if !error.sqlstate().is_some_and(|sqlstate| AGAINST.contains(&sqlstate.class())) {
                return Err(Error::new(Stage::Drill, Kind::Usage, &question.database, "the query failed")
                    .because(said)
                    .hint("check [[job.NAME.drill.query]]; this failure does not mean that the backup is damaged"));
            }
            (said, false)
        }
    };
    Ok(Answer {
        database: question.database.clone(),
        query: question.sql.clone(),
        expected: expected(&question.expects),
        found,
        good,
    })
}

/// Describes the expected result.
pub(super) fn expected(expects: &Expects) -> String {
    match expects {
        Expects::Answer(answer) => answer.clone(),
        Expects::AtLeast(least) => format!("at least {least}"),
        Expects::NewerThan(span) => format!("at most {} h before the backup", span.duration().as_secs() / 3600),
    }
}

fn is_good(expects: &Expects, value: &str, begun: DateTime<Utc>) -> bool {
    match expects {
        Expects::Answer(answer) => answer == value,
        Expects::AtLeast(least) => value.trim().parse::<f64>().is_ok_and(|value| value >= *least),
        Expects::NewerThan(span) => match (time(value), TimeDelta::from_std(span.duration())) {
            (Some(time), Ok(span)) => begun - time <= span,
            _ => false,
        },
    }
}

/// Parses a time as PostgreSQL prints it: `2026-06-07 09:15:00.123+00`, in UTC if it has no
/// zone, or a date.
fn time(text: &str) -> Option<DateTime<Utc>> {
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
    use longshore_core::quantity::Span;

    use super::*;

    #[test]
    fn an_answer_is_held_against_what_it_must_be() {
        let begun = time("2026-06-07 09:15:00+00").unwrap();
        let answer = Expects::Answer("42".into());
        assert!(is_good(&answer, "42", begun) && !is_good(&answer, "42.0", begun));
        let least = Expects::AtLeast(1000.0);
        assert!(is_good(&least, "1000", begun) && is_good(&least, "1e6", begun));
        assert!(!is_good(&least, "999", begun) && !is_good(&least, "many", begun));
        let newer = Expects::NewerThan(Span::try_from("26h".to_owned()).unwrap());
        for good in ["2026-06-06 08:00:00.5+00", "2026-06-06 08:00:00", "2026-06-06 10:00:00+0200", "2026-06-07"] {
            assert!(is_good(&newer, good, begun), "{good}");
        }
        for bad in ["2026-06-06 07:00:00+00", "2026-06-06", "soon", ""] {
            assert!(!is_good(&newer, bad, begun), "{bad}");
        }
    }
}
