//! `longshore hold`: exempt a backup from retention. `longshore unhold`: release the hold.
//! `longshore mark`: withdraw wrong marks.

use longshore_core::Result;
use longshore_core::mark::MarkKind;
use longshore_engine::catalogs::{NamedBackup, parse_time};
use longshore_engine::hold::{HoldChange, Marked, hold as apply};
use longshore_engine::withdraw::{WITHDRAWABLE, withdraw};

use crate::args::mark::{Mark, Withdrawn};
use crate::args::{Hold, Unhold};
use crate::command::Context;
use crate::command::short_name::{ShortName, Times, backup_column, full_name, name_column};
use crate::exit_code::Exit;
use crate::output::{Column, Priority, State, Table};
use crate::time_zone::TimeZone;

pub(super) async fn hold(context: &Context, args: &Hold) -> Result<Exit> {
    let until = args.until.as_deref().map(parse_time).transpose()?;
    let change = HoldChange::Hold { until, why: args.why.clone() };
    let only = args.destination.as_deref();
    let backup = full_name(&context.config, &args.backup, only).await?;
    let named = NamedBackup { words: &backup, job: args.job.as_deref() };
    let marked = apply(&context.config, named, only, &change).await?;
    context.recorder.record(marked.as_slice());
    Ok(print_result(context, &marked, State::Held, args.json.json))
}

pub(super) async fn unhold(context: &Context, args: &Unhold) -> Result<Exit> {
    let only = args.destination.as_deref();
    let backup = full_name(&context.config, &args.backup, only).await?;
    let named = NamedBackup { words: &backup, job: args.job.as_deref() };
    let marked = apply(&context.config, named, only, &HoldChange::Release).await?;
    context.recorder.record(marked.as_slice());
    Ok(print_result(context, &marked, State::Released, args.json.json))
}

pub(super) async fn mark(context: &Context, args: &Mark) -> Result<Exit> {
    let which: &[MarkKind] = match args.withdraw {
        None | Some(Withdrawn::Damaged) => &[MarkKind::Damaged, MarkKind::Unrestorable],
        Some(Withdrawn::Verified) => &[MarkKind::Verified],
        Some(Withdrawn::Drilled) => &[MarkKind::Drilled],
        Some(Withdrawn::All) => &WITHDRAWABLE,
    };
    let only = args.destination.as_deref();
    let backup = full_name(&context.config, &args.backup, only).await?;
    let named = NamedBackup { words: &backup, job: args.job.as_deref() };
    let marked = withdraw(&context.config, named, only, which, &args.why).await?;
    context.recorder.record(marked.as_slice());
    Ok(print_result(context, &marked, State::MarksWithdrawn, args.json.json))
}

/// Prints the result at each destination.
fn print_result(context: &Context, all: &[Marked], done: State, json: bool) -> Exit {
    let output = context.output;
    if json {
        output.json(&all);
    } else {
        output.table(&table(all, done));
    }
    let failed = all.iter().filter(|marked| marked.error.is_some()).count();
    for Marked { destination, name, error } in all {
        if let Some(error) = error {
            output.problem(&format!("{name} at \"{destination}\": {}", error.message), error.hint.as_deref());
        }
    }
    match failed {
        0 => Exit::Done,
        failed if failed < all.len() => Exit::Partial,
        _ => Exit::Failed,
    }
}

fn table(all: &[Marked], done: State) -> Table {
    let names: Vec<ShortName> = all.iter().map(|marked| ShortName::of(&marked.name)).collect();
    let times = Times::of(TimeZone::of(false), &names);
    let rows = all.iter().zip(&names).map(|(marked, name)| {
        vec![
            marked.destination.as_str().into(),
            name.series.as_str().into(),
            times.cell(name),
            if marked.error.is_some() { State::Failed } else { done }.into(),
            marked.name.as_str().into(),
        ]
    });
    let columns = [
        Column::text("DESTINATION").priority(Priority::Medium),
        backup_column(),
        times.column(),
        Column::fixed("RESULT"),
        name_column(),
    ];
    Table::new(columns).rows(rows)
}
