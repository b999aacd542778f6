//! `longshore wal receive`: the WAL of a cluster, while the server writes it.

use std::cell::RefCell;

use futures_util::FutureExt;
use longshore_core::event::ignore;
use longshore_core::{Error, Kind, Result};
use longshore_engine::wal::receive::{
    MissingSlot, Partials, ReceiveEvent, ReceiveOptions, claim, receive as receive_wal,
};
use longshore_serve::progress::{Line, shortened};

use crate::args::wal::Receive;
use crate::command::Context;
use crate::exit_code::Exit;
use crate::output::Output;
use crate::signals::OrderlyStop;

/// Receives WAL until a signal. Prints only changes.
pub(super) async fn receive(context: &Context, args: &Receive, stop: &OrderlyStop) -> Result<Exit> {
    let Context { config, output, .. } = context;
    let archive = config.wal_archive(args.archive.cluster.as_deref())?;
    let slot = args.slot.clone().unwrap_or_else(|| archive.receive.slot.clone());
    let partial_every = args.partial_every.or(archive.receive.partial_every).filter(|_| !args.synchronous);
    let lock = RefCell::new(match claim(config, archive, &slot) {
        Ok(lock) => Some(lock),
        Err(error) if error.kind() == Kind::Locked => {
            output.note(format_args!("another receiver of the slot works, and this one waits for its end: {error}"));
            None
        }
        Err(error) => {
            // The slot has one receiver in any case.
            output.warning(format_args!("no lock, so `longshore serve` does not see this receiver: {}", error.chain()));
            None
        }
    });
    let options = ReceiveOptions {
        slot: slot.clone(),
        missing_slot: if args.create_slot { MissingSlot::Create } else { MissingSlot::Fail },
        partials: partial_every.map_or(Partials::AtOnce, |span| Partials::Every(span.duration())),
    };
    let stop = stop.supported().boxed_local().shared();
    let events = context.event_writer(ignore())?;
    let observer = |event: ReceiveEvent<'_>| {
        print(*output, &slot, &event);
        if matches!(event, ReceiveEvent::Started { .. } | ReceiveEvent::Reconnected) && lock.borrow().is_none() {
            // The receiver before this one has ended. Without a lock, the slot still protects.
            lock.replace(claim(config, archive, &slot).ok());
        }
        events.iter().zip(line(&event)).for_each(|(events, line)| events.write(&line));
    };
    let received = receive_wal((config, archive), &options, &stop, &observer).await;
    if let (Err(error), Some(events)) = (&received, &events) {
        events.write(&Line::Message { text: shortened(&error.chain()) });
    }
    received?;
    output.note("stopped");
    Ok(Exit::Done)
}

/// Returns the line for the service that started this receiver: a problem, or that there is none.
fn line(event: &ReceiveEvent<'_>) -> Option<Line> {
    let problem = |error: &Error| Some(Line::Message { text: shortened(&error.chain()) });
    match event {
        ReceiveEvent::Disconnected(error) => problem(error),
        ReceiveEvent::NotStored { destination, error, is_required: true, .. } => {
            problem(&(*error).clone().about(format!("WAL at \"{destination}\"")))
        }
        ReceiveEvent::Started { .. } | ReceiveEvent::StoredAgain { .. } | ReceiveEvent::Reconnected => {
            Some(Line::Step { text: "receiving".to_owned() })
        }
        _ => None,
    }
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
