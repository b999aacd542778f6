//! `longshore run`: back up the databases of a job.

use indicatif::HumanBytes;
use longshore_core::Result;
use longshore_engine::error_report::ErrorReport;
use longshore_engine::hook::{Decision, RunLock};
use longshore_engine::report::{ArtifactReport, DestinationReport, Report};
use longshore_engine::run::Differences;
use serde::Serialize;

use crate::args::Run;
use crate::command::Context;
use crate::exit_code::Exit;
use crate::output::{Cell, Column, Output, Priority, State, Table};
use crate::progress;

/// A run that made no report of its backups, as JSON.
#[derive(Serialize)]
struct Unfinished<'a> {
    job: Option<&'a str>,
    outcome: &'static str,
    exit_code: u8,
    /// The reason of the hook that skipped the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorReport>,
}

pub(super) async fn run(context: &Context, args: &Run) -> Result<Exit> {
    let result = back_up(context, args).await;
    if let (Err(error), true) = (&result, args.json.json) {
        let exit = Exit::from(error);
        let outcome = match exit {
            Exit::Locked => "locked",
            Exit::Refused => "refused",
            Exit::Damaged => "damaged",
            _ => "failed",
        };
        let (job, error) = (args.job.as_deref(), Some(ErrorReport::from(error)));
        context.output.json(&Unfinished { job, outcome, exit_code: exit as u8, reason: None, error });
    }
    result
}

async fn back_up(context: &Context, args: &Run) -> Result<Exit> {
    let Context { config, registry, output, recorder, .. } = context;
    let job = config.job(args.job.as_deref())?;
    let lock = RunLock::take(config, job).await?;
    if let Decision::Skip { reason } = recorder.hooks_before(&lock).await? {
        recorder.skip();
        output.note(format_args!("the run was skipped: {reason}"));
        if args.json.json {
            let (job, reason) = (Some(job.name.as_str()), Some(reason.as_str()));
            output.json(&Unfinished { job, outcome: "skipped", exit_code: Exit::Done as u8, reason, error: None });
        }
        return Ok(Exit::Done);
    }
    recorder.run_has_begun();
    let observer = context.observed(progress::run_progress(*output))?;
    let differences = if args.no_differential { Differences::Never } else { Differences::AsConfigured };
    let report = longshore_engine::run::run(config, registry, job, &lock, differences, observer).await?;
    recorder.record(&report);
    if args.json.json {
        output.json(&report);
    } else {
        show(*output, &report);
    }
    Ok(report.outcome().into())
}

/// Prints a table of artifacts, then warnings and problems.
fn show(output: Output, report: &Report) {
    output.table(&table(report));
    for warning in &report.warnings {
        output.warning(warning);
    }
    for left in &report.not_captured {
        output.warning(left);
        output.hint(&left.remedy);
    }
    for left_out in &report.left_out {
        if let Some(error) = &left_out.error {
            output.problem(
                &format!("destination \"{}\" skipped: {}", left_out.destination, error.message),
                error.hint.as_deref(),
            );
        }
    }
    for artifact in &report.artifacts {
        print_warnings(output, artifact);
    }
    print_failed_uploads(output, report);
    for pruned in &report.pruned {
        super::prune::print_removals(output, pruned);
    }
}

fn table(report: &Report) -> Table {
    let columns = [
        Column::text("ARTIFACT").min(24),
        Column::number("PLAINTEXT").priority(Priority::Medium),
        Column::number("STORED").priority(Priority::High),
        Column::number("TIME").priority(Priority::High),
        Column::sentence("DESTINATIONS"),
    ];
    Table::new(columns).rows(report.artifacts.iter().map(|artifact| row(artifact, &report.left_out)))
}

fn row(artifact: &ArtifactReport, left_out: &[DestinationReport]) -> Vec<Cell> {
    let shipped = artifact.destinations.iter().map(|at| match (&at.error, &at.caught_up_from) {
        (None, None) => at.destination.as_str().into(),
        (None, Some(from)) => format!("{} from {from}", at.destination).into(),
        (Some(_), _) => Cell::from(format!("{} ", at.destination)).and(State::Failed),
    });
    let is_missing = |at: &&DestinationReport| artifact.destinations.iter().all(|it| it.destination != at.destination);
    let skipped = left_out.iter().filter(is_missing);
    let skipped = skipped.map(|at| Cell::from(format!("{} ", at.destination)).and(State::Skipped));
    let (plaintext, sealed, destinations) = match artifact.error {
        Some(_) => ("-".into(), "-".into(), State::Failed.into()),
        None => (
            HumanBytes(artifact.plaintext_bytes).to_string().into(),
            HumanBytes(artifact.sealed_bytes).to_string().into(),
            Cell::list(shipped.chain(skipped)),
        ),
    };
    let seconds = format!("{:.1} s", artifact.seconds);
    let kind = match (artifact.incremental, &artifact.difference) {
        (true, _) => ", incremental",
        (false, Some(_)) => ", difference",
        (false, None) => "",
    };
    vec![format!("{}{kind}", artifact.subject).into(), plaintext, sealed, seconds.into(), destinations]
}

fn print_warnings(output: Output, artifact: &ArtifactReport) {
    let subject = &artifact.subject;
    for missing in &artifact.not_captured {
        output.warning(format_args!("{subject}: not captured: {missing}"));
    }
    for warning in &artifact.warnings {
        output.warning(format_args!("{subject}: {warning}"));
    }
    if let Some(error) = &artifact.error {
        output.problem(&format!("{subject}: {}", error.message), error.hint.as_deref());
    }
}

/// Prints failed uploads. Groups artifacts with the same error, such as an unreachable host.
fn print_failed_uploads(output: Output, report: &Report) {
    let mut failed_uploads: Vec<(&str, &ErrorReport, Vec<String>)> = Vec::new();
    for artifact in &report.artifacts {
        for at in &artifact.destinations {
            let Some(error) = &at.error else { continue };
            let subject = artifact.subject.to_string();
            let known = failed_uploads
                .iter_mut()
                .find(|(name, known, _)| *name == at.destination && known.message == error.message);
            match known {
                Some((_, _, subjects)) => subjects.push(subject),
                None => failed_uploads.push((&at.destination, error, vec![subject])),
            }
        }
    }
    for (destination, error, subjects) in failed_uploads {
        output.problem(
            &format!("{} at \"{destination}\": {}", join_names(&subjects), error.message),
            error.hint.as_deref(),
        );
    }
}

/// Joins the names; of many, only the first ones.
fn join_names(names: &[String]) -> String {
    const NAMED: usize = 5;
    match names.len().checked_sub(NAMED) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..NAMED].join(", ")),
    }
}
