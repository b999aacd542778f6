//! The page of a series: its calendar at each destination, its growth, and each backup with the
//! reasons of retention.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use longshore_core::key::BackupName;
use longshore_engine::listing::{Condition, Description, ListedBackup};
use longshore_engine::prune::{Pruned, SeriesPruned};
use longshore_engine::status::SeriesStatus;
use longshore_retention::describe_reasons;

use crate::Context;
use crate::drawing::{Day, DayState, calendar, curve};
use crate::layout::Layout;
use crate::overview::{by_series, plaintext_bytes, rto, worst_gap};
use crate::table::{self, Cell, Section, Table};
use crate::text::{age, bytes, level, minute, path, seconds, shown, until};

/// The number of backups that are shown.
const MAX_BACKUPS: usize = 400;

/// The decision about a backup at a destination.
struct Decision<'a> {
    destination: &'a str,
    state: DayState,
    reason: String,
}

/// Renders the page of the series of a cluster and subject, as used in names. Returns `None` if
/// there is none.
pub fn page(context: &Context<'_>, cluster: &str, subject: &str) -> Option<String> {
    let overview = context.overview?;
    let backups = by_series(overview);
    let mut sections = Vec::new();
    for (key, backups) in backups.iter().filter(|((of, named, _), _)| of == cluster && named == subject) {
        let job = &key.2;
        let series = overview
            .status
            .series
            .iter()
            .find(|series| series.cluster == cluster && series.subject == subject && series.job == *job);
        let decisions = decisions(&overview.retention, cluster, subject, job);
        sections.push(facts(context, job, series, backups));
        for pruned in &overview.retention {
            let own = pruned.series.iter().find(|it| it.cluster == cluster && it.subject == subject && it.job == *job);
            sections.extend(own.map(|own| calendar_section(&pruned.destination, own, backups, &decisions)));
        }
        sections.push(growth(backups));
        sections.push(Section::new("Backups").table(backups_table(context, backups, &decisions)));
    }
    if sections.is_empty() {
        return None;
    }
    let title = shown(&format!("{cluster}/{subject}"));
    Some(table::page(Layout::new(context, title, "/"), sections))
}

fn facts(context: &Context<'_>, job: &str, series: Option<&SeriesStatus>, backups: &[&ListedBackup]) -> Section {
    let now = context.now;
    let mut section = Section::new(format!("Job {}", shown(job)));
    let Some(series) = series else {
        return section.line("quiet", "files of another program, adopted as backups");
    };
    let issues = context.overview.map(|overview| overview.status.attention.as_slice()).unwrap_or_default();
    let name = format!("{}/{}", series.cluster, series.subject);
    for issue in issues.iter().filter(|issue| issue.series.as_ref() == Some(&name) && issue.job.as_deref() == Some(job))
    {
        let at = issue.destination.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
        section = section.line(level(issue.level).1, &format!("{}{at}: {}", level(issue.level).0, issue.message));
    }
    let copies = &series.copies;
    let named = |label: &str, names: &[String]| match names.is_empty() {
        true => String::new(),
        false => format!("; {label} {}", names.join(", ")),
    };
    let rows = series.destinations.iter().map(|at| {
        let newest = at.newest.as_ref();
        let proved = |proof: &Option<longshore_engine::status::Proof>| {
            proof.as_ref().map_or_else(|| "never".to_owned(), |proof| format!("{} ago", age(now, proof.proved)))
        };
        vec![
            Cell::new(&at.destination).link(path(&["destinations", &at.destination])),
            Cell::new(newest.map(|newest| minute(newest.time)).unwrap_or_default()),
            Cell::new(newest.map(|newest| age(now, newest.time)).unwrap_or_default()),
            Cell::new(worst_gap(context, series, &at.destination, backups).map(seconds).unwrap_or_default()),
            Cell::new(at.backups.to_string()),
            Cell::new(bytes(at.bytes)),
            Cell::new(proved(&at.verified)),
            Cell::new(proved(&at.drilled)),
        ]
    });
    let headings =
        ["Destination", "Newest good", "RPO now#", "RPO worst#", "Backups#", "Size#", "Verified#", "Drilled#"];
    section
        .fact("State", level(series.level).0)
        .fact("Maximum age", series.max_age_seconds.map(seconds).unwrap_or_else(|| "not set".to_owned()))
        .fact(
            "Copies",
            format!(
                "{} of {}{}{}",
                copies.present.len(),
                copies.wanted,
                named("missing at", &copies.missing),
                named("not visible:", &copies.unseen)
            ),
        )
        .fact("RTO", rto(series, backups).unwrap_or_else(|| "never drilled".to_owned()))
        .fact(
            "Next run",
            series.next_run.map(|next| format!("{}, {}", minute(next), until(now, next))).unwrap_or_default(),
        )
        .fact("Ended", series.ended.map(minute).unwrap_or_default())
        .fact("Tables", series.tables.as_ref().map(|tables| tables.now.to_string()).unwrap_or_default())
        .table(Table::new("Destinations", &headings).rows(rows, MAX_BACKUPS))
}

/// Returns the decisions of retention about each backup of a series.
fn decisions<'a>(
    retention: &'a [Pruned],
    cluster: &str,
    subject: &str,
    job: &str,
) -> BTreeMap<&'a BackupName, Vec<Decision<'a>>> {
    let mut all: BTreeMap<&BackupName, Vec<Decision<'_>>> = BTreeMap::new();
    for pruned in retention {
        let own = pruned.series.iter().filter(|it| it.cluster == cluster && it.subject == subject && it.job == job);
        for series in own {
            let destination = pruned.destination.as_str();
            for kept in &series.keep {
                let reason = match &series.refused {
                    Some(refused) => refused.message.clone(),
                    None => describe_reasons(&kept.reasons),
                };
                all.entry(&kept.name).or_default().push(Decision { destination, state: DayState::Kept, reason });
            }
            for removed in &series.remove {
                let reason = removed.cause.to_string();
                all.entry(&removed.name).or_default().push(Decision { destination, state: DayState::Removed, reason });
            }
        }
    }
    all
}

fn calendar_section(
    destination: &str,
    series: &SeriesPruned,
    backups: &[&ListedBackup],
    decisions: &BTreeMap<&BackupName, Vec<Decision<'_>>>,
) -> Section {
    let mut days: BTreeMap<NaiveDate, Day> = BTreeMap::new();
    for backup in backups {
        let Some(copy) = backup.copies.iter().find(|copy| *copy.destination == *destination) else { continue };
        let own = decisions.get(&backup.name).into_iter().flatten();
        let Some(decision) = own.into_iter().find(|decision| decision.destination == destination) else { continue };
        let is_held = backup.held.as_ref().is_some_and(|held| held.destinations.iter().any(|at| at == destination));
        let state = match (copy.condition, is_held) {
            (Condition::Damaged, _) => DayState::Damaged,
            (_, true) => DayState::Held,
            _ => decision.state,
        };
        let is_drilled = backup.drilled_at.iter().any(|at| at == destination);
        let local = backup.time().with_timezone(&series.timezone);
        let title = shown(&format!("{} {}: {}", local.format("%Y-%m-%d %H:%M"), state.word(), decision.reason));
        let day = days.entry(local.date_naive()).or_insert(Day { state, is_drilled: false, title: String::new() });
        day.state = day.state.max(state);
        day.is_drilled |= is_drilled;
        if day.title.len() < 400 {
            let separator = if day.title.is_empty() { "" } else { "\n" };
            day.title += &format!("{separator}{title}");
        }
    }
    let (kept, removed) = (series.keep.len(), series.remove.len());
    let label = shown(&format!(
        "Calendar of the backups at {destination}: {kept} kept, {removed} to be removed; the table below has all of them"
    ));
    Section::new(format!("Calendar at {}", shown(destination)))
        .line("quiet", &format!("Policy: {}. {kept} kept, {removed} to be removed by the next prune.", series.policy))
        .drawing(calendar(&days, &label))
}

fn growth(backups: &[&ListedBackup]) -> Section {
    let mut points: Vec<_> =
        backups.iter().filter_map(|backup| Some((backup.time(), plaintext_bytes(backup)?))).collect();
    points.sort();
    let drawing = curve(&points, "Size of the dumps over time", bytes);
    if drawing.is_empty() { Section::default() } else { Section::new("Size of the dumps").drawing(drawing) }
}

fn backups_table(
    context: &Context<'_>,
    backups: &[&ListedBackup],
    decisions: &BTreeMap<&BackupName, Vec<Decision<'_>>>,
) -> Table {
    let mut newest_first = backups.to_vec();
    newest_first.sort_by_key(|backup| std::cmp::Reverse(backup.time()));
    let rows = newest_first.into_iter().map(|backup| row(context, backup, decisions));
    let headings = ["Time", "Age#", "Size#", "Retention", "Verified at", "Drilled at", "Held", "Copies", "Name"];
    Table::new("Backups, the newest first", &headings).rows(rows, MAX_BACKUPS)
}

fn row(
    context: &Context<'_>,
    backup: &ListedBackup,
    decisions: &BTreeMap<&BackupName, Vec<Decision<'_>>>,
) -> Vec<Cell> {
    let copies: Vec<_> = backup.copies.iter().map(|copy| format!("{}: {}", copy.destination, copy.text)).collect();
    let worst = backup.copies.iter().map(|copy| copy.condition);
    let class = match worst.clone().any(|it| it == Condition::Damaged) {
        true => "critical",
        false if worst.clone().any(|it| it == Condition::Doubtful) => "warning",
        false => "",
    };
    let held = backup.held.as_ref().map(|held| match held.until {
        Some(until) => format!("until {}: {}", minute(until), held.why),
        None => held.why.clone(),
    });
    let kind = match &backup.description {
        Description::Backup(manifest) if manifest.is_incremental() => ", incremental",
        Description::Backup(manifest) if manifest.is_difference() => ", difference",
        _ => "",
    };
    vec![
        Cell::new(minute(backup.time())),
        Cell::new(age(context.now, backup.time())),
        Cell::new(format!("{}{kind}", bytes(backup.bytes()))),
        Cell::new(decision_text(decisions.get(&backup.name).map(Vec::as_slice).unwrap_or_default())),
        Cell::new(backup.verified_at.join(", ")),
        Cell::new(backup.drilled_at.join(", ")),
        Cell::new(held.unwrap_or_default()),
        Cell::classed(class, copies.join(", ")),
        Cell::new(backup.name.file_name()),
    ]
}

/// Describes the decisions about a backup: once, if they are the same everywhere.
fn decision_text(decisions: &[Decision<'_>]) -> String {
    let text = |decision: &Decision<'_>| format!("{}: {}", decision.state.word(), decision.reason);
    let mut by_text: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for decision in decisions {
        by_text.entry(text(decision)).or_default().push(decision.destination);
    }
    match by_text.len() {
        0 => "kept: no policy".to_owned(),
        1 => by_text.into_keys().next().unwrap_or_default(),
        _ => by_text.iter().map(|(text, at)| format!("at {} {text}", at.join(", "))).collect::<Vec<_>>().join("; "),
    }
}
