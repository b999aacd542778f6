//! The archived WAL at one destination, by the names of its files.

use std::collections::BTreeMap;

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
    /// True if the archive has the history of the timeline. The first timeline has none.
    pub has_history: bool,
    /// The size of the files in bytes, compressed and encrypted.
    pub bytes: u64,
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
}

/// Returns the timelines of an archive, given its files with their sizes in bytes.
pub(crate) fn timelines(files: &[(WalKey, u64)]) -> Vec<Timeline> {
    let size = segment_size(files.iter().filter_map(|(file, _)| segment_name(file)));
    let mut by_timeline: BTreeMap<u32, BTreeMap<u64, Vec<WalDigest>>> = BTreeMap::new();
    let mut bytes: BTreeMap<u32, u64> = BTreeMap::new();
    let mut histories = Vec::new();
    for (file, file_bytes) in files {
        *bytes.entry(file.name.timeline()).or_default() += file_bytes;
        if let ArchiveName::History { timeline } = file.name {
            histories.push(timeline);
        }
        if let Some(segment) = segment_name(file).and_then(|name| name.segment(size).ok()) {
            let digests = by_timeline.entry(segment.timeline).or_default().entry(segment.number).or_default();
            if !digests.contains(&file.digest) {
                digests.push(file.digest);
            }
        }
    }
    let timelines = by_timeline.into_iter().filter_map(|(timeline, segments)| {
        let name = |number| Segment { timeline, number }.name(size);
        let (first, last) = (*segments.keys().next()?, *segments.keys().next_back()?);
        let gaps = segments.keys().zip(segments.keys().skip(1)).filter(|(before, after)| *after - *before > 1);
        let gap = |(before, after): (&u64, &u64)| Gap {
            first: name(before + 1),
            last: name(after - 1),
            segments: after - before - 1,
        };
        Some(Timeline {
            timeline,
            first: name(first),
            last: name(last),
            segments: segments.len() as u64,
            gaps: gaps.map(gap).collect(),
            ambiguous: segments
                .iter()
                .filter(|(_, digests)| digests.len() > 1)
                .map(|(number, _)| name(*number))
                .collect(),
            has_history: histories.contains(&timeline),
            bytes: bytes.get(&timeline).copied().unwrap_or(0),
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

/// Returns the size of the cluster's segments: the smallest one that permits all names. If no log of
/// 4 GiB is archived to its end, it may be less than the real one, which then hides no gap within a
/// log.
fn segment_size(names: impl Iterator<Item = SegmentName> + Clone) -> SegmentSize {
    let sizes = (20..=30).rev().filter_map(|bits| SegmentSize::new(1 << bits).ok());
    let mut fitting = sizes.filter(|size| names.clone().all(|name| name.segment(*size).is_ok()));
    fitting.next().unwrap_or(SegmentSize::DEFAULT)
}
