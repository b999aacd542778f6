//! `longshore rekey`: add recipients to stored backups.

use std::collections::BTreeMap;

use longshore_core::stage::Encrypt;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_engine::rekey::{RekeyScope, Rekeyed, RekeyedBackup, Rekeyer};
use longshore_engine::sync::Mode;

use crate::args::Rekey;
use crate::command::short_name::{ShortName, full_name};
use crate::command::{Context, identities};
use crate::exit_code::Exit;
use crate::output::{Column, Output, Priority, State, Table};
use crate::{plugins, progress};

pub(super) async fn rekey(context: &Context, args: &Rekey) -> Result<Exit> {
    let Context { config, registry, output, recorder, .. } = context;
    let only = args.destination.as_deref();
    let scope = match &args.backup {
        Some(words) => RekeyScope::Backup(full_name(config, words, only).await?),
        None if args.all => RekeyScope::All,
        None => RekeyScope::Job(config.job(args.job.as_deref())?),
    };
    let encrypt = encryption(args, &scope)?;
    let identities = identities(&args.identity, config).await?;
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Act };
    let counter = progress::counter(*output);
    let observer = context.observed(counter.clone())?;
    let rekeyer = Rekeyer { config, registry, identities: &identities, encrypt: &*encrypt, mode, observer };
    let rekeyed = rekeyer.rekey(&scope, only).await;
    counter.finish();
    let rekeyed = rekeyed?;
    recorder.record(&rekeyed);
    if args.json.json {
        output.json(&rekeyed);
    } else {
        show(*output, &rekeyed, mode);
    }
    Ok(exit(&rekeyed))
}

/// Returns the encryption for the recipients of the command line, else for those of the job.
fn encryption(args: &Rekey, scope: &RekeyScope<'_>) -> Result<Box<dyn Encrypt>> {
    if !args.to.is_empty() || !args.to_file.is_empty() {
        return plugins::encryption_for(&args.to, &args.to_file);
    }
    let of_job = match scope {
        RekeyScope::Job(job) => job.encrypt.as_ref(),
        RekeyScope::Backup(_) | RekeyScope::All => None,
    };
    match of_job {
        Some(encrypt) => encrypt(&()),
        None => Err(Error::new(Stage::Config, Kind::Usage, "--to", "no recipient, and the job encrypts for none")
            .hint("pass --to RECIPIENT or --to-file FILE")),
    }
}

fn exit(rekeyed: &Rekeyed) -> Exit {
    let failed = rekeyed.backups.iter().filter(|backup| backup.error.is_some()).count();
    let failed_wal = rekeyed.wal.iter().filter(|wal| wal.error.is_some()).count();
    let total = rekeyed.backups.len() + rekeyed.wal.len();
    if rekeyed.backups.iter().any(|backup| backup.damaged) {
        Exit::Damaged
    } else if failed + failed_wal + rekeyed.problems.len() == 0 {
        Exit::Done
    } else if failed + failed_wal < total {
        Exit::Partial
    } else {
        Exit::Failed
    }
}

fn show(output: Output, rekeyed: &Rekeyed, mode: Mode) {
    if !rekeyed.backups.is_empty() || !rekeyed.wal.is_empty() {
        output.table(&table(rekeyed, mode));
    }
    for RekeyedBackup { destination, name, error, .. } in &rekeyed.backups {
        if let Some(error) = error {
            output.problem(&format!("{name} at \"{destination}\": {}", error.message), error.hint.as_deref());
        }
    }
    for wal in &rekeyed.wal {
        if let Some(error) = &wal.error {
            let what = format!("WAL of {} at \"{}\": {} files failed", wal.cluster, wal.destination, wal.failed);
            output.problem(&format!("{what}: {}", error.message), error.hint.as_deref());
        }
    }
    for problem in &rekeyed.problems {
        let message = format!("\"{}\": {}", problem.destination, problem.error.message);
        output.problem(&message, problem.error.hint.as_deref());
    }
    match (rekeyed.backups.is_empty() && rekeyed.wal.is_empty(), rekeyed.unencrypted) {
        (true, 0) => output.note("no encrypted backups"),
        (_, 0) => {}
        (_, unencrypted) => output.note(format_args!("{unencrypted} backups are not encrypted, and need no header")),
    }
    if mode == Mode::Act && rekeyed.header_count() > 0 {
        output.note("the identities that opened these backups before still open them");
    }
}

/// One row for each series at each destination.
#[derive(Default)]
struct Row {
    backups: usize,
    headers: u64,
    present: u64,
    failed: u64,
}

fn table(rekeyed: &Rekeyed, mode: Mode) -> Table {
    let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
    for backup in &rekeyed.backups {
        let series = ShortName::of(&backup.name).series;
        let row = rows.entry((backup.destination.clone(), series)).or_default();
        row.backups += 1;
        row.headers += backup.headers.len() as u64;
        row.present += backup.present as u64;
        row.failed += u64::from(backup.error.is_some());
    }
    for wal in &rekeyed.wal {
        let row = rows.entry((wal.destination.clone(), format!("{}/wal", wal.cluster))).or_default();
        let failed = wal.failed.max(u64::from(wal.error.is_some()));
        *row = Row { backups: 0, headers: wal.headers, present: wal.present, failed };
    }
    let rows = rows.into_iter().map(|((destination, series), row)| {
        let state = match (row.failed, row.headers, mode) {
            (1.., ..) => State::Failed,
            (0, 0, _) => State::Ok,
            (0, _, Mode::DryRun) => State::WouldWrite,
            (0, _, Mode::Act) => State::Written,
        };
        let backups = if row.backups == 0 { String::new() } else { row.backups.to_string() };
        vec![
            destination.into(),
            series.into(),
            backups.into(),
            row.headers.to_string().into(),
            row.present.to_string().into(),
            state.into(),
        ]
    });
    let columns = [
        Column::text("DESTINATION").priority(Priority::Medium),
        Column::text("SERIES"),
        Column::number("BACKUPS").priority(Priority::Low),
        Column::number("NEW HEADERS"),
        Column::number("PRESENT").priority(Priority::Low),
        Column::fixed("RESULT"),
    ];
    Table::new(columns).rows(rows)
}
