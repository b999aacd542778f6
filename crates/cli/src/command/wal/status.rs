//! `longshore wal status`: the archived WAL of each timeline.

use indicatif::HumanBytes;
use longshore_core::Result;
use longshore_engine::wal::inventory::Timeline;
use longshore_engine::wal::status::{ArchivedWal, archived_wal};

use crate::args::wal::WalStatus;
use crate::command::Context;
use crate::exit_code::Exit;
use crate::output::{Cell, Column, Priority, State, Table};

pub(super) async fn status(context: &Context, args: &WalStatus) -> Result<Exit> {
    let Context { config, output, .. } = context;
    let settings = config.wal_archive(args.archive.cluster.as_deref())?;
    let (mut archives, mut exit) = (Vec::new(), Exit::Done);
    let mut empty = Vec::new();
    for (destination, read) in archived_wal(config, settings).await {
        match read {
            Ok(read) if read.is_empty() => empty.push(destination),
            Ok(read) => archives.extend(read),
            Err(error) => {
                output.error(&error);
                exit = Exit::Failed;
            }
        }
    }
    let has_gaps = archives.iter().flat_map(|archive| &archive.timelines).any(|timeline| !is_whole(timeline));
    if args.json.json {
        output.json(&archives);
    } else if archives.is_empty() && exit == Exit::Done {
        output.note(format_args!("no WAL of \"{}\" is archived yet", settings.cluster));
    } else {
        show(context, &archives);
        for destination in empty {
            output.warning(format_args!("\"{destination}\" has no WAL of \"{}\"", settings.cluster));
        }
    }
    Ok(match exit {
        Exit::Done if has_gaps => Exit::Damaged,
        exit => exit,
    })
}

fn is_whole(timeline: &Timeline) -> bool {
    timeline.gaps.is_empty() && timeline.ambiguous.is_empty() && timeline.has_history
}

fn show(context: &Context, archives: &[ArchivedWal]) {
    let all = || archives.iter().flat_map(|archive| archive.timelines.iter().map(move |timeline| (archive, timeline)));
    let rows = all().map(|(archive, timeline)| -> Vec<Cell> {
        vec![
            archive.destination.as_str().into(),
            archive.system_identifier.as_str().into(),
            timeline.timeline.to_string().into(),
            without_timeline(&timeline.first).into(),
            without_timeline(&timeline.last).into(),
            timeline.segments.to_string().into(),
            HumanBytes(timeline.bytes).to_string().into(),
            if is_whole(timeline) { State::Ok } else { State::Damaged }.into(),
        ]
    });
    let columns = [
        Column::text("DESTINATION"),
        Column::fixed("SYSTEM ID").unless_uniform(),
        Column::number("TIMELINE"),
        Column::fixed("FIRST"),
        Column::fixed("LAST"),
        Column::number("SEGMENTS"),
        Column::number("BYTES").priority(Priority::Low),
        Column::fixed("STATE"),
    ];
    context.output.table(&Table::new(columns).rows(rows));
    for (archive, timeline) in all() {
        for gap in &timeline.gaps {
            context
                .output
                .warning(format_args!("timeline {} at \"{}\": {gap}", timeline.timeline, archive.destination));
        }
        if !timeline.has_history {
            context.output.warning(format_args!(
                "timeline {number} at \"{}\": {number:08X}.history is missing, without which recovery cannot follow it: \
                 `longshore wal push pg_wal/{number:08X}.history` at the server",
                archive.destination,
                number = timeline.timeline
            ));
        }
        for name in &timeline.ambiguous {
            context.output.warning(format_args!(
                "timeline {} at \"{}\": several files of the name {name} with different content",
                timeline.timeline, archive.destination
            ));
        }
    }
}

/// Returns the name of a segment without the timeline, which has a column of its own.
fn without_timeline(name: &str) -> &str {
    name.get(8..).unwrap_or(name)
}
