//! The archived WAL at each destination: the moments to which it recovers, and its problems.

mod base;
#[cfg(test)]
mod fixture;
mod problem;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use longshore_config::{Config, WalArchive};
use longshore_core::key::encode_name;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_wal::segment::{Segment, SegmentSize};
use serde::Serialize;

use self::base::{Base, bases};
use self::problem::problems;
use self::window::Window;
use crate::catalogs::{Catalogued, read_with_wal};
use crate::wal::inventory::{ArchivedFile, Timeline, timelines};

pub use self::problem::{Problem, ProblemKind};

/// The archived WAL of one cluster at one destination.
#[derive(Debug, Serialize)]
pub struct ArchivedWal {
    /// The name of the destination.
    pub destination: String,
    /// PostgreSQL's system identifier of the cluster, as text: JSON's numbers are less exact.
    pub system_identifier: String,
    /// The timelines, in the order of their numbers.
    pub timelines: Vec<Timeline>,
    /// The first moment to which the cluster can be recovered, at the end of a base backup.
    pub recoverable_from: Option<DateTime<Utc>>,
    /// The time at which the last segment for such a recovery was stored. Its transactions ended
    /// before.
    pub recoverable_until: Option<DateTime<Utc>>,
    /// The number of bytes of WAL that the server has and the archive lacks, if the server was
    /// asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_bytes: Option<u64>,
}

/// The archives of one cluster.
#[derive(Debug, Serialize)]
pub struct Archives {
    /// The archived WAL, by destination and system identifier.
    pub archives: Vec<ArchivedWal>,
    /// Obstacles to a recovery from the newest base backup to the latest moment.
    pub problems: Vec<Problem>,
}

/// The destinations that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Completeness {
    Complete,
    /// At least one destination could not be read.
    Partial,
}

impl Completeness {
    pub(crate) fn of(is_complete: bool) -> Self {
        if is_complete { Self::Complete } else { Self::Partial }
    }
}

/// Reads the archives of a cluster, and the base backups with which a recovery begins. Returns also
/// the errors of the destinations that cannot be read.
pub async fn archived_wal(config: &Config, settings: &WalArchive, now: DateTime<Utc>) -> (Archives, Vec<Error>) {
    let of_cluster = config.jobs.values().filter(|job| job.site.cluster.name == settings.cluster);
    let names: BTreeSet<&String> = of_cluster.flat_map(|job| &job.ship).chain(&settings.ship).collect();
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    for (_, read) in read_with_wal(config, names).await {
        match read {
            Ok(at) => all.push(at),
            Err(error) => errors.push(error),
        }
    }
    (archives(settings, &all, Completeness::of(errors.is_empty()), now), errors)
}

/// Adds the WAL that the server of a cluster has and that an archive lacks. Fails if no job reads
/// the server, or if it cannot be asked.
pub async fn compare_with_server(config: &Config, settings: &WalArchive, archives: &mut Archives) -> Result<()> {
    let jobs = config.jobs.values().filter(|job| job.site.cluster.name == settings.cluster);
    let dumps = jobs.flat_map(|job| job.dump.iter().map(|dump| dump(&job.site))).collect::<Result<Vec<_>>>()?;
    let Some(server) = dumps.iter().find_map(|dump| dump.archiving()) else {
        let message = "no job makes base backups of this cluster, so its server cannot be asked";
        return Err(Error::new(Stage::Config, Kind::Usage, &settings.cluster, message)
            .hint("add a job with dump = [{ type = \"pg_base\" }]"));
    };
    let position = server.position().await?;
    let (identifier, size) = (position.system_identifier.to_string(), SegmentSize::new(position.segment_bytes));
    let size = size.map_err(|error| {
        Error::new(Stage::Connect, Kind::Failed, &settings.cluster, "has no valid size of WAL segments").because(error)
    })?;
    for archive in archives.archives.iter_mut().filter(|archive| archive.system_identifier == identifier) {
        let last = archive.timelines.last().and_then(|timeline| Segment::parse(&timeline.last, size).ok());
        archive.lag_bytes = last.map(|last| position.lsn.0.saturating_sub(last.end(size).0));
    }
    Ok(())
}

/// Returns the archives of a cluster, given the catalogs of the destinations that were read.
pub(crate) fn archives(
    settings: &WalArchive,
    read: &[Catalogued],
    completeness: Completeness,
    now: DateTime<Utc>,
) -> Archives {
    let bases = bases(&settings.cluster, read);
    let destinations = read.iter().filter(|at| settings.ship.contains(&at.name));
    let all: Vec<_> = destinations.map(|at| (at.name.clone(), archives_at(&settings.cluster, at, &bases))).collect();
    let mut problems = problems(&all, bases.last().copied(), now);
    if completeness == Completeness::Partial {
        // The missing WAL, or a newer base backup, may be where nothing could be read.
        problems.retain(|problem| matches!(problem.kind, ProblemKind::Behind | ProblemKind::Forked));
    }
    Archives { archives: all.into_iter().flat_map(|(_, archives)| archives).collect(), problems }
}

/// Returns the archives of a cluster at one destination, by system identifier.
fn archives_at(cluster: &str, at: &Catalogued, bases: &[Base<'_>]) -> Vec<ArchivedWal> {
    let of_cluster = format!("{}/", encode_name(cluster));
    let entries = at.catalog.wal.iter().filter(|entry| entry.key.as_str().starts_with(&of_cluster));
    let mut files: BTreeMap<u64, Vec<ArchivedFile>> = BTreeMap::new();
    for file in entries.filter_map(ArchivedFile::of) {
        files.entry(file.key.system_identifier).or_default().push(file);
    }
    let archive = |(system_identifier, files): (u64, Vec<ArchivedFile>)| {
        let (system_identifier, timelines) = (system_identifier.to_string(), timelines(&files));
        let here = bases.iter().filter(|base| base.destination == at.name && base.is_of(&system_identifier));
        let window = Window::of(&timelines, here);
        ArchivedWal {
            destination: at.name.clone(),
            system_identifier,
            timelines,
            recoverable_from: window.as_ref().map(|window| window.from),
            recoverable_until: window.and_then(|window| window.until),
            lag_bytes: None,
        }
    };
    files.into_iter().map(archive).collect()
}
