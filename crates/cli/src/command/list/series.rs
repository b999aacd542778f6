//! A list with one line per series.

use std::collections::{BTreeMap, BTreeSet};

use indicatif::HumanBytes;
use longshore_catalog::catalog::Series;

use super::entry::Entry;
use crate::args;
use crate::command::short_name::series_name;
use crate::output::{Cell, Column, Output, Priority, State, Table};
use crate::time_zone::TimeZone;

/// Prints one line per series. Adds a column of jobs if several jobs made the backups, and columns
/// of held and damaged backups if any exist.
pub(super) fn table(output: Output, entries: &[Entry], zone: TimeZone) {
    let mut all: BTreeMap<Series, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        all.entry(entry.series()).or_default().push(entry);
    }
    let columns = [
        Column::text("SERIES").min(24),
        Column::text("JOB").priority(Priority::High).unless_uniform(),
        Column::fixed(format!("NEWEST ({})", zone.name())),
        Column::number("AGE").priority(Priority::High),
        Column::fixed("OLDEST").priority(Priority::Low),
        Column::number("BACKUPS").priority(Priority::High),
        Column::number("SIZE").priority(Priority::High),
        Column::number("HELD").priority(Priority::Medium).unless_blank(),
        Column::number("DAMAGED").unless_blank(),
        Column::number("VERIFIED").priority(Priority::Medium),
        Column::number("DRILLED").priority(Priority::Medium),
        Column::text("DESTINATIONS").priority(Priority::Lowest),
    ];
    let rows = all.iter().map(|(series, backups)| row(series, backups, zone));
    output.table(&Table::new(columns).rows(rows));
}

/// Returns the line of a series. `backups` is ordered oldest first.
fn row(series: &Series, backups: &[&Entry], zone: TimeZone) -> Vec<Cell> {
    let (oldest, newest) = (backups.first(), backups.last());
    let count = |state| number(backups.iter().filter(|entry| entry.is(state)).count(), state);
    let bytes = backups.iter().map(|entry| entry.bytes()).fold(0, u64::saturating_add);
    let destinations: BTreeSet<&str> = backups.iter().flat_map(|entry| entry.at()).collect();
    let time = |entry: Option<&&Entry>| entry.map(|entry| zone.minute(entry.time())).unwrap_or_default();
    vec![
        series_name(&series.cluster, &series.subject.segment()).into(),
        series.job.as_str().into(),
        time(newest).into(),
        newest.map(|entry| entry.age()).unwrap_or_default().into(),
        time(oldest).into(),
        backups.len().to_string().into(),
        HumanBytes(bytes).to_string().into(),
        count(args::State::Held),
        count(args::State::Damaged),
        count(args::State::Verified),
        count(args::State::Drilled),
        Cell::list(destinations.into_iter().map(Cell::from)),
    ]
}

/// Returns a number of backups in a state; damaged ones have the colour of damage.
fn number(count: usize, state: args::State) -> Cell {
    match (count, state) {
        (0, _) => "-".into(),
        (_, args::State::Damaged) => Cell::coloured(State::Damaged, &count.to_string()),
        _ => count.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_damaged_backups_are_coloured() {
        assert_eq!(number(0, args::State::Damaged), Cell::from("-"));
        assert_eq!(number(2, args::State::Damaged), Cell::coloured(State::Damaged, "2"));
        assert_eq!(number(2, args::State::Held), Cell::from("2"));
    }
}
