//! `longshore trust`: sign the backups of before, and accept a changed history.

use longshore_core::Result;
use longshore_engine::accept_chain::accept_chain;
use longshore_engine::prune::Mode;
use longshore_engine::sign_existing::{AdoptRequest, Adopted, adopt};

use crate::args::trust::{Adopt, Trust};
use crate::command::short_name::{ShortName, Times, backup_column, name_column};
use crate::command::{Context, identities};
use crate::exit_code::Exit;
use crate::output::{Column, State, Table};
use crate::progress;
use crate::time_zone::TimeZone;

pub(super) async fn trust(context: &Context, what: &Trust) -> Result<Exit> {
    match what {
        Trust::Adopt(args) => sign(context, args).await,
        Trust::AcceptChain { host } => {
            for destination in accept_chain(&context.config, host).await? {
                let what =
                    if *host == destination { "everything".to_owned() } else { format!("the reports of {host}") };
                context.output.line(format_args!("accepted {what} at \"{destination}\""));
            }
            Ok(Exit::Done)
        }
    }
}

async fn sign(context: &Context, args: &Adopt) -> Result<Exit> {
    let Context { config, registry, output, .. } = context;
    let identities = identities(&args.identity, config).await?;
    let counter = progress::counter(*output);
    let request = AdoptRequest {
        destination: &args.destination,
        mode: if args.yes { Mode::Act } else { Mode::DryRun },
        identities: &identities,
        observer: context.observed(counter.clone())?,
    };
    let adopted = adopt(config, registry, &request).await?;
    counter.finish();
    if args.json.json {
        output.json(&adopted);
    } else {
        output.table(&table(&adopted, args.yes));
        for adopted in &adopted {
            if let Some(error) = &adopted.error {
                output.problem(&format!("{}: {}", adopted.name, error.message), error.hint.as_deref());
            }
        }
        match (adopted.is_empty(), args.yes) {
            (true, _) => output.note("every backup has a trusted signature"),
            (false, false) => output.note("nothing was signed; --yes signs the verified backups"),
            (false, true) => {}
        }
        if adopted.iter().any(|adopted| adopted.error.is_none() && !adopted.decoded) {
            output.note("only digests of encrypted backups were checked; pass --identity FILE to decode them");
        }
    }
    let failed = adopted.iter().filter(|adopted| adopted.error.is_some()).count();
    Ok(match failed {
        0 => Exit::Done,
        failed if failed < adopted.len() => Exit::Partial,
        _ => Exit::Failed,
    })
}

fn table(all: &[Adopted], is_signed: bool) -> Table {
    let names: Vec<ShortName> = all.iter().map(|adopted| ShortName::of(&adopted.name)).collect();
    let times = Times::of(TimeZone::of(false), &names);
    let rows = all.iter().zip(&names).map(|(adopted, name)| {
        let state = match (&adopted.error, is_signed) {
            (Some(_), _) => State::Failed,
            (None, true) => State::Signed,
            (None, false) => State::Verified,
        };
        vec![
            name.series.as_str().into(),
            times.cell(name),
            adopted.before.as_str().into(),
            state.into(),
            adopted.name.as_str().into(),
        ]
    });
    let columns = [backup_column(), times.column(), Column::sentence("BEFORE"), Column::fixed("RESULT"), name_column()];
    Table::new(columns).rows(rows)
}
