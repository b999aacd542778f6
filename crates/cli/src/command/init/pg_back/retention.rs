//! The purge of pg_back as a retention policy.
//!
//! pg_back keeps the newest `purge_min_keep` dumps of a database, and all that are not older than
//! `purge_older_than` when its run starts (`internal/storage/purge.go`, PurgeDumps; the limit is
//! computed in `main.go` before the first dump). `keep_within` counts from the newest backup, which
//! is later than the start of its run. So an hour is added: Longshore removes nothing that pg_back
//! would keep, unless a dump takes longer than an hour.

use chrono::TimeDelta;

/// The purge of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Purge {
    /// The value of `purge_older_than`.
    pub(super) older_than: String,
    /// The value of `purge_min_keep`.
    pub(super) min_keep: String,
}

/// The longest interval that pg_back can compute, in days.
const MAX_DAYS: i64 = 106_751;

impl Purge {
    /// Returns the lines of the policy, or `None` if everything is kept.
    pub(super) fn policy(&self) -> Result<Option<String>, String> {
        if self.min_keep == "all" {
            return Ok(None);
        }
        let keep: u32 = self.min_keep.parse().map_err(|_| "purge_min_keep must be a number or all".to_owned())?;
        let invalid = || "purge_older_than must be a number of days, or a duration such as 36h".to_owned();
        let span = match self.older_than.parse::<i64>() {
            // A negative number purges everything, even the dumps of the run.
            Ok(days) if days > MAX_DAYS => return Err(invalid()),
            Ok(days @ 1..) => format!("{days}d1h"),
            Ok(_) => "1h".to_owned(),
            Err(_) => {
                let interval = duration(&self.older_than).ok_or_else(invalid)?;
                // Rounded up, since a policy counts whole hours.
                let hours = (interval.max(TimeDelta::zero()) + TimeDelta::minutes(59)).num_hours();
                format!("{}h", hours + 1)
            }
        };
        let last = if keep > 0 { format!("keep_last = {keep}\n") } else { String::new() };
        Ok(Some(format!("keep_within = \"{span}\"\n{last}")))
    }
}

/// Parses a duration of pg_back, such as `1h30m`.
fn duration(text: &str) -> Option<TimeDelta> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !(letter.is_ascii_digit() || letter == '.'))?;
        let number: f64 = rest[..end].parse().ok()?;
        let units = [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let unit = units.iter().filter(|(unit, _)| rest[end..].starts_with(unit)).max_by_key(|(unit, _)| unit.len())?;
        seconds += number * unit.1;
        rest = &rest[end + unit.0.len()..];
    }
    let is_number = text.contains(|letter: char| letter.is_ascii_digit());
    is_number.then_some(())?;
    TimeDelta::try_milliseconds((sign * seconds * 1000.0).ceil() as i64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::{DateTime, TimeZone, Utc};
    use chrono_tz::Tz;
    use longshore_core::key::{BackupName, Key};
    use longshore_retention::{Action, Candidate, History, PlanContext, Policy, SeriesMode, plan};

    use super::*;

    fn purge(older_than: &str, min_keep: &str) -> Purge {
        Purge { older_than: older_than.to_owned(), min_keep: min_keep.to_owned() }
    }

    #[test]
    fn purge_becomes_a_policy() {
        let policy = |older_than, min_keep| purge(older_than, min_keep).policy();
        assert_eq!(policy("30", "0"), Ok(Some("keep_within = \"30d1h\"\n".to_owned())));
        assert_eq!(policy("7", "5"), Ok(Some("keep_within = \"7d1h\"\nkeep_last = 5\n".to_owned())));
        assert_eq!(policy("1h30m24s", "1"), Ok(Some("keep_within = \"3h\"\nkeep_last = 1\n".to_owned())));
        assert_eq!(policy("0", "2"), Ok(Some("keep_within = \"1h\"\nkeep_last = 2\n".to_owned())));
        assert_eq!(policy("-1h", "2"), Ok(Some("keep_within = \"1h\"\nkeep_last = 2\n".to_owned())));
        assert_eq!(policy("30", "all"), Ok(None));
        for (older_than, min_keep) in [("30", "-1"), ("30", "x"), ("a month", "0"), ("9999999", "0"), ("3d", "0")] {
            assert!(policy(older_than, min_keep).is_err(), "{older_than} {min_keep}");
        }
    }

    /// The times that pg_back keeps: the newest `keep`, and those that are not before the limit.
    fn kept_by_pg_back(times: &[DateTime<Utc>], keep: usize, limit: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let mut newest_first = times.to_vec();
        newest_first.sort_unstable_by(|one, other| other.cmp(one));
        let kept = |(index, time): (usize, DateTime<Utc>)| (index < keep || time >= limit).then_some(time);
        let mut kept: Vec<_> = newest_first.into_iter().enumerate().filter_map(kept).collect();
        kept.reverse();
        kept
    }

    /// The times that the policy keeps.
    fn kept_by_policy(times: &[DateTime<Utc>], policy: &Policy, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let candidate = |time: &DateTime<Utc>| Candidate {
            name: BackupName::from_adopted_key(&Key::parse(&format!("app_{}.dump", time.timestamp())).unwrap()),
            time: *time,
            bytes: 1,
            good: true,
            verified: false,
            drilled: false,
            held: None,
            locked_until: None,
            restoring_until: None,
            begins_window: false,
            continues_others: false,
            needs: Vec::new(),
        };
        let history = History { backups: times.iter().map(candidate).collect(), series_mode: SeriesMode::Policy };
        let needed = BTreeMap::new();
        let context = PlanContext { now, needed: &needed, trust_clock: false, own_runs: None };
        let decisions = plan(policy, &[history], context).unwrap().decisions.into_iter().flatten();
        let mut kept: Vec<_> = decisions
            .filter(|decision| matches!(decision.action, Action::Keep(_)))
            .map(|decision| decision.time)
            .collect();
        kept.sort_unstable();
        kept
    }

    /// Runs pg_back and Longshore every night of a year, each on its own files.
    fn a_year(zone: Tz, older_than: &str, min_keep: &str, check: impl Fn(&[DateTime<Utc>], &[DateTime<Utc>])) {
        let policy: Policy = toml::from_str(&purge(older_than, min_keep).policy().unwrap().unwrap()).unwrap();
        let keep = min_keep.parse().unwrap();
        let interval = match older_than.parse::<i64>() {
            Ok(days) => TimeDelta::hours(24 * days),
            Err(_) => duration(older_than).unwrap(),
        };
        let (mut of_pg_back, mut of_longshore): (Vec<DateTime<Utc>>, Vec<DateTime<Utc>>) = Default::default();
        let first = chrono::NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
        for (day, date) in first.iter_days().take(365).enumerate() {
            // The host was off for a week in May.
            if (120..127).contains(&day) {
                continue;
            }
            let start = zone.from_local_datetime(&date.and_hms_opt(3, 30, 0).unwrap()).earliest().unwrap().to_utc();
            // The dumps before this one take some seconds.
            let dumped = start + TimeDelta::seconds((day % 17) as i64);
            of_pg_back.push(dumped);
            of_longshore.push(dumped);
            of_pg_back = kept_by_pg_back(&of_pg_back, keep, start - interval);
            of_longshore = kept_by_policy(&of_longshore, &policy, dumped + TimeDelta::minutes(5));
            check(&of_pg_back, &of_longshore);
        }
    }

    #[test]
    fn a_year_of_purges_keeps_the_same_files() {
        for (older_than, min_keep) in
            [("30", "0"), ("30", "5"), ("7", "0"), ("1", "3"), ("36h", "2"), ("365", "0"), ("0", "10")]
        {
            a_year(Tz::UTC, older_than, min_keep, |of_pg_back, of_longshore| {
                assert_eq!(of_longshore, of_pg_back, "{older_than} {min_keep}");
            });
        }
    }

    #[test]
    fn clock_changes_keep_at_most_one_more_file() {
        for (older_than, min_keep) in [("30", "0"), ("7", "2"), ("1", "3"), ("36h", "2")] {
            a_year(Tz::Europe__Berlin, older_than, min_keep, |of_pg_back, of_longshore| {
                assert!(of_pg_back.iter().all(|time| of_longshore.contains(time)), "removes more than pg_back");
                assert!(of_longshore.len() <= of_pg_back.len() + 1, "{older_than} {min_keep}");
            });
        }
    }
}
