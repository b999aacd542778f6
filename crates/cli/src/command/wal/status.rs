//! `longshore wal status`: the archived WAL of each timeline.

use chrono::Utc;
use indicatif::{BinaryBytes, HumanBytes};
use longshore_core::Result;
use longshore_engine::wal::inventory::Timeline;
use longshore_engine::wal::status::{Archives, ProblemKind, archived_wal, compare_with_server};

use crate::args::wal::WalStatus;
use crate::command::Context;
use crate::exit_code::Exit;
use crate::output::{Cell, Column, Priority, State, Table};
use crate::time_zone::TimeZone;

pub(super) async fn status(context: &Context, args: &WalStatus) -> Result<Exit> {
    let Context { config, output, .. } = context;
    let settings = config.wal_archive(args.archive.cluster.as_deref())?;
    let (mut state, errors) = archived_wal(config, settings, Utc::now()).await;
    if args.server {
        compare_with_server(config, settings, &mut state).await?;
    }
    for error in &errors {
        output.error(error);
    }
    if args.json.json {
        output.json(&state);
    } else if !state.archives.is_empty() {
        show(context, &state, TimeZone::of(args.local.local));
    } else if errors.is_empty() {
        output.note(format_args!("no WAL of \"{}\" is archived yet", settings.cluster));
    }
    let is_lost = state.problems.iter().any(|problem| problem.kind == ProblemKind::Lost);
    Ok(match (errors.is_empty(), is_lost) {
        (false, _) => Exit::Failed,
        (true, true) => Exit::Damaged,
        (true, false) => Exit::Done,
    })
}

fn show(context: &Context, state: &Archives, zone: TimeZone) {
    let output = context.output;
    let all = || state.archives.iter().flat_map(|archive| archive.timelines.iter().map(move |it| (archive, it)));
    let rows = all().map(|(archive, timeline)| -> Vec<Cell> {
        let is_newest = archive.timelines.last() == Some(timeline);
        let lag = archive.lag_bytes.filter(|_| is_newest);
        vec![
            archive.destination.as_str().into(),
            archive.system_identifier.as_str().into(),
            timeline.timeline.to_string().into(),
            without_timeline(&timeline.first).into(),
            without_timeline(&timeline.last).into(),
            timeline.segments.to_string().into(),
            HumanBytes(timeline.bytes).to_string().into(),
            lag.map_or_else(Cell::default, |lag| BinaryBytes(lag).to_string().into()),
            if is_whole(timeline) { State::Ok } else { State::Partial }.into(),
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
        Column::number("LAG").unless_blank(),
        Column::fixed("STATE"),
    ];
    output.table(&Table::new(columns).rows(rows));
    for archive in &state.archives {
        if let (Some(from), Some(until)) = (archive.recoverable_from, archive.recoverable_until) {
            output.line(format_args!(
                "\"{}\" recovers to any moment from {} to {} ({})",
                archive.destination,
                zone.second(from),
                zone.second(until),
                zone.name()
            ));
        }
    }
    for problem in &state.problems {
        let message = format!("\"{}\": {}", problem.destination, problem.message);
        match problem.kind {
            ProblemKind::Past => output.note(format_args!("{message}: not needed after the newest base backup")),
            ProblemKind::Lost | ProblemKind::Behind | ProblemKind::Forked => output.warning(message),
        }
    }
    if state.problems.iter().any(|problem| problem.kind == ProblemKind::Lost) {
        output.hint("if the server has the files in pg_wal, archive them with `longshore wal push`; else make a base backup now");
    }
}

fn is_whole(timeline: &Timeline) -> bool {
    timeline.gaps.is_empty() && timeline.ambiguous.is_empty() && timeline.has_history
}

/// Returns the name of a segment without the timeline, which has a column of its own.
fn without_timeline(name: &str) -> &str {
    name.get(8..).unwrap_or(name)
}
