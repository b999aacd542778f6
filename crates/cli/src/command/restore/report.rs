//! The report of a restore: restored, different and skipped objects, as text and JSON.

use longshore_core::check::{Finding, Outcome as Found};
use longshore_core::drill::{Comparison, ComparisonOutcome, Phase};
use longshore_core::error::printable;
use longshore_core::left_out::LeftOut;
use longshore_core::subject::Subject;
use longshore_engine::error_report::ErrorReport;
use longshore_engine::restore::{Chosen, RestoreResult, RestoredBackup};
use serde::Serialize;

use crate::command::check::state;
use crate::exit_code::Exit;
use crate::output::Output;

/// Prints the problems of a planned restore, and the objects that it would activate.
pub(super) fn plan(output: Output, findings: &[Finding], as_json: bool) -> Exit {
    let fails = findings.iter().any(|finding| finding.outcome == Found::Failed);
    let exit = if fails { Exit::Refused } else { Exit::Done };
    if as_json {
        let printed = output.json(&serde_json::json!({ "findings": findings }));
        return if printed == Exit::Done { exit } else { printed };
    }
    for finding in findings {
        let (subject, message) = (printable(&finding.subject), printable(&finding.message));
        output.state(state(finding.outcome), format_args!("{subject}: {message}"));
        if let Some(remedy) = &finding.remedy {
            output.line(format_args!("{:8} hint: {}", "", printable(remedy)));
        }
    }
    output.line("nothing was restored: --plan only checks");
    exit
}

/// A restored backup, for JSON.
#[derive(Serialize)]
struct Restoration<'a> {
    name: &'a str,
    subject: String,
    destination: &'a str,
    restored: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorReport>,
    notes: &'a [String],
    phases: &'a [Phase],
    left_out: &'a [LeftOut],
    /// The number of objects compared with the record of the dump.
    compared: usize,
    different: Vec<&'a Comparison>,
    /// The reason that nothing was compared, although the backup has a record of its dump.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_compared: Option<&'a str>,
}

/// Prints the result of each backup, and a summary.
pub(super) fn restored(output: Output, chosen: &[Chosen], restored: &[RestoreResult], as_json: bool) -> Exit {
    let exit = exit(restored);
    if as_json {
        let all: Vec<_> = chosen.iter().zip(restored).map(|(chosen, restored)| restoration(chosen, restored)).collect();
        let printed = output.json(&serde_json::json!({ "backups": all }));
        return if printed == Exit::Done { exit } else { printed };
    }
    for (chosen, restored) in chosen.iter().zip(restored) {
        match restored {
            Ok(outcome) => {
                outcome.notes.iter().for_each(|note| output.note(note));
                outcome.left_out.iter().for_each(|entry| not_made(output, &chosen.backup.manifest.subject, entry));
                compared(output, chosen, outcome);
            }
            Err(error) => drop(output.error(error)),
        }
    }
    let (wanted, whole) = (chosen.len(), restored.iter().filter(|restored| restored.is_ok()).count());
    let left_out: usize = restored.iter().flatten().map(|outcome| outcome.left_out.len()).sum();
    let backups = if whole == 1 { "backup" } else { "backups" };
    match (whole == wanted, left_out) {
        (true, 0) => output.line(format_args!("restored {whole} {backups}")),
        (true, 1) => output.line(format_args!("restored {whole} {backups}, except the entry above")),
        (true, _) => output.line(format_args!("restored {whole} {backups}, except the {left_out} entries above")),
        (false, _) => output.line(format_args!("restored {whole} of {wanted} backups")),
    }
    exit
}

/// Returns the exit code of a restore. Differences outweigh failures, failures outweigh skipped
/// entries.
fn exit(restored: &[RestoreResult]) -> Exit {
    let whole = restored.iter().flatten();
    if whole.clone().any(|outcome| different(outcome).next().is_some()) {
        return Exit::Damaged;
    }
    let worst = restored.iter().filter_map(|restored| restored.as_ref().err()).map(Exit::from).next_back();
    match worst {
        Some(worst) if restored.iter().all(Result::is_err) => worst,
        Some(_) => Exit::Partial,
        None if whole.clone().any(is_partial) => Exit::Partial,
        None => Exit::Done,
    }
}

/// Returns true if entries were skipped, or if a required comparison was not made.
fn is_partial(outcome: &RestoredBackup) -> bool {
    !outcome.left_out.is_empty() || outcome.not_compared.is_some()
}

fn restoration<'a>(chosen: &'a Chosen, restored: &'a RestoreResult) -> Restoration<'a> {
    let outcome = restored.as_ref().ok();
    Restoration {
        name: chosen.backup.name.as_str(),
        subject: chosen.backup.manifest.subject.to_string(),
        destination: &chosen.destination,
        restored: outcome.is_some(),
        error: restored.as_ref().err().map(ErrorReport::from),
        notes: outcome.map_or(&[], |outcome| &outcome.notes),
        phases: outcome.map_or(&[], |outcome| &outcome.phases),
        left_out: outcome.map_or(&[], |outcome| &outcome.left_out),
        compared: outcome.map_or(0, |outcome| same(outcome) + different(outcome).count()),
        different: outcome.into_iter().flat_map(different).collect(),
        not_compared: outcome.and_then(|outcome| outcome.not_compared.as_deref()),
    }
}

/// Prints an entry that could not be restored, with the command that creates it later.
fn not_made(output: Output, subject: &Subject, left_out: &LeftOut) {
    let (entry, why) = (printable(left_out.entry()), printable(&left_out.why));
    output.problem(&format!("{subject}: not restored: {entry}: {why}"), Some(&printable(&left_out.command)));
}

fn different(outcome: &RestoredBackup) -> impl Iterator<Item = &Comparison> {
    outcome.comparisons.iter().filter(|comparison| comparison.outcome == ComparisonOutcome::Different)
}

fn same(outcome: &RestoredBackup) -> usize {
    outcome.comparisons.iter().filter(|comparison| comparison.outcome == ComparisonOutcome::Same).count()
}

/// Prints the differences between the restored database and the record of the dump.
fn compared(output: Output, chosen: &Chosen, outcome: &RestoredBackup) {
    let subject = &chosen.backup.manifest.subject;
    let shown = |value: &Option<String>| value.as_deref().map_or_else(|| "nothing".to_owned(), printable);
    for difference in different(outcome) {
        output.problem(
            &format!(
                "{subject}: {} DIFFERS: {} was {} in the dump, and is {}",
                printable(&difference.subject),
                difference.aspect,
                shown(&difference.expected),
                shown(&difference.found)
            ),
            None,
        );
    }
    if outcome.not_compared.is_some() {
        // A warning before the restore named the cause.
        let message = format!("{subject}: restored, but not compared with the record of the dump");
        output.problem(&message, Some("run the job again: a backup without its details is damaged"));
    }
    let (same, different) = (same(outcome), different(outcome).count());
    let equal = format!("{same} {} equal", if same == 1 { "object" } else { "objects" });
    match (same, different) {
        (0, 0) => {}
        (_, 0) => output.note(format_args!("{subject}: restored and compared: {equal}")),
        _ => output.note(format_args!("{subject}: restored and compared: {equal}, {different} differ")),
    }
}
