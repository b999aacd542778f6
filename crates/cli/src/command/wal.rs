//! `longshore wal`: the archive of a cluster's WAL.

mod receive;
mod status;

use std::path::Path;

use longshore_core::{Error, Kind, Result, Stage};
use longshore_engine::wal::fetch::{Fetched, fetch as fetch_file};
use longshore_engine::wal::push::{abandon as abandon_until, push as push_file};

use crate::args::wal::{Abandon, Fetch, Push, Wal};
use crate::command::{Context, identities};
use crate::exit_code::Exit;
use crate::prompt::confirm_typed;
use crate::signals::OrderlyStop;

pub(super) async fn wal(context: &Context, args: &Wal, stop: &OrderlyStop) -> Result<Exit> {
    match args {
        Wal::Push(push) => self::push(context, push).await,
        Wal::Abandon(abandon) => self::abandon(context, abandon).await,
        Wal::Fetch(fetch) => self::fetch(context, fetch).await,
        Wal::Receive(receive) => receive::receive(context, receive, stop).await,
        Wal::Status(status) => status::status(context, status).await,
    }
}

/// Stores one file. Prints nothing on success: PostgreSQL logs all output.
async fn push(context: &Context, args: &Push) -> Result<Exit> {
    let Context { config, output, .. } = context;
    let archive = config.wal_archive(args.archive.cluster.as_deref())?;
    let pushed = push_file(config, archive, &args.path).await?;
    if let Some(damage) = &pushed.damage {
        output.warning(format_args!("{}: {damage}; recovery would end there", pushed.name));
        output.hint("the file was stored as it is; make a base backup now, and look for the cause in the server's log");
    }
    if pushed.is_abandoned {
        output.warning(format_args!("{}: not archived, as `longshore wal abandon` requested", pushed.name));
    }
    for (destination, error) in &pushed.failed {
        if pushed.is_archived {
            output.warning(format_args!("{}: \"{destination}\" does not have it: {}", pushed.name, error.chain()));
        } else {
            output.error(&error.clone().about(format!("{} at \"{destination}\"", pushed.name)));
        }
    }
    Ok(if pushed.is_archived { Exit::Done } else { Exit::Failed })
}

/// Gives up WAL that is not archived.
async fn abandon(context: &Context, args: &Abandon) -> Result<Exit> {
    let Context { config, output, .. } = context;
    let archive = config.wal_archive(args.archive.cluster.as_deref())?;
    if !args.yes {
        output.warning(format_args!(
            "the WAL of \"{cluster}\" up to {} will not be archived: nothing after the last archived segment can be \
             recovered until the next base backup",
            args.path.display(),
            cluster = archive.cluster
        ));
        let question = format!("type the name of the cluster, \"{}\"", archive.cluster);
        if !confirm_typed(&question, &archive.cluster) {
            let message = "WAL would be lost, and the name of its cluster was not confirmed";
            return Err(Error::new(Stage::Ship, Kind::Refused, &archive.cluster, message)
                .hint("type the name on a terminal, or pass --yes"));
        }
    }
    let until = abandon_until(config, archive, &args.path).await?;
    output.line(format_args!("up to {until}, WAL is recycled without being archived; make a base backup now"));
    Ok(Exit::Done)
}

/// Returns true if the same request may succeed later.
fn is_temporary(error: &Error) -> bool {
    !matches!(error.kind(), Kind::Corrupt | Kind::Usage)
}

/// Fetches one file.
async fn fetch(context: &Context, args: &Fetch) -> Result<Exit> {
    let Context { config, registry, .. } = context;
    let archive = config.wal_archive(args.archive.cluster.as_deref())?;
    let name = args.name.parse().map_err(|error| {
        Error::new(Stage::Config, Kind::Usage, &args.name, "not the name of a file of WAL")
            .because(error)
            .hint("set restore_command = 'longshore wal fetch %f \"%p\"'")
    })?;
    let identities = identities(&args.identity, config).await?;
    match fetch_file(config, registry, archive, &identities, (name, &args.path)).await {
        Ok(Fetched::Delivered) => Ok(Exit::Done),
        Ok(Fetched::Absent) => Ok(Exit::Absent),
        // An identity that does not fit is a mistake in the configuration.
        Err(error) if error.stage() == Stage::Decrypt && error.kind() == Kind::Denied => {
            context.output.error(&error);
            Ok(Exit::Usage)
        }
        // PostgreSQL asks again on a standby. Damage and mistakes do not pass.
        Err(error) if is_temporary(&error) && !args.strict && Path::new("standby.signal").exists() => {
            context.output.error(&error);
            Ok(Exit::Absent)
        }
        Err(error) => Err(error),
    }
}
