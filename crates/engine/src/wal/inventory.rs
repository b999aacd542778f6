//! The archived WAL at one destination, by the names of its files.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use chrono::{DateTime, Utc};
use longshore_core::stage::Entry;
use longshore_core::wal_key::{WalDigest, WalKey};
use longshore_pg_wal::ArchiveName;
use longshore_pg_wal::archive_name::SegmentName;
use longshore_pg_wal::segment::{Segment, SegmentSize};
use serde::Serialize;

/// The archived WAL of one timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timeline {
    /// The number of the timeline.
    pub timeline: u32,
    /// The name of the first segment.
    pub first: String,
    /// The name of the last segment.
    pub last: String,
    /// The number of segments.
    pub segments: u64,
    /// The missing segments between the first and the last, as ranges.
    pub gaps: Vec<Gap>,
    /// The segments of which there are several with different content.
    pub ambiguous: Vec<String>,
    /// True if the archive has the history of the timeline, or if it is the first timeline, which
    /// has none.
    pub has_history: bool,
    /// The size of the files in bytes, compressed and encrypted.
    pub bytes: u64,
    /// The time at which the last segment, whole or partial, was stored, if the destination lists
    /// times.
    pub last_stored: Option<DateTime<Utc>>,
}

/// Missing segments, all of one timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The name of the first missing segment.
    pub first: String,
    /// The name of the last missing segment.
    pub last: String,
    /// The number of missing segments.
    pub segments: u64,
    /// The time at which the segment before the gap was stored, if the destination lists times.
    pub last_stored: Option<DateTime<Utc>>,
}

/// A file of an archive.
#[derive(Debug, Clone)]
pub(crate) struct ArchivedFile {
    pub(crate) key: WalKey,
    pub(crate) bytes: u64,
    /// The time at which the file was stored, if the destination lists times.
    pub(crate) stored: Option<DateTime<Utc>>,
}

impl ArchivedFile {
    /// Returns the archived file of an entry, unless the entry is something else.
    pub(crate) fn of(entry: &Entry) -> Option<Self> {
        Some(Self { key: WalKey::parse(&entry.key)?, bytes: entry.bytes, stored: entry.modified })
    }
}

/// The archived files of one segment.
#[derive(Default)]
struct Stored {
    digests: Vec<WalDigest>,
    /// The time of the first of them.
    since: Option<DateTime<Utc>>,
}

impl Display for Gap {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.segments {
            1 => write!(f, "{} is missing", self.first),
            count => write!(f, "{count} segments are missing, from {} to {}", self.first, self.last),
        }
    }
}

/// Returns the timelines of an archive, given its files.
pub(crate) fn timelines(files: &[ArchivedFile]) -> Vec<Timeline> {
    let size = segment_size(files);
    let mut by_timeline: BTreeMap<u32, BTreeMap<u64, Stored>> = BTreeMap::new();
    let mut bytes: BTreeMap<u32, u64> = BTreeMap::new();
    let mut histories = Vec::new();
    let mut partials: BTreeMap<u32, Option<DateTime<Utc>>> = BTreeMap::new();
    for ArchivedFile { key: file, bytes: file_bytes, stored } in files {
        *bytes.entry(file.name.timeline()).or_default() += file_bytes;
        if let ArchiveName::History { timeline } = file.name {
            histories.push(timeline);
        }
        if let ArchiveName::Partial(name) = file.name {
            let newest = partials.entry(name.timeline()).or_default();
            *newest = (*newest).max(*stored);
        }
        if let Some(segment) = segment_name(file).and_then(|name| name.segment(size).ok()) {
            let all = by_timeline.entry(segment.timeline).or_default().entry(segment.number).or_default();
            all.since = all.since.into_iter().chain(*stored).min();
            if !all.digests.contains(&file.digest) {
                all.digests.push(file.digest);
            }
        }
    }
    // A timeline begins at the latest in the segment after the last one of those before it.
    let mut reach = None;
    let timelines = by_timeline.into_iter().filter_map(|(timeline, segments)| {
        let name = |number| Segment { timeline, number }.name(size);
        let (first, last) = (*segments.keys().next()?, *segments.keys().next_back()?);
        let before = reach.filter(|reach| *reach < first);
        reach = reach.max(Some(last));
        let numbers = || before.iter().chain(segments.keys());
        let gaps = numbers().zip(numbers().skip(1)).filter(|(before, after)| *after - *before > 1);
        let gap = |(before, after): (&u64, &u64)| Gap {
            first: name(before + 1),
            last: name(after - 1),
            segments: after - before - 1,
            last_stored: segments.get(before).and_then(|stored| stored.since),
        };
        Some(Timeline {
            timeline,
            first: name(first),
            last: name(last),
            segments: segments.len() as u64,
            gaps: gaps.map(gap).collect(),
            ambiguous: segments
                .iter()
                .filter(|(_, stored)| stored.digests.len() > 1)
                .map(|(number, _)| name(*number))
                .collect(),
            has_history: timeline == 1 || histories.contains(&timeline),
            bytes: bytes.get(&timeline).copied().unwrap_or(0),
            last_stored: segments.get(&last).and_then(|stored| stored.since).max(partials.remove(&timeline).flatten()),
        })
    });
    timelines.collect()
}

fn segment_name(file: &WalKey) -> Option<SegmentName> {
    match file.name {
        ArchiveName::Segment(name) => Some(name),
        _ => None,
    }
}

/// Returns the size of the cluster's segments: the largest one that permits all names. If no log of
/// 4 GiB is archived to its end, it may be more than the real one, which hides a gap between logs.
pub(crate) fn segment_size(files: &[ArchivedFile]) -> SegmentSize {
    let names = files.iter().filter_map(|file| segment_name(&file.key));
    let sizes = (20..=30).rev().filter_map(|bits| SegmentSize::new(1 << bits).ok());
    let mut fitting = sizes.filter(|size| names.clone().all(|name| name.segment(*size).is_ok()));
    fitting.next().unwrap_or(SegmentSize::DEFAULT)
}

#[cfg(test)]
mod tests {
    use longshore_core::key::Key;

    use super::*;

    fn timelines_of(names: &[&str]) -> Vec<Timeline> {
        let key = |name: &&str| {
            let folder = if name.ends_with(".history") { "history" } else { &name[..16] };
            let digest = "0".repeat(32);
            Key::parse(&format!("main/wal/7/{folder}/{name}-{digest}.zst")).unwrap()
        };
        let files: Vec<_> = names.iter().map(|name| ArchivedFile::of(&Entry::new(key(name), 1)).unwrap()).collect();
        timelines(&files)
    }

    #[test]
    fn gaps_within_and_between_timelines_are_found() {
        let gaps = |names: &[&str]| -> Vec<(u32, String, u64)> {
            let all = timelines_of(names).into_iter();
            all.flat_map(|timeline| {
                timeline.gaps.into_iter().map(move |gap| (timeline.timeline, gap.first, gap.segments))
            })
            .collect()
        };
        let (one, two) = ("000000010000000000000001", "000000010000000000000002");
        assert_eq!(gaps(&[one, two]), []);
        // The first segment of a timeline may be the last of its parent, or the one after it.
        assert_eq!(gaps(&[one, two, "000000020000000000000002"]), []);
        assert_eq!(gaps(&[one, two, "000000020000000000000003"]), []);
        let missing = "000000020000000000000003".to_owned();
        assert_eq!(gaps(&[one, two, "000000020000000000000006"]), [(2, missing, 3)]);
        assert_eq!(gaps(&[one, "000000010000000000000004"]), [(1, two.to_owned(), 2)]);
    }

    #[test]
    fn missing_history_is_found() {
        let names = ["000000010000000000000001", "000000020000000000000002", "00000002.history"];
        let has_history = |names: &[&str]| timelines_of(names).iter().map(|it| it.has_history).collect::<Vec<_>>();
        assert_eq!(has_history(&names), [true, true]);
        assert_eq!(has_history(&names[..2]), [true, false]);
    }
}
