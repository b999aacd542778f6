//! Problems of archived WAL: gaps, and base backups after which nothing can be recovered.

use chrono::{DateTime, TimeDelta, Utc};
use longshore_config::{Config, WalArchive};
use longshore_core::base::BaseFacts;
use longshore_core::subject::Subject;
use longshore_pg_wal::segment::{Segment, SegmentSize};

use super::{Issue, IssueKind, destination_issue};
use crate::catalogs::Catalogued;
use crate::wal::inventory::Timeline;
use crate::wal::status::{ArchivedWal, archived_wal};

/// The time in which the server archives the last segment of a base backup, or is reported. A server
/// repeats a failed command after a minute.
const ARCHIVING_TIME: TimeDelta = TimeDelta::minutes(10);

/// Returns the problems of the archives of all clusters, or of the cluster of one job.
pub(super) async fn wal_issues(
    config: &Config,
    job: Option<&str>,
    read: &[Catalogued],
    now: DateTime<Utc>,
) -> Vec<Issue> {
    let only = job.map(|job| config.jobs.get(job).map(|job| job.site.cluster.name.as_str()));
    let mut issues = Vec::new();
    for archive in config.wal.values().filter(|archive| only.is_none_or(|only| only == Some(&archive.cluster))) {
        let newest = newest_base(archive, read, now);
        for (destination, archived) in archived_wal(config, archive).await {
            let issue = |kind, message: String| destination_issue(kind, &destination, message);
            match archived {
                Ok(archived) => {
                    let found = judge(&archived, newest.as_ref()).into_iter();
                    let about = |message| format!("WAL of {}: {message}", archive.cluster);
                    issues.extend(found.map(|(kind, message)| issue(kind, about(message))));
                }
                // The destination itself is reported if it cannot be read.
                Err(_) if !read.iter().any(|at| at.name == destination) => {}
                Err(error) => {
                    issues.push(issue(IssueKind::Unreadable, format!("WAL cannot be listed: {}", error.chain())))
                }
            }
        }
    }
    issues
}

/// The newest base backup of a cluster.
struct NewestBase {
    system_identifier: String,
    facts: BaseFacts,
    /// True if the server had the time to archive the segment in which the backup ends.
    is_archived: bool,
}

fn newest_base(archive: &WalArchive, read: &[Catalogued], now: DateTime<Utc>) -> Option<NewestBase> {
    let all = read.iter().flat_map(|at| at.catalog.backups()).map(|backup| &backup.manifest);
    let bases = all.filter(|manifest| manifest.cluster.name == archive.cluster && manifest.subject == Subject::Base);
    let newest = bases.max_by_key(|manifest| manifest.time)?;
    let system_identifier = newest.cluster.server.system_identifier.clone()?;
    let is_archived = now - newest.finished > ARCHIVING_TIME;
    Some(NewestBase { system_identifier, facts: newest.base.clone()?, is_archived })
}

/// Returns the problems of the archived WAL of one destination.
fn judge(archived: &[ArchivedWal], newest: Option<&NewestBase>) -> Vec<(IssueKind, String)> {
    let mut problems = Vec::new();
    let of_newest = newest.and_then(|newest| {
        let size = SegmentSize::new(newest.facts.wal_segment_bytes).ok()?;
        let end = Segment::ending(newest.facts.timeline, newest.facts.stop_lsn, size).name(size);
        Some((newest.system_identifier.as_str(), end))
    });
    for (identifier, timeline) in
        archived.iter().flat_map(|it| it.timelines.iter().map(|timeline| (&it.system_identifier, timeline)))
    {
        let is_after = |name: &str| {
            of_newest.as_ref().is_some_and(|(newest, end)| newest == identifier && name.get(8..) >= end.get(8..))
        };
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
        if !timelines.into_iter().any(|timeline| has(timeline, &end)) {
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
    use std::collections::BTreeMap;

    use longshore_core::base::WalLocation;
    use longshore_pg_wal::Lsn;

    use super::*;
    use crate::wal::inventory::Gap;

    fn archived(first: &str, last: &str, gap: Option<&str>) -> Vec<ArchivedWal> {
        let gaps = gap.map(|name| Gap { first: name.to_owned(), last: name.to_owned(), segments: 1 });
        let timeline = Timeline {
            timeline: 1,
            first: first.to_owned(),
            last: last.to_owned(),
            segments: 5,
            gaps: gaps.into_iter().collect(),
            ambiguous: Vec::new(),
            has_history: true,
            bytes: 5,
        };
        vec![ArchivedWal {
            destination: "disk".to_owned(),
            system_identifier: "7".to_owned(),
            timelines: vec![timeline],
        }]
    }

    #[test]
    fn gap_after_the_newest_base_backup_is_a_loss() {
        let facts = BaseFacts {
            timeline: 1,
            start_lsn: Lsn(0x500_0028),
            stop_lsn: Lsn(0x500_0130),
            wal: WalLocation::Included,
            wal_segment_bytes: 16 << 20,
            from_standby: false,
            page_checksums: true,
            damaged_pages: 0,
            incremental_from: None,
            settings: BTreeMap::new(),
            files: 1,
            file_bytes: 1,
            tablespaces: Vec::new(),
        };
        let mut newest = NewestBase { system_identifier: "7".to_owned(), facts, is_archived: true };
        let kinds = |newest: &NewestBase, first: u8, last: u8, gap: Option<u8>| -> Vec<IssueKind> {
            let name = |number: u8| format!("00000001000000000000{number:04X}");
            let archived = archived(&name(first), &name(last), gap.map(name).as_deref());
            judge(&archived, Some(newest)).into_iter().map(|(kind, _)| kind).collect()
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
        assert!(matches!(&lost[..], [(IssueKind::WalLost, message)] if message.contains("000000010000000000000005")));
    }
}
