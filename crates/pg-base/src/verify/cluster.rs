//! The agreement of the manifest, `backup_label`, `pg_control`, `PG_VERSION`, `tablespace_map` and
//! WAL of one backup.

use std::collections::BTreeMap;

use super::contents::Seen;
use super::wal::Expected;
use crate::control::{Control, State};
use crate::error::{Error, Result};
use crate::facts::{Facts, PageChecksums, Tablespace, Wal};
use crate::label::{BackupLabel, Source};
use crate::manifest::{self, Manifest};
use crate::page::{PAGE_BYTES, PAGES_PER_SEGMENT};
use crate::tablespace_map::TablespaceMap;
use longshore_pg_wal::Lsn;

/// The releases whose backups can be verified.
const VERSIONS: std::ops::RangeInclusive<u32> = 15..=18;

/// Returns the facts, or the first contradiction. The numbers that only the archive and the
/// manifest have are zero.
pub(super) fn facts(seen: Seen, manifest: Manifest) -> Result<Facts> {
    let version = version(seen.version.as_deref())?;
    let control = seen.control.ok_or_else(|| missing("global/pg_control"))?;
    let (label, mut pages) = (seen.label, seen.pages);
    check_control(&control, version, &manifest, label.as_ref())?;
    let (timeline, start_lsn) = match (&label, control.state) {
        (Some(label), _) => (label.start_timeline, label.start_lsn),
        // A cluster that was shut down needs no label: recovery begins at its last checkpoint. So
        // does the recovery of a snapshot that contains all WAL of a running primary.
        (None, State::ShutDown | State::InProduction) => (control.timeline, control.redo),
        (None, _) => return Err(missing("backup_label")),
    };
    let crash_consistent = label.is_none() && control.state == State::InProduction;
    check_start((timeline, start_lsn), &manifest)?;
    pages.set_start(start_lsn);
    let incremental_from = label.as_ref().and_then(|label| label.incremental_from);
    if let (Some(path), None) = (seen.incremental_file, incremental_from) {
        return Err(Error::damaged(path, 0, "incremental file, but backup_label names no earlier backup"));
    }
    if let Some(label) = &label {
        label.check_start_segment(control.wal_segment_size)?;
    }
    check_tablespaces(seen.tablespace_map.as_ref(), &seen.tablespaces)?;
    let expected = Expected {
        ranges: &manifest.wal_ranges,
        segment_size: control.wal_segment_size,
        system_identifier: control.system_identifier,
        major: version,
    };
    let wal = seen.segments.check(&expected)?;
    let has_checkpoint = manifest.stop().is_some_and(|(_, stop)| stop > control.checkpoint);
    if crash_consistent && (wal == Wal::NotIncluded || !has_checkpoint) {
        return Err(missing("backup_label"));
    }
    let page_checksums = match control.data_checksum_version {
        0 => PageChecksums::Off,
        _ => pages.finish(),
    };
    Ok(Facts {
        version,
        system_identifier: control.system_identifier,
        timeline,
        start_lsn,
        stop_lsn: manifest.stop().map_or(start_lsn, |(_, stop)| stop),
        wal_ranges: manifest.wal_ranges,
        wal,
        incremental_from,
        crash_consistent,
        source: label.as_ref().map_or(Source::Primary, |label| label.source),
        files: seen.files,
        file_bytes: seen.file_bytes,
        files_without_checksum: 0,
        archive_bytes: 0,
        tablespaces: seen.tablespaces.into_iter().map(|(oid, bytes)| Tablespace { oid, bytes }).collect(),
        tablespace_map: seen.tablespace_map,
        control,
        page_checksums,
        label: label.map(|label| label.label).unwrap_or_default(),
    })
}

fn missing(path: &str) -> Error {
    Error::damaged(path, 0, "missing: every backup has it")
}

/// Returns the major version in `PG_VERSION`.
fn version(content: Option<&[u8]>) -> Result<u32> {
    const PATH: &str = "PG_VERSION";
    let content = String::from_utf8_lossy(content.ok_or_else(|| missing(PATH))?).into_owned();
    let version = content.trim_end_matches('\n');
    match version.parse() {
        Ok(major) if VERSIONS.contains(&major) => Ok(major),
        Ok(major) => Err(Error::unsupported(PATH, 0, format!("PostgreSQL {major}: not 15 to 18"))),
        Err(_) => Err(Error::damaged(PATH, 0, format!("`{version}`: no version"))),
    }
}

fn check_control(control: &Control, version: u32, manifest: &Manifest, label: Option<&BackupLabel>) -> Result<()> {
    const PATH: &str = "global/pg_control";
    match control.major() {
        Some(major) if major == version => {}
        Some(major) => {
            let message = format!("catalogs of PostgreSQL {major}, but PG_VERSION is {version}");
            return Err(Error::damaged(PATH, 0, message));
        }
        None => {
            let message = format!("catalog version {}: not that of PostgreSQL {version}", control.catalog_version);
            return Err(Error::unsupported(PATH, 0, message));
        }
    }
    let identifier = control.system_identifier;
    if let Some(listed) = manifest.system_identifier.filter(|listed| *listed != identifier) {
        return Err(Error::damaged(PATH, 0, format!("system identifier {identifier}, but {listed} in the manifest")));
    }
    if let Some(label) = label.filter(|label| control.checkpoint < label.checkpoint) {
        let message = format!("checkpoint {} before {} in backup_label", control.checkpoint, label.checkpoint);
        return Err(Error::damaged(PATH, 0, message));
    }
    if control.block_bytes != PAGE_BYTES as u32 {
        return Err(Error::unsupported(PATH, 0, format!("data pages of {} bytes", control.block_bytes)));
    }
    if control.blocks_per_segment != PAGES_PER_SEGMENT {
        let message = format!("segments of {} blocks instead of {PAGES_PER_SEGMENT}", control.blocks_per_segment);
        return Err(Error::unsupported(PATH, 0, message));
    }
    Ok(())
}

/// Checks that the manifest names the start of the backup.
fn check_start(expected: (u32, Lsn), manifest: &Manifest) -> Result<()> {
    match manifest.start() {
        Some(start) if start == expected => Ok(()),
        start => {
            let (timeline, lsn) = start.unwrap_or_default();
            let message = format!(
                "WAL from {lsn} on timeline {timeline}, but {} on timeline {} in backup_label or pg_control",
                expected.1, expected.0
            );
            Err(Error::damaged(manifest::NAME, 0, message))
        }
    }
}

/// Checks that every tablespace of the map has its directory. A tablespace in place has a directory
/// without a line in the map.
fn check_tablespaces(map: Option<&TablespaceMap>, tablespaces: &BTreeMap<u32, u64>) -> Result<()> {
    match map.into_iter().flat_map(TablespaceMap::oids).find(|oid| !tablespaces.contains_key(oid)) {
        Some(oid) => Err(Error::damaged(format!("pg_tblspc/{oid}"), 0, "missing: tablespace_map lists it")),
        None => Ok(()),
    }
}
