//! The combined meaning of the marks of one backup.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Hold, Mark, MarkKind, MarkName};
use crate::clock::CLOCK_TOLERANCE;
use crate::error::Result;
use crate::key::{Key, Timestamp};

/// The longest time for which a `restoring` mark protects its backup.
const LONGEST_RESTORE: TimeDelta = TimeDelta::days(7);
/// The largest plausible error of another host's clock.
const PLAUSIBLE: TimeDelta = TimeDelta::days(7);

/// The combined meaning of the marks of one backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// All marks, in the order of their keys.
    pub names: Vec<MarkName>,
    /// The files of their details.
    pub details: Vec<Key>,
    /// The hold, even if it has expired.
    pub held: Option<Hold>,
    /// The time until which a restore protects the backup, even if that time is past.
    pub restoring_until: Option<DateTime<Utc>>,
    /// Ignored marks that protect their backup all the same.
    protecting: BTreeSet<MarkName>,
    /// Damage found by drills.
    by_drill: BTreeSet<MarkName>,
    /// Damage found by decoding.
    by_decoding: BTreeSet<MarkName>,
    /// Withdrawn marks.
    withdrawn: BTreeSet<MarkName>,
    /// Marks dated in the future, which are ignored. Holds apply regardless of their date.
    future_dated: BTreeSet<MarkName>,
    /// Marks that do not count, since their signatures do not permit them, each with the reason.
    pub ignored: BTreeMap<MarkName, String>,
    /// Unreadable marks, each with the error.
    pub unreadable: Vec<(MarkName, String)>,
    /// True if a mark of damage is dated slightly in the future, which another host's clock may
    /// explain.
    pub possibly_damaged: bool,
}

impl Marks {
    /// Returns the marks of a backup with at most a hold.
    pub fn with_hold(held: Option<Hold>) -> Self {
        Self { held, ..Self::default() }
    }

    /// Returns the marks as far as their names describe them at `now`.
    pub fn named(names: Vec<MarkName>, now: DateTime<Utc>) -> Self {
        let is_future_dated =
            |name: &&MarkName| name.time.time() > now + CLOCK_TOLERANCE && name.kind != MarkKind::Hold;
        let future_dated: BTreeSet<MarkName> = names.iter().filter(is_future_dated).cloned().collect();
        let possibly_damaged =
            future_dated.iter().any(|name| name.kind == MarkKind::Damaged && name.time.time() <= now + PLAUSIBLE);
        Self { names, future_dated, possibly_damaged, ..Self::default() }
    }

    /// Excludes marks that do not count by their signatures, each with the reason. They still
    /// belong to the backup. A hold or a restore protects its backup all the same, unless it is
    /// dated in the future: a signature that was lost must not let a prune delete the backup.
    #[must_use]
    pub fn ignoring(mut self, ignored: BTreeMap<MarkName, String>, now: DateTime<Utc>) -> Self {
        let protects = |name: &MarkName| {
            matches!(name.kind, MarkKind::Hold | MarkKind::Restoring) && name.time.time() <= now + CLOCK_TOLERANCE
        };
        self.future_dated.retain(|name| !ignored.contains_key(name));
        self.possibly_damaged &= self.future_dated.iter().any(|name| name.kind == MarkKind::Damaged);
        self.protecting = ignored.keys().filter(|name| protects(name)).cloned().collect();
        self.ignored = ignored;
        self
    }

    /// Returns the marks that do not count by their signatures, with the reasons, except those that
    /// a permitted mark withdraws.
    pub fn untrusted(&self) -> impl Iterator<Item = (&MarkName, &String)> {
        // The mark of a restore only protects the backup for a while.
        let is_reported = |name: &MarkName| name.kind != MarkKind::Restoring && !self.withdrawn.contains(name);
        self.ignored.iter().filter(move |(name, _)| is_reported(name))
    }

    /// Returns true if a mark counts by its signature.
    fn is_trusted(&self, name: &MarkName) -> bool {
        !self.ignored.contains_key(name) || self.protecting.contains(name)
    }

    /// Returns the marks whose contents matter, besides their names.
    pub fn to_read(&self) -> Vec<MarkName> {
        let others = self.names.iter().filter(|name| {
            matches!(name.kind, MarkKind::Restoring | MarkKind::Damaged | MarkKind::Withdrawn)
                && !self.future_dated.contains(name)
                && self.is_trusted(name)
        });
        self.holds().chain(others).cloned().collect()
    }

    /// Adds the contents of the marks of [`to_read`](Self::to_read), without marks that no longer
    /// exist, or the errors of unreadable ones. An unreadable mark protects its backup.
    #[must_use]
    pub fn with_contents(mut self, contents: Vec<(MarkName, Result<Mark>)>) -> Self {
        for (name, content) in contents {
            let readable = content.is_ok();
            let mark = content.unwrap_or_else(|error| {
                self.unreadable.push((name.clone(), error.chain()));
                Mark { why: format!("unreadable mark: {error}"), ..Mark::default() }
            });
            self.add(name, mark, readable);
        }
        self
    }

    /// Adds the content of a mark.
    fn add(&mut self, name: MarkName, mark: Mark, readable: bool) {
        match name.kind {
            MarkKind::Restoring => {
                // A longer restore marks its backup again.
                let longest = name.time.time() + LONGEST_RESTORE;
                let until = if readable { mark.until.map(|until| until.min(longest)) } else { Some(longest) };
                self.restoring_until = self.restoring_until.max(until);
            }
            // An unreadable mark may record a drill.
            MarkKind::Damaged if !readable || mark.verdict.is_some() => {
                self.by_drill.insert(name);
            }
            MarkKind::Damaged if mark.decoded => {
                self.by_decoding.insert(name);
            }
            MarkKind::Damaged => {}
            MarkKind::Withdrawn => {
                let of = |label: &String| self.names.iter().find(|name| name.label() == *label);
                // A withdrawal does not apply to later marks.
                let withdrawn = mark.withdraws.iter().filter_map(of).filter(|wrong| wrong.time <= name.time);
                self.withdrawn.extend(withdrawn.cloned());
            }
            _ => {
                let hold = Hold { until: mark.until, why: mark.why };
                self.held = Some(match self.held.take() {
                    Some(other) if outlasts(&other, &hold) => other,
                    _ => hold,
                });
            }
        }
    }

    /// Returns the marks of the current hold: those made since the last release.
    pub fn holds(&self) -> impl Iterator<Item = &MarkName> {
        let released = self.latest(MarkKind::Released);
        let holds = self.names.iter().filter(|name| name.kind == MarkKind::Hold && self.is_trusted(name));
        // A hold in the same second as a release may be a new one.
        holds.filter(move |name| released.is_none_or(|released| name.time >= released))
    }

    /// Returns the time of the latest mark of a kind, except withdrawn and future ones.
    pub fn latest(&self, kind: MarkKind) -> Option<Timestamp> {
        self.effective(kind).map(|name| name.time).max()
    }

    /// Returns the marks of a kind, except withdrawn and future ones.
    pub fn effective(&self, kind: MarkKind) -> impl Iterator<Item = &MarkName> {
        let counts = move |name: &MarkName| {
            !self.withdrawn.contains(name) && !self.future_dated.contains(name) && self.is_trusted(name)
        };
        self.names.iter().filter(move |name| name.kind == kind && counts(name))
    }

    /// Returns the time of the last mark that is not dated in the future.
    pub fn last(&self) -> Option<Timestamp> {
        let dated = self.names.iter().filter(|name| !self.future_dated.contains(name) && self.is_trusted(name));
        dated.map(|name| name.time).max()
    }

    /// Returns true if some marks are dated in the future.
    pub fn has_future_dated(&self) -> bool {
        !self.future_dated.is_empty()
    }

    /// Returns true if a read-back succeeded and no damage was found since.
    pub fn verified(&self) -> bool {
        self.latest(MarkKind::Verified) > self.latest(MarkKind::Damaged)
    }

    /// Returns true if damage was found, and no later mark cancels it.
    pub fn damaged(&self) -> bool {
        self.failed_read_back() || self.failed_drill()
    }

    /// Returns true if a read-back found damage, and no later read-back or drill succeeded.
    pub fn failed_read_back(&self) -> bool {
        let found = self.damage(|by_drill| !by_drill);
        found.is_some_and(|found| Some(found) >= self.latest(MarkKind::Verified).max(self.latest(MarkKind::Drilled)))
    }

    /// Returns true if decoding found content that differs from its record, and no later read-back
    /// or drill succeeded.
    pub fn content_differs(&self) -> bool {
        let found = self.effective(MarkKind::Damaged).filter(|name| self.by_decoding.contains(name));
        let found = found.map(|name| name.time).max();
        found.is_some_and(|found| Some(found) >= self.latest(MarkKind::Verified).max(self.latest(MarkKind::Drilled)))
    }

    /// Returns true if a drill found damage, and no later drill succeeded. A successful read-back
    /// does not cancel this damage.
    pub fn failed_drill(&self) -> bool {
        let found = self.damage(|by_drill| by_drill);
        found.is_some_and(|found| Some(found) >= self.latest(MarkKind::Drilled))
    }

    /// Returns true if a drill by 0.1.0 failed, and no later drill had a result. Such a failure is
    /// not evidence of damage: 0.1.0 did not distinguish the backup from the drill's cluster.
    pub fn needs_another_drill(&self) -> bool {
        let last_result = self.latest(MarkKind::Drilled).max(self.latest(MarkKind::Damaged));
        self.latest(MarkKind::Unrestorable).is_some_and(|failed| Some(failed) >= last_result)
    }

    /// Returns the time of the latest damage found by drills or by read-backs.
    fn damage(&self, wanted: impl Fn(bool) -> bool) -> Option<Timestamp> {
        let found = self.effective(MarkKind::Damaged).filter(|name| wanted(self.by_drill.contains(name)));
        found.map(|name| name.time).max()
    }

    /// Returns the time of the latest drill with a result, good or bad.
    pub fn last_drill(&self) -> Option<Timestamp> {
        self.latest(MarkKind::Drilled).max(self.latest(MarkKind::Unrestorable)).max(self.latest(MarkKind::Damaged))
    }

    /// Returns true if a drill succeeded and no damage was found since.
    pub fn drilled(&self) -> bool {
        self.latest(MarkKind::Drilled) > self.latest(MarkKind::Damaged)
    }
}

/// Returns true if one hold lasts at least as long as another.
pub(super) fn outlasts(one: &Hold, other: &Hold) -> bool {
    one.until.is_none() || other.until.is_some_and(|other| one.until.is_some_and(|one| one >= other))
}
