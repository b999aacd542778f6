//! The results of a walk over the segments of a recovery: whether its target is reached.

use chrono::{DateTime, TimeDelta, Utc};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_wal::{Lsn, SegmentFacts};

use crate::wal::recovery::{RecoveryTarget, SWITCH_HINT, text};

/// The results of the walk over the segments.
#[derive(Default)]
pub(super) struct Found {
    pub(super) last_record: Option<Lsn>,
    pub(super) last_transaction: Option<DateTime<Utc>>,
    /// The latest time in the WAL: of a transaction or of a restore point.
    latest_time: Option<DateTime<Utc>>,
    /// True if the target is before the end of the segments so far.
    pub(super) is_reached: bool,
    /// True if the end of the backup is before the end of the segments so far.
    pub(super) is_consistent: bool,
    /// The last segment so far.
    before: Option<SegmentFacts>,
}

impl Found {
    /// Compares a segment with the one before it: neither segment alone contains the CRC and all
    /// bytes of a record that continues.
    pub(super) fn expect_continuation(&self, facts: &SegmentFacts) -> Result<(), String> {
        // The length of a record over several segments is known only in the first of them.
        let Some(before) = self.before.as_ref().filter(|before| before.first_record.is_some()) else { return Ok(()) };
        let unfinished = before.unfinished_record;
        let missing = unfinished.map_or(0, |record| record.missing_bytes);
        let continued = facts.continuation_bytes;
        // After a crash, the server overwrites a record that it had not written to its end.
        let is_overwritten = missing > 0 && continued == 0;
        if continued != missing && !is_overwritten {
            return Err(format!("it begins with {continued} bytes of a record that lacks {missing}"));
        }
        // It may also have written a part of the record in this segment before the crash.
        let possible = [unfinished.map(|record| record.lsn), before.last_record];
        let expected = if unfinished.is_some() { &possible[..] } else { &possible[1..] };
        match facts.previous_record {
            Some(previous) if expected.iter().flatten().next().is_some() && !expected.contains(&Some(previous)) => {
                let last = possible.into_iter().flatten().next().unwrap_or_default();
                Err(format!("its first record follows that at {previous}, and the last one before it is at {last}"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn add(&mut self, facts: &SegmentFacts, target: &RecoveryTarget, stop: Lsn) {
        self.before = Some(facts.clone());
        self.last_record = facts.last_record.or(self.last_record);
        let latest = facts.transactions.map(|ends| ends.latest);
        self.last_transaction = self.last_transaction.max(latest);
        let points = facts.restore_points.first.iter();
        let restore_points = points.clone().filter_map(|point| point.time).max();
        self.latest_time = self.latest_time.max(latest).max(restore_points);
        // Before its end, a backup is not consistent.
        self.is_consistent |= facts.end_of_records >= stop;
        self.is_reached |= self.is_consistent
            && match target {
                RecoveryTarget::Time(time) => latest.is_some_and(|latest| latest > *time),
                RecoveryTarget::Lsn(lsn) => self.last_record.is_some_and(|last| last >= *lsn),
                RecoveryTarget::Name(name) => points.filter(|point| point.lsn >= stop).any(|point| point.name == *name),
                RecoveryTarget::Immediate => true,
                RecoveryTarget::Latest | RecoveryTarget::Between(_) | RecoveryTarget::Xid(_) => false,
            };
    }

    /// Returns the time of a target between the end of the backup and the last transaction, or
    /// another target unchanged.
    pub(super) fn moment(&mut self, target: &RecoveryTarget, from: DateTime<Utc>) -> RecoveryTarget {
        let RecoveryTarget::Between(share) = target else { return target.clone() };
        match self.last_transaction.filter(|last| *last > from) {
            Some(last) => {
                // The last transaction ends after the time, so recovery stops there.
                self.is_reached = true;
                let span = (last - from).num_microseconds().unwrap_or(i64::MAX);
                let part = (span as f64 * share.clamp(0.0, 1.0)) as i64;
                RecoveryTarget::Time(from + TimeDelta::microseconds(part.min(span - 1)))
            }
            None => RecoveryTarget::Latest,
        }
    }

    /// Returns the settings of the target.
    pub(super) fn settings(&self, target: &RecoveryTarget, end: &str) -> Result<Vec<(String, String)>> {
        let of = |name: &str, value: String| vec![(format!("recovery_target_{name}"), value)];
        let to_the_end = || match self.last_record {
            Some(lsn) => Ok(of("lsn", lsn.to_string())),
            None => Err(unreached("the end of the archive".to_owned(), "the segments contain no whole record")),
        };
        match target {
            RecoveryTarget::Latest | RecoveryTarget::Between(_) => to_the_end(),
            RecoveryTarget::Immediate => Ok(vec![("recovery_target".to_owned(), "immediate".to_owned())]),
            RecoveryTarget::Time(time) if self.is_reached => {
                Ok(of("time", time.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string()))
            }
            // No transaction ended between this time and the end of the WAL.
            RecoveryTarget::Time(time) if self.latest_time.is_some_and(|latest| latest >= *time) => to_the_end(),
            RecoveryTarget::Time(time) => {
                let latest = match self.latest_time {
                    Some(latest) => format!("its latest time is {}", text(latest)),
                    None => "no transaction ended after the backup".to_owned(),
                };
                Err(unreached(format!("the time {}", text(*time)), format!("{end}; {latest}"))
                    .hint(format!("{SWITCH_HINT}; or recover to the end of the archive: --at latest")))
            }
            RecoveryTarget::Lsn(lsn) if self.is_reached => Ok(of("lsn", lsn.to_string())),
            RecoveryTarget::Lsn(lsn) => Err(unreached(format!("the position {lsn}"), end).hint(SWITCH_HINT)),
            RecoveryTarget::Name(name) if self.is_reached => Ok(of("name", name.clone())),
            RecoveryTarget::Name(name) => Err(unreached(format!("the restore point \"{name}\""), end).hint(format!(
                "it may be older than the backup: name an older one instead of the cluster; {SWITCH_HINT}"
            ))),
            // PostgreSQL fails if the WAL does not contain the end of the transaction.
            RecoveryTarget::Xid(xid) => Ok(of("xid", xid.to_string())),
        }
    }
}

pub(super) fn unreached(target: String, message: impl std::fmt::Display) -> Error {
    Error::new(Stage::Restore, Kind::Refused, target, format!("not reached: {message}"))
}
