//! `longshore wal receive`: the WAL of a cluster, while the server writes it.

use futures_util::FutureExt;
use longshore_core::Result;
use longshore_engine::wal::receive::{MissingSlot, Partials, ReceiveEvent, ReceiveOptions, receive as receive_wal};

use crate::args::wal::Receive;
use crate::command::Context;
use crate::exit_code::Exit;
use crate::output::Output;
use crate::signals::OrderlyStop;

/// Receives WAL until a signal. Prints only changes.
pub(super) async fn receive(context: &Context, args: &Receive, stop: &OrderlyStop) -> Result<Exit> {
    let Context { config, output, .. } = context;
    let archive = config.wal_archive(args.archive.cluster.as_deref())?;
    let options = ReceiveOptions {
        slot: args.slot.clone(),
        missing_slot: if args.create_slot { MissingSlot::Create } else { MissingSlot::Fail },
        partials: if args.synchronous { Partials::AtOnce } else { Partials::Every(args.partial_every.duration()) },
    };
    let stop = stop.supported().boxed_local().shared();
    let observer = |event: ReceiveEvent<'_>| print(*output, &args.slot, &event);
    receive_wal((config, archive), &options, &stop, &observer).await?;
    output.note("stopped");
    Ok(Exit::Done)
}

fn print(output: Output, slot: &str, event: &ReceiveEvent<'_>) {
    match event {
        ReceiveEvent::SlotCreated => output.note(format_args!("created the replication slot \"{slot}\"")),
        ReceiveEvent::Started { segment } => output.note(format_args!("receiving WAL from {segment} on")),
        ReceiveEvent::Missing(gap) => {
            output.failure(&format!("the archive has a gap, and the server does not have this WAL any more: {gap}"));
            output.hint("make a base backup now: `longshore run`; recovery cannot pass the gap");
        }
        ReceiveEvent::TimelineEnded { timeline, next, switch_point } => {
            output.note(format_args!("timeline {timeline} ended at {switch_point}, where timeline {next} begins"));
        }
        ReceiveEvent::Damaged { name, damage } => {
            output.warning(format_args!("{name}: {damage}; recovery would end there"));
            output.hint("make a base backup now, and look for the cause in the server's log");
        }
        ReceiveEvent::NotStored { name, destination, error, is_required: true } => {
            output.error(&(*error).clone().about(format!("{name} at \"{destination}\"")));
            output.note("the receiver tries again until it succeeds; the server keeps the WAL meanwhile");
        }
        ReceiveEvent::NotStored { name, destination, error, is_required: false } => {
            output.warning(format_args!("{name}: \"{destination}\" does not have it: {}", error.chain()));
        }
        ReceiveEvent::StoredAgain { destination } => output.note(format_args!("\"{destination}\" stores WAL again")),
        ReceiveEvent::NotListed { destination, error } => {
            let consequence = "WAL that is there may be received again";
            output.warning(format_args!("\"{destination}\" cannot be listed, so {consequence}: {}", error.chain()));
        }
        ReceiveEvent::Disconnected(error) => {
            output.error(error);
            output.note("the receiver connects again until it succeeds");
        }
        ReceiveEvent::Reconnected => output.note("connected again"),
        ReceiveEvent::Abandoned => output.warning(
            "the newest WAL was not stored before the end; the server keeps it, and the next start receives it again",
        ),
    }
}
