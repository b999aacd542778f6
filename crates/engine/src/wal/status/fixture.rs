//! Timelines and base backups for tests: segment N was stored on day N.

use chrono::{DateTime, Utc};
use longshore_core::manifest::Manifest;
use longshore_testkit::memory::MemoryStore;

use crate::fixture::put_base_with;
use crate::wal::inventory::{Gap, Timeline};

pub(super) fn time(day: u32) -> DateTime<Utc> {
    format!("2026-11-{day:02}T03:00:00Z").parse().unwrap()
}

/// Returns the name of a segment.
pub(super) fn name(timeline: u32, number: u8) -> String {
    format!("{timeline:08X}000000000000{number:04X}")
}

/// Returns a timeline that has the segments of a range, except one.
pub(super) fn timeline(timeline: u32, first: u8, last: u8, missing: Option<u8>) -> Timeline {
    let gap = |number| Gap {
        first: name(timeline, number),
        last: name(timeline, number),
        segments: 1,
        last_stored: Some(time(u32::from(number) - 1)),
    };
    Timeline {
        timeline,
        first: name(timeline, first),
        last: name(timeline, last),
        segments: u64::from(last - first) + 1,
        gaps: missing.map(gap).into_iter().collect(),
        ambiguous: Vec::new(),
        has_history: true,
        bytes: 5,
        last_stored: Some(time(last.into())),
    }
}

/// Stores a base backup that ends in a segment of timeline 1.
pub(super) fn base(store: &MemoryStore, end: u8) -> Manifest {
    put_base_with(store, &format!("2026-11-{end:02}_030000"), |manifest| {
        manifest.cluster.server.system_identifier = Some("7".to_owned());
        manifest.finished = time(end.into());
        let base = manifest.base.as_mut().unwrap();
        base.stop_lsn = format!("0/{end}000130").parse().unwrap();
        base.finished = Some(time(end.into()));
    })
}
