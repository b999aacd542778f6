//! The runs in this host's own reports, which no destination can forge.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use longshore_model::clock::CLOCK_TOLERANCE;
use longshore_model::key::BackupName;

/// The longest time from the beginning of a run to the time of its backups.
const MAX_START_DELAY: TimeDelta = TimeDelta::minutes(1);

/// The runs of one job with reports on this host, stored where no destination can write.
///
/// Old reports are deleted, and the first version wrote none, so backups older than the oldest
/// report need not appear in a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnRuns {
    /// The beginning of the oldest run with a report.
    pub oldest: DateTime<Utc>,
    /// The beginning of the newest run with a report.
    pub newest: DateTime<Utc>,
    /// The backups named in the reports.
    pub made: BTreeSet<BackupName>,
    /// The beginnings of interrupted and unfinished runs, whose backups no report names.
    pub unreported: Vec<DateTime<Utc>>,
    /// Backups of other origin that were decrypted and decoded on this host.
    pub opened: BTreeSet<BackupName>,
}

impl OwnRuns {
    /// Returns true if a run of this host made the backup, if the backup was decoded here, or if it
    /// is older than the reports.
    pub fn covers(&self, name: &BackupName, time: DateTime<Utc>) -> bool {
        // Names contain whole seconds.
        let is_of = |begun: &DateTime<Utc>| (*begun - TimeDelta::seconds(1)..=*begun + MAX_START_DELAY).contains(&time);
        time < self.oldest - TimeDelta::seconds(1)
            || self.made.contains(name)
            || self.opened.contains(name)
            || self.unreported.iter().any(is_of)
    }

    /// Returns true if a run of this host is dated ahead of its clock: the clock is or was wrong.
    pub fn are_ahead_of(&self, now: DateTime<Utc>) -> bool {
        self.newest > now + CLOCK_TOLERANCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_model::key::Timestamp;

    fn at(text: &str) -> DateTime<Utc> {
        Timestamp::parse(text).unwrap().time()
    }

    fn name(text: &str) -> BackupName {
        BackupName::new("main", "app", Timestamp::parse(text).unwrap()).unwrap()
    }

    fn runs() -> OwnRuns {
        OwnRuns {
            oldest: at("2026-05-02_030000"),
            newest: at("2026-05-09_030000"),
            made: BTreeSet::from([name("2026-05-02_030000"), name("2026-05-09_030000")]),
            unreported: vec![at("2026-05-05_030000")],
            opened: BTreeSet::from([name("2026-05-06_120000")]),
        }
    }

    #[test]
    fn own_runs_cover_their_backups_and_older_ones() {
        for (text, expected) in [
            ("2026-05-01_030000", true),
            ("2026-05-02_030000", true),
            ("2026-05-02_040000", false),
            ("2026-05-05_030000", true),
            ("2026-05-05_030059", true),
            ("2026-05-05_030200", false),
            ("2026-05-06_120000", true),
            ("2026-05-09_030000", true),
            ("2026-05-10_030000", false),
        ] {
            assert_eq!(runs().covers(&name(text), at(text)), expected, "{text}");
        }
    }

    #[test]
    fn own_runs_are_ahead_beyond_the_tolerance() {
        assert!(!runs().are_ahead_of(at("2026-05-09_030000")));
        assert!(!runs().are_ahead_of(at("2026-05-09_025000")));
        assert!(runs().are_ahead_of(at("2026-05-09_023000")));
    }
}
