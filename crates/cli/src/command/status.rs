//! `longshore status`: show the state of each series, and problems that need attention.

pub(crate) mod metrics;
mod nagios;
mod table;

use std::path::Path;

use longshore_core::{Error, Kind, Result, Stage};
use longshore_engine::counters::Counters;
use longshore_engine::notices::Notifier;
use longshore_engine::status::{IssueKind, Request, Status, status as read_status};

use crate::args::Status as Arguments;
use crate::command::{Context, identities};
use crate::exit_code::Exit;
use crate::output::Output;
use crate::plugins;
use crate::time_zone::TimeZone;

/// Fails if the name of a job was written in the place of a file.
fn expect_file(file: Option<&Path>, status: &Status) -> Result<()> {
    let is_job = |file: &&Path| status.jobs.iter().any(|job| Path::new(&job.job) == *file);
    match file.filter(is_job) {
        None => Ok(()),
        Some(job) => {
            let (subject, message) = (job.display().to_string(), "the name of a job in the place of a file");
            let hint =
                format!("write the job first: longshore status {subject} --prometheus; or ./{subject} for a file");
            Err(Error::new(Stage::Config, Kind::Usage, subject, message).hint(hint))
        }
    }
}

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
        expect_file(file.as_deref(), &status)?;
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
    if status.attention.iter().any(|it| matches!(it.kind, IssueKind::Untrusted | IssueKind::HistoryChanged)) {
        return Exit::Refused;
    }
    if status.attention.iter().any(|it| it.kind.alarms()) { Exit::Partial } else { Exit::Done }
}
