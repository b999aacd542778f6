//! `longshore sync`: copy missing backups between destinations.

use indicatif::HumanBytes;
use longshore_core::Result;
use longshore_engine::sync::{Copied, CopyReason, Mode, Repair, Synced, sync as sync_job};

use crate::args::Sync;
use crate::command::Context;
use crate::command::short_name::{ShortName, Times, backup_column, name_column};
use crate::exit_code::Exit;
use crate::output::{Cell, Column, Output, Priority, State, Table};
use crate::progress;
use crate::time_zone::TimeZone;

pub(super) async fn sync(context: &Context, args: &Sync) -> Result<Exit> {
    let Context { config, output, recorder, .. } = context;
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Act };
    let repair = if args.repair { Repair::Yes } else { Repair::No };
    let counter = progress::counter(*output);
    let synced = sync_job(config, config.job(args.job.as_deref())?, repair, mode, counter.clone()).await;
    counter.finish();
    let synced = synced?;
    recorder.record(&synced);
    if args.json.json {
        output.json(&synced);
    } else {
        show(*output, &synced, mode);
    }
    Ok(exit(&synced))
}

fn exit(synced: &Synced) -> Exit {
    let copied = synced.copies.iter().filter(|copied| copied.error.is_none()).count();
    if synced.problems.iter().any(|problem| problem.damaged) {
        Exit::Damaged
    } else if synced.succeeded() {
        Exit::Done
    } else if copied > 0 || synced.copies.is_empty() {
        Exit::Partial
    } else {
        Exit::Failed
    }
}

fn show(output: Output, synced: &Synced, mode: Mode) {
    if !synced.copies.is_empty() {
        output.table(&table(&synced.copies, mode));
    }
    for Copied { name, to, error, .. } in &synced.copies {
        if let Some(error) = error {
            output.problem(&format!("{name} to \"{to}\": {}", error.message), error.hint.as_deref());
        }
    }
    for problem in &synced.problems {
        let name = problem.name.as_ref().map_or_else(String::new, |name| format!("{name} at "));
        let message = format!("{name}\"{}\": {}", problem.destination, problem.error.message);
        let hint = problem.error.hint.as_deref();
        output.problem(&message, hint.or(problem.damaged.then_some("replace it by a good copy with --repair")));
    }
    for copied in &synced.wal {
        let state = if mode == Mode::DryRun { State::WouldCopy } else { State::Copied };
        let (to, files, bytes) = (&copied.to, copied.files, HumanBytes(copied.bytes));
        if files > 0 {
            let noun = if files == 1 { "file" } else { "files" };
            output.line(format_args!("WAL to \"{to}\": {state} {files} {noun}, {bytes}"));
        }
        if let Some(error) = &copied.error {
            output.problem(&format!("WAL to \"{to}\": {}", error.message), error.hint.as_deref());
        }
    }
    for copied in &synced.headers {
        let state = if mode == Mode::DryRun { State::WouldCopy } else { State::Copied };
        output.line(format_args!("headers to \"{}\": {state} {}", copied.to, copied.headers));
        if let Some(error) = &copied.error {
            output.problem(&format!("headers to \"{}\": {}", copied.to, error.message), error.hint.as_deref());
        }
    }
    if synced.copies.is_empty() && synced.wal.is_empty() && synced.headers.is_empty() && synced.succeeded() {
        output.note("all destinations are in sync");
    }
}

fn table(all: &[Copied], mode: Mode) -> Table {
    let names: Vec<ShortName> = all.iter().map(|copied| ShortName::of(&copied.name)).collect();
    let times = Times::of(TimeZone::of(false), &names);
    let rows = all.iter().zip(&names).map(|(copied, name)| {
        let why = match copied.why {
            CopyReason::Missing => "missing".into(),
            CopyReason::Damaged => Cell::from(State::Damaged),
        };
        let result = match (&copied.error, mode) {
            (Some(_), _) => State::Failed,
            (None, Mode::DryRun) => State::WouldCopy,
            (None, Mode::Act) => State::Copied,
        };
        vec![
            name.series.as_str().into(),
            times.cell(name),
            copied.from.as_str().into(),
            copied.to.as_str().into(),
            HumanBytes(copied.bytes).to_string().into(),
            why,
            result.into(),
            copied.name.as_str().into(),
        ]
    });
    let columns = [
        backup_column(),
        times.column(),
        Column::text("FROM").priority(Priority::High),
        Column::text("TO"),
        Column::number("SIZE").priority(Priority::Medium),
        Column::fixed("WHY").priority(Priority::Low),
        Column::fixed("RESULT"),
        name_column(),
    ];
    Table::new(columns).rows(rows)
}
