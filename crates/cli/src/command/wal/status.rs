//! `longshore wal status`: the archived WAL of each timeline.

use indicatif::HumanBytes;
use longshore_core::Result;
use longshore_engine::wal::inventory::Timeline;
use longshore_engine::wal::status::{ArchivedWal, archived_wal};

use crate::args::wal::WalStatus;
use crate::command::Context;
use crate::exit_code::Exit;
use crate::output::{Cell, Column, State, Table};

pub(super) async fn status(context: &Context, args: &WalStatus) -> Result<Exit> {
    let Context { config, output, .. } = context;
    let settings = config.wal_archive(args.archive.cluster.as_deref())?;
    let (mut archives, mut exit) = (Vec::new(), Exit::Done);
    for (_, read) in archived_wal(config, settings).await {
        match read {
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
    }
    Ok(match exit {
        Exit::Done if has_gaps => Exit::Damaged,
        exit => exit,
    })
}

fn is_whole(timeline: &Timeline) -> bool {
    timeline.gaps.is_empty() && timeline.ambiguous.is_empty()
}

fn show(context: &Context, archives: &[ArchivedWal]) {
    let all = || archives.iter().flat_map(|archive| archive.timelines.iter().map(move |timeline| (archive, timeline)));
    let rows = all().map(|(archive, timeline)| -> Vec<Cell> {
        vec![
            archive.destination.as_str().into(),
            archive.system_identifier.as_str().into(),
            timeline.timeline.to_string().into(),
            timeline.first.as_str().into(),
            timeline.last.as_str().into(),
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
        Column::number("BYTES"),
        Column::fixed("STATE"),
    ];
    context.output.table(&Table::new(columns).rows(rows));
    for (archive, timeline) in all() {
        for gap in &timeline.gaps {
            context.output.warning(format_args!(
                "timeline {} at \"{}\": {} missing, from {} to {}",
                timeline.timeline,
                archive.destination,
                segments(gap.segments),
                gap.first,
                gap.last
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

fn segments(count: u64) -> String {
    if count == 1 { "1 segment is".to_owned() } else { format!("{count} segments are") }
}
