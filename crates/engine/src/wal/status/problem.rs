//! Problems of archived WAL: obstacles to a recovery from the newest base backup to the latest
//! moment.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::ArchivedWal;
use super::base::{ARCHIVING_TIME, Base};
use super::window::{followed, has, position};
use crate::wal::inventory::{Gap, Timeline};

/// A problem of the archived WAL at one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The kind of the problem.
    pub kind: ProblemKind,
    /// The name of the destination.
    pub destination: String,
    /// The description, for the operator.
    pub message: String,
}

/// The kind of a problem of archived WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// WAL after the newest base backup is at no destination, or ambiguous.
    Lost,
    /// The destination lacks WAL after the newest base backup that another destination has.
    Behind,
    /// Two timelines have WAL after the newest base backup that does not belong to one history.
    Forked,
    /// Missing WAL that no recovery from the newest base backup needs. There is nothing to do.
    Past,
}

/// The archives of a cluster at one destination.
pub(super) type AtDestination = (String, Vec<ArchivedWal>);

/// Returns the problems of the archives of a cluster. Without a base backup, all WAL counts.
pub(super) fn problems(all: &[AtDestination], newest: Option<Base<'_>>, now: DateTime<Utc>) -> Vec<Problem> {
    let end = newest.and_then(|newest| newest.end());
    let judge = Judge { all, newest, end: end.as_deref(), now };
    all.iter().flat_map(|at| judge.problems_at(at)).collect()
}

struct Judge<'a> {
    all: &'a [AtDestination],
    newest: Option<Base<'a>>,
    /// The name of the segment in which the newest base backup ends.
    end: Option<&'a str>,
    now: DateTime<Utc>,
}

impl Judge<'_> {
    fn problems_at(&self, (destination, archives): &AtDestination) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |kind, message| problems.push(Problem { kind, destination: destination.clone(), message });
        let mut has_end = false;
        for archive in archives.iter().filter(|archive| self.continues(archive)) {
            let (first, end) = (self.newest.map_or(0, |newest| newest.timeline()), self.end.map_or("", position));
            let followed = followed(&archive.timelines, first, end);
            let needed: Vec<&Gap> = followed.iter().flat_map(|followed| followed.gaps(end)).collect();
            for gap in archive.timelines.iter().flat_map(|timeline| &timeline.gaps) {
                has_end |= self.end.is_some_and(|end| (gap.first.as_str()..=&gap.last).contains(&end));
                let is_elsewhere = self.is_elsewhere(archive, &gap.first, &gap.last);
                let kind = if needed.contains(&gap) || is_elsewhere { kind(is_elsewhere) } else { ProblemKind::Past };
                add(kind, with_source(gap.to_string(), is_elsewhere));
            }
            for followed in followed {
                let timeline = followed.timeline;
                for name in timeline.ambiguous.iter().filter(|name| position(name) >= end) {
                    let message = format!("there are several files of the name {name} with different content");
                    add(ProblemKind::Lost, message);
                }
                if !timeline.has_history && timeline.timeline != first {
                    add(ProblemKind::Lost, format!("{:08X}.history is missing", timeline.timeline));
                }
                if let Some(newest) = self.newest_elsewhere(archive, timeline)
                    && followed.until.is_none()
                    && timeline.last_stored.is_some_and(|stored| self.now - stored > ARCHIVING_TIME)
                {
                    let message = format!("the segments after {} up to {newest} are missing", timeline.last);
                    add(ProblemKind::Behind, with_source(message, true));
                }
                if let Some(next) = followed.until.filter(|_| followed.is_forked()) {
                    let message = format!(
                        "timeline {} has WAL after a newer one began in {next}: an old primary may still run, and \
                         recovery needs --timeline",
                        timeline.timeline
                    );
                    add(ProblemKind::Forked, message);
                }
                has_end |= self.end.is_some_and(|end| has(timeline, end, end));
            }
        }
        if let (Some(newest), Some(end)) = (self.newest, self.end)
            && !has_end
            && newest.is_archived(self.now)
        {
            let others = self.all.iter().flat_map(|(_, archives)| archives).filter(|archive| self.continues(archive));
            let is_elsewhere = others.flat_map(|archive| &archive.timelines).any(|timeline| has(timeline, end, end));
            let message = format!("{end}, in which the newest base backup ends, is not archived");
            add(kind(is_elsewhere), with_source(message, is_elsewhere));
        }
        problems
    }

    /// Returns true if an archive is that of the newest base backup.
    fn continues(&self, archive: &ArchivedWal) -> bool {
        self.newest.is_none_or(|newest| newest.is_of(&archive.system_identifier))
    }

    /// Returns the last segment of a timeline at another destination, if it is a later one.
    fn newest_elsewhere(&self, archive: &ArchivedWal, timeline: &Timeline) -> Option<&str> {
        let others = self.all.iter().flat_map(|(_, archives)| archives);
        let same = others.filter(|other| other.system_identifier == archive.system_identifier);
        let timelines = same.flat_map(|other| &other.timelines).filter(|other| other.timeline == timeline.timeline);
        timelines.map(|other| other.last.as_str()).filter(|last| *last > timeline.last.as_str()).max()
    }

    /// Returns true if another destination has all segments of a range.
    fn is_elsewhere(&self, archive: &ArchivedWal, first: &str, last: &str) -> bool {
        let others = self.all.iter().flat_map(|(_, archives)| archives);
        let same = others.filter(|other| other.system_identifier == archive.system_identifier);
        same.flat_map(|other| &other.timelines).any(|timeline| has(timeline, first, last))
    }
}

fn kind(is_elsewhere: bool) -> ProblemKind {
    if is_elsewhere { ProblemKind::Behind } else { ProblemKind::Lost }
}

fn with_source(message: String, is_elsewhere: bool) -> String {
    if is_elsewhere { format!("{message}; another destination has it: `longshore sync`") } else { message }
}

#[cfg(test)]
mod tests {
    use longshore_testkit::memory::MemoryStore;

    use super::ProblemKind::{Behind, Forked, Lost, Past};
    use super::*;
    use crate::wal::status::fixture::{base, name, time, timeline};

    fn at(destination: &str, timelines: Vec<Timeline>) -> AtDestination {
        let archived = ArchivedWal {
            destination: destination.to_owned(),
            system_identifier: "7".to_owned(),
            timelines,
            recoverable_from: None,
            recoverable_until: None,
            lag_bytes: None,
        };
        (destination.to_owned(), vec![archived])
    }

    #[test]
    fn gap_counts_after_the_newest_base_backup() {
        let store = MemoryStore::new();
        let manifest = base(&store, 5);
        let newest = Base::of(&manifest, "disk");
        let kinds = |first: u8, last: u8, gap: Option<u8>, day: u32| -> Vec<ProblemKind> {
            let archived = at("disk", vec![timeline(1, first, last, gap)]);
            problems(&[archived], newest, time(day)).into_iter().map(|problem| problem.kind).collect()
        };
        assert_eq!(kinds(1, 9, None, 9), []);
        assert_eq!(kinds(1, 9, Some(3), 9), [Past]);
        assert_eq!(kinds(1, 9, Some(7), 9), [Lost]);
        assert_eq!(kinds(1, 9, Some(5), 9), [Lost]);
        assert_eq!(kinds(1, 4, None, 9), [Lost]);
        assert_eq!(kinds(1, 4, None, 5), [], "the server is archiving it");
        let lost = problems(&[("disk".to_owned(), Vec::new())], newest, time(9));
        assert!(matches!(&lost[..], [problem] if problem.message.contains(&name(1, 5))), "{lost:?}");
        let without_base = problems(&[at("disk", vec![timeline(1, 1, 9, Some(3))])], None, time(9));
        assert_eq!(without_base.len(), 1);
    }

    #[test]
    fn destination_that_lacks_wal_of_another_one_is_behind() {
        let store = MemoryStore::new();
        let manifest = base(&store, 2);
        let newest = Base::of(&manifest, "disk");
        let kinds = |near: Timeline, far: Timeline| -> Vec<(String, ProblemKind)> {
            let all = problems(&[at("near", vec![near]), at("far", vec![far])], newest, time(9));
            all.into_iter().map(|problem| (problem.destination, problem.kind)).collect()
        };
        let far = |kind| vec![("far".to_owned(), kind)];
        assert_eq!(kinds(timeline(1, 1, 9, None), timeline(1, 1, 9, Some(4))), far(Behind));
        let near = ("near".to_owned(), Behind);
        assert_eq!(kinds(timeline(1, 1, 3, None), timeline(1, 1, 9, Some(4))), [vec![near], far(Lost)].concat());
        assert_eq!(kinds(timeline(1, 1, 9, None), timeline(1, 4, 9, None)), far(Behind));
        assert_eq!(kinds(timeline(1, 1, 9, None), timeline(1, 1, 7, None)), far(Behind));
        assert_eq!(kinds(timeline(1, 1, 9, None), timeline(1, 1, 9, None)), []);
    }

    #[test]
    fn old_primary_that_archives_on_is_found() {
        let store = MemoryStore::new();
        let kinds = |base_at: u8, timelines: Vec<Timeline>| -> Vec<ProblemKind> {
            let manifest = base(&store, base_at);
            let all = problems(&[at("disk", timelines)], Base::of(&manifest, "disk"), time(9));
            all.into_iter().map(|problem| problem.kind).collect()
        };
        assert_eq!(kinds(2, vec![timeline(1, 1, 5, None), timeline(2, 5, 9, None)]), []);
        assert_eq!(kinds(2, vec![timeline(1, 1, 9, Some(8)), timeline(2, 5, 9, None)]), [Past, Forked]);
        // The backup was made after the other timeline began: it is not continued by it.
        assert_eq!(kinds(6, vec![timeline(1, 1, 9, None), timeline(2, 5, 9, Some(7))]), [Past]);
    }
}
