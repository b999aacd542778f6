//! The pages of drills, for operators and auditors.

use longshore_core::drill::{Comparison, ComparisonOutcome, Drill, Verdict};
use longshore_core::mark::MarkName;
use longshore_engine::drill::Report;
use longshore_engine::error_report::ErrorReport;

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
    let note = match drill.comparisons.is_empty() && drill.compared > 0 {
        true => "The comparisons are in an encrypted file beside the record.",
        false => "",
    };
    let title = format!("Drill of {}", drill.backup.file_name());
    let [facts, tables] = sections(drill, Section::default(), MAX_ROWS);
    table::page(Layout::new(context, title, "/drills"), vec![facts, tables.line("quiet", note)])
}

/// Renders the report of a drill as one file that needs no service: for auditors, to print or to
/// keep. Contains all comparisons.
pub fn report(report: &Report, version: &str) -> String {
    let (class, verdict) = summary(report.verdict(), &report.drills);
    let class = if report.passed_over.is_empty() && report.refused.is_empty() { class } else { "bad" };
    let mut facts = Section::default()
        .line(class, &verdict)
        .fact("Run", &report.run)
        .fact("Destination", &report.destination)
        .fact("Scratch server created in", duration(report.scratch_seconds));
    if let (Some(first), Some(last)) = (report.drills.first(), report.drills.last()) {
        facts = facts
            .fact("Restored into", &first.scratch)
            .fact("By", format!("{}, Longshore {}", first.by, first.longshore))
            .fact("Started", second(first.started))
            .fact("Ended", second(last.finished));
    }
    let lines = |section: Section, class: &'static str, lines: &[String]| {
        lines.iter().fold(section, |section, line| section.line(class, line))
    };
    let mut all = vec![facts];
    let messages =
        |problems: &[ErrorReport]| problems.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>();
    let (refused, unfit) = (messages(&report.refused), messages(&report.unfit));
    let missing: Vec<String> = report.missing.iter().cloned().collect();
    for (heading, class, texts) in [
        ("Damaged and not drilled", "bad", &report.passed_over),
        ("Refused", "bad", &refused),
        ("Not drilled", "bad", &unfit),
        ("Missing", "bad", &missing),
        ("Notes", "quiet", &report.notes),
    ] {
        if !texts.is_empty() {
            all.push(lines(Section::new(heading), class, texts));
        }
    }
    for drill in &report.drills {
        all.extend(sections(drill, Section::new(drill.backup.as_str()), usize::MAX));
    }
    table::page(Layout::file(&format!("Restore drill of {}", report.job), version), all)
}

/// Returns the class of a verdict on these drills, and the verdict in words.
fn summary(verdict: Verdict, drills: &[Drill]) -> (&'static str, String) {
    let compared: u64 = drills.iter().map(|drill| drill.compared).sum();
    let different: u64 = drills.iter().map(|drill| drill.different).sum();
    match verdict {
        Verdict::Good if compared == 0 => ("ok", "restored; nothing was compared".to_owned()),
        Verdict::Good => {
            let same = |drill: &Drill| {
                let same = drill.comparisons.iter().filter(|it| it.outcome == ComparisonOutcome::Same).count();
                same + drill.answers.iter().filter(|answer| answer.good).count()
            };
            match drills.iter().map(same).sum::<usize>() {
                // The comparisons may be encrypted.
                0 => ("ok", "restored and compared".to_owned()),
                1 => ("ok", "restored and compared: 1 object equal".to_owned()),
                equal => ("ok", format!("restored and compared: {equal} objects equal")),
            }
        }
        Verdict::Damaged | Verdict::Unrestorable if different > 0 => {
            ("bad", format!("damaged: {different} of {compared} comparisons differ"))
        }
        Verdict::Damaged | Verdict::Unrestorable => ("bad", "damaged".to_owned()),
        Verdict::NotDrilled => ("bad", "not drilled".to_owned()),
    }
}

/// Returns the facts and the tables of a drill; each table has up to `limit` rows.
fn sections(drill: &Drill, section: Section, limit: usize) -> [Section; 2] {
    let (class, verdict) = summary(drill.verdict, std::slice::from_ref(drill));
    let tools: Vec<_> = drill.tools.iter().map(|tool| format!("{} {}", tool.name, tool.version)).collect();
    let facts = section
        .line(class, &verdict)
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
        .rows(drill.comparisons.iter().map(compared), limit);
    let tables = Section::default()
        .table(Table::new("Phases", &["Phase", "Time#", "Part of"]).rows(drill.phases.iter().map(phase), limit))
        .table(
            Table::new("Queries", &["Database", "Query", "Expected", "Found", "Result"])
                .rows(drill.answers.iter().map(answer), limit),
        )
        .table(comparisons);
    [facts, tables]
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
