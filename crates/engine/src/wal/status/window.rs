//! The timelines that a recovery follows, and the moments that it reaches, by the names of files
//! alone: the content of histories is encrypted.

use chrono::{DateTime, Utc};

use super::base::Base;
use crate::wal::inventory::{Gap, Timeline};

/// A timeline on the way of a recovery.
pub(super) struct Followed<'a> {
    pub(super) timeline: &'a Timeline,
    /// The position of the segment in which the next timeline begins, if there is one.
    pub(super) until: Option<&'a str>,
}

impl<'a> Followed<'a> {
    /// Returns the gaps that end a recovery which begins at the position `end`.
    pub(super) fn gaps(&self, end: &'a str) -> impl Iterator<Item = &'a Gap> {
        let until = self.until;
        let is_needed =
            move |gap: &&Gap| position(&gap.last) >= end && until.is_none_or(|until| position(&gap.first) < until);
        self.timeline.gaps.iter().filter(is_needed)
    }

    /// Returns true if the timeline has WAL after the segment in which the next one begins.
    pub(super) fn is_forked(&self) -> bool {
        self.until.is_some_and(|until| position(&self.timeline.last) > until)
    }
}

/// Returns the position in the name of a segment, which does not depend on the timeline.
pub(super) fn position(name: &str) -> &str {
    name.get(8..).unwrap_or(name)
}

/// Returns the timelines that a recovery follows to the newest one, the newest first. It begins on
/// the timeline `first`, at the position `end`. A timeline that began before, or after a newer one
/// began, has another history.
pub(super) fn followed<'a>(timelines: &'a [Timeline], first: u32, end: &str) -> Vec<Followed<'a>> {
    let mut all: Vec<Followed<'a>> = Vec::new();
    for timeline in timelines.iter().rev().filter(|timeline| timeline.timeline >= first) {
        let begin = position(&timeline.first);
        let until = all.last().map(|next| position(&next.timeline.first));
        let is_ancestor = until.is_none_or(|until| begin <= until);
        if timeline.timeline == first || (begin >= end && is_ancestor) {
            all.push(Followed { timeline, until });
        }
    }
    all
}

/// Returns true if a timeline has all segments of a range.
pub(super) fn has(timeline: &Timeline, first: &str, last: &str) -> bool {
    let is_missing = |gap: &Gap| gap.first.as_str() <= last && gap.last.as_str() >= first;
    timeline.first.as_str() <= first && last <= timeline.last.as_str() && !timeline.gaps.iter().any(is_missing)
}

/// The moments to which the base backups and the WAL of one destination can recover.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: DateTime<Utc>,
    /// The time at which the last segment was stored: the WAL is hardly older.
    pub(super) until: Option<DateTime<Utc>>,
}

impl Window {
    /// Returns the window that ends last, given the base backups of the cluster at a destination,
    /// the oldest first.
    pub(super) fn of<'a, 'b: 'a>(timelines: &[Timeline], bases: impl Iterator<Item = &'a Base<'b>>) -> Option<Self> {
        let mut window: Option<Self> = None;
        for base in bases {
            let Some(end) = base.end() else { continue };
            let followed = followed(timelines, base.timeline(), position(&end));
            if !followed.iter().any(|it| it.timeline.timeline == base.timeline() && has(it.timeline, &end, &end)) {
                continue;
            }
            let gaps = followed.iter().flat_map(|it| it.gaps(position(&end)));
            let until = match gaps.min_by_key(|gap| position(&gap.first)) {
                Some(gap) => gap.last_stored,
                None => followed.first().and_then(|newest| newest.timeline.last_stored),
            };
            if window.as_ref().is_none_or(|window| window.until < until) {
                window = Some(Self { from: base.recoverable_from(), until });
            }
        }
        window
    }
}

#[cfg(test)]
mod tests {
    use longshore_testkit::memory::MemoryStore;

    use super::*;
    use crate::wal::status::fixture::{base, time, timeline};

    #[test]
    fn window_begins_after_the_last_gap() {
        let store = MemoryStore::new();
        let manifests = [base(&store, 2), base(&store, 6)];
        let bases = manifests.each_ref().map(|manifest| Base::of(manifest, "disk").unwrap());
        let window = |first, last, gap| Window::of(&[timeline(1, first, last, gap)], bases.iter());
        let expected = |from, until| Some(Window { from: time(from), until: Some(time(until)) });
        assert_eq!(window(1, 9, None), expected(2, 9));
        assert_eq!(window(1, 9, Some(4)), expected(6, 9));
        assert_eq!(window(1, 9, Some(8)), expected(2, 7));
        assert_eq!(window(1, 5, None), expected(2, 5));
        assert_eq!(window(7, 9, None), None);
    }

    #[test]
    fn gap_on_an_abandoned_timeline_does_not_end_the_window() {
        let store = MemoryStore::new();
        let manifest = base(&store, 2);
        let bases = [Base::of(&manifest, "disk").unwrap()];
        let window = |timelines: &[Timeline]| Window::of(timelines, bases.iter());
        let expected = |until| Some(Window { from: time(2), until: Some(time(until)) });
        // The old primary archived on after the promotion, with a gap.
        assert_eq!(window(&[timeline(1, 1, 9, Some(7)), timeline(2, 5, 8, None)]), expected(8));
        assert_eq!(window(&[timeline(1, 1, 9, Some(4)), timeline(2, 5, 8, None)]), expected(3));
        // One timeline began before the backup ended, another is not continued by a newer one.
        assert_eq!(window(&[timeline(1, 1, 9, None), timeline(2, 1, 8, Some(4))]), expected(9));
        let three = [timeline(1, 1, 5, None), timeline(2, 5, 9, Some(7)), timeline(3, 4, 8, None)];
        assert_eq!(window(&three), expected(8));
    }
}
