//! The status as text: problems, then a line per series, then jobs and destinations.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use indicatif::HumanBytes;
use longshore_core::error::printable;
use longshore_core::run_report::Outcome;
use longshore_core::unit::format_age;
use longshore_engine::status::{
    AtDestination, BackupAge, Issue, JobStatus, Level, Proof, RunStatus, SeriesStatus, Status, WalStatus,
};

use crate::command::short_name::{age_ago, series_name};
use crate::output::{Cell, Column, Output, Priority, State, Table};
use crate::time_zone::TimeZone;

/// Shorter restores and smaller dumps vary too much for a trend.
const NOISE_SECONDS: f64 = 5.0;
const NOISE_BYTES: f64 = 1_048_576.0;
/// The maximum number of destinations with a column each. Problems are printed above in any case.
const COLUMNS: usize = 6;
/// The maximum number of problems of a kind that have a line each.
const MAX_ROWS: usize = 10;
/// The number of series to name in a line for more problems.
const MAX_NAMED: usize = 3;

/// Prints the status.
pub(super) fn show(output: Output, status: &Status, zone: TimeZone) {
    attention(output, status);
    if status.series.is_empty() {
        output.note("no backups");
    } else {
        series(output, &status.series, zone);
        output.line("");
    }
    jobs(output, &status.jobs, zone);
    wal(output, &status.wal, status.time, zone);
    destinations(output, status);
    for left in &status.not_captured {
        let subject = left.subject.as_ref().map_or_else(String::new, |subject| format!("/{}", printable(subject)));
        for part in &left.parts {
            output.line(format_args!("not captured of {}{subject} by job {}: {part}", left.cluster, left.job));
        }
    }
}

/// Returns the subject of a problem.
pub(super) fn about(attention: &Issue) -> String {
    match (&attention.series, &attention.destination) {
        (Some(series), Some(destination)) => format!("{series} at {destination}"),
        (Some(series), None) => series.clone(),
        (None, Some(destination)) => destination.clone(),
        (None, None) if attention.kind.is_of_run() => attention.job.clone().unwrap_or_default(),
        (None, None) => String::new(),
    }
}

/// Prints the problems, the worst first. Groups the same problem of many series.
fn attention(output: Output, status: &Status) {
    if status.attention.is_empty() {
        return;
    }
    let mut groups: BTreeMap<_, Vec<&Issue>> = BTreeMap::new();
    for attention in &status.attention {
        let worst_first = std::cmp::Reverse((attention.level, attention.kind));
        groups.entry((worst_first, attention.destination.clone())).or_default().push(attention);
    }
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for ((_, destination), group) in groups {
        let destination = destination.unwrap_or_else(|| "all".to_owned());
        if group.len() <= MAX_ROWS {
            rows.extend(group.into_iter().map(|one| {
                let series = one.series.as_deref().map(decoded_series).or_else(|| one.job.clone());
                vec![
                    state(one.level).into(),
                    series.unwrap_or_else(|| "-".to_owned()).into(),
                    destination.as_str().into(),
                    one.message.as_str().into(),
                ]
            }));
            continue;
        }
        let names = group.iter().take(MAX_NAMED).filter_map(|one| one.series.as_deref().map(decoded_series));
        let names: Vec<_> = names.collect();
        let message =
            format!("{}; same for {} and {} more", group[0].message, names.join(", "), group.len() - names.len());
        let series = format!("{} series", group.len());
        rows.push(vec![state(group[0].level).into(), series.into(), destination.into(), message.into()]);
    }
    let columns = [
        Column::fixed("STATE"),
        Column::text("SERIES").min(20),
        Column::text("DESTINATION").priority(Priority::High),
        Column::sentence("PROBLEM"),
    ];
    output.table(&Table::new(columns).rows(rows));
    output.line("");
}

/// Returns the name of a series for people.
fn decoded_series(series: &str) -> String {
    series.rsplit_once('/').map_or_else(|| series.to_owned(), |(cluster, segment)| series_name(cluster, segment))
}

fn state(level: Level) -> State {
    match level {
        Level::Good => State::Good,
        Level::Unknown => State::Unknown,
        Level::Warning => State::Warning,
        Level::Critical => State::Critical,
    }
}

/// Prints a line per series. Omits empty columns.
fn series(output: Output, all: &[SeriesStatus], zone: TimeZone) {
    let names: BTreeSet<&str> =
        all.iter().flat_map(|series| &series.destinations).map(|at| at.destination.as_str()).collect();
    let names = if (2..=COLUMNS).contains(&names.len()) { names } else { BTreeSet::new() };
    let mut columns = vec![
        Column::text("SERIES").min(24),
        Column::text("JOB").priority(Priority::High).unless_uniform(),
        Column::fixed("STATE"),
        Column::number("NEWEST"),
    ];
    columns.extend(names.iter().map(|name| Column::number(*name).priority(Priority::Medium)));
    columns.extend([
        Column::number("COPIES").priority(Priority::High),
        Column::number("VERIFIED").priority(Priority::Medium),
        Column::number("DRILLED").priority(Priority::Medium),
        Column::number("RESTORE").priority(Priority::Low).unless_blank(),
        Column::number("RESTORE ±").priority(Priority::Lowest).unless_blank(),
        Column::number("SIZE").priority(Priority::Medium),
        Column::number("SIZE ±").priority(Priority::Lowest).unless_blank(),
        Column::fixed(format!("NEXT RUN ({})", zone.name())).priority(Priority::Low).unless_blank(),
    ]);
    output.table(&Table::new(columns).rows(all.iter().map(|series| row(series, &names, zone))));
}

fn row(series: &SeriesStatus, names: &BTreeSet<&str>, zone: TimeZone) -> Vec<Cell> {
    let state = match series.level {
        Level::Good if series.ended.is_some() => State::Ended,
        level => state(level),
    };
    let mut row: Vec<Cell> = vec![
        series_name(&series.cluster, &series.subject).into(),
        series.job.as_str().into(),
        state.into(),
        series.newest.as_ref().map_or_else(|| "none".to_owned(), old).into(),
    ];
    row.extend(names.iter().map(|name| {
        let at = series.destinations.iter().find(|at| at.destination == *name);
        at.map_or_else(|| "-".into(), cell)
    }));
    let (size, restore) = (series.size.as_ref(), series.restore.as_ref());
    let usual = size.and_then(|size| size.median_plaintext_bytes);
    let rest = [
        format!("{} of {}", series.copies.present.len(), series.copies.wanted),
        proved(series, |at| at.verified.as_ref()),
        proved(series, |at| at.drilled.as_ref()),
        restore.map(|restore| lasting(restore.seconds)).unwrap_or_default(),
        restore.and_then(|restore| trend(restore.seconds, restore.median_seconds?, NOISE_SECONDS)).unwrap_or_default(),
        size.map_or_else(|| "-".to_owned(), |size| HumanBytes(size.plaintext_bytes).to_string()),
        size.and_then(|size| trend(size.plaintext_bytes as f64, usual? as f64, NOISE_BYTES)).unwrap_or_default(),
        series.next_run.map(|next| zone.minute(next)).unwrap_or_default(),
    ];
    row.extend(rest.map(Cell::from));
    row
}

/// Returns the age and state of the newest backup at one destination.
fn cell(at: &AtDestination) -> Cell {
    let newest = at.newest.as_ref().map_or_else(|| "none".to_owned(), old);
    match (&at.damaged, at.stale) {
        (Some(_), _) => Cell::from(format!("{newest} ")).and(State::Damaged),
        (None, Some(true)) => Cell::from(format!("{newest} ")).and(State::Stale),
        (None, _) => newest.into(),
    }
}

fn old(newest: &BackupAge) -> String {
    format_age(TimeDelta::seconds(newest.age_seconds.max(0)))
}

/// Returns the age of the newest backup that was verified or drilled at any destination.
fn proved(series: &SeriesStatus, of: impl Fn(&AtDestination) -> Option<&Proof>) -> String {
    let newest = series.destinations.iter().filter_map(of).max_by_key(|proved| proved.newest.time);
    newest.map_or_else(|| "never".to_owned(), |proved| old(&proved.newest))
}

fn lasting(seconds: f64) -> String {
    format_age(TimeDelta::seconds(seconds.round() as i64))
}

/// Returns the change from the usual value in percent, or `None` if both values are below `noise`.
fn trend(now: f64, usual: f64, noise: f64) -> Option<String> {
    (usual > 0.0 && now.max(usual) >= noise).then(|| format!("{:+.0} %", (now / usual - 1.0) * 100.0))
}

/// Prints a line per job with the outcome of its last run.
fn jobs(output: Output, jobs: &[JobStatus], zone: TimeZone) {
    let shown = jobs.iter().filter(|job| job.last_run.is_some() || job.running_since.is_some());
    let rows: Vec<_> = shown.map(|shown| job(shown, zone)).collect();
    if !rows.is_empty() {
        let columns = [
            Column::text("JOB").min(20),
            Column::fixed("LAST RUN"),
            Column::number("ENDED").priority(Priority::High),
            Column::text("HOST").priority(Priority::Medium),
            Column::sentence("NOW"),
        ];
        output.table(&Table::new(columns).rows(rows));
        output.line("");
    }
}

fn job(job: &JobStatus, zone: TimeZone) -> Vec<Cell> {
    let last = |cell: fn(&RunStatus) -> Cell| job.last_run.as_ref().map_or_else(|| "-".into(), cell);
    vec![
        job.job.as_str().into(),
        last(|run| outcome(run.outcome).into()),
        last(|run| format!("{} ago", run.format_age()).into()),
        last(|run| run.host.as_str().into()),
        job.running_since.map_or_else(Cell::default, |since| format!("running since {}", zone.minute(since)).into()),
    ]
}

/// Prints a line per archive of WAL.
fn wal(output: Output, all: &[WalStatus], now: DateTime<Utc>, zone: TimeZone) {
    if all.is_empty() {
        return;
    }
    let minute = |time: Option<DateTime<Utc>>| time.map_or_else(|| "-".to_owned(), |time| zone.minute(time));
    let rows = all.iter().map(|archive| -> Vec<Cell> {
        vec![
            archive.cluster.as_str().into(),
            archive.destination.as_str().into(),
            archive.system_identifier.as_str().into(),
            archive.timeline.to_string().into(),
            archive.last_segment.as_str().into(),
            archive.last_stored.map_or_else(|| "-".to_owned(), |time| age_ago(now - time)).into(),
            minute(archive.recoverable_from).into(),
            minute(archive.recoverable_until).into(),
        ]
    });
    let columns = [
        Column::text("WAL OF").min(12),
        Column::text("DESTINATION"),
        Column::fixed("SYSTEM ID").unless_uniform().priority(Priority::Low),
        Column::number("TIMELINE").priority(Priority::Medium),
        Column::fixed("LAST SEGMENT").priority(Priority::Lowest),
        Column::number("STORED"),
        Column::fixed(format!("RECOVERABLE FROM ({})", zone.name())),
        Column::fixed("UNTIL").priority(Priority::High),
    ];
    output.table(&Table::new(columns).rows(rows));
    output.line("");
}

/// Returns the state of a run with this outcome.
fn outcome(outcome: Outcome) -> State {
    match outcome {
        Outcome::Done => State::Done,
        Outcome::Partial => State::Partial,
        Outcome::Failed => State::Failed,
        Outcome::Damaged => State::Damaged,
        Outcome::Refused => State::Refused,
        Outcome::Locked => State::Locked,
        Outcome::Skipped => State::Skipped,
        Outcome::Interrupted => State::Interrupted,
        Outcome::Lost => State::Lost,
    }
}

fn destinations(output: Output, status: &Status) {
    let rows = status.destinations.iter().map(|destination| match &destination.error {
        Some(_) => vec![destination.name.as_str().into(), State::CannotBeRead.into()],
        None => vec![
            destination.name.as_str().into(),
            destination.series.to_string().into(),
            destination.backups.to_string().into(),
            HumanBytes(destination.bytes).to_string().into(),
            destination.free_bytes.map_or_else(|| "-".into(), |free| HumanBytes(free).to_string().into()),
        ],
    });
    let columns = [
        Column::text("DESTINATION").min(20),
        Column::number("SERIES"),
        Column::number("BACKUPS").priority(Priority::High),
        Column::number("USED").priority(Priority::High),
        Column::number("FREE").priority(Priority::Medium),
    ];
    output.table(&Table::new(columns).rows(rows));
    // The problems above contain the errors; print only their hints.
    let failed = status.destinations.iter().filter_map(|at| Some((&at.name, at.error.as_ref()?.hint.as_ref()?)));
    for (destination, hint) in failed {
        output.hint(format_args!("{destination}: {hint}"));
    }
}
