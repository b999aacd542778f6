//! The status as text: problems, then a line per series, then jobs and destinations.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use indicatif::HumanBytes;
use longshore_core::error::printable;
use longshore_core::quantity::age;
use longshore_core::run_report::Outcome;
use longshore_service::status::{
    AtDestination, BackupAge, Issue, JobStatus, Level, Proof, RunStatus, SeriesStatus, Status,
};

use crate::output::Output;
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
    jobs(output, &status.jobs);
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
    let mut rows = Vec::new();
    for ((_, destination), group) in groups {
        let destination = destination.unwrap_or_else(|| "all".to_owned());
        if group.len() <= MAX_ROWS {
            rows.extend(group.into_iter().map(|one| {
                let series = one.series.clone().or_else(|| one.job.clone()).unwrap_or_else(|| "-".to_owned());
                vec![level_text(one.level).to_owned(), series, destination.clone(), one.message.clone()]
            }));
            continue;
        }
        let names: Vec<_> = group.iter().take(MAX_NAMED).filter_map(|one| one.series.clone()).collect();
        let message =
            format!("{}; same for {} and {} more", group[0].message, names.join(", "), group.len() - names.len());
        rows.push(vec![level_text(group[0].level).to_owned(), format!("{} series", group.len()), destination, message]);
    }
    output.table(&["STATE", "SERIES", "DESTINATION", "PROBLEM"], &rows);
    output.line("");
}

fn level_text(level: Level) -> &'static str {
    match level {
        Level::Good => "good",
        Level::Unknown => "unknown",
        Level::Warning => "warning",
        Level::Critical => "CRITICAL",
    }
}

/// Prints a line per series. Omits empty columns.
fn series(output: Output, all: &[SeriesStatus], zone: TimeZone) {
    let names: BTreeSet<&str> =
        all.iter().flat_map(|series| &series.destinations).map(|at| at.destination.as_str()).collect();
    let columns = if (2..=COLUMNS).contains(&names.len()) { names } else { BTreeSet::new() };
    let mut headings = vec!["SERIES".to_owned(), "JOB".to_owned(), "STATE".to_owned(), ">NEWEST".to_owned()];
    headings.extend(columns.iter().map(|name| format!(">{name}")));
    let next_run = format!("?NEXT RUN ({})", zone.name());
    let rest =
        [">COPIES", "?>VERIFIED", "?>DRILLED", "?>RESTORE", "?>RESTORE ±", ">SIZE", "?>SIZE ±", next_run.as_str()];
    headings.extend(rest.map(str::to_owned));
    let mut rows: Vec<_> = all.iter().map(|series| row(series, &columns, zone)).collect();
    let several = all.iter().any(|series| series.job != all[0].job);
    let optional = |heading: &str| ["?>RESTORE", "?>RESTORE ±", "?>SIZE ±", next_run.as_str()].contains(&heading);
    for place in (0..headings.len()).rev() {
        let is_empty = optional(&headings[place]) && rows.iter().all(|row| row[place].is_empty());
        if is_empty || headings[place] == "JOB" && !several {
            headings.remove(place);
            rows.iter_mut().for_each(|row| drop(row.remove(place)));
        }
    }
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    output.table(&headings, &rows);
}

fn row(series: &SeriesStatus, columns: &BTreeSet<&str>, zone: TimeZone) -> Vec<String> {
    let state = match series.level {
        Level::Good if series.ended.is_some() => "ended",
        level => level_text(level),
    };
    let mut row = vec![
        format!("{}/{}", series.cluster, series.subject),
        series.job.clone(),
        state.to_owned(),
        series.newest.as_ref().map_or_else(|| "none".to_owned(), old),
    ];
    row.extend(columns.iter().map(|name| {
        let at = series.destinations.iter().find(|at| at.destination == *name);
        at.map_or_else(|| "-".to_owned(), cell)
    }));
    let (size, restore) = (series.size.as_ref(), series.restore.as_ref());
    let usual = size.and_then(|size| size.median_plaintext_bytes);
    row.extend([
        format!("{} of {}", series.copies.present.len(), series.copies.wanted),
        proved(series, |at| at.verified.as_ref()),
        proved(series, |at| at.drilled.as_ref()),
        restore.map(|restore| lasting(restore.seconds)).unwrap_or_default(),
        restore.and_then(|restore| trend(restore.seconds, restore.median_seconds?, NOISE_SECONDS)).unwrap_or_default(),
        size.map_or_else(|| "-".to_owned(), |size| HumanBytes(size.plaintext_bytes).to_string()),
        size.and_then(|size| trend(size.plaintext_bytes as f64, usual? as f64, NOISE_BYTES)).unwrap_or_default(),
        series.next_run.map(|next| zone.minute(next)).unwrap_or_default(),
    ]);
    row
}

/// Returns the age and state of the newest backup at one destination.
fn cell(at: &AtDestination) -> String {
    let newest = at.newest.as_ref().map_or_else(|| "none".to_owned(), old);
    match (&at.damaged, at.stale) {
        (Some(_), _) => format!("{newest} DAMAGED"),
        (None, Some(true)) => format!("{newest} STALE"),
        (None, _) => newest,
    }
}

fn old(newest: &BackupAge) -> String {
    age(TimeDelta::seconds(newest.age_seconds.max(0)))
}

/// Returns the age of the newest backup that was verified or drilled at any destination.
fn proved(series: &SeriesStatus, of: impl Fn(&AtDestination) -> Option<&Proof>) -> String {
    let newest = series.destinations.iter().filter_map(of).max_by_key(|proved| proved.newest.time);
    newest.map_or_else(|| "never".to_owned(), |proved| old(&proved.newest))
}

fn lasting(seconds: f64) -> String {
    age(TimeDelta::seconds(seconds.round() as i64))
}

/// Returns the change from the usual value in percent, or `None` if both values are below `noise`.
fn trend(now: f64, usual: f64, noise: f64) -> Option<String> {
    (usual > 0.0 && now.max(usual) >= noise).then(|| format!("{:+.0} %", (now / usual - 1.0) * 100.0))
}

/// Prints a line per job with the outcome of its last run.
fn jobs(output: Output, jobs: &[JobStatus]) {
    let shown = jobs.iter().filter(|job| job.last_run.is_some() || job.running_since.is_some());
    let rows: Vec<_> = shown.map(job).collect();
    if !rows.is_empty() {
        output.table(&["JOB", "LAST RUN", ">ENDED", "HOST", "NOW"], &rows);
        output.line("");
    }
}

fn job(job: &JobStatus) -> Vec<String> {
    let last = |cell: fn(&RunStatus) -> String| job.last_run.as_ref().map_or_else(|| "-".to_owned(), cell);
    vec![
        job.job.clone(),
        last(|run| match run.outcome {
            Outcome::Done => "done".to_owned(),
            other => other.to_string().to_uppercase(),
        }),
        last(|run| format!("{} ago", run.age())),
        last(|run| run.host.clone()),
        job.running_since.map_or_else(String::new, |since| format!("running since {}", since.format("%Y-%m-%d %H:%M"))),
    ]
}

fn destinations(output: Output, status: &Status) {
    let rows: Vec<_> = status
        .destinations
        .iter()
        .map(|destination| match &destination.error {
            Some(_) => [&destination.name, "CANNOT BE READ", "", "", ""].map(str::to_owned).to_vec(),
            None => vec![
                destination.name.clone(),
                destination.series.to_string(),
                destination.backups.to_string(),
                HumanBytes(destination.bytes).to_string(),
                destination.free_bytes.map_or_else(|| "-".to_owned(), |free| HumanBytes(free).to_string()),
            ],
        })
        .collect();
    output.table(&["DESTINATION", ">SERIES", ">BACKUPS", ">USED", ">FREE"], &rows);
    // The problems above contain the errors; print only their hints.
    let failed = status.destinations.iter().filter_map(|at| Some((&at.name, at.error.as_ref()?.hint.as_ref()?)));
    for (destination, hint) in failed {
        output.hint(format_args!("{destination}: {hint}"));
    }
}
