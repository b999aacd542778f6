//! Problems of archived WAL: gaps, and base backups after which nothing can be recovered.

use chrono::{DateTime, TimeDelta, Utc};
use longshore_config::{Config, WalArchive};
use longshore_core::base::BaseFacts;
use longshore_core::key::encode_name;
use longshore_core::manifest::Manifest;
use longshore_core::subject::Subject;
use longshore_core::terms::MaxAge;
use longshore_core::unit::format_age;
use longshore_pg_wal::segment::{Segment, SegmentSize};

use super::{Issue, IssueKind, WalStatus, destination_issue};
use crate::catalogs::Catalogued;
use crate::wal::inventory::{ArchivedFile, Timeline};
use crate::wal::status::{ArchivedWal, archives};

/// The time in which the server archives the last segment of a base backup, or is reported. A
/// server repeats a failed command after a minute.
const ARCHIVING_TIME: TimeDelta = TimeDelta::minutes(10);

/// Returns the state of the archives of all clusters, or of the cluster of one job, and their
/// problems.
pub(super) fn wal(
    config: &Config,
    job: Option<&str>,
    read: &[Catalogued],
    now: DateTime<Utc>,
) -> (Vec<WalStatus>, Vec<Issue>) {
    let only = job.map(|job| config.jobs.get(job).map(|job| job.site.cluster.name.as_str()));
    let (mut all, mut issues) = (Vec::new(), Vec::new());
    for archive in config.wal.values().filter(|archive| only.is_none_or(|only| only == Some(&archive.cluster))) {
        let bases = bases(archive, read);
        let newest = newest_base(&bases, now);
        for at in read.iter().filter(|at| archive.ship.contains(&at.name)) {
            let of_cluster = format!("{}/", encode_name(&archive.cluster));
            let entries = at.catalog.wal.iter().filter(|entry| entry.key.as_str().starts_with(&of_cluster));
            let archived = archives(&at.name, entries.filter_map(ArchivedFile::of));
            let here = archived.iter().filter_map(|archived| WalStatus::new(archive, at, archived, &bases));
            let here: Vec<WalStatus> = here.collect();
            let problems = judge(&archived, newest.as_ref()).into_iter().chain(stale(&here, archive.max_age, now));
            issues.extend(problems.map(|(kind, message)| {
                destination_issue(kind, &at.name, format!("WAL of {}: {message}", archive.cluster))
            }));
            all.extend(here);
        }
    }
    (all, issues)
}

/// A base backup of a cluster with an archive.
struct Base<'a> {
    manifest: &'a Manifest,
    facts: &'a BaseFacts,
    is_good: bool,
    destination: &'a str,
}

impl Base<'_> {
    /// Returns true if the backup is of this cluster.
    fn is_of(&self, system_identifier: &str) -> bool {
        self.manifest.cluster.server.system_identifier.as_deref() == Some(system_identifier)
    }

    /// Returns the name of the segment in which the backup ends.
    fn end(&self) -> Option<String> {
        let size = SegmentSize::new(self.facts.wal_segment_bytes).ok()?;
        Some(Segment::ending(self.facts.timeline, self.facts.stop_lsn, size).name(size))
    }
}

/// Returns the base backups of a cluster, the oldest first.
fn bases<'a>(archive: &WalArchive, read: &'a [Catalogued]) -> Vec<Base<'a>> {
    let all = read.iter().flat_map(|at| at.catalog.backups().map(move |backup| (at, backup)));
    let of_cluster = all.filter(|(_, backup)| {
        backup.manifest.cluster.name == archive.cluster && backup.manifest.subject == Subject::Base
    });
    let mut bases: Vec<Base<'_>> = of_cluster
        .filter_map(|(at, backup)| {
            let (manifest, is_good) = (&*backup.manifest, backup.is_good() && !backup.is_chain_doubtful);
            Some(Base { manifest, facts: manifest.base.as_ref()?, is_good, destination: &at.name })
        })
        .collect();
    bases.sort_by_key(|base| base.manifest.time);
    bases
}

impl WalStatus {
    /// Returns the state of one archive.
    fn new(archive: &WalArchive, at: &Catalogued, archived: &ArchivedWal, bases: &[Base<'_>]) -> Option<Self> {
        let last = archived.timelines.last()?;
        let here = bases.iter().filter(|base| base.is_good && base.destination == at.name);
        let window = Window::of(archived, here);
        Some(Self {
            cluster: archive.cluster.clone(),
            destination: at.name.clone(),
            system_identifier: archived.system_identifier.clone(),
            timeline: last.timeline,
            last_segment: last.last.clone(),
            last_stored: last.last_stored,
            recoverable_from: window.as_ref().map(|window| window.from),
            recoverable_until: window.and_then(|window| window.until),
        })
    }
}

/// The moments to which the base backups and the WAL of one destination can recover.
#[derive(Debug, PartialEq, Eq)]
struct Window {
    from: DateTime<Utc>,
    /// The time at which the last segment was stored: the WAL is hardly older.
    until: Option<DateTime<Utc>>,
}

impl Window {
    /// Returns the window that ends last, given good base backups, the oldest first.
    fn of<'a, 'b: 'a>(archived: &ArchivedWal, bases: impl Iterator<Item = &'a Base<'b>>) -> Option<Self> {
        let mut window: Option<Self> = None;
        for base in bases.filter(|base| base.is_of(&archived.system_identifier)) {
            let Some(end) = base.end() else { continue };
            let continued: Vec<_> =
                archived.timelines.iter().filter(|timeline| timeline.timeline >= base.facts.timeline).collect();
            if !continued.iter().any(|timeline| timeline.timeline == base.facts.timeline && has(timeline, &end)) {
                continue;
            }
            let gaps = continued.iter().flat_map(|timeline| &timeline.gaps);
            let gap = gaps.filter(|gap| gap.first.get(8..) > end.get(8..)).min_by_key(|gap| gap.first.get(8..));
            let until = match gap {
                Some(gap) => gap.last_stored,
                None => continued.last().and_then(|timeline| timeline.last_stored),
            };
            if window.as_ref().is_none_or(|window| window.until < until) {
                window = Some(Self { from: base.manifest.recoverable_from(), until });
            }
        }
        window
    }
}

/// Returns the problem of an archive that receives no WAL.
fn stale(archives: &[WalStatus], max_age: Option<MaxAge>, now: DateTime<Utc>) -> Option<(IssueKind, String)> {
    let (max_age, limit) = max_age.and_then(|max_age| Some((max_age, max_age.limit()?)))?;
    if archives.is_empty() {
        return Some((IssueKind::WalStale, format!("none is archived: max_age is {max_age}")));
    }
    let Some(newest) = archives.iter().map(|archive| archive.last_stored).max().flatten() else {
        return Some((IssueKind::Unknown, "its age is unknown, because the destination lists no times".to_owned()));
    };
    let age = now - newest;
    (age > limit).then(|| {
        let message = format!("the newest segment was stored {} ago: max_age is {max_age}", format_age(age));
        (IssueKind::WalStale, message)
    })
}

/// The newest base backup of a cluster.
struct NewestBase {
    system_identifier: String,
    end: String,
    /// True if the server had the time to archive the segment in which the backup ends.
    is_archived: bool,
}

fn newest_base(bases: &[Base<'_>], now: DateTime<Utc>) -> Option<NewestBase> {
    let newest = bases.last()?;
    let system_identifier = newest.manifest.cluster.server.system_identifier.clone()?;
    let is_archived = now - newest.manifest.finished > ARCHIVING_TIME;
    Some(NewestBase { system_identifier, end: newest.end()?, is_archived })
}

/// Returns the problems of the archived WAL of one destination.
fn judge(archived: &[ArchivedWal], newest: Option<&NewestBase>) -> Vec<(IssueKind, String)> {
    let mut problems = Vec::new();
    let of_newest = newest.map(|newest| (newest.system_identifier.as_str(), newest.end.as_str()));
    for (identifier, timeline) in
        archived.iter().flat_map(|it| it.timelines.iter().map(|timeline| (&it.system_identifier, timeline)))
    {
        let is_after =
            |name: &str| of_newest.is_some_and(|(newest, end)| newest == identifier && name.get(8..) >= end.get(8..));
        for gap in &timeline.gaps {
            let kind = if is_after(&gap.last) { IssueKind::WalLost } else { IssueKind::WalGap };
            problems.push((kind, gap.to_string()));
        }
        for name in &timeline.ambiguous {
            problems.push((
                IssueKind::WalLost,
                format!("there are several files of the name {name} with different content"),
            ));
        }
        if !timeline.has_history {
            problems.push((IssueKind::WalLost, format!("{:08X}.history is missing", timeline.timeline)));
        }
    }
    if let Some((identifier, end)) = of_newest.filter(|_| newest.is_some_and(|newest| newest.is_archived)) {
        let timelines = archived.iter().filter(|it| it.system_identifier == identifier).flat_map(|it| &it.timelines);
        if !timelines.into_iter().any(|timeline| has(timeline, end)) {
            problems
                .push((IssueKind::WalLost, format!("{end}, in which the newest base backup ends, is not archived")));
        }
    }
    problems
}

/// Returns true if a timeline has a segment.
fn has(timeline: &Timeline, name: &str) -> bool {
    let within = |first: &str, last: &str| (first..=last).contains(&name);
    within(&timeline.first, &timeline.last) && !timeline.gaps.iter().any(|gap| within(&gap.first, &gap.last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::put_base_with;
    use crate::wal::inventory::Gap;
    use longshore_testkit::memory::MemoryStore;

    fn time(day: u32) -> DateTime<Utc> {
        format!("2026-11-{day:02}T03:00:00Z").parse().unwrap()
    }

    fn name(number: u8) -> String {
        format!("00000001000000000000{number:04X}")
    }

    /// Returns an archive whose segments were stored daily, with a gap.
    fn archived(first: u8, last: u8, gap: Option<u8>) -> Vec<ArchivedWal> {
        let gaps = gap.map(|number| Gap {
            first: name(number),
            last: name(number),
            segments: 1,
            last_stored: Some(time(u32::from(number) - 1)),
        });
        let timeline = Timeline {
            timeline: 1,
            first: name(first),
            last: name(last),
            segments: 5,
            gaps: gaps.into_iter().collect(),
            ambiguous: Vec::new(),
            has_history: true,
            bytes: 5,
            last_stored: Some(time(last.into())),
        };
        vec![ArchivedWal {
            destination: "disk".to_owned(),
            system_identifier: "7".to_owned(),
            timelines: vec![timeline],
        }]
    }

    #[test]
    fn gap_after_the_newest_base_backup_is_a_loss() {
        let mut newest = NewestBase { system_identifier: "7".to_owned(), end: name(5), is_archived: true };
        let kinds = |newest: &NewestBase, first: u8, last: u8, gap: Option<u8>| -> Vec<IssueKind> {
            judge(&archived(first, last, gap), Some(newest)).into_iter().map(|(kind, _)| kind).collect()
        };
        assert_eq!(kinds(&newest, 1, 9, None), []);
        assert_eq!(kinds(&newest, 1, 9, Some(3)), [IssueKind::WalGap]);
        assert_eq!(kinds(&newest, 1, 9, Some(7)), [IssueKind::WalLost]);
        assert_eq!(kinds(&newest, 1, 4, None), [IssueKind::WalLost]);
        assert_eq!(kinds(&newest, 1, 9, Some(5)), [IssueKind::WalLost; 2]);
        newest.is_archived = false;
        assert_eq!(kinds(&newest, 1, 4, None), [], "the server is archiving it");
        assert_eq!(kinds(&newest, 1, 9, Some(5)), [IssueKind::WalLost]);
        newest.is_archived = true;
        let lost = judge(&[], Some(&newest));
        assert!(matches!(&lost[..], [(IssueKind::WalLost, message)] if message.contains(&name(5))));
    }

    #[test]
    fn window_begins_after_the_last_gap() {
        let store = MemoryStore::new();
        let manifests = [2_u8, 6].map(|number| {
            put_base_with(&store, &format!("2026-11-{number:02}_030000"), |manifest| {
                manifest.cluster.server.system_identifier = Some("7".to_owned());
                let base = manifest.base.as_mut().unwrap();
                base.stop_lsn = format!("0/{number}000130").parse().unwrap();
                base.finished = Some(time(number.into()));
            })
        });
        let bases = manifests.each_ref().map(|manifest| {
            let facts = manifest.base.as_ref().unwrap();
            Base { manifest, facts, is_good: true, destination: "disk" }
        });
        let window = |first, last, gap| Window::of(&archived(first, last, gap)[0], bases.iter());
        let expected = |from, until| Some(Window { from: time(from), until: Some(time(until)) });
        assert_eq!(window(1, 9, None), expected(2, 9));
        assert_eq!(window(1, 9, Some(4)), expected(6, 9));
        assert_eq!(window(1, 9, Some(8)), expected(2, 7));
        assert_eq!(window(1, 5, None), expected(2, 5));
        assert_eq!(window(7, 9, None), None);
    }

    #[test]
    fn old_wal_is_a_problem_if_there_is_a_limit() {
        let max_age = Some(MaxAge::try_from("26h".to_owned()).unwrap());
        let status = |last_stored| WalStatus {
            cluster: "main".to_owned(),
            destination: "disk".to_owned(),
            system_identifier: "7".to_owned(),
            timeline: 1,
            last_segment: name(9),
            last_stored,
            recoverable_from: None,
            recoverable_until: None,
        };
        let kind = |archives: &[WalStatus], max_age| stale(archives, max_age, time(9)).map(|(kind, _)| kind);
        assert_eq!(kind(&[status(Some(time(8)))], max_age), None);
        assert_eq!(kind(&[status(Some(time(7)))], max_age), Some(IssueKind::WalStale));
        assert_eq!(kind(&[status(Some(time(7)))], None), None);
        assert_eq!(kind(&[], max_age), Some(IssueKind::WalStale));
        assert_eq!(kind(&[status(None)], max_age), Some(IssueKind::Unknown));
    }
}
