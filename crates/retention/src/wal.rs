//! Retention of archived WAL: which segments no kept base backup and no moment of the recovery
//! window needs.
//!
//! A timeline continues only backups that are older than its first segment. So for each archived
//! timeline, the newest backup before the window that it can continue is kept with all WAL from its
//! start on, of any timeline: no history has to be decrypted for the decision.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use chrono::{DateTime, TimeDelta, Utc};
use longshore_model::base::{BaseFacts, WalLocation};
use longshore_model::key::BackupName;
use longshore_pg_wal::segment::{Segment, SegmentSize};

/// The past moments to which the archive must be able to recover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoveryWindow {
    /// All of them: no WAL is removed.
    All,
    /// Those of this span before now.
    Span(TimeDelta),
    /// Only those since the newest base backup.
    None,
}

/// A base backup that retention keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBase {
    /// The backup's name.
    pub name: BackupName,
    /// The time at which the backup was complete.
    pub finished: DateTime<Utc>,
    /// True if the backup can probably be restored: only such a backup counts for the window.
    pub is_good: bool,
    /// Its positions.
    pub facts: BaseFacts,
}

/// The decision about the WAL of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalPlan {
    /// The oldest backup that the recovery window needs: all WAL from its start on is kept.
    pub oldest: BackupName,
    /// The time at which that backup was complete: the earliest moment to recover to.
    pub since: DateTime<Utc>,
    /// The number of the segment at which that backup starts.
    pub first: u64,
    /// The numbers of the segments that make older backups consistent.
    pub ranges: Vec<(BackupName, RangeInclusive<u64>)>,
}

impl WalPlan {
    /// Decides about the WAL of one cluster. `kept` are the base backups of this cluster that any
    /// destination keeps, and `timelines` the number of the first archived segment of each
    /// timeline. Returns `None` if all WAL is kept: because the window has no end, or because there
    /// is no backup by which to decide.
    pub fn new(
        kept: &[KeptBase],
        timelines: &BTreeMap<u32, u64>,
        window: RecoveryWindow,
        size: SegmentSize,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let number = |base: &KeptBase| Segment::containing(base.facts.timeline, base.facts.start_lsn, size).number;
        let last = |base: &KeptBase| Segment::ending(base.facts.timeline, base.facts.stop_lsn, size).number;
        let before = match window {
            RecoveryWindow::All => return None,
            RecoveryWindow::None => Some(now),
            RecoveryWindow::Span(span) => now.checked_sub_signed(span),
        };
        let continues = |base: &&KeptBase, timeline: u32, first: u64| {
            base.facts.timeline == timeline || base.facts.timeline < timeline && number(base) <= first
        };
        let source_of = |(timeline, first): (&u32, &u64)| {
            let good = kept.iter().filter(|base| base.is_good && continues(base, *timeline, *first));
            let newest = good.filter(|base| before.is_some_and(|before| base.finished <= before));
            newest.max_by_key(|base| (base.finished, base.facts.start_lsn))
        };
        let oldest = || kept.iter().min_by_key(|base| base.facts.start_lsn);
        // A timeline without a backup before the window needs the oldest backup of all.
        let sources =
            timelines.iter().filter(|(timeline, first)| kept.iter().any(|base| continues(&base, **timeline, **first)));
        let sources: Option<Vec<&KeptBase>> = sources.map(|timeline| source_of(timeline).or_else(oldest)).collect();
        let oldest = sources?.into_iter().min_by_key(|base| number(base)).or_else(oldest)?;
        let first = number(oldest);
        let older = kept.iter().filter(|base| base.facts.wal == WalLocation::Archive && number(base) < first);
        let ranges = older.map(|base| (base.name.clone(), number(base)..=last(base))).collect();
        Some(Self { oldest: oldest.name.clone(), since: oldest.finished, first, ranges })
    }

    /// Returns true if a segment is kept.
    pub fn keeps(&self, segment: Segment) -> bool {
        segment.number >= self.first || self.ranges.iter().any(|(_, range)| range.contains(&segment.number))
    }
}

#[cfg(test)]
mod tests {
    use longshore_model::key::Timestamp;
    use longshore_pg_wal::Lsn;

    use super::*;

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn day(day: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000 + day)
    }

    /// Returns a backup of a day that needs these segments.
    fn base(on: i64, segments: RangeInclusive<u64>, wal: WalLocation) -> KeptBase {
        let name = BackupName::new("main", "base", Timestamp::new(day(on))).unwrap();
        let facts = BaseFacts {
            timeline: 1,
            start_lsn: Lsn((segments.start() << 24) + 0x28),
            stop_lsn: Lsn((segments.end() << 24) + 0x100),
            wal,
            finished: None,
            wal_segment_bytes: 1 << 24,
            crash_consistent: false,
            from_standby: false,
            page_checksums: true,
            damaged_pages: 0,
            incremental_from: None,
            settings: BTreeMap::new(),
            files: 1,
            file_bytes: 1,
            tablespaces: Vec::new(),
        };
        KeptBase { name, finished: day(on), is_good: true, facts }
    }

    /// Returns the archived timelines if there is only the first.
    fn one() -> BTreeMap<u32, u64> {
        [(1, 0)].into()
    }

    #[test]
    fn abandoned_history_does_not_count_for_a_new_timeline() {
        // After the backups at segments 2 and 11, the cluster was recovered to segment 3, and
        // continued as timeline 2, where the third backup was made.
        let mut all = [(1, 2), (2, 11), (9, 8)].map(|(on, at)| base(on, at..=at, WalLocation::Included));
        all[2].facts.timeline = 2;
        let timelines = [(1, 1), (2, 3)].into();
        let plan =
            |days| WalPlan::new(&all, &timelines, RecoveryWindow::Span(TimeDelta::days(days)), SIZE, day(10)).unwrap();
        assert_eq!(plan(7).first, 2, "timeline 2 continues the first backup only");
        assert_eq!(plan(1).first, 8);
        assert_eq!(plan(1).since, day(9));
    }

    fn kept(plan: &WalPlan, numbers: RangeInclusive<u64>) -> Vec<u64> {
        numbers.filter(|number| plan.keeps(Segment { timeline: 3, number: *number })).collect()
    }

    #[test]
    fn window_begins_at_the_newest_backup_before_it() {
        let all = [10, 20, 30].map(|at| base(at as i64, at..=at + 1, WalLocation::Included));
        let plan =
            |days| WalPlan::new(&all, &one(), RecoveryWindow::Span(TimeDelta::days(days)), SIZE, day(31)).unwrap();
        assert_eq!(plan(5).first, 20);
        assert_eq!(plan(11).first, 20);
        assert_eq!(plan(12).first, 10);
        // No backup is as old as the window: the oldest one counts.
        assert_eq!(plan(100).first, 10);
        assert_eq!(WalPlan::new(&all, &one(), RecoveryWindow::None, SIZE, day(31)).unwrap().first, 30);
        assert_eq!(WalPlan::new(&all, &one(), RecoveryWindow::All, SIZE, day(31)), None);
        assert_eq!(WalPlan::new(&[], &one(), RecoveryWindow::None, SIZE, day(31)), None);
        // A damaged backup is no source of the window.
        let mut all = all;
        all[1].is_good = false;
        assert_eq!(
            WalPlan::new(&all, &one(), RecoveryWindow::Span(TimeDelta::days(5)), SIZE, day(31)).unwrap().first,
            10
        );
    }

    #[test]
    fn older_backups_keep_the_wal_that_makes_them_consistent() {
        let all = [
            base(10, 10..=12, WalLocation::Archive),
            base(20, 20..=21, WalLocation::Included),
            base(30, 30..=30, WalLocation::Archive),
        ];
        let plan = WalPlan::new(&all, &one(), RecoveryWindow::None, SIZE, day(31)).unwrap();
        assert_eq!(kept(&plan, 5..=32), [10, 11, 12, 30, 31, 32]);
    }

    #[test]
    fn no_removed_segment_is_needed_by_a_backup_or_the_window() {
        // Backups at pseudo-random places, some on a timeline that was left, with any window.
        let mut state = 7_u64;
        let mut next = |most: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % most
        };
        for _ in 0..2000 {
            let mut at = 0;
            let all: Vec<KeptBase> = (0..1 + next(6))
                .map(|on| {
                    at += next(10);
                    let wal = if next(2) == 0 { WalLocation::Archive } else { WalLocation::Included };
                    base(on as i64 * 5, at..=at + next(3), wal)
                })
                .collect();
            let window = TimeDelta::days(next(40) as i64);
            let now = day(5 * all.len() as i64);
            let Some(plan) = WalPlan::new(&all, &one(), RecoveryWindow::Span(window), SIZE, now) else { continue };
            for number in 0..at + 20 {
                if plan.keeps(Segment { timeline: 1, number }) {
                    continue;
                }
                for base in &all {
                    let needs = base.facts.start_lsn.0 >> 24..=base.facts.stop_lsn.0 >> 24;
                    let is_needed = base.facts.wal == WalLocation::Archive && needs.contains(&number);
                    assert!(!is_needed, "{number} makes {} consistent", base.name);
                }
                // Each moment of the window is recovered from the newest backup before it.
                let moments = (0..=window.num_days()).map(|before| now - TimeDelta::days(before));
                for moment in moments {
                    let source = all.iter().filter(|base| base.finished <= moment).max_by_key(|base| base.finished);
                    assert!(source.is_none_or(|base| number < base.facts.start_lsn.0 >> 24), "{number} at {moment}");
                }
            }
        }
    }
}
