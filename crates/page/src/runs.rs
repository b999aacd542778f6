//! The pages of run reports.

use longshore_core::run_report::{DestinationOutcome, RunReport, SubjectOutcome};
use longshore_engine::overview::LastRun;

use crate::Context;
use crate::layout::Layout;
use crate::overview::outcome_class;
use crate::table::{self, Cell, Section, Table};
use crate::text::{bytes, duration, path, second};

/// The number of rows of each table.
const MAX_ROWS: usize = 500;

/// Renders the list of runs, the newest first.
pub fn list(context: &Context<'_>) -> String {
    let runs = context.overview.map(|overview| overview.runs.as_slice()).unwrap_or_default();
    let row = |run: &LastRun| {
        let report = &run.report;
        let outcome = report.outcome.to_string();
        vec![
            Cell::new(second(report.begun)).link(path(&["runs", &report.id.to_string()])),
            Cell::new(&report.verb),
            Cell::new(report.job.as_deref().unwrap_or_default()),
            Cell::classed(outcome_class(&outcome), &outcome),
            Cell::new(took(report)),
            Cell::new(report.subjects.len().to_string()),
            Cell::new(&report.host),
            Cell::new(reason(run).unwrap_or_default()),
        ]
    };
    let headings = ["Begun", "Verb", "Job", "Outcome", "Time#", "Subjects#", "Host", "Reason"];
    let section = Section::default();
    let section = match runs.is_empty() {
        true => section.line("quiet", "No run has left a report yet."),
        false => section.table(Table::new("Runs, the newest first", &headings).rows(runs.iter().map(row), MAX_ROWS)),
    };
    table::page(Layout::new(context, "Runs", "/runs"), vec![section])
}

/// Renders the report of a run. Returns `None` if no report has this id.
pub fn page(context: &Context<'_>, id: &str) -> Option<String> {
    let run = context.overview?.runs.iter().find(|run| run.report.id.to_string() == id)?;
    let report = &run.report;
    let outcome = report.outcome.to_string();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let facts = Section::default()
        .line(
            outcome_class(&outcome),
            &format!("{outcome}{}", reason(run).map(|it| format!(": {it}")).unwrap_or_default()),
        )
        .fact("Job", text(&report.job))
        .fact("Cluster", text(&report.cluster))
        .fact("Host", &report.host)
        .fact("Begun", second(report.begun))
        .fact("Ended", report.ended.map(second).unwrap_or_default())
        .fact("Time", took(report))
        .fact("Exit code", report.exit_code.map(|code| code.to_string()).unwrap_or_default())
        .fact("Error", report.error.as_ref().map(ToString::to_string).unwrap_or_default())
        .fact("Hint", text(&run.details.hint))
        .fact("Run of the backups", text(&report.run))
        .fact("Longshore", &report.longshore)
        .fact("Read from", run.destination.clone().unwrap_or_else(|| "this host".to_owned()));
    let subject = |subject: &SubjectOutcome| {
        let outcome = subject.outcome.to_string();
        vec![
            Cell::new(&subject.subject),
            Cell::classed(outcome_class(&outcome), &outcome),
            Cell::new(subject.plaintext_bytes.map(bytes).unwrap_or_default()),
            Cell::new(subject.sealed_bytes.map(bytes).unwrap_or_default()),
            Cell::new(subject.seconds.map(duration).unwrap_or_default()),
            Cell::new(subject.destinations.iter().map(destination).collect::<Vec<_>>().join(", ")),
            Cell::new(subject.error.as_ref().map(ToString::to_string).unwrap_or_default()),
            Cell::new(subject.not_captured.join("; ")),
        ]
    };
    let headings = ["Subject", "Outcome", "Plaintext#", "Stored#", "Time#", "Destinations", "Error", "Not captured"];
    let subjects = Table::new("Subjects", &headings).rows(report.subjects.iter().map(subject), MAX_ROWS);
    let removed = report.removed.iter().flat_map(|(at, names)| names.iter().map(move |name| (at, name)));
    let removed = removed.map(|(at, name)| vec![Cell::new(name.as_str()), Cell::new(at)]);
    let counts = report.counts.iter().map(|(name, count)| vec![Cell::new(name), Cell::new(count.to_string())]);
    let messages = run.details.subjects.iter().flat_map(|(name, lines)| lines.iter().map(move |line| (name, line)));
    let messages = messages.map(|(name, line)| vec![Cell::new(name), Cell::new(line)]);
    let left_out = report.left_out.iter().map(|at| vec![Cell::new(&at.destination), Cell::new(destination(at))]);
    let tables = Section::default()
        .table(subjects)
        .table(Table::new("Excluded destinations", &["Destination", "Result"]).rows(left_out, MAX_ROWS))
        .table(Table::new("Messages", &["Subject", "Message"]).rows(messages, MAX_ROWS))
        .table(Table::new("Removed backups", &["Backup", "Destination"]).rows(removed, MAX_ROWS))
        .table(Table::new("Counts", &["Name", "Number#"]).rows(counts, MAX_ROWS));
    let title = format!("{} of {}", report.verb, report.job.as_deref().unwrap_or("all jobs"));
    Some(table::page(Layout::new(context, title, "/runs"), vec![facts, tables]))
}

fn reason(run: &LastRun) -> Option<String> {
    run.details.first().or_else(|| run.report.error.as_ref().map(ToString::to_string))
}

fn took(report: &RunReport) -> String {
    report.ended.map(|ended| duration((ended - report.begun).as_seconds_f64())).unwrap_or_default()
}

fn destination(at: &DestinationOutcome) -> String {
    let error = at.error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
    format!("{} {}{error}", at.destination, at.outcome)
}
