//! The longest time between two consecutive backups, from the reports of this host: retention
//! removes backups, so those that are left show longer gaps.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use longshore_config::Config;
use longshore_core::Result;

use super::report::SeriesStatus;
use crate::run_history::backup_times;

/// The period that is examined.
const PERIOD: TimeDelta = TimeDelta::days(30);

/// Adds the longest gap to each series of a job that this host runs.
pub(super) fn add_gaps(config: &Config, all: &mut [SeriesStatus], now: DateTime<Utc>) -> Result<()> {
    let times = backup_times(config, now - PERIOD)?;
    for status in all {
        let of_job = times.get(&(status.cluster.clone(), status.job.clone()));
        let of_series = of_job.and_then(|of_job| of_job.get(&status.subject));
        status.worst_gap_seconds = of_series.and_then(longest_gap).map(|gap| gap.num_seconds());
    }
    Ok(())
}

fn longest_gap(times: &BTreeSet<DateTime<Utc>>) -> Option<TimeDelta> {
    times.iter().zip(times.iter().skip(1)).map(|(before, after)| *after - *before).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gap_needs_two_backups() {
        let times = |hours: &[i64]| hours.iter().map(|hour| DateTime::UNIX_EPOCH + TimeDelta::hours(*hour)).collect();
        assert_eq!(longest_gap(&times(&[])), None);
        assert_eq!(longest_gap(&times(&[3])), None);
        assert_eq!(longest_gap(&times(&[0, 24, 72, 96])), Some(TimeDelta::hours(48)));
    }
}
