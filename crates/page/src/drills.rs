//! The pages of drills, for operators and auditors.

use longshore_core::drill::{Comparison, ComparisonOutcome, Drill, Verdict};
use longshore_core::mark::MarkName;

use crate::Context;
use crate::layout::Layout;
use crate::table::{self, Cell, Section, Table};
use crate::text::{duration, minute, path, second};

/// The number of rows of each table.
const MAX_ROWS: usize = 1000;

/// Returns the path of the page of a drill.
fn href(name: &MarkName) -> String {
    let key = format!("{}.{}", name.backup, name.label());
    format!("/drills{}", path(&key.split('/').collect::<Vec<_>>()))
}

/// Renders the list of drills, the newest first.
pub fn list(context: &Context<'_>) -> String {
    let mut drills: Vec<_> = context.overview.iter().flat_map(|overview| &overview.drills).collect();
    drills.sort_by_key(|(name, _)| std::cmp::Reverse((name.time, &name.backup)));
    let row = |(name, destination): &(&MarkName, &String)| {
        vec![
            Cell::new(minute(name.time.time())).link(href(name)),
            Cell::new(name.backup.as_str()),
            Cell::new(destination),
        ]
    };
    let section = match drills.is_empty() {
        true => Section::default().line("quiet", "No backup was restored in a drill yet: see `longshore drill`."),
        false => Section::default().table(
            Table::new("Successful drills, the newest first", &["Ended", "Backup", "Destination"])
                .rows(drills.iter().map(row), MAX_ROWS),
        ),
    };
    table::page(Layout::new(context, "Drills", "/drills"), vec![section])
}

/// Renders the record of a drill.
pub fn page(context: &Context<'_>, drill: &Drill) -> String {
    let (class, verdict) = match drill.verdict {
        Verdict::Good if drill.compared == 0 => ("ok", "restored; nothing was compared"),
        Verdict::Good => ("ok", "restored and compared"),
        Verdict::Damaged | Verdict::Unrestorable => ("bad", "damaged"),
        Verdict::NotDrilled => ("bad", "not drilled"),
    };
    let tools: Vec<_> = drill.tools.iter().map(|tool| format!("{} {}", tool.name, tool.version)).collect();
    let facts = Section::default()
        .line(class, verdict)
        .line("quiet", &drill.why)
        .fact("Backup", drill.backup.as_str())
        .fact("Destination", &drill.destination)
        .fact("Restored into", &drill.scratch)
        .fact("By", format!("{}, Longshore {}", drill.by, drill.longshore))
        .fact("Programs", tools.join(", "))
        .fact("Started", second(drill.started))
        .fact("Ended", second(drill.finished))
        .fact("Time to have the data back", duration(drill.restore_seconds()))
        .fact("Comparisons", drill.compared.to_string())
        .fact("Differences", drill.different.to_string());
    let phase = |phase: &longshore_core::drill::Phase| {
        let part = if phase.restores { "restore" } else { "verification" };
        vec![Cell::new(&phase.name), Cell::new(duration(phase.seconds)), Cell::new(part)]
    };
    let answer = |answer: &longshore_core::drill::AssertionResult| {
        let (class, result) = if answer.good { ("good", "as expected") } else { ("critical", "different") };
        vec![
            Cell::new(&answer.database),
            Cell::new(&answer.query),
            Cell::new(&answer.expected),
            Cell::new(&answer.found),
            Cell::classed(class, result),
        ]
    };
    let comparisons = Table::new("Comparisons", &["Object", "Aspect", "Recorded", "Restored", "Result"])
        .rows(drill.comparisons.iter().map(compared), MAX_ROWS);
    let tables = Section::default()
        .table(Table::new("Phases", &["Phase", "Time#", "Part of"]).rows(drill.phases.iter().map(phase), MAX_ROWS))
        .table(
            Table::new("Queries", &["Database", "Query", "Expected", "Found", "Result"])
                .rows(drill.answers.iter().map(answer), MAX_ROWS),
        )
        .table(comparisons);
    let note = match drill.comparisons.is_empty() && drill.compared > 0 {
        true => "The comparisons are in an encrypted file beside the record.",
        false => "",
    };
    let title = format!("Drill of {}", drill.backup.file_name());
    table::page(Layout::new(context, title, "/drills"), vec![facts, tables.line("quiet", note)])
}

fn compared(comparison: &Comparison) -> Vec<Cell> {
    let result = match &comparison.outcome {
        ComparisonOutcome::Same => Cell::classed("good", "same"),
        ComparisonOutcome::Different => Cell::classed("critical", "different"),
        ComparisonOutcome::Expected(reason) => Cell::new(format!("differs, as expected: {reason}")),
        ComparisonOutcome::Not(reason) => Cell::classed("unknown", format!("not compared: {reason}")),
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    vec![
        Cell::new(&comparison.subject),
        Cell::new(&comparison.aspect),
        Cell::new(text(&comparison.expected)),
        Cell::new(text(&comparison.found)),
        result,
    ]
}
