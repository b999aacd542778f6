//! The first page: problems, then each series at each destination, jobs and archived WAL.

use std::collections::BTreeMap;

use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};
use longshore_engine::listing::{Description, ListedBackup};
use longshore_engine::overview::Overview;
use longshore_engine::status::{AtDestination, Issue, JobStatus, SeriesStatus, Status};

use crate::layout::Layout;
use crate::live::fragment;
use crate::text::{age, bytes, duration, level, minute, path, seconds, shown, until};
use crate::wal::{Receiver, gaps};
use crate::{Activity, Context, render};

/// The number of problems that are shown.
const MAX_ISSUES: usize = 50;
/// The period in which gaps between backups are measured.
const GAP_PERIOD: TimeDelta = TimeDelta::days(30);
/// The size below which a difference is no trend.
const MIN_TREND_BYTES: u64 = 1 << 20;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage<'a> {
    layout: Layout<'a>,
    is_read: bool,
    issues: Vec<IssueView>,
    more_issues: usize,
    has_live: bool,
    live: String,
    series: Vec<SeriesRow>,
    jobs: Vec<JobRow>,
    can_run: bool,
    receivers: Vec<ReceiverRow>,
    wal: Vec<WalRow>,
    not_captured: Vec<String>,
}

struct IssueView {
    class: &'static str,
    level: &'static str,
    subject: String,
    href: Option<String>,
    message: String,
}

struct SeriesRow {
    href: String,
    name: String,
    job: Option<String>,
    /// The attribute with the class of the state.
    class: String,
    level: &'static str,
    copies: String,
    rto: String,
    size: String,
    trend: String,
    next: String,
    max_age: String,
    /// The attribute for a cell that spans the rows of all destinations.
    span: String,
    destinations: Vec<DestinationCells>,
}

struct DestinationCells {
    name: String,
    /// The attribute with the class of the state.
    class: String,
    state: &'static str,
    rpo: String,
    gap: String,
    verified: String,
    drilled: String,
}

struct JobRow {
    name: String,
    cluster: String,
    class: &'static str,
    last: String,
    href: Option<String>,
    reason: String,
    next: String,
    run_href: String,
}

struct ReceiverRow {
    cluster: String,
    class: &'static str,
    state: &'static str,
    since: String,
    restarts: u64,
    message: String,
}

struct WalRow {
    cluster: String,
    destination: String,
    from: String,
    until: String,
    segment: String,
    stored: String,
    gaps: usize,
}

/// The backups of each series, by cluster, subject and job.
type Backups<'a> = BTreeMap<(String, String, String), Vec<&'a ListedBackup>>;

/// Renders the page.
pub fn page(context: &Context<'_>) -> String {
    // A service that starts nothing shows the runs of other programs only.
    let has_live = context.activity != Activity::View || !context.tasks.is_empty();
    let layout = Layout::new(context, "Overview", "/");
    let status = context.overview.map(|overview| &overview.status);
    let of_status = status.map(|status| status.attention.as_slice()).unwrap_or_default();
    let mut issues: Vec<&Issue> = context.issues.iter().filter(|issue| !of_status.contains(issue)).collect();
    issues.extend(of_status);
    render(&OverviewPage {
        layout: if has_live { layout.live() } else { layout },
        is_read: status.is_some() || !issues.is_empty(),
        issues: issues.iter().take(MAX_ISSUES).map(|issue| issue_view(issue, status)).collect(),
        more_issues: issues.len().saturating_sub(MAX_ISSUES),
        has_live,
        live: fragment(context.tasks),
        series: context.overview.map(|overview| series_rows(overview, context)).unwrap_or_default(),
        jobs: status.map(|status| job_rows(status, context)).unwrap_or_default(),
        can_run: context.activity == Activity::Run,
        receivers: context.receivers.iter().map(receiver_row).collect(),
        wal: context.overview.map(wal_rows).unwrap_or_default(),
        not_captured: status.map(not_captured).unwrap_or_default(),
    })
}

fn issue_view(issue: &Issue, status: Option<&Status>) -> IssueView {
    let (word, class) = level(issue.level);
    let at = issue.destination.as_ref().map(|name| format!(" at {name}")).unwrap_or_default();
    let job = issue.job.as_ref().map(|job| format!("job {job}"));
    let subject = issue.series.clone().or(job).or_else(|| issue.destination.clone()).unwrap_or_default();
    let series = issue.series.as_ref().zip(status).and_then(|(name, status)| {
        status.series.iter().find(|series| format!("{}/{}", series.cluster, series.subject) == *name)
    });
    let href = match (series, &issue.destination) {
        (Some(series), _) => Some(path(&["series", &series.cluster, &series.subject])),
        (None, Some(destination)) => Some(path(&["destinations", destination])),
        (None, None) => None,
    };
    let at = if issue.series.is_none() && issue.job.is_none() { String::new() } else { at };
    IssueView { class, level: word, subject: shown(&format!("{subject}{at}")), href, message: shown(&issue.message) }
}

/// Returns the backups of each series.
pub(crate) fn by_series(overview: &Overview) -> Backups<'_> {
    let mut all = Backups::new();
    for backup in &overview.backups {
        let series = backup.series();
        all.entry((series.cluster, series.subject.segment(), series.job)).or_default().push(backup);
    }
    all
}

fn series_rows(overview: &Overview, context: &Context<'_>) -> Vec<SeriesRow> {
    let now = context.now;
    let backups = by_series(overview);
    let names = overview.status.series.iter().map(|series| (&series.cluster, &series.subject));
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    names.for_each(|name| *counts.entry(name).or_default() += 1);
    let row = |series: &SeriesStatus| {
        let key = (series.cluster.clone(), series.subject.clone(), series.job.clone());
        let backups = backups.get(&key).map(Vec::as_slice).unwrap_or_default();
        let (word, class) = level(series.level);
        let is_shared = counts.get(&(&series.cluster, &series.subject)).is_some_and(|count| *count > 1);
        let cells = |at| destination_cells(context, series, at, backups);
        let destinations = grouped(series.destinations.iter().map(cells));
        SeriesRow {
            href: path(&["series", &series.cluster, &series.subject]),
            name: shown(&format!("{}/{}", series.cluster, series.subject)),
            job: is_shared.then(|| shown(&series.job)),
            class: class_attribute(class),
            level: if series.ended.is_some() { "ended" } else { word },
            copies: format!("{} of {}", series.copies.present.len(), series.copies.wanted),
            rto: rto(series, backups).unwrap_or_else(|| "never".to_owned()),
            size: series.size.as_ref().map(|size| bytes(size.plaintext_bytes)).unwrap_or_default(),
            trend: trend(series),
            next: series.next_run.map(|next| until(now, next)).unwrap_or_default(),
            max_age: series.max_age_seconds.map(seconds).unwrap_or_default(),
            span: if destinations.len() > 1 { format!(" rowspan=\"{}\"", destinations.len()) } else { String::new() },
            destinations,
        }
    };
    overview.status.series.iter().map(row).collect()
}

fn destination_cells(
    context: &Context<'_>,
    series: &SeriesStatus,
    at: &AtDestination,
    backups: &[&ListedBackup],
) -> DestinationCells {
    let now = context.now;
    let (state, class) = if at.damaged.is_some() {
        ("damaged", "critical")
    } else if series.ended.is_some() {
        ("ended", "good")
    } else if at.stale == Some(true) {
        ("stale", "critical")
    } else if at.newest.is_none() {
        ("none", "warning")
    } else if at.stale.is_none() {
        ("no limit", "unknown")
    } else {
        ("good", "good")
    };
    DestinationCells {
        name: shown(&at.destination),
        class: class_attribute(class),
        state,
        rpo: at.newest.as_ref().map(|newest| age(now, newest.time)).unwrap_or_default(),
        gap: worst_gap(context, series, &at.destination, backups).map(seconds).unwrap_or_default(),
        verified: at.verified.as_ref().map_or_else(|| "never".to_owned(), |proof| age(now, proof.proved)),
        drilled: at.drilled.as_ref().map_or_else(|| "never".to_owned(), |proof| age(now, proof.proved)),
    }
}

/// Combines the destinations in the same state.
fn grouped(all: impl Iterator<Item = DestinationCells>) -> Vec<DestinationCells> {
    let mut groups: Vec<DestinationCells> = Vec::new();
    for cells in all {
        match groups.iter_mut().find(|group| group.has_state_of(&cells)) {
            Some(group) => group.name += &format!(", {}", cells.name),
            None => groups.push(cells),
        }
    }
    groups
}

impl DestinationCells {
    fn has_state_of(&self, other: &Self) -> bool {
        let state = |cells: &Self| {
            let Self { name: _, class: _, state, rpo, gap, verified, drilled } = cells;
            (*state, rpo.clone(), gap.clone(), verified.clone(), drilled.clone())
        };
        state(self) == state(other)
    }
}

/// Returns the attribute of a class. The table of hundreds of series has none for good states.
fn class_attribute(class: &str) -> String {
    if class == "good" { String::new() } else { format!(" class=\"{class}\"") }
}

/// Returns the longest time without a new good backup in the last 30 days, in seconds: by the
/// reports of runs, else by the backups, unless retention removes some of them.
pub(crate) fn worst_gap(
    context: &Context<'_>,
    series: &SeriesStatus,
    destination: &str,
    backups: &[&ListedBackup],
) -> Option<i64> {
    let own = context.config.jobs.get(&series.job).filter(|job| job.site.cluster.name == series.cluster);
    let is_complete = own.is_some_and(|job| !job.retention.contains_key(destination));
    series.worst_gap_seconds.or_else(|| longest_gap(destination, backups, context.now).filter(|_| is_complete))
}

fn longest_gap(destination: &str, backups: &[&ListedBackup], now: DateTime<Utc>) -> Option<i64> {
    let since = now - GAP_PERIOD;
    let good = backups.iter().filter(|backup| backup.is_good_at(destination));
    let mut times: Vec<_> = good.map(|backup| backup.time()).filter(|time| *time <= now).collect();
    times.sort();
    // The gap before the first backup of the period begins with the last backup before it.
    let begin = times.partition_point(|time| *time < since).saturating_sub(1);
    let times = times.get(begin..).unwrap_or_default();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.chain(times.last().map(|last| now - *last)).max().map(|gap| gap.num_seconds())
}

/// Returns the time of the last drill to have the data back, scaled by the size of the newest
/// backup if that is larger.
pub(crate) fn rto(series: &SeriesStatus, backups: &[&ListedBackup]) -> Option<String> {
    let drill = series.restore.as_ref()?.drills.last()?;
    let drilled = backups.iter().find(|backup| backup.name == drill.backup).and_then(|backup| plaintext_bytes(backup));
    let newest = series.size.as_ref().map(|size| size.plaintext_bytes);
    let scale = match (drilled, newest) {
        (Some(drilled), Some(newest)) if newest > drilled && drilled > 0 => newest as f64 / drilled as f64,
        _ => 1.0,
    };
    Some(duration(drill.seconds * scale))
}

/// Returns the number of bytes of a backup's dump.
pub(crate) fn plaintext_bytes(backup: &ListedBackup) -> Option<u64> {
    match &backup.description {
        Description::Backup(manifest) => Some(manifest.artifact.plaintext.bytes),
        Description::Adopted(_) => None,
    }
}

/// Returns the change of the size against the median of the previous dumps.
fn trend(series: &SeriesStatus) -> String {
    let Some((now, usual)) =
        series.size.as_ref().and_then(|size| Some((size.plaintext_bytes, size.median_plaintext_bytes?)))
    else {
        return String::new();
    };
    if now.abs_diff(usual) < MIN_TREND_BYTES || usual == 0 {
        return String::new();
    }
    let percent = (now as f64 - usual as f64) / usual as f64 * 100.0;
    format!("{percent:+.0} %")
}

fn job_rows(status: &Status, context: &Context<'_>) -> Vec<JobRow> {
    let row = |job: &JobStatus| {
        let outcome = job.last_run.as_ref().map(|run| run.outcome.to_string());
        let last = match (&job.running_since, &job.last_run) {
            (Some(since), _) => format!("running since {}", minute(*since)),
            (None, Some(run)) => {
                let ended = age(context.now, run.ended.unwrap_or(run.begun));
                format!("{} {ended} ago", outcome.as_deref().unwrap_or_default())
            }
            (None, None) => "never".to_owned(),
        };
        let own = status.series.iter().filter(|series| series.job == job.job && series.cluster == job.cluster);
        let next = own.filter_map(|series| series.next_run).min();
        JobRow {
            name: shown(&job.job),
            cluster: shown(&job.cluster),
            class: outcome.as_deref().map_or("unknown", outcome_class),
            last,
            href: job.last_run.as_ref().map(|run| path(&["runs", &run.id])),
            reason: job.last_run.as_ref().and_then(|run| run.reason.as_deref()).map(shown).unwrap_or_default(),
            next: next.map(|next| until(context.now, next)).unwrap_or_default(),
            run_href: path(&["jobs", &job.job, "run"]),
        }
    };
    status.jobs.iter().map(row).collect()
}

/// Returns the class of an outcome's word.
pub(crate) fn outcome_class(outcome: &str) -> &'static str {
    match outcome {
        "done" | "good" => "good",
        "partial" | "interrupted" | "locked" | "skipped" => "warning",
        _ => "critical",
    }
}

fn receiver_row(receiver: &Receiver) -> ReceiverRow {
    let (state, class) = receiver.words();
    ReceiverRow {
        cluster: shown(&receiver.cluster),
        class,
        state,
        since: minute(receiver.since),
        restarts: receiver.restarts,
        message: receiver.message.as_deref().map(shown).unwrap_or_default(),
    }
}

fn wal_rows(overview: &Overview) -> Vec<WalRow> {
    let time = |time: Option<DateTime<Utc>>| time.map(minute).unwrap_or_default();
    let row = |wal: &longshore_engine::status::WalStatus| {
        let of_cluster = overview.wal.iter().filter(|it| it.cluster == wal.cluster);
        let archives = of_cluster.flat_map(|cluster| &cluster.archives.archives);
        let mut own = archives.filter(|archive| {
            archive.destination == wal.destination && archive.system_identifier == wal.system_identifier
        });
        WalRow {
            cluster: shown(&wal.cluster),
            destination: shown(&wal.destination),
            from: time(wal.recoverable_from),
            until: time(wal.recoverable_until),
            segment: shown(&wal.last_segment),
            stored: time(wal.last_stored),
            gaps: own.next().map(gaps).unwrap_or_default(),
        }
    };
    overview.status.wal.iter().map(row).collect()
}

fn not_captured(status: &Status) -> Vec<String> {
    let line = |missing: &longshore_engine::status::NotCaptured| {
        let subject = missing.subject.as_ref().map(|subject| format!("{subject}: ")).unwrap_or_default();
        shown(&format!("{}, job {}: {subject}{}", missing.cluster, missing.job, missing.parts.join("; ")))
    };
    status.not_captured.iter().map(line).collect()
}
