//! What the marks of one backup say together.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Mark, MarkName, Says};
use crate::error::{Error, Kind, Result};
use crate::key::{Key, Stamp};
use crate::retention::{CLOCK_TOLERANCE, Hold};
use crate::stage::Store;

/// The longest time that a mark of a restore keeps its backup.
const LONGEST_RESTORE: TimeDelta = TimeDelta::days(7);
/// The furthest that a wrong clock dates a mark ahead.
const PLAUSIBLE: TimeDelta = TimeDelta::days(7);

/// What the marks of one backup say together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// All of them, in the order of their keys.
    pub names: Vec<MarkName>,
    /// Files that belong to them.
    pub details: Vec<Key>,
    /// Who holds it, whether or not the time is up.
    pub held: Option<Hold>,
    /// Until when somebody who restores it wants it to stay, whether or not that is past.
    pub restoring_until: Option<DateTime<Utc>>,
    /// Damage that a drill found.
    pub(crate) by_drill: BTreeSet<MarkName>,
    /// Damage that was found in decoded content.
    pub(crate) by_decoding: BTreeSet<MarkName>,
    /// Marks that do not count.
    pub(crate) withdrawn: BTreeSet<MarkName>,
    /// Marks dated in the future, which say nothing. A hold holds, whatever its date.
    pub(crate) ahead: BTreeSet<MarkName>,
    /// Marks that cannot be read, and why, in words.
    pub unread: Vec<(MarkName, String)>,
    /// True if a mark states damage that is dated a little ahead: by the clock of another host, it may be true.
    pub(crate) doubted: bool,
}

impl Marks {
    /// The marks of a backup of which only a hold is known.
    pub fn holding(held: Option<Hold>) -> Self {
        Self { held, ..Self::default() }
    }

    /// Sums up the marks at `now`, and fetches the content of those whose names do not suffice. One that cannot be read holds its backup. A
    /// failed connection is an error once `lost` says so.
    pub async fn read(
        store: &dyn Store,
        names: Vec<MarkName>,
        now: DateTime<Utc>,
        lost: impl Fn(&Error) -> Result<()>,
    ) -> Result<Self> {
        let is_ahead = |name: &&MarkName| name.time.time() > now + CLOCK_TOLERANCE && name.says != Says::Hold;
        let ahead: BTreeSet<MarkName> = names.iter().filter(is_ahead).cloned().collect();
        let doubted = ahead.iter().any(|name| name.says == Says::Damaged && name.time.time() <= now + PLAUSIBLE);
        let mut marks = Self { names, ahead, doubted, ..Self::default() };
        let others = marks.names.iter().filter(|name| {
            matches!(name.says, Says::Restoring | Says::Damaged | Says::Withdrawn) && !marks.ahead.contains(name)
        });
        let read: Vec<MarkName> = marks.holds().chain(others).cloned().collect();
        for name in &read {
            let (mark, readable) = match Mark::get(store, name).await {
                Ok(mark) => (mark, true),
                Err(error) if error.kind() == Kind::NotFound => continue,
                Err(error) => {
                    if !matches!(error.kind(), Kind::Corrupt | Kind::Denied) {
                        lost(&error)?;
                    }
                    let why = format!("its mark cannot be read: {error}");
                    marks.unread.push((name.clone(), error.chain()));
                    (Mark { why, ..Mark::default() }, false)
                }
            };
            match name.says {
                Says::Restoring => {
                    // A restore that takes longer marks its backup again.
                    let longest = name.time.time() + LONGEST_RESTORE;
                    let until = if readable { mark.until.map(|until| until.min(longest)) } else { Some(longest) };
                    marks.restoring_until = marks.restoring_until.max(until);
                }
                // One that cannot be read may be a drill's.
                Says::Damaged if !readable || mark.verdict.is_some() => {
                    marks.by_drill.insert(name.clone());
                }
                Says::Damaged => {
                    if mark.decoded {
                        marks.by_decoding.insert(name.clone());
                    }
                }
                Says::Withdrawn => {
                    let of = |label: &String| marks.names.iter().find(|name| name.label() == *label).cloned();
                    // A withdrawal says nothing of later marks.
                    let withdrawn = mark.withdraws.iter().filter_map(of).filter(|wrong| wrong.time <= name.time);
                    let withdrawn: Vec<MarkName> = withdrawn.collect();
                    marks.withdrawn.extend(withdrawn);
                }
                _ => {
                    let hold = Hold { until: mark.until, why: mark.why };
                    marks.held = Some(match marks.held.take() {
                        Some(other) if outlasts(&other, &hold) => other,
                        _ => hold,
                    });
                }
            }
        }
        Ok(marks)
    }

    /// The marks that hold it: those made since all of them were released.
    pub fn holds(&self) -> impl Iterator<Item = &MarkName> {
        let released = self.latest(Says::Released);
        let holds = self.names.iter().filter(|name| name.says == Says::Hold);
        // A hold of the second in which others were released may be a new one.
        holds.filter(move |name| released.is_none_or(|released| name.time >= released))
    }

    /// When the latest mark was made that says this and was not withdrawn.
    pub fn latest(&self, says: Says) -> Option<Stamp> {
        self.counting(says).map(|name| name.time).max()
    }

    /// The marks that say this, are not dated in the future, and were not withdrawn.
    pub fn counting(&self, says: Says) -> impl Iterator<Item = &MarkName> {
        let counts = move |name: &MarkName| !self.withdrawn.contains(name) && !self.ahead.contains(name);
        self.names.iter().filter(move |name| name.says == says && counts(name))
    }

    /// When the last mark was made that is not dated in the future.
    pub fn last(&self) -> Option<Stamp> {
        self.names.iter().filter(|name| !self.ahead.contains(name)).map(|name| name.time).max()
    }

    /// Returns whether marks are dated in the future.
    pub fn are_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Whether it was read back whole, and no damage was found since.
    pub fn verified(&self) -> bool {
        self.latest(Says::Verified) > self.latest(Says::Damaged)
    }

    /// Whether damage was found, and not taken back since.
    pub fn damaged(&self) -> bool {
        self.unreadable() || self.failed_drill()
    }

    /// Whether a read-back found it damaged, and neither another nor a drill found it whole since.
    pub fn unreadable(&self) -> bool {
        let found = self.damage(|by_drill| !by_drill);
        found.is_some_and(|found| Some(found) >= self.latest(Says::Verified).max(self.latest(Says::Drilled)))
    }

    /// Returns whether its decoded content was found to differ from its record, and nothing found it whole
    /// since.
    pub fn differs(&self) -> bool {
        let found = self.counting(Says::Damaged).filter(|name| self.by_decoding.contains(name));
        let found = found.map(|name| name.time).max();
        found.is_some_and(|found| Some(found) >= self.latest(Says::Verified).max(self.latest(Says::Drilled)))
    }

    /// Whether a drill found it damaged, and none found it good since: reading it back proves nothing against that.
    pub fn failed_drill(&self) -> bool {
        let found = self.damage(|by_drill| by_drill);
        found.is_some_and(|found| Some(found) >= self.latest(Says::Drilled))
    }

    /// Whether a drill by 0.1.0 failed, and none told more since. That says nothing against the backup: 0.1.0 did not tell it from the
    /// place that it drilled in.
    pub fn to_be_drilled_again(&self) -> bool {
        let told = self.latest(Says::Drilled).max(self.latest(Says::Damaged));
        self.latest(Says::Unrestorable).is_some_and(|failed| Some(failed) >= told)
    }

    /// When damage was found last, by drills or by read-backs.
    fn damage(&self, wanted: impl Fn(bool) -> bool) -> Option<Stamp> {
        let found = self.counting(Says::Damaged).filter(|name| wanted(self.by_drill.contains(name)));
        found.map(|name| name.time).max()
    }

    /// When the latest drill told what it found, good or bad.
    pub fn last_drill(&self) -> Option<Stamp> {
        self.latest(Says::Drilled).max(self.latest(Says::Unrestorable)).max(self.latest(Says::Damaged))
    }

    /// Whether it was restored in a drill, and no damage was found since.
    pub fn drilled(&self) -> bool {
        self.latest(Says::Drilled) > self.latest(Says::Damaged)
    }
}

/// Whether one hold lasts at least as long as another.
pub(super) fn outlasts(one: &Hold, other: &Hold) -> bool {
    one.until.is_none() || other.until.is_some_and(|other| one.until.is_some_and(|one| one >= other))
}
