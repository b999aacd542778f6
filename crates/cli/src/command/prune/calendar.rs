//! A series drawn as a calendar: a row for each month, a character for each day.

use std::collections::BTreeMap;

use chrono::{Datelike, Months, NaiveDate};

/// The sign of a day. A day with several backups shows the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Day {
    /// No backup.
    Empty,
    /// All backups of the day are removed.
    Removed,
    /// A backup of the day is kept.
    Kept,
    /// A backup of the day needs attention.
    NeedsAttention,
}

impl Day {
    fn sign(self) -> char {
        match self {
            Self::Empty => '·',
            Self::Removed => '○',
            Self::Kept => '●',
            Self::NeedsAttention => '!',
        }
    }
}

/// The legend of the signs.
pub(super) const LEGEND: &str = "● kept  ○ removed  ! damaged or refused  · none";

/// Draws the months from the first day to the last, oldest first, below a ruler of days.
/// Consecutive months without a backup are one line.
pub(super) fn draw(days: &BTreeMap<NaiveDate, Day>) -> Vec<String> {
    let (Some((first, _)), Some((last, _))) = (days.first_key_value(), days.last_key_value()) else {
        return Vec::new();
    };
    let mut rows = vec![ruler()];
    let mut empty = 0;
    let mut month = first.with_day(1);
    while let Some(begin) = month.filter(|begin| begin <= last) {
        let next = begin.checked_add_months(Months::new(1));
        let until = next.unwrap_or(NaiveDate::MAX);
        if days.range(begin..until).next().is_none() {
            empty += 1;
        } else {
            rows.extend((empty > 0).then(|| gap(empty)));
            empty = 0;
            let signs = begin.iter_days().take_while(|day| *day < until);
            let signs: String = signs.map(|day| days.get(&day).map_or(Day::Empty, |day| *day).sign()).collect();
            rows.push(format!("{}  {signs}", begin.format("%Y-%m")));
        }
        month = next;
    }
    rows
}

/// Returns the numbers of days, each above its column.
fn ruler() -> String {
    format!("{:9}1   5    10   15   20   25   30", "")
}

fn gap(months: u32) -> String {
    match months {
        1 => "      …  1 month without a backup".to_owned(),
        months => format!("      …  {months} months without a backup"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(days: &[(&str, Day)]) -> String {
        let days: BTreeMap<NaiveDate, Day> = days.iter().map(|(date, day)| (date.parse().unwrap(), *day)).collect();
        draw(&days).join("\n")
    }

    #[test]
    fn draws_a_row_per_month_and_a_sign_per_day() {
        let days = [
            ("2026-06-03", Day::Removed),
            ("2026-06-05", Day::Kept),
            ("2026-06-10", Day::NeedsAttention),
            ("2026-06-30", Day::Kept),
            ("2026-07-31", Day::Kept),
        ];
        assert_eq!(
            drawn(&days),
            "         1   5    10   15   20   25   30\n\
             2026-06  ··○·●····!···················●\n\
             2026-07  ······························●"
        );
    }

    #[test]
    fn february_has_28_or_29_days() {
        assert_eq!(
            drawn(&[("2027-02-01", Day::Kept), ("2028-02-29", Day::Kept)]),
            "         1   5    10   15   20   25   30\n\
             2027-02  ●···························\n      \
             …  11 months without a backup\n\
             2028-02  ····························●"
        );
    }

    #[test]
    fn empty_month_is_a_gap_and_no_backups_draw_nothing() {
        assert!(
            drawn(&[("2026-12-31", Day::Removed), ("2027-02-01", Day::Kept)]).contains("\n      …  1 month without")
        );
        assert_eq!(drawn(&[]), "");
    }
}
