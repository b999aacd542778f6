//! The HTML report of a drill: one printable file without scripts.

use std::fmt::Write;

use longshore_core::drill::{Comparison, ComparisonOutcome, Drill, Verdict};
use longshore_core::error::printable;
use longshore_engine::drill::Report;

use super::result;

const STYLE: &str = "
body { font: 10pt/1.4 sans-serif; color: #111; max-width: 60em; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 16pt; } h2 { font-size: 12pt; margin-top: 2em; border-bottom: 1px solid #999; }
table { border-collapse: collapse; width: 100%; margin: 0.5em 0; }
th, td { text-align: left; vertical-align: top; padding: 0.15em 0.6em 0.15em 0; border-bottom: 1px solid #ddd; overflow-wrap: anywhere; }
th { font-weight: 600; } .bad { font-weight: 700; color: #a00; } .good { color: #060; }
code { font-family: monospace; white-space: pre-wrap; }
@media print { body { margin: 0; max-width: none; } tr { break-inside: avoid; } thead { display: table-header-group; } }
";

/// Renders the report as HTML.
pub(super) fn render(report: &Report) -> String {
    let mut page = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    let job = escaped(&report.job);
    let (state, details) = result(report.verdict(), &report.drills);
    page += &format!("<title>Restore drill of {job}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n");
    page += &format!("<h1>Restore drill of {job}</h1>\n");
    let is_good = report.verdict() == Verdict::Good && report.passed_over.is_empty();
    let class = if is_good { "good" } else { "bad" };
    page += &format!("<p class=\"{class}\">{state}{}</p>\n", escaped(&details));
    let mut facts = vec![
        ("run", report.run.clone()),
        ("destination", report.destination.clone()),
        ("scratch cluster created in", format!("{:.1} s", report.scratch_seconds)),
    ];
    if let (Some(first), Some(last)) = (report.drills.first(), report.drills.last()) {
        facts.push(("restored into", first.scratch.clone()));
        facts.push(("by", format!("{}, Longshore {}", first.by, first.longshore)));
        facts.push(("started", first.started.format("%Y-%m-%d %H:%M:%S UTC").to_string()));
        facts.push(("ended", last.finished.format("%Y-%m-%d %H:%M:%S UTC").to_string()));
    }
    page += &pairs(&facts);
    list(&mut page, "Damaged and not drilled", &report.passed_over);
    list(&mut page, "Notes", &report.notes);
    let problems: Vec<_> = report.unfit.iter().map(|problem| problem.message.clone()).collect();
    list(&mut page, "Not drilled", &problems);
    for drill in &report.drills {
        drill_section(&mut page, drill);
    }
    page += "</body>\n</html>\n";
    page
}

/// Adds the section of one backup.
fn drill_section(page: &mut String, drill: &Drill) {
    let class = if drill.verdict == Verdict::Good { "good" } else { "bad" };
    let (state, details) = result(drill.verdict, std::slice::from_ref(drill));
    *page += &format!(
        "<h2>{}</h2>\n<p class=\"{class}\">{state}{}</p>\n",
        escaped(drill.backup.as_str()),
        escaped(&details)
    );
    if !drill.why.is_empty() {
        *page += &format!("<p>{}</p>\n", escaped(&drill.why));
    }
    let tools: Vec<_> = drill.tools.iter().map(|tool| format!("{} {}", tool.name, tool.version)).collect();
    *page += &pairs(&[
        ("programs", tools.join(", ")),
        ("restored in", format!("{:.1} s", drill.restore_seconds())),
        ("compared", drill.compared.to_string()),
        ("different", drill.different.to_string()),
    ]);
    let phases = drill.phases.iter().map(|phase| vec![phase.name.clone(), format!("{:.3} s", phase.seconds)]);
    table(page, &["phase", "took"], phases);
    let answers = drill.answers.iter().map(|answer| {
        let result = if answer.good { "good" } else { "BAD" };
        vec![
            answer.database.clone(),
            answer.query.clone(),
            answer.expected.clone(),
            answer.found.clone(),
            result.to_owned(),
        ]
    });
    table(page, &["database", "query", "expected", "found", "result"], answers);
    table(page, &["object", "aspect", "recorded", "restored", "result"], drill.comparisons.iter().map(compared));
}

fn compared(comparison: &Comparison) -> Vec<String> {
    let result = match &comparison.outcome {
        ComparisonOutcome::Same => "same".to_owned(),
        ComparisonOutcome::Different => "DIFFERENT".to_owned(),
        ComparisonOutcome::Expected(reason) => format!("differs, as expected: {reason}"),
        ComparisonOutcome::Not(reason) => format!("not compared: {reason}"),
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    vec![
        comparison.subject.clone(),
        comparison.aspect.clone(),
        text(&comparison.expected),
        text(&comparison.found),
        result,
    ]
}

fn pairs(facts: &[(&str, String)]) -> String {
    let rows = facts.iter().map(|(name, value)| format!("<tr><th>{name}</th><td>{}</td></tr>\n", escaped(value)));
    format!("<table>\n{}</table>\n", rows.collect::<String>())
}

fn table(page: &mut String, headings: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let mut body = String::new();
    for row in rows {
        let cells: String = row.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
        // Writing to a `String` cannot fail.
        writeln!(body, "<tr>{cells}</tr>").ok();
    }
    if !body.is_empty() {
        let heads: String = headings.iter().map(|heading| format!("<th>{heading}</th>")).collect();
        *page += &format!("<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n");
    }
}

fn list(page: &mut String, heading: &str, lines: &[String]) {
    if !lines.is_empty() {
        let items: String = lines.iter().map(|line| format!("<li>{}</li>\n", escaped(line))).collect();
        *page += &format!("<h2>{heading}</h2>\n<ul>\n{items}</ul>\n");
    }
}

/// Escapes text for HTML.
fn escaped(text: &str) -> String {
    printable(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_html() {
        assert_eq!(escaped("<script>\"&'\u{1b}"), "&lt;script&gt;&quot;&amp;&#39;\\u{1b}");
    }
}
