//! `longshore adopt take`: backups of the files of other tools.

use indicatif::HumanBytes;
use longshore_core::Result;
use longshore_core::run_report::Outcome;
use longshore_engine::adoption::take::{SameContent, TakeRequest, Taken, TakenFile, TakenState, take as take_files};
use longshore_engine::hook::RunLock;
use longshore_engine::prune::Mode;

use crate::args::adopt::Take;
use crate::command::{Context, identities};
use crate::exit_code::Exit;
use crate::output::{Cell, Column, Output, Priority, State, Table};
use crate::progress;

pub(super) async fn take(context: &Context, args: &Take) -> Result<Exit> {
    let Context { config, registry, output, recorder, .. } = context;
    let job = config.job(args.job.as_deref())?;
    let identities = identities(&args.identity, config).await?;
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Act };
    let request = TakeRequest { adopt: &args.adopt, only: args.file.as_deref(), job, mode, identities: &identities };
    let lock = RunLock::take(config, job).await?;
    let observer = context.observed(progress::run_progress(*output))?;
    let taken = take_files(config, registry, &request, &lock, observer).await?;
    recorder.record(&taken);
    if args.json.json {
        output.json(&taken);
    } else {
        show(*output, &taken);
    }
    Ok(match taken.outcome() {
        Outcome::Done => Exit::Done,
        Outcome::Damaged => Exit::Damaged,
        Outcome::Partial => Exit::Partial,
        _ => Exit::Failed,
    })
}

fn show(output: Output, taken: &Taken) {
    if taken.files.is_empty() {
        output.note("the adopt claims no file");
        return;
    }
    output.table(&table(&taken.files));
    for warning in &taken.warnings {
        output.warning(warning);
    }
    for file in &taken.files {
        if let Some(same) = &file.same_as {
            output.note(same_text(file, same));
        }
        let Some(backup) = &file.backup else { continue };
        if let Some(error) = &backup.error {
            output.problem(&format!("{}: {}", file.key, error.message), error.hint.as_deref());
        }
        for at in &backup.destinations {
            if let Some(error) = &at.error {
                let message = format!("{} to \"{}\": {}", file.key, at.destination, error.message);
                output.problem(&message, error.hint.as_deref());
            }
        }
    }
}

/// Describes a file of which no further backup is made.
fn same_text(file: &TakenFile, same: &SameContent) -> String {
    let backup = same.backup.as_ref().map(|backup| format!("{backup} is its backup"));
    match (&same.file, backup) {
        (Some(other), Some(backup)) => format!("{} is the same file as {other}: {backup}", file.key),
        (Some(other), None) => format!("{} is the same file as {other}: they are one backup", file.key),
        (None, backup) => format!("{} has the content of a backup: {}", file.key, backup.unwrap_or_default()),
    }
}

fn table(files: &[TakenFile]) -> Table {
    let columns = [
        Column::text("FILE").min(24),
        Column::number("SIZE").priority(Priority::High),
        Column::number("PLAINTEXT").priority(Priority::Medium),
        Column::number("STORED").priority(Priority::Medium),
        Column::fixed("RESULT"),
        Column::text("BACKUP").priority(Priority::Low),
    ];
    Table::new(columns).rows(files.iter().map(row))
}

fn row(file: &TakenFile) -> Vec<Cell> {
    let backup = file.backup.as_ref().filter(|backup| backup.name.is_some());
    let bytes = |bytes: Option<u64>| bytes.map_or_else(String::new, |bytes| HumanBytes(bytes).to_string()).into();
    let result: Cell = match file.state {
        TakenState::Taken => "taken".into(),
        TakenState::Partial => Cell::from("taken ").and(State::Failed),
        TakenState::TakenBefore => "taken before".into(),
        TakenState::SameFile => "same file".into(),
        TakenState::Planned => "would be taken".into(),
        TakenState::Damaged => State::Damaged.into(),
        TakenState::Failed => State::Failed.into(),
    };
    vec![
        file.key.as_str().into(),
        HumanBytes(file.bytes).to_string().into(),
        bytes(backup.map(|backup| backup.plaintext_bytes)),
        bytes(backup.map(|backup| backup.sealed_bytes)),
        result,
        backup.and_then(|backup| backup.name.as_ref()).map_or("", |name| name.as_str()).into(),
    ]
}
