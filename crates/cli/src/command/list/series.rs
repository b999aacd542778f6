//! A list with one line per series.

use std::collections::{BTreeMap, BTreeSet};

use indicatif::HumanBytes;
use longshore_catalog::catalog::Series;
use longshore_core::error::printable;

use super::entry::Entry;
use crate::args::State;
use crate::output::Output;
use crate::time_zone::TimeZone;

/// Prints one line per series. Adds a column of jobs if several jobs made the backups, and columns
/// of held and damaged backups if any exist.
pub(super) fn table(output: Output, entries: &[Entry], zone: TimeZone) {
    let mut all: BTreeMap<Series, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        all.entry(entry.series()).or_default().push(entry);
    }
    let of_jobs = entries.iter().any(|entry| entry.job() != entries[0].job());
    let newest = format!("NEWEST ({})", zone.name());
    let headings = [
        "SERIES",
        "JOB",
        &newest,
        "?>AGE",
        "?OLDEST",
        ">BACKUPS",
        ">SIZE",
        ">HELD",
        ">DAMAGED",
        "?>VERIFIED",
        "?>DRILLED",
        "?DESTINATIONS",
    ];
    let mut rows: Vec<Vec<String>> = all.iter().map(|(series, backups)| row(series, backups, zone)).collect();
    // Omit empty columns.
    let is_empty = |index: usize| match headings[index] {
        "JOB" => !of_jobs,
        ">HELD" | ">DAMAGED" => rows.iter().all(|row| row[index] == "-"),
        _ => false,
    };
    let keeps: Vec<bool> = (0..headings.len()).map(|index| !is_empty(index)).collect();
    let headings: Vec<&str> = headings.iter().zip(&keeps).filter(|(_, keeps)| **keeps).map(|(h, _)| *h).collect();
    for row in &mut rows {
        let mut keeps = keeps.iter();
        row.retain(|_| keeps.next().is_some_and(|keeps| *keeps));
    }
    output.table(&headings, &rows);
}

/// Returns the line of a series. `backups` is ordered oldest first.
fn row(series: &Series, backups: &[&Entry], zone: TimeZone) -> Vec<String> {
    let (oldest, newest) = (backups.first(), backups.last());
    let count = |state: State| match backups.iter().filter(|entry| entry.is(state)).count() {
        0 => "-".to_owned(),
        count => count.to_string(),
    };
    let bytes = backups.iter().map(|entry| entry.bytes()).fold(0, u64::saturating_add);
    let destinations: BTreeSet<&str> = backups.iter().flat_map(|entry| entry.at()).collect();
    vec![
        format!("{}/{}", series.cluster, series.subject),
        printable(&series.job),
        newest.map_or_else(String::new, |entry| zone.minute(entry.time())),
        newest.map_or_else(String::new, |entry| entry.age()),
        oldest.map_or_else(String::new, |entry| zone.minute(entry.time())),
        backups.len().to_string(),
        HumanBytes(bytes).to_string(),
        count(State::Held),
        count(State::Damaged),
        count(State::Verified),
        count(State::Drilled),
        destinations.into_iter().collect::<Vec<_>>().join(", "),
    ]
}
