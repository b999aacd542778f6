//! The pages of destinations.

use chrono::TimeDelta;
use longshore_engine::status::DestinationStatus;

use crate::Context;
use crate::layout::Layout;
use crate::table::{self, Cell, Section, Table};
use crate::text::{age, bytes, level, minute, path};

/// The period whose uploads the forecast extends, in days.
const FORECAST_DAYS: i64 = 30;
/// The most days that a forecast names.
const MOST_FORECAST_DAYS: f64 = 3650.0;
/// The number of rows of each table.
const MAX_ROWS: usize = 1000;

/// Renders the list of destinations.
pub fn list(context: &Context<'_>) -> String {
    let all = context.overview.map(|overview| overview.status.destinations.as_slice()).unwrap_or_default();
    let row = |at: &DestinationStatus| {
        let state =
            if at.error.is_some() { Cell::classed("critical", "unreadable") } else { Cell::classed("good", "good") };
        vec![
            Cell::new(&at.name).link(path(&["destinations", &at.name])),
            state,
            Cell::new(at.series.to_string()),
            Cell::new(at.backups.to_string()),
            Cell::new(bytes(at.bytes)),
            Cell::new(at.free_bytes.map(bytes).unwrap_or_default()),
        ]
    };
    let headings = ["Destination", "State", "Series#", "Backups#", "Size#", "Free#"];
    let section = match all.is_empty() {
        true => Section::default().line("quiet", "The destinations have not been read yet."),
        false => Section::default().table(Table::new("Destinations", &headings).rows(all.iter().map(row), MAX_ROWS)),
    };
    table::page(Layout::new(context, "Destinations", "/destinations"), vec![section])
}

/// Renders the page of a destination. Returns `None` if there is none of this name.
pub fn page(context: &Context<'_>, name: &str) -> Option<String> {
    let overview = context.overview?;
    let status = overview.status.destinations.iter().find(|at| at.name == name)?;
    let mut facts = Section::default();
    if let Some(error) = &status.error {
        facts = facts.line("bad", &error.message).line("quiet", error.hint.as_deref().unwrap_or_default());
    }
    for issue in overview.status.attention.iter().filter(|issue| issue.destination.as_deref() == Some(name)) {
        let subject = issue.series.as_ref().map(|series| format!("{series}: ")).unwrap_or_default();
        facts = facts.line(level(issue.level).1, &format!("{}: {subject}{}", level(issue.level).0, issue.message));
    }
    let recent = context.now - TimeDelta::days(FORECAST_DAYS);
    let there = || overview.backups.iter().filter(|backup| backup.copies.iter().any(|copy| *copy.destination == *name));
    let added: u64 = there().filter(|backup| backup.time() > recent).map(|backup| backup.bytes()).sum();
    let forecast =
        status.free_bytes.filter(|_| added > 0).map(|free| match free as f64 / (added as f64 / FORECAST_DAYS as f64) {
            days if days > MOST_FORECAST_DAYS => "not full within ten years".to_owned(),
            days => format!("full in {days:.0} days if nothing is removed"),
        });
    let facts = facts
        .fact("Series", status.series.to_string())
        .fact("Backups", status.backups.to_string())
        .fact("Size of the backups", bytes(status.bytes))
        .fact("Free space", status.free_bytes.map(bytes).unwrap_or_else(|| "not known".to_owned()))
        .fact("Added in 30 days", bytes(added))
        .fact("Forecast", forecast.unwrap_or_default())
        .fact("Unreadable manifests", status.unreadable.to_string());
    let series =
        overview.status.series.iter().flat_map(|series| {
            series.destinations.iter().filter(|at| at.destination == name).map(move |at| (series, at))
        });
    let rows = series.map(|(series, at)| {
        let newest = at.newest.as_ref();
        vec![
            Cell::new(format!("{}/{}", series.cluster, series.subject)).link(path(&[
                "series",
                &series.cluster,
                &series.subject,
            ])),
            Cell::new(&series.job),
            Cell::new(newest.map(|newest| minute(newest.time)).unwrap_or_default()),
            Cell::new(newest.map(|newest| age(context.now, newest.time)).unwrap_or_default()),
            Cell::new(at.backups.to_string()),
            Cell::new(bytes(at.bytes)),
        ]
    });
    let headings = ["Series", "Job", "Newest good", "Age#", "Backups#", "Size#"];
    let table = Section::default().table(Table::new("Series", &headings).rows(rows, MAX_ROWS));
    Some(table::page(Layout::new(context, format!("Destination {name}"), "/destinations"), vec![facts, table]))
}
