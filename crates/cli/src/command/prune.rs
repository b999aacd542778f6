//! `longshore prune`: remove what the retention policy does not keep.

use longshore_core::Result;
use longshore_service::prune::{Mode, Pruned};

use crate::args::Prune;
use crate::command::Context;
use crate::exit_code::Exit;
use crate::output::Output;

pub(super) async fn prune(context: &Context, args: &Prune) -> Result<Exit> {
    let Context { config, output, .. } = context;
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Act };
    let pruned =
        longshore_service::prune::prune(config, args.job.as_deref(), args.destination.as_deref(), mode).await?;
    if args.json.json {
        output.json(&pruned);
    } else {
        show(*output, &pruned, mode);
    }
    let failed = pruned.iter().filter(|pruned| !pruned.succeeded()).count();
    Ok(match failed {
        0 => Exit::Done,
        failed if failed < pruned.len() => Exit::Partial,
        _ if pruned.iter().all(|pruned| pruned.error.is_some()) => Exit::Failed,
        _ => Exit::Partial,
    })
}

/// Every backup, newest first, with why it is kept or that it goes.
fn show(output: Output, all: &[Pruned], mode: Mode) {
    let mut rows = Vec::new();
    for pruned in all {
        for series in &pruned.series {
            for kept in &series.keep {
                let reasons = kept.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                rows.push(vec![pruned.destination.clone(), kept.name.to_string(), "keep".to_owned(), reasons]);
            }
            for name in series.remove.iter().rev() {
                let done = if mode == Mode::DryRun { "would remove" } else { "removed" };
                let failed = series.failed.iter().any(|(failed, _)| failed == name);
                let done = if failed { "NOT REMOVED" } else { done };
                rows.push(vec![pruned.destination.clone(), name.to_string(), done.to_owned(), String::new()]);
            }
        }
        for swept in &pruned.swept {
            let done = match (&swept.error, mode) {
                (Some(_), _) => "NOT REMOVED",
                (None, Mode::DryRun) => "would remove",
                (None, Mode::Act) => "removed",
            };
            let why = format!("left by an interrupted writer on {}", swept.since.date_naive());
            rows.push(vec![pruned.destination.clone(), swept.name.clone(), done.to_owned(), why]);
        }
    }
    if all.is_empty() {
        output.note("no job has a retention policy");
    } else if rows.is_empty() {
        output.note("no backups");
    } else {
        output.table(&["DESTINATION", "BACKUP", "DECISION", "REASONS"], &rows);
    }
    for pruned in all {
        problems(output, pruned);
    }
}

/// What retention did at the end of a run.
pub(super) fn tell(output: Output, pruned: &Pruned) {
    let removed: usize = pruned.series.iter().map(|series| series.remove.len() - series.failed.len()).sum();
    if removed > 0 {
        output.note(format_args!("removed {removed} older backups at \"{}\"", pruned.destination));
    }
    problems(output, pruned);
}

fn problems(output: Output, pruned: &Pruned) {
    if let Some(error) = &pruned.error {
        output.problem(
            &format!("nothing was pruned at \"{}\": {}", pruned.destination, error.message),
            error.hint.as_deref(),
        );
    }
    if let Some(error) = &pruned.unswept {
        let message =
            format!("cannot look for what interrupted writers left at \"{}\": {}", pruned.destination, error.message);
        output.problem(&message, error.hint.as_deref());
    }
    for swept in &pruned.swept {
        if let Some(error) = &swept.error {
            output.problem(
                &format!("{} at \"{}\" could not be removed: {}", swept.name, pruned.destination, error.message),
                error.hint.as_deref(),
            );
        }
    }
    for (name, error) in pruned.series.iter().flat_map(|series| &series.failed) {
        output.problem(
            &format!("{name} at \"{}\" could not be removed: {}", pruned.destination, error.message),
            error.hint.as_deref(),
        );
    }
}
