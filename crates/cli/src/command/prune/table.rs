//! The report of a prune: a table of decisions, and problems.

use longshore_core::error::printable;
use longshore_service::prune::{Mode, Pruned, SeriesPruned, format_time};
use longshore_service::sweep::Swept;

use crate::output::Output;

/// Prints all backups, oldest first, with decisions and reasons.
pub(in crate::command) fn print(output: Output, all: &[Pruned], mode: Mode) {
    let mut rows = Vec::new();
    for pruned in all {
        for series in &pruned.series {
            rows.extend(decision_rows(series, mode).into_iter().map(|mut row| {
                row.insert(0, pruned.destination.clone());
                row
            }));
        }
        for swept in &pruned.swept {
            let decision = removal_result(swept.error.is_some(), mode);
            rows.push(vec![pruned.destination.clone(), swept.name.clone(), decision, sweep_reason(swept)]);
        }
    }
    if all.is_empty() {
        output.note("no job has a retention policy, and nothing is adopted");
    } else if rows.is_empty() {
        output.note("no backups");
    } else {
        output.table(&["DESTINATION", "BACKUP", "DECISION", "REASON"], &rows);
    }
    print_notes(output, all);
}

/// Prints problems, files that were not adopted, and series that have ended.
pub(super) fn print_notes(output: Output, all: &[Pruned]) {
    for pruned in all {
        print_errors(output, pruned);
        print_not_adopted(output, pruned);
        for series in &pruned.series {
            if let Some(ended) = series.ended.filter(|_| !series.keep.is_empty()) {
                output.note(format_args!(
                    "{}/{} at \"{}\" has had no new backup since {}: its last backups are kept until `longshore prune --retired {}/{}`",
                    series.cluster, series.subject, pruned.destination, format_time(ended), series.cluster, series.subject
                ));
            }
        }
    }
}

/// Prints the number of files that match neither a backup nor an adopt, with examples.
fn print_not_adopted(output: Output, pruned: &Pruned) {
    let number = pruned.not_adopted.len();
    let examples = pruned.not_adopted.iter().take(3).map(|file| format!("{} ({})", file.key, file.why));
    if number > 0 {
        output.note(format_args!(
            "skipped at \"{}\", not adopted: {number} {}, such as {}",
            pruned.destination,
            if number == 1 { "file" } else { "files" },
            examples.collect::<Vec<_>>().join(", ")
        ));
    }
}

/// Returns the reason for removing a file of an interrupted upload.
pub(super) fn sweep_reason(swept: &Swept) -> String {
    match swept.orphan {
        true => format!("no manifest since {}", swept.since.date_naive()),
        false => format!("interrupted upload of {}", swept.since.date_naive()),
    }
}

/// Returns the rows of a series, oldest first: name, decision, reason.
fn decision_rows(series: &SeriesPruned, mode: Mode) -> Vec<Vec<String>> {
    let keep = series.keep.iter().map(|kept| {
        let reasons = super::keep_reason(series, &kept.reasons);
        (kept.time, vec![kept.name.to_string(), "kept".to_owned(), reasons])
    });
    let remove = series.remove.iter().map(|removed| {
        let failed = series.failed.iter().any(|(failed, _)| *failed == removed.name);
        let why = removed.why.as_ref().map_or_else(String::new, |why| format!(": {}", printable(why)));
        (removed.time, vec![removed.name.to_string(), removal_result(failed, mode), format!("{}{why}", removed.cause)])
    });
    let mut all: Vec<_> = keep.chain(remove).collect();
    all.sort_by_key(|(time, _)| *time);
    all.into_iter().map(|(_, row)| row).collect()
}

/// Returns the result of a removal.
fn removal_result(failed: bool, mode: Mode) -> String {
    match (failed, mode) {
        (true, _) => "REMOVAL FAILED",
        (false, Mode::DryRun) => "would remove",
        (false, Mode::Act) => "removed",
    }
    .to_owned()
}

/// Prints the removals of retention at the end of a run.
pub(in crate::command) fn print_removals(output: Output, pruned: &Pruned) {
    let removed: usize = pruned.series.iter().map(|series| series.remove.len() - series.failed.len()).sum();
    if removed > 0 {
        output.note(format_args!("removed {removed} old backups at \"{}\"", pruned.destination));
    }
    // Name each file: its name is that of a backup file.
    for swept in pruned.swept.iter().filter(|swept| swept.orphan && swept.error.is_none()) {
        output.note(format_args!("removed {} at \"{}\": {}", swept.name, pruned.destination, sweep_reason(swept)));
    }
    print_errors(output, pruned);
}

fn print_errors(output: Output, pruned: &Pruned) {
    if let Some(error) = &pruned.error {
        output.problem(
            &format!("nothing was pruned at \"{}\": {}", pruned.destination, error.message),
            error.hint.as_deref(),
        );
    }
    for error in &pruned.problems {
        output.problem(&format!("at \"{}\": {}", pruned.destination, error.message), error.hint.as_deref());
    }
    for warning in &pruned.warnings {
        output.warning(format_args!("at \"{}\": {}", pruned.destination, warning.message));
        if let Some(hint) = &warning.hint {
            output.hint(hint);
        }
    }
    for swept in &pruned.swept {
        if let Some(error) = &swept.error {
            output.problem(
                &format!("{} at \"{}\" could not be removed: {}", swept.name, pruned.destination, error.message),
                error.hint.as_deref(),
            );
        }
    }
    for series in &pruned.series {
        if let Some(error) = &series.refused {
            output.problem(
                &format!(
                    "nothing was pruned of {}/{} at \"{}\": {}",
                    series.cluster, series.subject, pruned.destination, error.message
                ),
                error.hint.as_deref(),
            );
        }
        for name in &series.ahead {
            output.problem(
                &format!(
                    "{name} at \"{}\" is dated in the future, by the clock and the runs of this host, and does not count",
                    pruned.destination
                ),
                Some(&format!("check the clock of the host that made it; remove it with `longshore remove {name} --why REASON`")),
            );
        }
        for (name, error) in &series.failed {
            output.problem(
                &format!("{name} at \"{}\" could not be removed: {}", pruned.destination, error.message),
                error.hint.as_deref(),
            );
        }
    }
}
