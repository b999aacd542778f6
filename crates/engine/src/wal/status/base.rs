//! Base backups, as beginnings of a recovery from archived WAL.

use chrono::{DateTime, TimeDelta, Utc};
use longshore_core::base::BaseFacts;
use longshore_core::manifest::Manifest;
use longshore_core::subject::Subject;
use longshore_pg_wal::segment::{Segment, SegmentSize};

use crate::catalogs::Catalogued;

/// The time in which the server archives the last segment of a base backup, or is reported. A
/// server repeats a failed command after a minute.
pub(super) const ARCHIVING_TIME: TimeDelta = TimeDelta::minutes(10);

/// A good base backup at one destination.
#[derive(Clone, Copy)]
pub(super) struct Base<'a> {
    manifest: &'a Manifest,
    facts: &'a BaseFacts,
    pub(super) destination: &'a str,
}

impl<'a> Base<'a> {
    /// Returns the base backup of a manifest, if its positions are recorded and archived WAL can be
    /// added to it.
    pub(super) fn of(manifest: &'a Manifest, destination: &'a str) -> Option<Self> {
        let facts = manifest.base.as_ref().filter(|_| manifest.begins_recovery())?;
        Some(Self { manifest, facts, destination })
    }

    /// Returns true if the backup is of this cluster.
    pub(super) fn is_of(&self, system_identifier: &str) -> bool {
        self.manifest.cluster.server.system_identifier.as_deref() == Some(system_identifier)
    }

    pub(super) fn timeline(&self) -> u32 {
        self.facts.timeline
    }

    /// Returns the name of the segment in which the backup ends.
    pub(super) fn end(&self) -> Option<String> {
        let size = SegmentSize::new(self.facts.wal_segment_bytes).ok()?;
        Some(Segment::ending(self.facts.timeline, self.facts.stop_lsn, size).name(size))
    }

    /// Returns the first moment to which the backup can be recovered.
    pub(super) fn recoverable_from(&self) -> DateTime<Utc> {
        self.manifest.recoverable_from()
    }

    /// Returns true if the server had the time to archive the segment in which the backup ends.
    pub(super) fn is_archived(&self, now: DateTime<Utc>) -> bool {
        now - self.manifest.finished > ARCHIVING_TIME
    }
}

/// Returns the good base backups of a cluster, the oldest first.
pub(super) fn bases<'a>(cluster: &str, read: &'a [Catalogued]) -> Vec<Base<'a>> {
    let all = read.iter().flat_map(|at| at.catalog.backups().map(move |backup| (at, backup)));
    let of_cluster = all.filter(|(_, backup)| {
        let is_base = backup.manifest.cluster.name == cluster && backup.manifest.subject == Subject::Base;
        is_base && backup.is_good() && !backup.is_chain_doubtful
    });
    let mut bases: Vec<Base<'_>> = of_cluster.filter_map(|(at, backup)| Base::of(&backup.manifest, &at.name)).collect();
    bases.sort_by_key(|base| base.manifest.time);
    bases
}
