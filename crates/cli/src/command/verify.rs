//! `longshore verify`: read and check backups.

use indicatif::HumanBytes;
use longshore_core::Result;
use longshore_core::manifest::Verification;
use longshore_core::pipeline::Depth;
use longshore_service::verify::{BackupVerifier, Percent, Scope, VerifyResult};

use crate::args::Verify;
use crate::command::{Context, identities};
use crate::exit_code::Exit;
use crate::progress;

pub(super) async fn verify(context: &Context, args: &Verify) -> Result<Exit> {
    let Context { config, registry, output, recorder } = context;
    let which = match &args.backup {
        Some(words) => Scope::Named(words.clone()),
        None if args.all => Scope::All,
        None => args.percent.and_then(Percent::new).map_or(Scope::Newest, Scope::Sample),
    };
    let identities = identities(&args.identity, config).await?;
    let counter = progress::counter(*output);
    let verifier = BackupVerifier {
        config,
        registry,
        identities: &identities,
        scratch_dir: args.scratch_dir.as_deref(),
        progress: counter.clone(),
    };
    let read = verifier.verify(&which, args.destination.as_deref()).await?;
    counter.finish();
    recorder.record(read.as_slice());
    if args.json.json {
        output.json(&read);
    } else {
        let rows: Vec<_> = read.iter().map(row).collect();
        output.table(&["DESTINATION", "BACKUP", ">READ", "RESULT"], &rows);
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
    } else if failed == 0 {
        Exit::Done
    } else if failed < read.len() {
        Exit::Partial
    } else {
        Exit::Failed
    }
}

fn row(read: &VerifyResult) -> Vec<String> {
    let result = match (read.depth, read.damaged) {
        (Some(Depth::Decoded), _) if read.compared => {
            format!("verified: {}, matches the record", verification_methods(&read.verified))
        }
        (Some(Depth::Decoded), _) => format!("verified: {}", verification_methods(&read.verified)),
        (Some(Depth::Sealed), _) => "digest matches, not decoded".to_owned(),
        (None, true) => "DAMAGED".to_owned(),
        (None, false) => "FAILED".to_owned(),
    };
    vec![read.destination.clone(), read.name.clone(), HumanBytes(read.bytes).to_string(), result]
}

/// Returns the methods and names of the verifiers of the plaintext.
fn verification_methods(verified: &[Verification]) -> String {
    let done = verified.iter().map(|verified| format!("{} by {}", verified.method, verified.by));
    done.collect::<Vec<_>>().join(", ")
}
