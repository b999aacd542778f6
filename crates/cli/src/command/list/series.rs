//! A list with one line per series.

use std::collections::{BTreeMap, BTreeSet};

use indicatif::HumanBytes;
use longshore_catalog::catalog::Series;
use longshore_core::error::printable;

use super::line::Line;
use crate::args::State;
use crate::output::Output;
use crate::zone::Zone;

/// Prints one line per series. Adds a column of jobs if several jobs made the backups, and columns
/// of held and damaged backups if any exist.
pub(super) fn table(output: Output, lines: &[Line], zone: Zone) {
    let mut all: BTreeMap<Series, Vec<&Line>> = BTreeMap::new();
    for line in lines {
        all.entry(line.series()).or_default().push(line);
    }
    let of_jobs = lines.iter().any(|line| line.job() != lines[0].job());
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
    let is_empty = |place: usize| match headings[place] {
        "JOB" => !of_jobs,
        ">HELD" | ">DAMAGED" => rows.iter().all(|row| row[place] == "-"),
        _ => false,
    };
    let stays: Vec<bool> = (0..headings.len()).map(|place| !is_empty(place)).collect();
    let headings: Vec<&str> = headings.iter().zip(&stays).filter(|(_, stays)| **stays).map(|(h, _)| *h).collect();
    for row in &mut rows {
        let mut stays = stays.iter();
        row.retain(|_| stays.next().is_some_and(|stays| *stays));
    }
    output.table(&headings, &rows);
}

/// Returns the line of a series. `backups` is ordered oldest first.
fn row(series: &Series, backups: &[&Line], zone: Zone) -> Vec<String> {
    let (oldest, newest) = (backups.first(), backups.last());
    let count = |state: State| match backups.iter().filter(|line| line.is(state)).count() {
        0 => "-".to_owned(),
        count => count.to_string(),
    };
    let bytes = backups.iter().map(|line| line.bytes()).fold(0, u64::saturating_add);
    let destinations: BTreeSet<&str> = backups.iter().flat_map(|line| line.at()).collect();
    vec![
        format!("{}/{}", series.cluster, series.subject),
        printable(&series.job),
        newest.map_or_else(String::new, |line| zone.minute(line.time())),
        newest.map_or_else(String::new, |line| line.age()),
        oldest.map_or_else(String::new, |line| zone.minute(line.time())),
        backups.len().to_string(),
        HumanBytes(bytes).to_string(),
        count(State::Held),
        count(State::Damaged),
        count(State::Verified),
        count(State::Drilled),
        destinations.into_iter().collect::<Vec<_>>().join(", "),
    ]
}
