//! The report of a prune: a table of decisions, and problems.

use indicatif::HumanBytes;
use longshore_engine::prune::{Mode, Pruned, format_time};
use longshore_engine::sweep::Swept;

use crate::command::short_name::{ShortName, Times, backup_column, name_column, series_name};
use crate::output::{Column, Output, Priority, State, Table};
use crate::time_zone::TimeZone;

/// A backup, or a file of an interrupted upload, with the decision.
struct Decision<'a> {
    destination: &'a str,
    short_name: ShortName,
    state: State,
    reason: String,
    name: &'a str,
}

/// Prints all backups, oldest first, with decisions and reasons.
pub(in crate::command) fn print(output: Output, all: &[Pruned], mode: Mode) {
    let decisions: Vec<Decision<'_>> = all.iter().flat_map(|pruned| decisions(pruned, mode)).collect();
    if all.is_empty() {
        output.note("no job has a retention policy, and nothing is adopted");
    } else if decisions.is_empty() && all.iter().all(|pruned| pruned.wal.is_empty()) {
        output.note("no backups");
    } else if decisions.is_empty() {
    } else {
        output.table(&table(&decisions));
    }
    print_wal(output, all, mode);
    print_notes(output, all);
}

/// Prints the decisions about archived WAL.
pub(super) fn print_wal(output: Output, all: &[Pruned], mode: Mode) {
    for (pruned, wal) in all.iter().flat_map(|pruned| pruned.wal.iter().map(move |wal| (pruned, wal))) {
        let count = wal.removed.len();
        let (cluster, at) = (&wal.cluster, &pruned.destination);
        if let (Some(first), Some(last)) = (wal.removed.first(), wal.removed.last()) {
            let state = removal_state(wal.error.is_some(), mode);
            let bytes = HumanBytes(wal.bytes);
            output
                .line(format_args!("WAL of {cluster} at \"{at}\": {state} {count} files, {first} to {last}, {bytes}"));
        }
        if let (Some(oldest), Some(since)) = (&wal.oldest, wal.since) {
            let since = TimeZone::of(false).second(since);
            output.note(format_args!(
                "WAL of {cluster} at \"{at}\" is kept from the start of {oldest} on, for moments since {since}"
            ));
            if !wal.covers_window {
                output.note(format_args!(
                    "the recovery_window of {cluster} begins earlier: no good base backup is that old"
                ));
            }
        }
        for name in &wal.also {
            output.note(format_args!("WAL of {cluster} at \"{at}\" is kept for {name}, to make it consistent"));
        }
    }
}

fn table(decisions: &[Decision<'_>]) -> Table {
    let times = Times::of(TimeZone::of(false), decisions.iter().map(|decision| &decision.short_name));
    let rows = decisions.iter().map(|decision| {
        vec![
            decision.destination.into(),
            decision.short_name.series.as_str().into(),
            times.cell(&decision.short_name),
            decision.state.into(),
            decision.reason.as_str().into(),
            decision.name.into(),
        ]
    });
    let columns = [
        Column::text("DESTINATION").priority(Priority::Medium),
        backup_column(),
        times.column(),
        Column::fixed("DECISION"),
        Column::sentence("REASON").min(16).priority(Priority::High),
        name_column(),
    ];
    Table::new(columns).rows(rows)
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

/// Returns the decisions at a destination: the backups of each series, oldest first, then files of
/// interrupted uploads.
fn decisions(pruned: &Pruned, mode: Mode) -> Vec<Decision<'_>> {
    let destination = pruned.destination.as_str();
    let mut all: Vec<Decision<'_>> = Vec::new();
    for series in &pruned.series {
        let short_name = |time| ShortName { series: series_name(&series.cluster, &series.subject), time: Some(time) };
        let mut backups: Vec<Decision<'_>> = Vec::new();
        backups.extend(series.keep.iter().map(|kept| Decision {
            destination,
            short_name: short_name(kept.time),
            state: State::Kept,
            reason: super::keep_reason(series, &kept.reasons),
            name: kept.name.as_str(),
        }));
        backups.extend(series.remove.iter().map(|removed| {
            let failed = series.failed.iter().any(|(failed, _)| *failed == removed.name);
            let why = removed.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            Decision {
                destination,
                short_name: short_name(removed.time),
                state: removal_state(failed, mode),
                reason: format!("{}{why}", removed.cause),
                name: removed.name.as_str(),
            }
        }));
        backups.sort_by_key(|decision| decision.short_name.time);
        all.extend(backups);
    }
    all.extend(pruned.swept.iter().map(|swept| Decision {
        destination,
        short_name: ShortName { series: swept.name.clone(), time: None },
        state: removal_state(swept.error.is_some(), mode),
        reason: sweep_reason(swept),
        name: &swept.name,
    }));
    all
}

/// Returns the state of a removal.
fn removal_state(failed: bool, mode: Mode) -> State {
    match (failed, mode) {
        (true, _) => State::NotRemoved,
        (false, Mode::DryRun) => State::WouldRemove,
        (false, Mode::Act) => State::Removed,
    }
}

/// Prints the removals of retention at the end of a run.
pub(in crate::command) fn print_removals(output: Output, pruned: &Pruned) {
    let removed: usize = pruned.series.iter().map(|series| series.remove.len() - series.failed.len()).sum();
    if removed > 0 {
        let noun = if removed == 1 { "backup" } else { "backups" };
        output.note(format_args!("removed {removed} old {noun} at \"{}\"", pruned.destination));
    }
    for wal in pruned.wal.iter().filter(|wal| !wal.removed.is_empty()) {
        let count = wal.removed.len();
        let noun = if count == 1 { "file" } else { "files" };
        output.note(format_args!("removed {count} old {noun} of WAL at \"{}\"", pruned.destination));
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
    for wal in &pruned.wal {
        if let Some(error) = &wal.error {
            let message = format!("WAL of {} at \"{}\": {}", wal.cluster, pruned.destination, error.message);
            output.problem(&message, error.hint.as_deref());
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
