//! `longshore hold`: exempt a backup from retention. `longshore unhold`: release the hold.
//! `longshore mark`: withdraw wrong marks.

use longshore_core::Result;
use longshore_core::mark::Says;
use longshore_service::catalogs::parse_time;
use longshore_service::hold::{HoldChange, Marked, hold as apply};
use longshore_service::withdraw::{WITHDRAWABLE, withdraw};

use crate::args::mark::{Mark, Withdrawn};
use crate::args::{Hold, Unhold};
use crate::command::Context;
use crate::exit_code::Exit;

pub(super) async fn hold(context: &Context, args: &Hold) -> Result<Exit> {
    let until = args.until.as_deref().map(parse_time).transpose()?;
    let change = HoldChange::Hold { until, why: args.why.clone() };
    let marked = apply(&context.config, &args.backup, args.destination.as_deref(), &change).await?;
    context.recorder.record(marked.as_slice());
    Ok(print_result(context, &marked, "held", args.json.json))
}

pub(super) async fn unhold(context: &Context, args: &Unhold) -> Result<Exit> {
    let marked = apply(&context.config, &args.backup, args.destination.as_deref(), &HoldChange::Release).await?;
    context.recorder.record(marked.as_slice());
    Ok(print_result(context, &marked, "released", args.json.json))
}

pub(super) async fn mark(context: &Context, args: &Mark) -> Result<Exit> {
    let which: &[Says] = match args.withdraw {
        None | Some(Withdrawn::Damaged) => &[Says::Damaged, Says::Unrestorable],
        Some(Withdrawn::Verified) => &[Says::Verified],
        Some(Withdrawn::Drilled) => &[Says::Drilled],
        Some(Withdrawn::All) => &WITHDRAWABLE,
    };
    let only = args.destination.as_deref();
    let marked = withdraw(&context.config, &args.backup, only, which, &args.why).await?;
    context.recorder.record(marked.as_slice());
    Ok(print_result(context, &marked, "withdrew marks of", args.json.json))
}

/// Prints the result at each destination.
fn print_result(context: &Context, all: &[Marked], done: &str, json: bool) -> Exit {
    let output = context.output;
    if json {
        output.json(&all);
    }
    let failed = all.iter().filter(|marked| marked.error.is_some()).count();
    for Marked { destination, name, error } in all {
        match error {
            Some(error) => {
                output.problem(&format!("{name} at \"{destination}\": {}", error.message), error.hint.as_deref());
            }
            None if !json => output.line(format_args!("{done} {name} at \"{destination}\"")),
            None => {}
        }
    }
    match failed {
        0 => Exit::Done,
        failed if failed < all.len() => Exit::Partial,
        _ => Exit::Failed,
    }
}
