//! The facts of a backup as totals and facts for the manifest, which reveal no names, and as
//! confidential details.

use longshore_core::base::{BaseFacts, BaseTablespace, WalLocation};
use longshore_core::manifest::Verification;
use longshore_core::stage::VerifyReport;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::control::{State, WalLevel};
use longshore_pg_base::facts::{PageChecksums, Source, Wal};
use longshore_pg_base::{Facts, tablespace_map};
use longshore_pg_wal::segment::Segment;
use serde_json::{Map, Value, json};

use crate::DETAILS;

/// The method of this verifier, as named in manifests.
pub(crate) const METHOD: &str = "compared with backup_manifest";

/// The methods of this verifier in manifests: the former name was wrong for manifests that
/// Longshore computes.
pub(crate) const METHODS: [&str; 2] = [METHOD, "compared with the server's manifest"];

/// The name of the program in manifests, before its version.
pub(crate) const PROGRAM: &str = "longshore";

/// The key in the details that contains the totals.
pub(crate) const TOTALS: &str = "totals";
/// The key in the details that contains the facts of the manifest.
pub(crate) const FACTS: &str = "facts";
/// The key in the details that contains the system identifier, in decimal.
pub(crate) const SYSTEM_IDENTIFIER: &str = "system_identifier";

/// Returns the report of a verified backup. One without its WAL needs the archive of the cluster,
/// which the pipeline expects to have it.
pub(crate) fn of(facts: &Facts, subject: &str) -> Result<VerifyReport> {
    let base = base_facts(facts);
    let totals = totals(facts);
    let recorded = serde_json::to_value(&base).map_err(|error| {
        Error::new(Stage::Verify, Kind::Failed, subject, "cannot serialize the facts about it").because(error)
    })?;
    let mut details = details(facts);
    details.insert(FACTS.to_owned(), recorded);
    details.insert(TOTALS.to_owned(), totals.clone().into());
    let totals = totals.into_iter().filter_map(|(name, count)| Some((name, count.as_u64()?))).collect();
    let by = format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION"));
    Ok(VerifyReport {
        verification: Verification { by, method: METHOD.to_owned(), totals },
        details: [(DETAILS.to_owned(), details.into())].into_iter().collect(),
        base: Some(base),
    })
}

/// Returns the facts for the manifest.
fn base_facts(facts: &Facts) -> BaseFacts {
    let settings = &facts.control.settings;
    BaseFacts {
        timeline: facts.timeline,
        start_lsn: facts.start_lsn,
        stop_lsn: facts.stop_lsn,
        finished: None,
        wal: match facts.wal {
            Wal::Included => WalLocation::Included,
            Wal::NotIncluded => WalLocation::Archive,
        },
        wal_segment_bytes: facts.control.wal_segment_size.bytes().into(),
        from_standby: facts.source == Source::Standby,
        crash_consistent: facts.crash_consistent,
        page_checksums: facts.page_checksums != PageChecksums::Off,
        damaged_pages: damaged_pages(facts),
        incremental_from: facts.incremental_from.map(|from| from.lsn),
        settings: [
            ("max_connections", settings.max_connections),
            ("max_worker_processes", settings.max_worker_processes),
            ("max_wal_senders", settings.max_wal_senders),
            ("max_prepared_transactions", settings.max_prepared_transactions),
            ("max_locks_per_transaction", settings.max_locks_per_transaction),
        ]
        .map(|(name, value)| (name.to_owned(), value.into()))
        .into(),
        files: facts.files,
        file_bytes: facts.file_bytes,
        tablespaces: facts
            .tablespaces
            .iter()
            .map(|tablespace| BaseTablespace { oid: tablespace.oid, bytes: tablespace.bytes })
            .collect(),
    }
}

/// Returns the number of pages that are damaged in the source cluster.
fn damaged_pages(facts: &Facts) -> u64 {
    match &facts.page_checksums {
        PageChecksums::Off => 0,
        PageChecksums::On { damaged, .. } => damaged.count,
    }
}

/// Returns the totals, by their names.
fn totals(facts: &Facts) -> Map<String, Value> {
    let mut totals = vec![
        ("files", facts.files),
        ("file_bytes", facts.file_bytes),
        ("archive_bytes", facts.archive_bytes),
        ("wal_segments", wal_segments(facts)),
    ];
    if facts.files_without_checksum > 0 {
        totals.push(("files_without_checksum", facts.files_without_checksum));
    }
    if let PageChecksums::On { pages, damaged, younger_pages } = &facts.page_checksums {
        totals.extend([("pages", *pages), ("damaged_pages", damaged.count), ("younger_pages", *younger_pages)]);
    }
    totals.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect()
}

/// Returns the number of WAL segments in the backup that a restore needs.
fn wal_segments(facts: &Facts) -> u64 {
    if facts.wal == Wal::NotIncluded {
        return 0;
    }
    let size = facts.control.wal_segment_size;
    let ranges = facts.wal_ranges.iter();
    ranges
        .map(|range| {
            let first = Segment::containing(range.timeline, range.start, size).number;
            Segment::ending(range.timeline, range.end, size).number.saturating_sub(first).saturating_add(1)
        })
        .fold(0, u64::saturating_add)
}

/// Returns the state in the words of pg_controldata.
fn state(state: State) -> &'static str {
    match state {
        State::StartingUp => "starting up",
        State::ShutDown => "shut down",
        State::ShutDownInRecovery => "shut down in recovery",
        State::ShuttingDown => "shutting down",
        State::InCrashRecovery => "in crash recovery",
        State::InArchiveRecovery => "in archive recovery",
        State::InProduction => "in production",
    }
}

/// Returns the value of the setting.
fn wal_level(level: WalLevel) -> &'static str {
    match level {
        WalLevel::Minimal => "minimal",
        WalLevel::Replica => "replica",
        WalLevel::Logical => "logical",
    }
}

/// Returns the confidential details.
fn details(facts: &Facts) -> Map<String, Value> {
    let places = facts.tablespace_map.as_ref().map(tablespace_map::TablespaceMap::places).unwrap_or_default();
    let places = places.iter().map(|place| json!({ "oid": place.oid, "path": String::from_utf8_lossy(&place.path) }));
    let ranges = facts.wal_ranges.iter();
    let ranges = ranges.map(|range| json!({ "timeline": range.timeline, "start": range.start, "end": range.end }));
    let mut details = json!({
        "version": facts.version,
        SYSTEM_IDENTIFIER: facts.system_identifier.to_string(),
        "label": facts.label,
        "wal_ranges": ranges.collect::<Vec<_>>(),
        "tablespace_map": places.collect::<Vec<_>>(),
        "control": {
            "state": state(facts.control.state),
            "wal_level": wal_level(facts.control.settings.wal_level),
            "timeline": facts.control.timeline,
            "checkpoint": facts.control.checkpoint,
            "redo": facts.control.redo,
            "min_recovery": facts.control.min_recovery,
            "catalog_version": facts.control.catalog_version,
        },
    });
    if let PageChecksums::On { damaged, .. } = &facts.page_checksums
        && damaged.count > 0
    {
        let pages = damaged.first.iter().map(|page| json!({ "path": page.path, "block": page.block }));
        details["damaged_pages"] = pages.collect::<Vec<_>>().into();
    }
    match details {
        Value::Object(details) => details,
        _ => Map::new(),
    }
}
