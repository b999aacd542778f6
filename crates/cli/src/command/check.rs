//! `longshore check`: check settings, servers and destinations before a run.

use longshore_core::Result;
use longshore_core::check::Outcome;

use crate::args::Check;
use crate::command::{Context, identities};
use crate::exit_code::Exit;
use crate::output::State;

pub(super) async fn check(context: &Context, args: &Check) -> Result<Exit> {
    let Context { config, registry, output, .. } = context;
    let identities = identities(&args.identity, config).await?;
    let findings = longshore_engine::check::check(config, registry, args.job.as_deref(), &identities).await?;
    if args.json.json {
        output.json(&findings);
    } else {
        for finding in &findings {
            // Indent further lines of a message below its first line.
            let message = output.with_config(&finding.message).replace('\n', "\n           ");
            output.state(state(finding.outcome), format_args!("{}: {message}", finding.subject));
            if let Some(remedy) = &finding.remedy {
                output.line(format_args!("         → {}", output.with_config(remedy)));
            }
        }
    }
    let failed = findings.iter().any(|finding| finding.outcome == Outcome::Failed);
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// Returns the state of a finding.
pub(super) fn state(outcome: Outcome) -> State {
    match outcome {
        Outcome::Good => State::Ok,
        Outcome::Warning => State::Warning,
        Outcome::Failed => State::Failed,
    }
}
