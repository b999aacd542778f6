//! `longshore verify`: read and check backups.

use indicatif::HumanBytes;
use longshore_core::Result;
use longshore_core::manifest::Verification;
use longshore_core::pipeline::Depth;
use longshore_engine::verify::{BackupVerifier, Percent, Scope, VerifyResult};

use crate::args::Verify;
use crate::command::short_name::{ShortName, Times, backup_column, full_name, name_column};
use crate::command::{Context, identities};
use crate::exit_code::Exit;
use crate::output::{Cell, Column, Priority, State, Table};
use crate::progress;
use crate::time_zone::TimeZone;

pub(super) async fn verify(context: &Context, args: &Verify) -> Result<Exit> {
    let Context { config, registry, output, recorder, .. } = context;
    let which = match &args.backup {
        Some(words) => Scope::Named(full_name(config, words, args.destination.as_deref()).await?),
        None if args.all => Scope::All,
        None => args.percent.and_then(Percent::new).map_or(Scope::Newest, Scope::Sample),
    };
    let identities = identities(&args.identity, config).await?;
    let counter = progress::counter(*output);
    let verifier = BackupVerifier {
        config,
        registry,
        identities: &identities,
        job: args.job.as_deref().map(|job| config.job(Some(job))).transpose()?,
        scratch_dir: args.scratch_dir.as_deref(),
        observer: context.observed(counter.clone())?,
    };
    let read = verifier.verify(&which, args.destination.as_deref()).await?;
    counter.finish();
    recorder.record(read.as_slice());
    if args.json.json {
        output.json(&read);
    } else {
        output.table(&table(&read));
        for read in &read {
            if let Some(error) = &read.error {
                // The error of an unreadable destination has no backup name.
                let what = format!("{} at \"{}\"", read.name, read.destination);
                output.problem(&format!("{}: {}", what.trim_start(), error.message), error.hint.as_deref());
            }
        }
        if let Some(error) = read.iter().find_map(|read| read.unmarked.as_ref()) {
            output.note(format_args!("the result could not be stored as a mark of the backup: {}", error.message));
        }
        if read.is_empty() {
            output.note("no backups");
        } else if read.iter().any(|read| read.depth == Some(Depth::Sealed)) {
            output.note("only digests of encrypted backups were checked; pass --identity FILE to decode them");
        }
    }
    Ok(exit(&read))
}

fn exit(read: &[VerifyResult]) -> Exit {
    let failed = read.iter().filter(|read| read.error.is_some()).count();
    if read.iter().any(|read| read.damaged) {
        Exit::Damaged
    } else if read.iter().any(|read| read.refused) {
        Exit::Refused
    } else if failed == 0 {
        Exit::Done
    } else if failed < read.len() {
        Exit::Partial
    } else {
        Exit::Failed
    }
}

fn table(all: &[VerifyResult]) -> Table {
    let names: Vec<ShortName> = all.iter().map(|read| ShortName::parse(&read.name)).collect();
    let times = Times::of(TimeZone::of(false), &names);
    let rows = all.iter().zip(&names).map(|(read, name)| {
        vec![
            read.destination.as_str().into(),
            name.series.as_str().into(),
            times.cell(name),
            HumanBytes(read.bytes).to_string().into(),
            result(read),
            read.name.as_str().into(),
        ]
    });
    let columns = [
        Column::text("DESTINATION").priority(Priority::Medium),
        backup_column(),
        times.column(),
        Column::number("READ").priority(Priority::Low),
        Column::sentence("RESULT").min(32),
        name_column(),
    ];
    Table::new(columns).rows(rows)
}

fn result(read: &VerifyResult) -> Cell {
    match (read.depth, read.damaged) {
        (Some(Depth::Decoded), _) => {
            let record = if read.compared { ", matches the record" } else { "" };
            let methods = verification_methods(&read.verified);
            Cell::from(State::Verified).and(format!(": {methods}{record}"))
        }
        (Some(Depth::Sealed), _) => Cell::from(State::DigestMatches).and(", not decoded"),
        (None, true) => State::Damaged.into(),
        (None, false) if read.refused => State::Refused.into(),
        (None, false) => State::Failed.into(),
    }
}

/// Returns the methods and names of the verifiers of the plaintext.
fn verification_methods(verified: &[Verification]) -> String {
    if verified.is_empty() {
        return "digests of the plaintext and the stored bytes".to_owned();
    }
    let done = verified.iter().map(|verified| format!("{} by {}", verified.method, verified.by));
    done.collect::<Vec<_>>().join(", ")
}
