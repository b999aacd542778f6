//! When backups were made that are many: the same for whoever counts them.

use chrono::{DateTime, TimeDelta, Utc};

/// How many backups a series has.
pub const BACKUPS_OF_A_SERIES: usize = 500;

/// The times of a series' backups, six hours apart, the oldest first. All are past.
pub fn every_six_hours() -> impl Iterator<Item = DateTime<Utc>> {
    let first = DateTime::from_timestamp(1_735_700_400, 0).unwrap(); // 1 January 2025, 03:00
    (0..BACKUPS_OF_A_SERIES).map(move |run| first + TimeDelta::hours(6 * run as i64))
}
