//! `longshore prune`: remove backups that the retention policy does not keep.

mod calendar;
mod explain;
mod table;

use longshore_core::Result;
use longshore_engine::prune::{Mode, Overrides, Pruned, Request, SeriesPruned};
use longshore_retention::{Reason, describe_reasons};

pub(super) use self::table::{print, print_removals};
use crate::args::{Prune, Rule};
use crate::command::Context;
use crate::exit_code::Exit;

pub(super) async fn prune(context: &Context, args: &Prune) -> Result<Exit> {
    let Context { config, output, recorder, .. } = context;
    let request = Request {
        job: args.job.as_deref(),
        destination: args.destination.as_deref(),
        mode: if args.dry_run || args.explain { Mode::DryRun } else { Mode::Act },
        overrides: Overrides {
            clock: args.despite.contains(&Rule::Clock),
            listing: args.despite.contains(&Rule::Listing),
        },
        retire: args.retired.as_deref(),
    };
    let pruned = longshore_engine::prune::prune(config, &request).await?;
    recorder.record(pruned.as_slice());
    if args.json.json {
        output.json(&pruned);
    } else if args.explain {
        explain::explain(*output, &pruned);
    } else {
        table::print(*output, &pruned, request.mode);
    }
    Ok(exit(&pruned))
}

/// Returns the reason for keeping a backup of a series.
fn keep_reason(series: &SeriesPruned, reasons: &[Reason]) -> String {
    // An adopted file has only a name and a size, so it is bad only if it is empty.
    match series.adopted && reasons.contains(&Reason::NotGood) {
        true => "empty: check the program that wrote it".to_owned(),
        false => describe_reasons(reasons),
    }
}

/// Returns the exit code of a prune.
pub(super) fn exit(all: &[Pruned]) -> Exit {
    let failed = all.iter().filter(|pruned| !pruned.succeeded()).count();
    if failed == 0 {
        Exit::Done
    } else if all.iter().all(Pruned::was_refused) {
        Exit::Refused
    } else if all.iter().all(|pruned| pruned.error.is_some()) {
        Exit::Failed
    } else {
        Exit::Partial
    }
}
