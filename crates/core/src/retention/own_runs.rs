//! The runs that this host knows by its own reports, which no destination can forge.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::plan::CLOCK_TOLERANCE;
use crate::key::BackupName;

/// The longest that a run takes from its begin to choose the time of its backups.
const BEGINNING: TimeDelta = TimeDelta::minutes(1);

/// The runs of one job that this host has reports of, kept where no destination can write.
///
/// Reports are removed by count and by age, and the first version wrote none: no report is expected
/// to name a backup that is older than the oldest report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnRuns {
    /// When the oldest run with a report began.
    pub oldest: DateTime<Utc>,
    /// When the newest run with a report began.
    pub newest: DateTime<Utc>,
    /// The backups that the reports name.
    pub made: BTreeSet<BackupName>,
    /// When runs began that were cut off, or are under way: no report names their backups.
    pub unreported: Vec<DateTime<Utc>>,
    /// Backups of other origin that were opened and decoded on this host.
    pub opened: BTreeSet<BackupName>,
}

impl OwnRuns {
    /// Returns true for a backup that a run of this host made, that was opened here, or that is
    /// older than the reports.
    pub fn vouch_for(&self, name: &BackupName, time: DateTime<Utc>) -> bool {
        // Names carry whole seconds.
        let is_of = |begun: &DateTime<Utc>| (*begun - TimeDelta::seconds(1)..=*begun + BEGINNING).contains(&time);
        time < self.oldest - TimeDelta::seconds(1)
            || self.made.contains(name)
            || self.opened.contains(name)
            || self.unreported.iter().any(is_of)
    }

    /// Returns true if a run of this host is dated ahead of its clock: the clock was, or is, wrong.
    pub fn are_ahead_of(&self, now: DateTime<Utc>) -> bool {
        self.newest > now + CLOCK_TOLERANCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Stamp;

    fn at(text: &str) -> DateTime<Utc> {
        Stamp::parse(text).unwrap().time()
    }

    fn name(text: &str) -> BackupName {
        BackupName::new("main", "app", Stamp::parse(text).unwrap()).unwrap()
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
    fn own_runs_vouch_for_their_backups_and_older_ones() {
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
            assert_eq!(runs().vouch_for(&name(text), at(text)), expected, "{text}");
        }
    }

    #[test]
    fn own_runs_are_ahead_beyond_the_tolerance() {
        assert!(!runs().are_ahead_of(at("2026-05-09_030000")));
        assert!(!runs().are_ahead_of(at("2026-05-09_025000")));
        assert!(runs().are_ahead_of(at("2026-05-09_023000")));
    }
}
