//! `longshore status`: show the state of each series, and problems that need attention.

pub(crate) mod metrics;
mod nagios;
mod table;

use longshore_core::Result;
use longshore_engine::counters::Counters;
use longshore_engine::notices::Notifier;
use longshore_engine::status::{IssueKind, Request, Status, status as read_status};

use crate::args::Status as Arguments;
use crate::command::{Context, identities};
use crate::exit_code::Exit;
use crate::output::Output;
use crate::plugins;
use crate::time_zone::TimeZone;

pub(super) async fn status(
    context: impl FnOnce() -> Result<Context>,
    args: &Arguments,
    output: Output,
) -> Result<Exit> {
    let status_result = async {
        let Context { config, registry, .. } = context()?;
        let identities = identities(&args.identity, &config).await?;
        let request = Request {
            job: args.job.as_deref(),
            max_age: args.max_age,
            identities: &identities,
            tables: &plugins::table_names,
        };
        let status = read_status(&config, &registry, &request).await?;
        let warnings = if args.notify { Notifier::of(&config).status_seen(&status).await } else { Vec::new() };
        Ok((Counters::read(&config), status, warnings))
    };
    let status_result: Result<(Counters, Status, Vec<String>)> = status_result.await;
    if args.nagios {
        return Ok(nagios::print_line(output, &status_result.map(|(_, status, _)| status)).into());
    }
    let (counters, status, warnings) = status_result?;
    if args.notify {
        warnings.iter().for_each(|warning| output.warning(warning));
        return Ok(if warnings.is_empty() { Exit::Done } else { Exit::Partial });
    }
    if let Some(file) = &args.prometheus {
        return metrics::show(output, &status, &counters, file.as_deref());
    }
    if args.json.json {
        if output.json(&status) == Exit::Failed {
            return Ok(Exit::Failed);
        }
    } else {
        table::show(output, &status, TimeZone::of(args.local.local));
    }
    Ok(exit(&status))
}

fn exit(status: &Status) -> Exit {
    if status.destinations.iter().all(|destination| destination.error.is_some()) {
        return Exit::Failed;
    }
    if status.attention.iter().any(|it| it.kind == IssueKind::Damaged) {
        return Exit::Damaged;
    }
    if status.attention.iter().any(|it| it.kind.alarms()) { Exit::Partial } else { Exit::Done }
}
